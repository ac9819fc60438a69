"""Use cases: publish a version of a policy pack, validated; change the status of one."""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_ownership import ownership_events
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.policy.publish import STATUSES, validate
from safeconduct.record.events import Event
from safeconduct.record.events.trust import PackPublished, PackStatusChanged
from safeconduct.record.state import State, fold

# A rescinded rule does not come back under its old version: what was decided without it must stay explainable.
_NEXT = {
    "draft": frozenset({"active", "rescinded"}),
    "active": frozenset({"suspended", "rescinded"}),
    "suspended": frozenset({"active", "rescinded"}),
    "rescinded": frozenset[str](),
}


class ChangePackStatus(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """status: active, suspended or rescinded."""

    pack: str
    version: str
    status: str


def publish_pack(instance: Instance, caller: Caller, ask: PackPublished) -> PackPublished:
    """By an operator. `recorded_at` of what is asked is replaced by now.

    Raises Forbidden, InvalidInput (not valid Cedar of the schema, another digest), Conflict (a version is published once).
    """
    require_role(caller, Role.OPERATOR)
    event = msgspec.structs.replace(ask, recorded_at=instant(instance))
    validate(event)

    def check(state: State) -> list[Event]:
        if any(one.published.version == event.version for one in state.packs.get(event.pack, ())):
            raise Conflict(
                f"version {event.version} of pack {event.pack!r} is published already",
                field="version",
                remedy="publish the next version",
            )
        return _with_outcomes(instance, state, event, event.kind)

    commit_checked(instance, check)
    return event


def _with_outcomes(instance: Instance, state: State, event: Event, kind: str) -> list[Event]:
    """A regime that begins, changes or ends changes outcomes: all of it in one commit."""
    if kind != "computation":
        return [event]
    return [event, *ownership_events(instance, fold([event], state), instant(instance))]


def change_pack_status(instance: Instance, caller: Caller, ask: ChangePackStatus) -> PackStatusChanged:
    """By an operator. Raises Forbidden, InvalidInput, NotFound, Conflict."""
    require_role(caller, Role.OPERATOR)
    if ask.status not in STATUSES:
        raise InvalidInput(
            f"unknown status {ask.status[:40]!r}", field="status", remedy=f"use one of {', '.join(STATUSES)}"
        )
    event = PackStatusChanged(
        pack=ask.pack, version=ask.version, status=ask.status, by=caller.id, at=instant(instance)
    )

    def check(state: State) -> list[Event]:
        for held in state.packs.get(event.pack, ()):
            if held.published.version == event.version:
                if event.status not in _NEXT.get(held.status, frozenset()):
                    raise Conflict(f"{held.status} does not lead to {event.status}", field="status")
                return _with_outcomes(instance, state, event, held.published.kind)
        raise NotFound(f"there is no version {event.version!r} of pack {event.pack!r}", field="pack")

    commit_checked(instance, check)
    return event
