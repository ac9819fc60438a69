"""Use case: end a grant, and with it every grant below it."""

from __future__ import annotations

from safeconduct.app.adopt_model import is_adopted, speaks_here
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_organisation, require_provider
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.ids import GrantId
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import GrantEnded
from safeconduct.record.state import State


def end_grant(instance: Instance, caller: Caller, grant: str) -> GrantEnded:
    """By whoever gave it; a grant of an adopted model is ended by an operator.

    Raises Forbidden, NotFound, Conflict when it has ended already.
    """
    event = GrantEnded(grant=GrantId(grant), by=caller.id, at=instant(instance))

    def check(state: State) -> list[Event]:
        known = state.grants.get(event.grant)
        if known is None:
            raise NotFound(f"there is no grant {grant!r}", field="grant")
        if known.given.by_provider is not None:
            passed_on = not speaks_here(state, known.given.by_provider) and all(
                is_adopted(state.variants[variant]) for variant in known.given.variants
            )
            require_provider(caller, known.given.by_provider, operators=passed_on)
        elif known.given.by_organisation is not None:
            require_organisation(caller, known.given.by_organisation)
        if known.ended_at is not None:
            raise Conflict(f"grant {grant!r} has ended already", field="grant")
        return [event]

    commit_checked(instance, check)
    return event
