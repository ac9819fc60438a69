"""Rules of the case that a reader looks for one by one; the property tests try everything else."""

import pytest

from safeconduct.identity.kyc_case import assign, begin_screening, decide, open_case, rate, screened, submit
from safeconduct.identity.kyc_states import Basis, Outcome, Reviewer
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import CaseState, Compartment, Level, Risk, Screening

FIRST, SECOND = Reviewer("adjudicator-1", adjudicator=True), Reviewer("adjudicator-2", adjudicator=True)


def basis(level=Level.C3, **changes):
    return Basis(
        **{
            "level": level,
            "compartments": (Compartment.CYB,),
            "missing": ("C3: a project",),
            "screening": Screening.CLEAR,
            "screened_at": 90,
            "same_data": True,
            "document_until": None,
            "clearance_until": None,
            **changes,
        }
    )


def reviewed(*reviewers, level=Level.C3, requester="requester"):
    """A case under review, rated standard."""
    case = open_case(
        "kyc_1",
        subject="sub_1",
        applicant=frozenset({"sub_1", "key-1"}),
        requester=requester,
        level=level,
        compartments=(),
        organisation="org-a",
        at=10,
    )
    case = submit(case, at=20)
    for one in reviewers:
        case = assign(case, one)
    case = screened(begin_screening(case, reviewers[0], at=30), by=reviewers[0].id, at=31)
    return rate(case, reviewers[0], Risk.STANDARD, ["A reason."], at=32)


def vote(case, by, outcome=Outcome.APPROVED, level=Level.C3, **changes):
    given = {"compartments": (), "reasons": ["A reason."], "basis": basis(), "at": 100, **changes}
    return decide(case, by, outcome, level=level, **given)


def test_one_vote_does_not_approve_c3_and_two_do():
    case = vote(reviewed(FIRST, SECOND), FIRST)
    assert case.state is CaseState.REVIEW
    assert case.approval is None
    case = vote(case, SECOND)
    assert case.state is CaseState.APPROVED
    assert case.approval.adjudicators == ("adjudicator-1", "adjudicator-2")


def test_the_same_adjudicator_does_not_vote_twice():
    with pytest.raises(Forbidden, match="somebody else"):
        vote(vote(reviewed(FIRST, SECOND), FIRST), FIRST)


def test_the_second_vote_is_for_what_the_first_was_for():
    case = vote(reviewed(FIRST, SECOND), FIRST, Outcome.APPROVED, conditions=())
    with pytest.raises(Conflict, match="something else"):
        vote(case, SECOND, Outcome.APPROVED_CONDITIONAL, conditions=("only on weekdays",))


def test_one_vote_against_ends_it():
    case = vote(vote(reviewed(FIRST, SECOND), FIRST), SECOND, Outcome.REJECTED)
    assert case.state is CaseState.REJECTED


def test_analysts_do_not_decide_c3():
    analyst = Reviewer("analyst-1")
    with pytest.raises(Forbidden, match="adjudicators"):
        vote(reviewed(analyst), analyst)


@pytest.mark.parametrize(
    ("who", "why"),
    [
        (Reviewer("key-1", adjudicator=True), "their own case"),
        (Reviewer("kid", names=frozenset({"key-1"}), adjudicator=True), "their own case"),
        (Reviewer("requester", adjudicator=True), "who asked for it"),
        (Reviewer("colleague", organisation="org-a", adjudicator=True), "tied to the applicant"),
    ],
)
def test_whoever_has_a_stake_in_the_case_is_kept_out(who, why):
    with pytest.raises(Forbidden, match=why):
        assign(reviewed(FIRST), who)


def test_nobody_decides_what_they_were_not_assigned():
    with pytest.raises(Forbidden, match="not assigned"):
        vote(reviewed(FIRST), SECOND)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"level": Level.C2}, "level"),
        ({"screening": Screening.POSSIBLE}, "screening"),
        ({"screening": Screening.MATCH}, "screening"),
        ({"same_data": False}, "screening"),
        ({"screening": Screening.NONE}, "screening"),
        ({"open_alerts": 1}, "alerts"),
        ({"document_until": 99}, "document"),
    ],
)
def test_nothing_is_approved_without_what_the_level_demands(changes, field):
    case = vote(reviewed(FIRST, SECOND), FIRST) if field == "document" else reviewed(FIRST, SECOND)
    with pytest.raises(Conflict) as refused:
        vote(case, SECOND, basis=basis(**changes))
    assert refused.value.field == field
    assert refused.value.remedy


def test_more_than_was_asked_for_is_not_approved():
    case = reviewed(FIRST, level=Level.C2)
    with pytest.raises(InvalidInput):
        vote(case, FIRST, level=Level.C3)
    with pytest.raises(InvalidInput):
        vote(case, FIRST, Outcome.APPROVED_CONDITIONAL, level=Level.C2, compartments=(Compartment.BIO,))


def test_a_c3_case_nobody_asked_for_is_not_approved():
    with pytest.raises(Conflict) as refused:
        vote(reviewed(FIRST, requester=""), FIRST)
    assert refused.value.field == "requester"
