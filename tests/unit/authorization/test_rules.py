from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import NOW, trusted

from safeconduct.authorization.clearance import HELD, NEXT, check_adjudicators, check_transition
from safeconduct.authorization.document import Members
from safeconduct.authorization.grant import check_parties, wider_than
from safeconduct.authorization.misuse import has_cause, open_signal, with_cause, without_cause
from safeconduct.authorization.trust import flag, may_act_for
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import ClearanceState, Condition, Level, Purpose, Surface
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.trust import TrustKeyRevoked
from safeconduct.record.projections import TrustedKey


def test_a_revoked_or_expired_clearance_only_comes_back_by_a_new_adjudication():
    for state in (ClearanceState.REVOKED, ClearanceState.EXPIRED):
        assert NEXT[state] == frozenset()
        with pytest.raises(Conflict):
            check_transition(state, ClearanceState.REINSTATED)


def test_only_a_suspended_clearance_is_reinstated():
    for state in ClearanceState:
        assert (ClearanceState.REINSTATED in NEXT[state]) is (state is ClearanceState.SUSPENDED)
    check_transition(ClearanceState.SUSPENDED, ClearanceState.REINSTATED)


def test_every_held_clearance_can_be_suspended_at_once():
    for state in HELD:
        check_transition(state, ClearanceState.SUSPENDED)


def test_c3_takes_two_different_adjudicators_and_never_the_applicant_or_requester():
    check_adjudicators(Level.C3, ["a", "b"], applicant="x", requested_by="y")
    check_adjudicators(Level.C2, ["a"], applicant="x", requested_by="y")
    for level, who in ((Level.C3, ["a"]), (Level.C3, ["a", "a"]), (Level.C2, [])):
        with pytest.raises(Conflict):
            check_adjudicators(level, who, applicant="x", requested_by="y")
    for who in (["a", "x"], ["y", "a"]):
        with pytest.raises(Forbidden):
            check_adjudicators(Level.C3, who, applicant="x", requested_by="y")


PARENT = GrantGiven(
    grant="g",
    by_provider="lab",
    by_organisation=None,
    to_organisation="o",
    to_group=None,
    to_subject=None,
    variants=("a", "b"),
    purposes=(Purpose.CODING, Purpose.EDUCATION),
    surfaces=(Surface.API,),
    regions=("r1", "r2"),
    valid_from=0,
    valid_until=100,
    approved_by=("x",),
    requested_by="y",
    conditions=(Condition.REPORT,),
)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"variants": ("a", "c")}, "variants"),
        ({"purposes": (Purpose.BROWSER,)}, "purposes"),
        ({"surfaces": (Surface.AGENT, Surface.API)}, "surfaces"),
        ({"regions": ("r3",)}, "regions"),
        ({"regions": ()}, "regions"),
        ({"valid_until": 101}, "term"),
        ({"conditions": ()}, "conditions"),
    ],
)
def test_a_grant_wider_than_its_parent_in_any_dimension_is_found(change, field):
    assert [name for name, _ in wider_than(msgspec.structs.replace(PARENT, **change), PARENT)] == [field]


def test_a_narrower_grant_is_within_its_parent():
    narrower = msgspec.structs.replace(
        PARENT,
        variants=("a",),
        purposes=(Purpose.CODING,),
        regions=("r2",),
        valid_until=99,
        conditions=(Condition.REPORT, Condition.CAPTURE),
    )
    assert wider_than(narrower, PARENT) == []
    everywhere = msgspec.structs.replace(PARENT, regions=())
    assert wider_than(PARENT, everywhere) == []


@pytest.mark.parametrize(
    "parties",
    [
        {},
        {"by_provider": "p", "by_organisation": "o", "to_subject": "s"},
        {"by_provider": "p"},
        {"by_provider": "p", "to_subject": "s", "to_organisation": "o"},
        {"by_provider": "p", "to_group": "g"},
        {"by_organisation": "o", "to_organisation": "q"},
    ],
)
def test_a_grant_has_one_grantor_and_one_grantee_that_fit(parties):
    names = ("by_provider", "by_organisation", "to_organisation", "to_group", "to_subject")
    with pytest.raises(InvalidInput):
        check_parties(**{name: parties.get(name) for name in names})


def test_lifting_one_cause_of_a_suspension_leaves_the_others():
    causes = with_cause(with_cause("by hand", "misuse a/1"), "misuse a/10")
    assert without_cause(causes, "misuse a/1") == "by hand; misuse a/10"
    assert has_cause(causes, "misuse a/1")
    assert not has_cause("misuse a/10", "misuse a/1")
    assert with_cause(causes, "misuse a/1") == causes
    assert without_cause("misuse a/1", "misuse a/1") == ""
    assert open_signal(causes) == "misuse a/1"
    assert open_signal("by hand") == ""


def test_only_the_issuer_and_its_named_successors_act_for_it():
    def ended(name, party, successor):
        return TrustedKey(
            trusted(name, party, ["licence"]),
            TrustKeyRevoked(
                kid=name, from_=NOW, cause="c", officers=(), recorded_at=NOW, successor=successor
            ),
        )

    trust = {
        "k1": ended("k1", "a", "b"),
        "k2": ended("k2", "b", "c"),
        "k3": ended("k3", "c", "a"),
        "k4": TrustedKey(trusted("k4", "d", ["licence"])),
    }
    assert may_act_for("a", "a", trust)
    assert may_act_for("c", "a", trust)
    assert not may_act_for("d", "a", trust)
    assert not may_act_for("a", "d", trust)


def test_a_document_is_flagged_by_what_became_of_its_key():
    key = trusted("k", "a", ["licence"])
    revoked = TrustKeyRevoked(kid="k", from_=100, cause="c", officers=(), recorded_at=200)
    assert flag("k", 150, {"k": TrustedKey(key)}) == ""
    assert "revoked later" in flag("k", 99, {"k": TrustedKey(key, revoked)})
    assert "review it" in flag("k", 100, {"k": TrustedKey(key, revoked)})
    assert "not in the trust list" in flag("k", 100, {})


def test_a_member_that_nobody_took_is_refused():
    members = Members({"known": "x", "unknown": 1}, "a.")
    assert members.text("known") == "x"
    with pytest.raises(InvalidInput) as caught:
        members.finish()
    assert caught.value.field == "a.unknown"


@pytest.mark.parametrize("value", [True, -1, 1 << 50, 1.0, "yesterday", "2031-01-01T00:00:00", [], "9" * 50])
def test_what_is_no_instant_is_refused(value):
    with pytest.raises(InvalidInput) as caught:
        Members({"at": value}).instant("at")
    assert caught.value.field == "at"


def test_an_instant_is_rfc_3339_or_seconds():
    for value in ("2031-03-01T12:00:00Z", "2031-03-01T13:00:00+01:00", NOW):
        assert Members({"at": value}).instant("at") == NOW
