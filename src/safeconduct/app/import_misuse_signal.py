"""Use case: take in a misuse signal that a lab or operator signed. It suspends at once; an adjudicator decides later."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.reach import reach_of
from safeconduct.app.scope import require_own_document, require_role
from safeconduct.authorization.misuse import TYP, MisuseSignal, cause_of, read_misuse_signal, with_cause
from safeconduct.authorization.trust import check_may_sign, verify_document
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.vocabulary import PassportStatus, Role, Screening
from safeconduct.record.events import Event
from safeconduct.record.events.holders import (
    MandateRevoked,
    MisuseSignalReceived,
    OrganisationStandingChanged,
    PassportStatusChanged,
)
from safeconduct.record.state import State


def import_misuse_signal(instance: Instance, caller: Caller, jws: str) -> tuple[Event, ...]:
    """By an operator, or by the sender. Suspends every passport of the subject, or the organisation, in one commit.

    An agent holds no passport: its mandates are revoked instead, and its human may sign another after the review.
    Returns the events, the signal first. Raises VerificationFailed, Forbidden, InvalidInput, NotFound, Conflict.
    """
    require_role(caller, Role.OPERATOR, Role.PROVIDER)
    now = instant(instance)

    def check(state: State) -> list[Event]:
        document = verify_document(
            jws, typ=TYP, trust=state.trust, now=now, production=is_production(instance)
        )
        require_own_document(caller, document.party)
        signal = read_misuse_signal(document.claims)
        if signal.variant not in state.variants:
            raise NotFound(f"there is no variant {signal.variant!r}", field="variant")
        check_may_sign(
            document.scope, "misuse_signal", variants=reach_of(state, [signal.variant]), field="variant"
        )
        if (signal.sender, signal.signal) in state.misuse_signals:
            raise Conflict(
                f"signal {signal.signal!r} of {signal.sender!r} was imported before", field="signal"
            )
        return [
            MisuseSignalReceived(
                signal=signal.signal,
                sender=signal.sender,
                subject=signal.subject,
                organisation=signal.organisation,
                variant=signal.variant,
                kind=signal.kind,
                evidence=signal.evidence,
                document=document.sha256,
                received_at=now,
            ),
            *_suspensions(state, signal, now),
        ]

    return commit_checked(instance, check)


def _suspensions(state: State, signal: MisuseSignal, now: int) -> list[Event]:
    cause = cause_of(signal.sender, signal.signal)
    if signal.organisation is not None:
        organisation = state.organisations.get(signal.organisation)
        if organisation is None:
            raise NotFound(f"there is no organisation {signal.organisation!r}", field="organisation")
        standing = organisation.standing or OrganisationStandingChanged(
            organisation=signal.organisation,
            verified_until=0,
            screening=Screening.NONE,
            screened_at=0,
            list_digests=(),
            evidence=signal.evidence,
        )
        return [msgspec.structs.replace(standing, suspended=True, cause=with_cause(standing.cause, cause))]
    assert signal.subject is not None
    subject = state.subjects.get(signal.subject)
    if subject is None:
        raise NotFound(f"there is no subject {signal.subject!r}", field="subject")
    return [
        *(
            PassportStatusChanged(
                passport=name,
                status=PassportStatus.SUSPENDED,
                # The other causes stay: whoever lifts one of them does not lift the rest.
                cause=with_cause(held.cause if held.status is PassportStatus.SUSPENDED else "", cause),
                by=signal.sender,
                at=now,
            )
            for name in subject.passports
            if (held := state.passports[name]).status is not PassportStatus.INVALID
        ),
        *(
            MandateRevoked(mandate=name, by=signal.sender, at=now)
            for name, mandate in sorted(state.mandates.items())
            if mandate.registered.agent == signal.subject and mandate.revoked_at is None
        ),
    ]
