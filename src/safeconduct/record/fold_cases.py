"""Folds events about KYC cases, legal holds and erasures.

Owns that an erasure is for good. Refuses to judge a case: what follows for a clearance or a passport is an event of its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.record.events.cases import KycCaseChanged, KycCaseOpened, LegalHoldChanged, SubjectErased
from safeconduct.record.projections import CaseRecorded

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _opened(state: State, event: KycCaseOpened) -> dict[str, Any]:
    if event.case in state.kyc_cases:
        return {}
    return {"kyc_cases": state.kyc_cases.set(event.case, CaseRecorded(opened=event))}


def _changed(state: State, event: KycCaseChanged) -> dict[str, Any]:
    known = state.kyc_cases.get(event.case)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, last=event)
    return {"kyc_cases": state.kyc_cases.set(event.case, entry)}


def _held(state: State, event: LegalHoldChanged) -> dict[str, Any]:
    matters = frozenset(state.legal_holds.get(event.subject, frozenset()))
    matters = matters | {event.matter} if event.held else matters - {event.matter}
    if matters:
        return {"legal_holds": state.legal_holds.set(event.subject, tuple(sorted(matters)))}
    if event.subject in state.legal_holds:
        return {"legal_holds": state.legal_holds.delete(event.subject)}
    return {}


def _erased(state: State, event: SubjectErased) -> dict[str, Any]:
    if event.subject in state.erased:
        return {}
    return {"erased": state.erased.set(event.subject, event)}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    KycCaseOpened: _opened,
    KycCaseChanged: _changed,
    LegalHoldChanged: _held,
    SubjectErased: _erased,
}
