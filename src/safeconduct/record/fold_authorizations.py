"""Folds events about clearances, projects, grants and licences, and keeps the indexes by grantee and variant.

Owns those indexes. Refuses to check that a grant narrows its parent: a decision intersects the whole chain anyway.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.kernel.ids import VariantId
from safeconduct.kernel.vocabulary import ClearanceState
from safeconduct.record.events.authorizations import (
    ClearanceChanged,
    ClearanceGranted,
    GrantEnded,
    GrantGiven,
    LicenceEnded,
    LicenceGiven,
    ProjectApproved,
    ProjectEnded,
)
from safeconduct.record.projections import ClearanceHeld, GrantState, LicenceState, ProjectState

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _clearance_granted(state: State, event: ClearanceGranted) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, clearance=ClearanceHeld(granted=event, state=event.state))
    return {"subjects": state.subjects.set(event.subject, entry)}


def _clearance_changed(state: State, event: ClearanceChanged) -> dict[str, Any]:
    known = state.subjects.get(event.subject)
    if known is None or known.clearance is None:
        return {}
    # A revoked clearance is only replaced by a new adjudication, never reinstated.
    if known.clearance.state is ClearanceState.REVOKED:
        return {}
    held = ClearanceHeld(granted=known.clearance.granted, state=event.state)
    return {"subjects": state.subjects.set(event.subject, msgspec.structs.replace(known, clearance=held))}


def _project(state: State, event: ProjectApproved) -> dict[str, Any]:
    return {"projects": state.projects.set(event.project, ProjectState(approved=event))}


def _project_ended(state: State, event: ProjectEnded) -> dict[str, Any]:
    known = state.projects.get(event.project)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, ended_at=_earliest(known.ended_at, event.at))
    return {"projects": state.projects.set(event.project, entry)}


def _earliest(known: int | None, at: int) -> int:
    return at if known is None else min(known, at)


def grantee_keys(grant: GrantGiven) -> Iterator[tuple[str, object, VariantId]]:
    """Keys of `State.grants_to` that a grant stands under."""
    for variant in dict.fromkeys(grant.variants):
        if grant.to_subject is not None:
            yield ("subject", grant.to_subject, variant)
        elif grant.to_group is not None:
            yield ("group", (grant.by_organisation, grant.to_group), variant)
        elif grant.to_organisation is not None:
            yield ("organisation", grant.to_organisation, variant)


def _grant(state: State, event: GrantGiven) -> dict[str, Any]:
    if event.grant in state.grants:
        return {}
    index = state.grants_to
    for key in grantee_keys(event):
        index = index.set(key, (*index.get(key, ()), event.grant))
    return {"grants": state.grants.set(event.grant, GrantState(given=event)), "grants_to": index}


def _grant_ended(state: State, event: GrantEnded) -> dict[str, Any]:
    known = state.grants.get(event.grant)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, ended_at=_earliest(known.ended_at, event.at))
    return {"grants": state.grants.set(event.grant, entry)}


def _licence(state: State, event: LicenceGiven) -> dict[str, Any]:
    if event.licence in state.licences:
        return {}
    index = state.licences_for
    for variant in dict.fromkeys(event.variants):
        index = index.set(variant, (*index.get(variant, ()), event.licence))
    return {
        "licences": state.licences.set(event.licence, LicenceState(given=event)),
        "licences_for": index,
    }


def _licence_ended(state: State, event: LicenceEnded) -> dict[str, Any]:
    known = state.licences.get(event.licence)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, ended_at=_earliest(known.ended_at, event.at))
    return {"licences": state.licences.set(event.licence, entry)}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    ClearanceGranted: _clearance_granted,
    ClearanceChanged: _clearance_changed,
    ProjectApproved: _project,
    ProjectEnded: _project_ended,
    GrantGiven: _grant,
    GrantEnded: _grant_ended,
    LicenceGiven: _licence,
    LicenceEnded: _licence_ended,
}
