"""Folds events about the instance, the trust list and the policy packs.

Owns which version of these the state holds. Refuses to say which key may sign what or which pack runs: that is asked with
a time, elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from safeconduct.record.events.trust import (
    InstanceInitialised,
    InstanceKeyRotated,
    OfficersReplaced,
    PackPublished,
    PackStatusChanged,
    TrustKeyAdded,
    TrustKeyRevoked,
)
from safeconduct.record.projections import InstanceKey, PackState, TrustedKey

if TYPE_CHECKING:
    from safeconduct.record.state import State


def _initialised(state: State, event: InstanceInitialised) -> dict[str, Any]:
    # The first entry stands; officers are replaced only by officers.
    return {"instance": event} if state.instance is None else {}


def _officers_replaced(state: State, event: OfficersReplaced) -> dict[str, Any]:
    if state.instance is None:
        return {}
    return {"instance": msgspec.structs.replace(state.instance, officers=event.officers)}


def _key_added(state: State, event: TrustKeyAdded) -> dict[str, Any]:
    known = state.trust.get(event.kid)
    # A revoked key never comes back under its own kid.
    if known is not None and known.revoked is not None:
        return {}
    return {"trust": state.trust.set(event.kid, TrustedKey(added=event))}


def _key_revoked(state: State, event: TrustKeyRevoked) -> dict[str, Any]:
    known = state.trust.get(event.kid)
    if known is None:
        return {}
    if known.revoked is not None and known.revoked.from_ <= event.from_:
        return {}
    return {"trust": state.trust.set(event.kid, TrustedKey(added=known.added, revoked=event))}


def _instance_key_rotated(state: State, event: InstanceKeyRotated) -> dict[str, Any]:
    if not event.jwk:
        return {}
    keys = state.instance_keys
    before = keys.get(event.previous["kid"])
    ended = InstanceKey(
        key=event.key,
        jwk=event.previous,
        since=before.since if before is not None else 0,
        until=event.previous_until,
    )
    keys = keys.set(event.previous["kid"], ended)
    # A kid that ended never comes back.
    if event.jwk["kid"] in keys:
        return {"instance_keys": keys}
    return {
        "instance_keys": keys.set(event.jwk["kid"], InstanceKey(key=event.key, jwk=event.jwk, since=event.at))
    }


def _pack_published(state: State, event: PackPublished) -> dict[str, Any]:
    versions = state.packs.get(event.pack, ())
    kept = tuple(one for one in versions if one.published.version != event.version)
    return {"packs": state.packs.set(event.pack, (*kept, PackState(published=event, status=event.status)))}


def _pack_status(state: State, event: PackStatusChanged) -> dict[str, Any]:
    versions = tuple(
        msgspec.structs.replace(one, status=event.status) if one.published.version == event.version else one
        for one in state.packs.get(event.pack, ())
    )
    return {"packs": state.packs.set(event.pack, versions)} if versions else {}


FOLDS: dict[type, Callable[[Any, Any], dict[str, Any]]] = {
    InstanceInitialised: _initialised,
    InstanceKeyRotated: _instance_key_rotated,
    OfficersReplaced: _officers_replaced,
    TrustKeyAdded: _key_added,
    TrustKeyRevoked: _key_revoked,
    PackPublished: _pack_published,
    PackStatusChanged: _pack_status,
}
