"""What the fold keeps and what it refuses to undo."""

import typing

import msgspec
from tests.support.worlds import World, lei_of, order, plain_world

from safeconduct.kernel.vocabulary import (
    ClearanceState,
    FindingDomain,
    Level,
    PassportStatus,
    Severity,
    Stage,
)
from safeconduct.record.events import (
    ClearanceChanged,
    Event,
    FindingRecorded,
    GrantEnded,
    MisuseSignalReceived,
    PassportStatusChanged,
    SubjectEnrolled,
    TrustKeyAdded,
    TrustKeyRevoked,
)
from safeconduct.record.events.holders import RegistryNumber
from safeconduct.record.fold import FOLDS
from safeconduct.record.state import State, fold


def test_every_event_has_a_fold():
    assert set(typing.get_args(Event)) == set(FOLDS)


def test_position_counts_entries_folded():
    world = plain_world()
    assert State.empty().position == 0
    assert world.state.position == len(world.events)
    assert world.state.apply(world.events[0], 77).position == 77


def test_events_about_what_is_not_known_change_nothing():
    strangers = World(packs=False)
    strangers.passport_status("nobody").terms("nobody", "t").group("o", "g", "nobody")
    strangers.add(
        GrantEnded(grant="none", by="x", at=1),
        ClearanceChanged(subject="nobody", state=ClearanceState.REVOKED, cause="", by="", at=1),
    )
    assert msgspec.structs.replace(strangers.state, position=0) == State.empty()


def test_a_revoked_passport_stays_revoked():
    world = plain_world()
    world.passport_status("ann", PassportStatus.INVALID).passport_status("ann", PassportStatus.VALID)
    assert world.state.passports["pass-ann"].status is PassportStatus.INVALID


def test_a_suspended_passport_can_be_reinstated():
    world = plain_world()
    world.passport_status("ann", PassportStatus.SUSPENDED).passport_status("ann", PassportStatus.VALID)
    assert world.state.passports["pass-ann"].status is PassportStatus.VALID


def test_a_passport_issued_twice_is_the_first():
    world = plain_world()
    world.passport_status("ann").passport("ann")
    assert world.state.passports["pass-ann"].status is PassportStatus.INVALID


def _signal(number="1", **about):
    facts = {"subject": None, "organisation": None, **about}
    return MisuseSignalReceived(
        signal=number,
        sender="lab",
        variant="model-x",
        kind="k",
        evidence="00",
        document="00",
        received_at=1,
        **facts,
    )


def test_a_misuse_signal_suspends_at_once_and_is_taken_once():
    world = plain_world()
    world.add(_signal(subject="ann"))
    assert world.state.passports["pass-ann"].status is PassportStatus.SUSPENDED
    world.passport_status("ann", PassportStatus.VALID).add(_signal(subject="ann"))
    assert world.state.passports["pass-ann"].status is PassportStatus.VALID


def test_a_misuse_signal_suspends_an_organisation_and_spares_the_others():
    world = plain_world()
    world.organisation("org-b").add(_signal(organisation="org-a"))
    assert world.state.organisations["org-a"].standing.suspended
    assert not world.state.organisations["org-b"].standing.suspended


def test_a_misuse_signal_does_not_soften_a_revocation():
    world = plain_world()
    world.passport_status("ann").add(_signal(subject="ann"))
    assert world.state.passports["pass-ann"].status is PassportStatus.INVALID


def test_a_revoked_clearance_is_not_reinstated():
    world = plain_world()
    for state in (ClearanceState.REVOKED, ClearanceState.REINSTATED):
        world.add(ClearanceChanged(subject="ann", state=state, cause="", by="", at=0))
    assert world.state.subjects["ann"].clearance.state is ClearanceState.REVOKED


def test_who_changes_organisation_leaves_its_groups():
    world = plain_world()
    world.group("org-a", "team", "ann")
    world.add(SubjectEnrolled(subject="ann", kind="human", organisation="org-b"))
    assert world.state.subjects["ann"].groups == frozenset()


def test_findings_raise_what_a_variant_asks_for_and_never_lower_it():
    world = plain_world(level=Level.C1)

    def found(severity, cannot_rule_out=False, domain=FindingDomain.BIO):
        world.add(
            FindingRecorded(
                variant="model-x",
                domain=domain,
                scheme="s",
                raw="",
                normalised=severity,
                cannot_rule_out=cannot_rule_out,
                evidence="00",
            )
        )
        variant = world.state.variants["model-x"]
        return variant.required_level, sorted(variant.required_compartments), variant.needs_project

    assert found(Severity.ALERT) == (Level.C1, [], False)
    assert found(Severity.ALERT, cannot_rule_out=True) == (Level.C2, ["BIO"], True)
    assert found(Severity.HIGH, domain=FindingDomain.AUT) == (Level.C2, ["AUT", "BIO"], True)
    assert found(Severity.HIGH, cannot_rule_out=True) == (Level.C3, ["AUT", "BIO"], True)


def test_a_variant_begins_internal():
    world = plain_world()
    world.events = [event for event in world.events if type(event).__name__ != "StageChanged"]
    assert fold(world.events).variants["model-x"].stage is Stage.INTERNAL


def test_the_next_status_index_is_beyond_every_one_given():
    world = plain_world()
    world.agent("bot", "ann").mandate("m", "bot", "ann", ["model-x"])
    given = [held.issued.status_index for held in world.state.passports.values()]
    given += [held.registered.status_index for held in world.state.mandates.values()]
    assert world.state.next_status_index == max(given) + 1


def test_a_lower_version_of_a_list_is_an_old_one_shown_again():
    world = plain_world()
    world.org_list("l", ["org-a"], version=2).org_list("l", ["org-lab"], version=1).org_list(
        "l", [], version=2
    )
    assert world.state.org_lists["l"].organisations == {"org-a"}


def test_a_line_with_two_identifiers_of_different_organisations_matches_neither():
    world = plain_world()
    registered = world.state.organisations["org-lab"].registered
    world.add(msgspec.structs.replace(registered, registry=RegistryNumber("court", "7")))
    named = order("1", "suspend", ["model-x"], 0, annexes={"a": ["org-a"]})
    (annex,) = named.annexes
    both = msgspec.structs.replace(annex.entries[0], registry_authority="court", registry_number="7")
    torn = msgspec.structs.replace(named, annexes=(msgspec.structs.replace(annex, entries=(both,)),))
    state = world.fork(torn)
    assert state.directives[torn.directive].annexes["a"] == frozenset()
    assert state.directives[torn.directive].unmatched == (both,)


def test_an_organisation_that_gives_up_its_identifier_leaves_the_lists():
    world = plain_world()
    world.org_list("l", ["org-a"])
    registered = world.state.organisations["org-a"].registered
    world.add(msgspec.structs.replace(registered, lei=lei_of("other")))
    assert world.state.org_lists["l"].organisations == frozenset()


def test_a_directive_s_number_is_used_once():
    world = plain_world()
    first = order("1", "suspend", ["model-x"], 0)
    again = order("1", "information", ["model-x"], 0)
    state = world.fork(first, again)
    assert state.directives[first.directive].imported == first
    assert state.orders_on["model-x"] == (first.directive,)


def test_a_revoked_trust_key_does_not_come_back():
    added = TrustKeyAdded(
        kid="k",
        jwk={},
        party="p",
        may_sign=(),
        jurisdiction=None,
        variants=(),
        provider=None,
        valid_from=0,
        valid_until=1,
        officers=(),
        recorded_at=0,
    )
    revoked = TrustKeyRevoked(kid="k", from_=5, cause="", officers=(), recorded_at=5)
    state = fold([added, revoked, added])
    assert state.trust["k"].revoked == revoked


def test_a_status_change_of_another_passport_touches_only_that_one():
    world = plain_world()
    world.person("bob", "org-a")
    before = world.state
    after = before.apply(
        PassportStatusChanged(passport="pass-bob", status=PassportStatus.INVALID, cause="", by="", at=0), 99
    )
    assert after.passports["pass-ann"] is before.passports["pass-ann"]
    assert before.passports["pass-bob"].status is PassportStatus.VALID
