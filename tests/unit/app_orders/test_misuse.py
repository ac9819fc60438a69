from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import (
    ADJUDICATOR,
    DAY,
    LAB,
    LISTED,
    NORTH,
    NOW,
    OPERATOR,
    RIVAL,
    misuse_jws,
    trusted,
    world,
)
from tests.support.holders import CLAIMS, HOLDER_KEY

from safeconduct.app.adjudicate_misuse import AdjudicateMisuse, Outcome, adjudicate_misuse
from safeconduct.app.change_clearance import ChangeClearance, change_clearance
from safeconduct.app.change_passport_status import change_passport_status
from safeconduct.app.import_misuse_signal import import_misuse_signal
from safeconduct.app.issue_passport import issue_passport
from safeconduct.app.ports import Caller
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, VerificationFailed
from safeconduct.kernel.vocabulary import ClearanceState, PassportStatus, Purpose, Role, Surface
from safeconduct.record.events.holders import MandateRegistered, PassportStatusChanged


def refused(error, call, instance, *args):
    before = instance.record.state
    with pytest.raises(error) as caught:
        call(instance, *args)
    assert instance.record.state is before
    return caught.value


def statuses(instance, subject="ann"):
    state = instance.record.state
    return [state.passports[name].status for name in state.subjects[subject].passports]


def verdict(outcome="reinstate", signal="S-1", sender="provider:lab", rationale="reviewed"):
    return AdjudicateMisuse(sender, signal, Outcome(outcome), rationale)


VALID, INVALID, SUSPENDED = PassportStatus.VALID, PassportStatus.INVALID, PassportStatus.SUSPENDED


def test_a_signal_suspends_every_passport_of_the_subject_in_one_commit_and_nobody_elses():
    instance = world()
    seen = []
    instance.record.subscribe(lambda state, events: seen.append(len(events)))
    import_misuse_signal(instance, LAB, misuse_jws())
    assert seen == [3]
    assert statuses(instance) == [SUSPENDED, SUSPENDED]
    assert statuses(instance, "bob") == [VALID]


def test_a_signal_leaves_revoked_passports_revoked():
    gone = PassportStatusChanged(passport="pass-ann-0", status=INVALID, cause="lost", by="x", at=NOW)
    instance = world(more=[gone])
    import_misuse_signal(instance, LAB, misuse_jws())
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    assert statuses(instance) == [INVALID, VALID]


def test_an_adjudicator_reinstates_or_revokes_for_good_and_once():
    for outcome, after in (("reinstate", VALID), ("revoke", INVALID)):
        instance = world()
        import_misuse_signal(instance, LAB, misuse_jws())
        adjudicate_misuse(instance, ADJUDICATOR, verdict(outcome))
        assert statuses(instance) == [after, after]
        refused(Conflict, adjudicate_misuse, instance, ADJUDICATOR, verdict())


def test_whoever_sent_the_signal_or_is_its_subject_does_not_decide_it():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    for who in (
        msgspec.structs.replace(ADJUDICATOR, party="provider:lab"),
        msgspec.structs.replace(ADJUDICATOR, id="provider:lab"),
        msgspec.structs.replace(ADJUDICATOR, subject="ann"),
        OPERATOR,
        LAB,
    ):
        refused(Forbidden, adjudicate_misuse, instance, who, verdict())
    assert statuses(instance) == [SUSPENDED, SUSPENDED]


def test_two_signals_are_lifted_only_by_two_verdicts():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    import_misuse_signal(instance, OPERATOR, misuse_jws(signer="op-1", iss="operator"))
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    assert statuses(instance) == [SUSPENDED, SUSPENDED]
    adjudicate_misuse(instance, ADJUDICATOR, verdict(sender="operator"))
    assert statuses(instance) == [VALID, VALID]


def test_what_was_suspended_by_hand_stays_suspended_when_the_signal_is_lifted():
    by_hand = PassportStatusChanged(
        passport="pass-ann-1", status=SUSPENDED, cause="lost device", by="x", at=NOW
    )
    instance = world(more=[by_hand])
    import_misuse_signal(instance, LAB, misuse_jws())
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    assert statuses(instance) == [VALID, SUSPENDED]
    assert instance.record.state.passports["pass-ann-1"].cause == "lost device"


def test_a_signal_about_an_agent_revokes_its_mandates_and_leaves_its_human_alone():
    mandate = MandateRegistered(
        mandate="m-1",
        agent="bot",
        principal="ann",
        human="ann",
        passport="pass-ann-0",
        variants=("big-open",),
        purposes=(Purpose.CODING,),
        project=None,
        surfaces=(Surface.AGENT,),
        valid_from=NOW,
        valid_until=NOW + 100,
        key="k",
        aal=3,
        signed_at=NOW,
        status_index=9,
        depth=1,
    )
    instance = world(more=[mandate])
    import_misuse_signal(instance, LAB, misuse_jws(subject="bot"))
    assert instance.record.state.mandates["m-1"].revoked_at == NOW
    assert statuses(instance) == [VALID, VALID]


def test_a_signal_about_an_organisation_suspends_it_until_adjudicated():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws(subject=None, organisation="listed"))
    standing = instance.record.state.organisations["listed"].standing
    assert standing.suspended
    assert standing.verified_until > NOW
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    assert not instance.record.state.organisations["listed"].standing.suspended
    refused(Conflict, adjudicate_misuse, instance, ADJUDICATOR, verdict("revoke"))


def test_an_organisation_found_to_misuse_is_no_longer_verified():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws(subject=None, organisation="listed"))
    adjudicate_misuse(instance, ADJUDICATOR, verdict("revoke"))
    standing = instance.record.state.organisations["listed"].standing
    assert (standing.suspended, standing.verified_until) == (True, 0)


def test_an_organisation_never_verified_is_suspended_all_the_same():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws(subject=None, organisation="rival-org"))
    assert instance.record.state.organisations["rival-org"].standing.suspended


def test_a_lab_signals_only_about_its_own_variants():
    error = refused(Forbidden, import_misuse_signal, world(), LAB, misuse_jws(variant="other-1"))
    assert error.field == "variant" or error.field == "variants"


def test_a_signal_number_is_used_once_per_sender():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    refused(Conflict, import_misuse_signal, instance, LAB, misuse_jws())


def test_only_the_sender_or_an_operator_hands_a_signal_in():
    for caller in (RIVAL, NORTH, LISTED):
        refused(Forbidden, import_misuse_signal, world(), caller, misuse_jws())
    import_misuse_signal(world(), OPERATOR, misuse_jws())


def test_a_key_not_trusted_with_signals_sends_none():
    instance = world(more=[trusted("lab-2", "provider:lab", ["licence"], provider="lab")])
    refused(Forbidden, import_misuse_signal, instance, LAB, misuse_jws(signer="lab-2"))
    refused(Forbidden, import_misuse_signal, instance, LAB, misuse_jws(signer="stranger"))
    refused(Forbidden, import_misuse_signal, instance, OPERATOR, misuse_jws(signer="op-1"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"organisation": "listed"}, InvalidInput),
        ({"subject": None}, InvalidInput),
        ({"subject": "nobody"}, NotFound),
        ({"subject": None, "organisation": "nobody"}, NotFound),
        ({"variant": "nothing"}, NotFound),
        ({"evidence": "x"}, InvalidInput),
        ({"kind": "Bad Kind"}, InvalidInput),
        ({"signal": "a; b"}, InvalidInput),
        ({"severity": "high"}, InvalidInput),
        ({"iat": NOW + 3600}, VerificationFailed),
    ],
)
def test_a_malformed_signal_suspends_nobody(changes, error):
    refused(error, import_misuse_signal, world(), OPERATOR, misuse_jws(**changes))


def test_a_verdict_says_why_and_about_what():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    refused(InvalidInput, adjudicate_misuse, instance, ADJUDICATOR, verdict(rationale=" "))
    reopening = verdict("revoke", rationale="so be it; misuse provider:lab/S-1")
    refused(InvalidInput, adjudicate_misuse, instance, ADJUDICATOR, reopening)
    refused(NotFound, adjudicate_misuse, instance, ADJUDICATOR, verdict(signal="S-9"))


def test_a_clearance_is_suspended_and_reinstated_by_an_adjudicator():
    instance = world()
    ask = ChangeClearance("ann", ClearanceState.SUSPENDED, "review")
    change_clearance(instance, OPERATOR, ask)
    back = ChangeClearance("ann", ClearanceState.REINSTATED, "reviewed")
    refused(Forbidden, change_clearance, instance, OPERATOR, back)
    refused(Forbidden, change_clearance, instance, msgspec.structs.replace(ADJUDICATOR, subject="ann"), back)
    change_clearance(instance, ADJUDICATOR, back)
    assert instance.record.state.subjects["ann"].clearance.state is ClearanceState.REINSTATED


def test_no_order_grants_a_clearance():
    for state in (ClearanceState.GRANTED, ClearanceState.INTERIM, ClearanceState.CONDITIONAL):
        refused(InvalidInput, change_clearance, world(), ADJUDICATOR, ChangeClearance("ann", state, "x"))
    refused(
        NotFound,
        change_clearance,
        world(),
        ADJUDICATOR,
        ChangeClearance("bot", ClearanceState.SUSPENDED, "x"),
    )
    refused(
        Conflict,
        change_clearance,
        world(),
        ADJUDICATOR,
        ChangeClearance("ann", ClearanceState.REINSTATED, "x"),
    )


def change(status):
    def call(instance, caller, passport="pass-ann-0", cause="because"):
        change_passport_status(instance, caller, passport, status, cause=cause)

    return call


HOLDER = Caller(role=Role.HOLDER, party="holder", id="ann", subject="ann")


def test_a_passport_suspended_by_a_signal_is_changed_only_by_adjudicating_the_signal():
    by_hand = PassportStatusChanged(
        passport="pass-ann-1", status=SUSPENDED, cause="lost device", by="x", at=NOW
    )
    instance = world(more=[by_hand])
    import_misuse_signal(instance, LAB, misuse_jws())
    for passport in ("pass-ann-0", "pass-ann-1"):
        error = refused(Conflict, change(VALID), instance, ADJUDICATOR, passport)
        assert error.remedy == "adjudicate the signal"
        # Revoked, nothing of the signal would be left, and a fresh passport would be clean.
        for caller in (ADJUDICATOR, HOLDER):
            refused(Conflict, change(INVALID), instance, caller, passport)
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    change(VALID)(instance, ADJUDICATOR, "pass-ann-1")
    assert statuses(instance) == [VALID, VALID]


def test_nobody_suspends_in_the_name_of_a_signal():
    for cause in ("misuse provider:lab/S-1", "lost; misuse provider:lab/S-1"):
        refused(InvalidInput, change(SUSPENDED), world(), OPERATOR, "pass-ann-0", cause)
    instance = world()
    change(SUSPENDED)(instance, OPERATOR, cause="suspected misuse of the device")
    change(VALID)(instance, ADJUDICATOR)
    assert statuses(instance) == [VALID, VALID]


def issued(instance, caller=OPERATOR, supersedes=None):
    return issue_passport(
        instance,
        caller,
        subject="ann",
        claims=CLAIMS,
        holder_jwk=HOLDER_KEY.public_jwk(),
        aal=3,
        valid_until=NOW + 10 * DAY,
        supersedes=supersedes,
    )


@pytest.mark.parametrize("supersedes", [None, "pass-ann-0"])
def test_no_passport_is_issued_while_a_signal_suspends_one_of_the_same_person(supersedes):
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    error = refused(Conflict, issued, instance, OPERATOR, supersedes)
    assert error.remedy == "adjudicate the signal"
    assert instance.vault.names("claims") == []
    adjudicate_misuse(instance, ADJUDICATOR, verdict())
    assert issued(instance, OPERATOR, supersedes).passport in instance.record.state.passports


def test_no_passport_is_issued_to_a_person_about_whom_a_signal_was_upheld():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws())
    adjudicate_misuse(instance, ADJUDICATOR, verdict("revoke"))
    refused(Conflict, issued, instance)


def test_a_signal_about_somebody_else_hinders_no_passport():
    instance = world()
    import_misuse_signal(instance, LAB, misuse_jws(subject="bob"))
    assert issued(instance).passport in instance.record.state.passports
