"""One place that says which function folds which event.

Owns the dispatch. Refuses nothing: an event without a function cannot exist, a test keeps the table complete.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from safeconduct.record import (
    fold_authorizations,
    fold_cases,
    fold_geography,
    fold_holders,
    fold_orders,
    fold_ownership,
    fold_quotas,
    fold_registrations,
    fold_screening,
    fold_trust,
)
from safeconduct.record.events import Event

if TYPE_CHECKING:
    from safeconduct.record.state import State

Changes = dict[str, Any]

FOLDS: dict[type, Callable[[Any, Any], Changes]] = {
    **fold_trust.FOLDS,
    **fold_registrations.FOLDS,
    **fold_holders.FOLDS,
    **fold_cases.FOLDS,
    **fold_authorizations.FOLDS,
    **fold_orders.FOLDS,
    **fold_ownership.FOLDS,
    **fold_geography.FOLDS,
    **fold_quotas.FOLDS,
    **fold_screening.FOLDS,
}


def changes_of(state: State, event: Event) -> Changes:
    """The fields of the state that `event` changes, with their new values."""
    return FOLDS[type(event)](state, event)
