"""Use case: suspend, reinstate, revoke or let expire a clearance. Suspension denies everywhere at once."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import names_of, require_role
from safeconduct.authorization.clearance import check_transition
from safeconduct.kernel.errors import Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.vocabulary import ClearanceState, Role
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ClearanceChanged
from safeconduct.record.state import State

CHANGES = frozenset(
    {
        ClearanceState.SUSPENDED,
        ClearanceState.REINSTATED,
        ClearanceState.REVOKED,
        ClearanceState.EXPIRED,
    }
)


class ChangeClearance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """state: suspended, reinstated, revoked or expired; a clearance is granted by evidence only."""

    subject: str
    state: ClearanceState
    cause: str


def change_clearance(instance: Instance, caller: Caller, ask: ChangeClearance) -> ClearanceChanged:
    """By an adjudicator; an operator may only suspend. Nobody reinstates themselves.

    Raises Forbidden, InvalidInput, NotFound, Conflict (a state that does not follow).
    """
    require_role(
        caller,
        Role.ADJUDICATOR,
        *((Role.OPERATOR,) if ask.state is ClearanceState.SUSPENDED else ()),
    )
    if ask.state not in CHANGES:
        raise InvalidInput(
            f"a clearance does not become {ask.state} by order",
            field="state",
            remedy="import the evidence; it is computed",
        )
    if not ask.cause.strip():
        raise InvalidInput("say why", field="cause")
    event = ClearanceChanged(
        subject=SubjectId(ask.subject),
        state=ask.state,
        cause=ask.cause,
        by=caller.id,
        at=instant(instance),
    )
    if event.subject in names_of(caller):
        raise Forbidden("nobody decides their own clearance", field="subject")

    def check(state: State) -> list[Event]:
        known = state.subjects.get(event.subject)
        if known is None or known.clearance is None:
            raise NotFound(f"{ask.subject!r} holds no clearance", field="subject")
        check_transition(known.clearance.state, event.state)
        return [event]

    commit_checked(instance, check)
    return event
