"""Use case: end a gateway key."""

from __future__ import annotations

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.stored_claims import KEY_CLAIMS
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.ids import KeyId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.holders import GatewayKeyRevoked
from safeconduct.record.state import State


def revoke_gateway_key(instance: Instance, caller: Caller, key: str) -> GatewayKeyRevoked:
    """By an operator, an adjudicator, or its subject. Raises Forbidden, NotFound, Conflict when it was revoked already."""
    require_role(caller, Role.OPERATOR, Role.ADJUDICATOR, Role.HOLDER)
    event = GatewayKeyRevoked(key=KeyId(key), by=caller.id, at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.gateway_keys.get(event.key)
        if caller.role is Role.HOLDER and (known is None or known.registered.subject != caller.subject):
            raise Forbidden("only its subject may end a key", field="key")
        if known is None:
            raise NotFound(f"there is no gateway key {key!r}", field="key")
        if known.revoked_at is not None:
            raise Conflict("the key was revoked already", field="key")
        return [event]

    commit_checked(instance, check)
    # A dead key needs no claims any more; when this fails after the commit the key is dead all the same.
    instance.vault.delete(KEY_CLAIMS, event.key)
    return event
