"""Folds events about countries."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from safeconduct.record.events.geography import CountryGroupsImported

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _imported(state: State, event: CountryGroupsImported) -> dict[str, Any]:
    return {"country_groups": state.country_groups.set(event.regulation, event)}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {CountryGroupsImported: _imported}
