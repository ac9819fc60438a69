"""Use case: end a mandate, and with it every mandate below it."""

from __future__ import annotations

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.ids import MandateId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.holders import MandateRevoked
from safeconduct.record.state import State


def revoke_mandate(instance: Instance, caller: Caller, mandate: str) -> MandateRevoked:
    """By an operator, an adjudicator, or anybody above in the chain (their subject in `caller.subject`).

    Raises Forbidden, NotFound, Conflict when it was revoked already.
    """
    require_role(caller, Role.OPERATOR, Role.ADJUDICATOR, Role.HOLDER)
    event = MandateRevoked(mandate=MandateId(mandate), by=caller.id, at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.mandates.get(event.mandate)
        if caller.role is Role.HOLDER and (
            known is None
            or caller.subject is None
            or caller.subject not in (known.registered.human, known.registered.principal)
        ):
            raise Forbidden("only whoever delegated may end a mandate", field="mandate")
        if known is None:
            raise NotFound(f"there is no mandate {mandate!r}", field="mandate")
        if known.revoked_at is not None:
            raise Conflict("the mandate was revoked already", field="mandate")
        return [event]

    commit_checked(instance, check)
    return event
