"""Folds events about ownership. Owns nothing but where they go; what they mean is decided elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipImported

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _imported(state: State, event: OwnershipImported) -> dict[str, Any]:
    if event.sha256 in state.ownership_files:
        return {}
    return {"ownership_files": state.ownership_files.set(event.sha256, event)}


def _assessed(state: State, event: OwnershipAssessed) -> dict[str, Any]:
    known = state.organisations.get(event.organisation)
    if known is None:
        return {}
    entry = msgspec.structs.replace(known, ownership=event)
    return {"organisations": state.organisations.set(event.organisation, entry)}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    OwnershipImported: _imported,
    OwnershipAssessed: _assessed,
}
