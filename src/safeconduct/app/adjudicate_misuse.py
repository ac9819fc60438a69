"""Use case: decide what a misuse signal leads to. Whoever sent it does not decide it."""

from __future__ import annotations

import enum

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import names_of, require_role
from safeconduct.authorization.misuse import (
    cause_of,
    cause_when_upheld,
    has_cause,
    open_signal,
    without_cause,
)
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import PassportStatus, Role
from safeconduct.record.events import Event
from safeconduct.record.events.holders import (
    MisuseSignalReceived,
    OrganisationStandingChanged,
    PassportStatusChanged,
)
from safeconduct.record.state import State


class Outcome(enum.StrEnum):
    """What the adjudicator found."""

    REINSTATE = "reinstate"
    REVOKE = "revoke"


class AdjudicateMisuse(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """sender, signal: which signal. rationale: in words that name nobody; it stands in the record."""

    sender: str
    signal: str
    outcome: Outcome
    rationale: str


def adjudicate_misuse(instance: Instance, caller: Caller, ask: AdjudicateMisuse) -> tuple[Event, ...]:
    """By an adjudicator who neither sent the signal nor is its subject.

    reinstate: lifts this signal's suspension; what is suspended for another cause too stays suspended. revoke: for good.
    Raises Forbidden, InvalidInput, NotFound, Conflict when the signal suspends nothing (any more).
    """
    require_role(caller, Role.ADJUDICATOR)
    if not ask.rationale.strip() or len(ask.rationale) > 1_000:
        raise InvalidInput("say why, in up to 1,000 characters", field="rationale")
    if open_signal(ask.rationale):
        # What was upheld would read as a signal still open.
        raise InvalidInput(
            "reads like a misuse signal's cause", field="rationale", remedy="say it in other words"
        )
    now = instant(instance)

    def check(state: State) -> list[Event]:
        signal = state.misuse_signals.get((ask.sender, ask.signal))
        if signal is None:
            raise NotFound(f"there is no signal {ask.signal!r} of {ask.sender!r}", field="signal")
        if signal.sender in names_of(caller) | {caller.party} or signal.subject in names_of(caller):
            raise Forbidden(
                "whoever sent the signal, or is its subject, does not decide it",
                field="sender",
                remedy="let another adjudicator decide",
            )
        events = _outcome(state, signal, ask, caller.id, now)
        if not events:
            raise Conflict(
                f"signal {ask.signal!r} of {ask.sender!r} suspends nothing: it was adjudicated before",
                field="signal",
            )
        return events

    return commit_checked(instance, check)


def _outcome(
    state: State, signal: MisuseSignalReceived, ask: AdjudicateMisuse, by: str, now: int
) -> list[Event]:
    cause = cause_of(signal.sender, signal.signal)
    if signal.organisation is not None:
        return _organisation_outcome(state, signal, ask, cause)
    subject = state.subjects.get(signal.subject) if signal.subject is not None else None
    events: list[Event] = []
    for name in subject.passports if subject is not None else ():
        held = state.passports[name]
        if held.status is not PassportStatus.SUSPENDED or not has_cause(held.cause, cause):
            continue
        left = without_cause(held.cause, cause)
        if ask.outcome is Outcome.REVOKE:
            status, why = PassportStatus.INVALID, cause_when_upheld(cause, ask.rationale)
        elif left:
            status, why = PassportStatus.SUSPENDED, left
        else:
            status, why = PassportStatus.VALID, f"{cause} not upheld: {ask.rationale}"
        events.append(PassportStatusChanged(passport=name, status=status, cause=why, by=by, at=now))
    return events


def _organisation_outcome(
    state: State, signal: MisuseSignalReceived, ask: AdjudicateMisuse, cause: str
) -> list[Event]:
    organisation = state.organisations.get(signal.organisation) if signal.organisation is not None else None
    standing = organisation.standing if organisation is not None else None
    if standing is None or not standing.suspended or not has_cause(standing.cause, cause):
        return []
    left = without_cause(standing.cause, cause)
    if ask.outcome is Outcome.REVOKE:
        # Not verified any more: a new verification, on new evidence, is the only way back.
        kept: OrganisationStandingChanged = msgspec.structs.replace(
            standing, verified_until=0, suspended=True, cause=cause_when_upheld(cause, ask.rationale)
        )
        return [kept]
    return [msgspec.structs.replace(standing, suspended=bool(left), cause=left)]
