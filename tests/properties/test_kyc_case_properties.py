"""Any sequence of anything anybody may try: no path reaches an approval without what its level demands."""

from __future__ import annotations

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from safeconduct.identity.kyc_case import (
    assign,
    begin_screening,
    clock,
    decide,
    excluded,
    needed_votes,
    open_case,
    rate,
    recuse,
    request_information,
    screened,
    submit,
)
from safeconduct.identity.kyc_ends import (
    appeal,
    by_the_clock,
    refresh_due,
    revoke,
    standing,
    suspend,
    withdraw,
)
from safeconduct.identity.kyc_states import NEXT, POLICY, RUNNING, Basis, Outcome, Reviewer
from safeconduct.kernel.errors import SafeconductError
from safeconduct.kernel.vocabulary import CaseState, Compartment, Level, Risk, Screening

DAY = 86_400
REVIEWERS = (
    Reviewer("analyst-1"),
    Reviewer("analyst-2"),
    Reviewer("adjudicator-1", adjudicator=True),
    Reviewer("adjudicator-2", adjudicator=True),
    Reviewer("adjudicator-3", adjudicator=True),
    Reviewer("applicant-key", adjudicator=True),
    Reviewer("other-name", names=frozenset({"applicant-thumbprint"}), adjudicator=True),
    Reviewer("requester", adjudicator=True),
    Reviewer("tied", organisation="org-a", adjudicator=True),
)
levels = st.sampled_from([Level.C1, Level.C2, Level.C3, Level.C4])
compartments = st.sets(st.sampled_from([Compartment.CYB, Compartment.BIO])).map(
    lambda some: tuple(sorted(some))
)
reviewers = st.sampled_from(REVIEWERS)
# More often somebody who may, or no example would get to a second vote.
likely = st.one_of(st.sampled_from(REVIEWERS[2:5]), st.sampled_from(REVIEWERS[2:5]), reviewers)
bases = st.builds(
    Basis,
    level=st.sampled_from(list(Level)),
    compartments=compartments,
    missing=st.just(("something",)),
    screening=st.sampled_from(list(Screening)),
    screened_at=st.just(0),
    same_data=st.booleans(),
    document_until=st.one_of(st.none(), st.integers(0, 4_000 * DAY)),
    clearance_until=st.one_of(st.none(), st.integers(0, 4_000 * DAY)),
    open_alerts=st.sampled_from([0, 0, 0, 1]),
)
good_bases = st.builds(
    lambda level, some: Basis(level, some, (), Screening.CLEAR, 0, False, 5_000 * DAY, None),
    levels,
    st.just((Compartment.BIO, Compartment.CYB)),
)


class CaseMachine(RuleBasedStateMachine):
    """One case; every rule tries something, and what is refused changes nothing."""

    def __init__(self):
        super().__init__()
        self.now = DAY
        self.case = open_case(
            "kyc_1",
            subject="sub_1",
            applicant=frozenset({"sub_1", "applicant-key", "applicant-thumbprint"}),
            requester="requester",
            level=Level.C3,
            compartments=(Compartment.CYB,),
            organisation="org-a",
            at=self.now,
        )
        self.basis = None

    def attempt(self, step, *, by=None):
        before = self.case
        try:
            after = step(before)
        except SafeconductError:
            return
        if after is before:
            return
        assert after.version == before.version + 1
        assert after.state is before.state or after.state in NEXT[before.state]
        if after.round == before.round:
            assert clock(after, self.now) >= clock(before, self.now)
        if by is not None:
            # INVARIANT: nobody with a stake in the case ever changed it.
            assert not excluded(before, by)
        if after.approval is not None and after.approval is not before.approval and by is not None:
            self.check_approval(before, after)
        self.case = after

    def check_approval(self, before, after):
        level, basis = after.approval.level, self.basis
        votes = [vote for vote in after.votes if vote.round == after.round]
        names = {vote.by for vote in votes}
        assert before.state is CaseState.REVIEW
        assert len(names) >= needed_votes(level)
        assert set(after.approval.adjudicators) == names
        assert not names & (before.applicant | {before.requester, "other-name", "tied"})
        assert not names & {vote.by for vote in before.votes if vote.round < before.round}
        if level >= Level.C3:
            assert all(name.startswith("adjudicator") for name in names)
        assert level <= basis.level
        assert level <= before.level
        assert set(after.approval.compartments) <= set(basis.compartments) & set(before.compartments)
        assert before.rating is not None
        assert before.rating.risk is not Risk.PROHIBITED
        assert not basis.open_alerts
        assert basis.screening in (Screening.CLEAR, Screening.NONE)
        assert basis.same_data
        assert basis.screening is not Screening.NONE or level < Level.C2
        most = POLICY.refresh(before.rating.risk)
        assert self.now < after.approval.until <= self.now + most
        for end in (basis.document_until, basis.clearance_until):
            assert end is None or after.approval.until <= end

    @rule(seconds=st.sampled_from([1, 60, DAY, 20 * DAY, 31 * DAY, 400 * DAY]))
    def time_passes(self, seconds):
        self.now += seconds
        self.attempt(lambda case: by_the_clock(case, self.now))

    @rule()
    def hand_in(self):
        self.attempt(lambda case: submit(case, at=self.now))

    @rule(by=reviewers)
    def take(self, by):
        self.attempt(lambda case: assign(case, by), by=by)

    @rule(by=reviewers)
    def step_back(self, by):
        self.attempt(lambda case: recuse(case, by))

    @rule(by=reviewers)
    def ask(self, by):
        self.attempt(lambda case: request_information(case, by, ["Something."], at=self.now), by=by)

    @rule(by=reviewers)
    def screen(self, by):
        before = self.case
        try:
            under_way = begin_screening(before, by, at=self.now)
        except SafeconductError:
            return
        self.case = screened(under_way, by=by.id, at=self.now)

    @rule(by=reviewers, risk=st.sampled_from(list(Risk)))
    def rate_it(self, by, risk):
        self.attempt(lambda case: rate(case, by, risk, ["A reason."], at=self.now), by=by)

    @rule(
        by=reviewers,
        outcome=st.sampled_from(list(Outcome)),
        level=levels,
        some=compartments,
        conditions=st.sampled_from([(), ("a condition",)]),
        basis=st.one_of(bases, good_bases),
    )
    def vote(self, by, outcome, level, some, conditions, basis):
        self.basis = basis
        self.attempt(
            lambda case: decide(
                case,
                by,
                outcome,
                level=level,
                compartments=some,
                reasons=["A reason."],
                conditions=conditions,
                basis=basis,
                at=self.now,
            ),
            by=by,
        )

    @rule(
        first=likely,
        second=likely,
        risk=st.sampled_from([Risk.STANDARD, Risk.HIGH, Risk.STANDARD, Risk.HIGH, Risk.PROHIBITED]),
        level=st.sampled_from([Level.C3, Level.C3, Level.C3, Level.C2]),
        alerts=st.sampled_from([0, 0, 0, 0, 1]),
    )
    def go_for_it(self, first, second, risk, level, alerts):
        """The whole way in one go, by whoever: so that the machine gets to where something could go wrong."""
        self.hand_in()
        self.take(first)
        self.take(second)
        self.screen(first)
        self.screen(second)
        self.rate_it(first, risk)
        for by in (first, second):
            self.vote_for(by, level, alerts)

    @rule(by=reviewers, level=st.sampled_from([Level.C3, Level.C2]), alerts=st.sampled_from([0, 0, 1]))
    def vote_for(self, by, level, alerts):
        """A vote on evidence that amounts to C3; only an alert may be open."""
        self.basis = Basis(
            Level.C3, (Compartment.CYB,), (), Screening.CLEAR, self.now, False, None, None, alerts
        )
        whole = level is self.case.level
        self.attempt(
            lambda case: decide(
                case,
                by,
                Outcome.APPROVED if whole else Outcome.APPROVED_CONDITIONAL,
                level=level,
                compartments=case.compartments,
                reasons=["A reason."],
                basis=self.basis,
                at=self.now,
            ),
            by=by,
        )

    @rule()
    def give_up(self):
        if self.now % 61 == 0:
            self.attempt(lambda case: withdraw(case, at=self.now))

    @rule()
    def complain(self):
        self.attempt(lambda case: appeal(case, "Grounds.", at=self.now))

    @rule()
    def something_happens(self):
        if self.case.approval is not None:
            self.attempt(lambda case: refresh_due(case, cause="list_change", at=self.now))

    @rule(by=reviewers)
    def stop(self, by):
        self.attempt(lambda case: suspend(case, by=by.id, cause="a cause", at=self.now))

    @rule(by=reviewers)
    def take_away(self, by):
        self.attempt(lambda case: revoke(case, by=by.id, cause="a cause", at=self.now))

    @invariant()
    def the_clock_runs_in_the_desks_states_only(self):
        assert (self.case.clock_since is not None) == (self.case.state in RUNNING)

    @invariant()
    def nothing_stands_that_has_ended(self):
        if self.case.state in (
            CaseState.REJECTED,
            CaseState.WITHDRAWN,
            CaseState.EXPIRED,
            CaseState.SUSPENDED,
            CaseState.REVOKED,
            CaseState.DRAFT,
        ):
            assert self.case.approval is None

    @invariant()
    def what_is_approved_stands_or_has_just_run_out(self):
        if self.case.state in (CaseState.APPROVED, CaseState.APPROVED_CONDITIONAL):
            assert self.case.approval is not None
            assert standing(self.case, self.case.approval.at)

    @invariant()
    def a_case_survives_the_store(self):
        data = msgspec.json.encode(self.case, order="sorted")
        assert msgspec.json.decode(data, type=type(self.case)) == self.case


TestCaseMachine = CaseMachine.TestCase
TestCaseMachine.settings = settings(max_examples=80, stateful_step_count=25, deadline=None)


def test_every_state_can_be_reached_and_no_state_is_left_out():
    reached = {CaseState.DRAFT}
    while True:
        further = {after for state in reached for after in NEXT[state]} | reached
        if further == reached:
            break
        reached = further
    assert reached == set(CaseState) == set(NEXT)


def test_an_approval_is_reached_from_review_only():
    for state, after in NEXT.items():
        if after & {CaseState.APPROVED, CaseState.APPROVED_CONDITIONAL}:
            assert state is CaseState.REVIEW
