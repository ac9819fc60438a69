"""Folds events about screening lists: of each list, what put its present version into force."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from safeconduct.record.events.screening import ScreeningListPutInForce

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _put_in_force(state: State, event: ScreeningListPutInForce) -> dict[str, Any]:
    return {"screening_lists": state.screening_lists.set(event.list, event)}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {ScreeningListPutInForce: _put_in_force}
