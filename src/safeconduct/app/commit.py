"""Checks and writes as one step: a use case's checks hold for the very state its events are appended to.

Refuses to write events whose entries would not fit the log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from safeconduct.app.ports import Instance
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.record.events import Event, encode
from safeconduct.record.state import State

# An entry of the log is at most 65,535 bytes (C2SP tlog-tiles); the envelope around the body needs some of them.
MAX_EVENT_BYTES = 60_000
ATTEMPTS = 16


def commit_checked(instance: Instance, check: Callable[[State], Sequence[Event]]) -> tuple[Event, ...]:
    """Run `check` on the present state and commit what it returns, again when the record moved on in between.

    check: pure; raises to refuse. It may be called several times. Returns the events as committed.
    Raises whatever `check` raises, InvalidInput for an event too large, Conflict when the record never stands still,
    LogUnavailable.
    """
    for _ in range(ATTEMPTS):
        state = instance.record.state
        events = tuple(check(state))
        for event in events:
            _check_size(event)
        try:
            instance.record.commit(events, expect=state.position)
        except Conflict:
            if instance.record.state.position == state.position:
                raise
        else:
            return events
    raise Conflict(
        "the record changed with every attempt", remedy="try again in a moment; nothing was written"
    )


def _check_size(event: Event) -> None:
    size = len(encode(event))
    if size > MAX_EVENT_BYTES:
        raise InvalidInput(
            f"it takes {size} bytes and an entry of the record holds {MAX_EVENT_BYTES}",
            field="annexes" if hasattr(event, "annexes") else "document",
            remedy="split it: several documents, or a list of organisations in parts",
        )


def instant(instance: Instance) -> int:
    """The instance's time in whole seconds."""
    return int(instance.clock.now())


def is_production(instance: Instance) -> bool:
    """True when development keys and sandbox providers are refused."""
    return instance.profile != "development"
