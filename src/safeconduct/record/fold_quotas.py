"""Folds events about quotas, and keeps the index by what they are about.

Owns the index: each quota stands under one name, the rarest it has, so that finding those about a request is a few look-ups
however many there are. Refuses to count.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.record.events.quotas import MeteringSet, QuotaEnded, QuotaSet

if TYPE_CHECKING:
    from safeconduct.record.state import State

ALL = ("all", "")
_RAREST_FIRST = ("authorization", "subject", "project", "organisation", "variant")


def quota_key(quota: QuotaSet) -> tuple[str, str]:
    """The key of `State.quotas_on` that a quota stands under."""
    for name in _RAREST_FIRST:
        value = getattr(quota, name)
        if value is not None:
            return (name, value)
    return ALL


def _without(state: State, quota: QuotaSet) -> Any:
    index = state.quotas_on
    key = quota_key(quota)
    left = tuple(one for one in index.get(key, ()) if one != quota.quota)
    return index.set(key, left) if left else index.delete(key)


def _set(state: State, event: QuotaSet) -> dict[str, Any]:
    known = state.quotas.get(event.quota)
    index = _without(state, known) if known is not None else state.quotas_on
    key = quota_key(event)
    return {
        "quotas": state.quotas.set(event.quota, event),
        "quotas_on": index.set(key, (*index.get(key, ()), event.quota)),
    }


def _ended(state: State, event: QuotaEnded) -> dict[str, Any]:
    known = state.quotas.get(event.quota)
    if known is None:
        return {}
    return {"quotas": state.quotas.delete(event.quota), "quotas_on": _without(state, known)}


def _metering(state: State, event: MeteringSet) -> dict[str, Any]:
    known = state.variants.get(event.variant)
    if known is None:
        return {}
    return {"variants": state.variants.set(event.variant, msgspec.structs.replace(known, metering=event))}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    QuotaSet: _set,
    QuotaEnded: _ended,
    MeteringSet: _metering,
}
