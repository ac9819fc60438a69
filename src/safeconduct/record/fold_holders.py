"""Folds events about organisations, subjects, passports, mandates, gateway keys and misuse signals.

Owns that a revoked passport stays revoked and that a misuse signal suspends at once. Refuses to resolve anything by name:
organisations are tied to lists by exact identifiers only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.kernel.vocabulary import PassportStatus, Screening
from safeconduct.record.events.holders import (
    GatewayKeyRegistered,
    GatewayKeyRevoked,
    GroupMembershipChanged,
    MandateRegistered,
    MandateRevoked,
    MisuseSignalReceived,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    PassportStatusChanged,
    SubjectEnrolled,
    SubjectScreened,
    TermsSigned,
)
from safeconduct.record.matching import identifiers_of, rematched
from safeconduct.record.projections import (
    GatewayKeyState,
    MandateState,
    OrganisationState,
    PassportState,
    SubjectState,
)

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _organisation(state: State, event: OrganisationRegistered) -> dict[str, Any]:
    known = state.organisations.get(event.organisation)
    entry = (
        OrganisationState(registered=event)
        if known is None
        else msgspec.structs.replace(known, registered=event)
    )
    by_lei, by_registry = state.by_lei, state.by_registry
    touched = set(identifiers_of(event))
    if known is not None:
        old = known.registered
        touched |= set(identifiers_of(old))
        if old.lei is not None and by_lei.get(old.lei) == event.organisation:
            by_lei = by_lei.delete(old.lei)
        if old.registry is not None:
            key = (old.registry.authority, old.registry.number)
            if by_registry.get(key) == event.organisation:
                by_registry = by_registry.delete(key)
    # The first to be registered under an identifier holds it: a second one cannot step onto somebody's list.
    if event.lei is not None and event.lei not in by_lei:
        by_lei = by_lei.set(event.lei, event.organisation)
    if event.registry is not None:
        key = (event.registry.authority, event.registry.number)
        if key not in by_registry:
            by_registry = by_registry.set(key, event.organisation)
    return {
        "organisations": state.organisations.set(event.organisation, entry),
        "by_lei": by_lei,
        "by_registry": by_registry,
        **rematched(state, touched, by_lei, by_registry),
    }


def _organisation_standing(state: State, event: OrganisationStandingChanged) -> dict[str, Any]:
    known = state.organisations.get(event.organisation)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, standing=event)
    return {"organisations": state.organisations.set(event.organisation, entry)}


def _enrolled(state: State, event: SubjectEnrolled) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None:
        entry = SubjectState(enrolled=event)
    elif known.enrolled.organisation == event.organisation:
        entry = msgspec.structs.replace(known, enrolled=event)
    else:
        # Whoever changes organisation leaves the old one's groups behind.
        entry = msgspec.structs.replace(known, enrolled=event, groups=frozenset())
    return {"subjects": state.subjects.set(event.subject, entry)}


def _screened(state: State, event: SubjectScreened) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None:
        return {}
    return {"subjects": state.subjects.set(event.subject, msgspec.structs.replace(known, screening=event))}


def _terms(state: State, event: TermsSigned) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None:
        return {}
    kept = tuple(one for one in known.terms if one.terms != event.terms)
    entry = msgspec.structs.replace(known, terms=(*kept, event))
    return {"subjects": state.subjects.set(event.subject, entry)}


def _membership(state: State, event: GroupMembershipChanged) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None:
        return {}
    membership = (event.organisation, event.group)
    groups = known.groups | {membership} if event.member else known.groups - {membership}
    return {"subjects": state.subjects.set(event.subject, msgspec.structs.replace(known, groups=groups))}


def _passport_issued(state: State, event: PassportIssued) -> dict[str, Any]:
    if event.passport in state.passports:
        return {}
    changes: dict[str, Any] = {
        "passports": state.passports.set(event.passport, PassportState(issued=event)),
        "next_status_index": max(state.next_status_index, event.status_index + 1),
    }
    known = state.subjects.get(event.subject)
    if known is not None:
        entry = msgspec.structs.replace(known, passports=(*known.passports, event.passport))
        changes["subjects"] = state.subjects.set(event.subject, entry)
    return changes


def _passport_status(state: State, event: PassportStatusChanged) -> dict[str, Any]:
    known = state.passports.get(event.passport)
    # INVALID is for good, whatever is said later.
    if known is None or known.status is PassportStatus.INVALID:
        return {}
    entry = msgspec.structs.replace(known, status=event.status, cause=event.cause)
    return {"passports": state.passports.set(event.passport, entry)}


def _mandate(state: State, event: MandateRegistered) -> dict[str, Any]:
    if event.mandate in state.mandates:
        return {}
    return {
        "mandates": state.mandates.set(event.mandate, MandateState(registered=event)),
        "next_status_index": max(state.next_status_index, event.status_index + 1),
    }


def _mandate_revoked(state: State, event: MandateRevoked) -> dict[str, Any]:
    known = state.mandates.get(event.mandate)
    if known is None or known.revoked_at is not None:
        return {}
    entry = msgspec.structs.replace(known, revoked_at=event.at)
    return {"mandates": state.mandates.set(event.mandate, entry)}


def _key(state: State, event: GatewayKeyRegistered) -> dict[str, Any]:
    if event.key in state.gateway_keys:
        return {}
    return {"gateway_keys": state.gateway_keys.set(event.key, GatewayKeyState(registered=event))}


def _key_revoked(state: State, event: GatewayKeyRevoked) -> dict[str, Any]:
    known = state.gateway_keys.get(event.key)
    if known is None or known.revoked_at is not None:
        return {}
    entry = msgspec.structs.replace(known, revoked_at=event.at)
    return {"gateway_keys": state.gateway_keys.set(event.key, entry)}


def _misuse(state: State, event: MisuseSignalReceived) -> dict[str, Any]:
    key = (event.sender, event.signal)
    if key in state.misuse_signals:
        return {}
    changes: dict[str, Any] = {"misuse_signals": state.misuse_signals.set(key, event)}
    subject = state.subjects.get(event.subject) if event.subject is not None else None
    if subject is not None:
        passports = state.passports
        for passport in subject.passports:
            held = passports[passport]
            if held.status is PassportStatus.VALID:
                suspended = msgspec.structs.replace(
                    held, status=PassportStatus.SUSPENDED, cause="misuse signal"
                )
                passports = passports.set(passport, suspended)
        changes["passports"] = passports
    organisation = state.organisations.get(event.organisation) if event.organisation is not None else None
    if organisation is not None:
        standing = organisation.standing or OrganisationStandingChanged(
            organisation=organisation.registered.organisation,
            verified_until=0,
            screening=Screening.NONE,
            screened_at=0,
            list_digests=(),
            evidence=event.evidence,
        )
        entry = msgspec.structs.replace(
            organisation, standing=msgspec.structs.replace(standing, suspended=True)
        )
        changes["organisations"] = state.organisations.set(organisation.registered.organisation, entry)
    return changes


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    OrganisationRegistered: _organisation,
    OrganisationStandingChanged: _organisation_standing,
    SubjectEnrolled: _enrolled,
    SubjectScreened: _screened,
    TermsSigned: _terms,
    GroupMembershipChanged: _membership,
    PassportIssued: _passport_issued,
    PassportStatusChanged: _passport_status,
    MandateRegistered: _mandate,
    MandateRevoked: _mandate_revoked,
    GatewayKeyRegistered: _key,
    GatewayKeyRevoked: _key_revoked,
    MisuseSignalReceived: _misuse,
}
