"""The record when several control processes write it: submits drafts, folds what anybody wrote. Implements `app.ports.Record`.

Owns the port to the shared log and the order of things: durable first, then folded, then told. Refuses to give an entry its
place: only the elected sequencer knows it, so a draft becomes an entry there.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from safeconduct.app.record_keeper import Subscriber, check_once, read_events
from safeconduct.audit.tile import MAX_ENTRY
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import RandomBytes, new_id
from safeconduct.record.envelope import open_entry
from safeconduct.record.events import Event, encode
from safeconduct.record.state import State

_logger = logging.getLogger(__name__)


class Draft(msgspec.Struct, frozen=True, array_like=True):
    """An entry before it has its place. uid: never used twice; time_ms: milliseconds since the epoch; body: JSON."""

    uid: str
    time_ms: int
    type: str
    body: bytes

    def entry(self, seq: int) -> bytes:
        """The entry's bytes at index `seq`."""
        return open_entry(self.body, uid=self.uid, seq=seq, time_ms=self.time_ms, type=self.type)


class SharedLog(Protocol):
    """A log that many processes submit to and one sequencer orders."""

    confirmed: float
    """Seconds of the monotonic clock: whatever was acknowledged before then, followers here were told."""

    def submit(self, drafts: Sequence[Draft], *, expect: int | None = None) -> int:
        """Append the drafts as one group; returns the index of the first once all are durable and followers were told.

        A repeat with the same first uid returns the first index and writes nothing. expect: the size that the log must have.
        Raises Conflict, LogUnavailable (not acknowledged: it may or may not turn out to be there).
        """
        ...

    def follow(self, callback: Callable[[int, Sequence[bytes]], None]) -> None:
        """Call back with every durable entry in order, from the first on, as `(first index, entries)`, never half a group.

        Entries that are there already come before this returns; later ones from one other thread.
        """
        ...


def draft_events(
    events: Sequence[Event], *, time_ms: int, once: str | None, random: RandomBytes
) -> list[Draft]:
    """One draft for each event. Raises InvalidInput for one that does not fit an entry."""
    drafts = [
        Draft(
            uid=once if once is not None and place == 0 else new_id("evt", random),
            time_ms=time_ms,
            type=str(event.__struct_config__.tag),
            body=encode(event),
        )
        for place, event in enumerate(events)
    ]
    for draft in drafts:
        # The longest index there can be: what fits there fits at any place.
        if (length := len(draft.entry(2**63))) > MAX_ENTRY:
            raise InvalidInput(
                f"a {draft.type} of {length} bytes does not fit an entry ({MAX_ENTRY})",
                field="event",
                remedy="split it",
            )
    return drafts


class SharedRecordKeeper:
    """One process's view of a shared record. Safe to call from several threads; state is read without a lock."""

    snapshot = 0
    notes: tuple[str, ...] = ()
    """As of `RecordKeeper`: the whole record is folded, so no snapshot is used or refused."""

    def __init__(self, log: SharedLog, *, clock: Clock, random: RandomBytes = secrets.token_bytes) -> None:
        """Fold everything there is. Raises LogCorrupt."""
        self._log = log
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        self._state = State.empty()
        log.follow(self._take)

    @property
    def state(self) -> State:
        """The fold of everything durable that this process has seen."""
        return self._state

    def commit(self, events: Sequence[Event], *, expect: int | None = None, once: str | None = None) -> int:
        """Append events in order as one group, wait until they are durable and folded here; returns the new position.

        once: the caller's id of this commit: a repeat writes nothing and returns the same position. Raises Conflict,
        InvalidInput and LogUnavailable as `app.ports.Record` says.
        """
        check_once(once)
        state = self._state
        if not events:
            if expect is not None and expect != state.position:
                raise _moved(state.position, expect)
            return state.position
        drafts = draft_events(events, time_ms=int(self._clock.now() * 1000), once=once, random=self._random)
        # A process that lags behind must not refuse in the sequencer's place what a repeat was given already.
        if once is None and expect is not None and expect < state.position:
            raise _moved(state.position, expect)
        return self._log.submit(drafts, expect=expect) + len(events)

    def _take(self, first: int, entries: Sequence[bytes]) -> None:
        events = list(read_events(iter(entries), first))
        with self._lock:
            state = self._state
            for place, event in enumerate(events, start=first + 1):
                state = state.apply(event, place)
            # INVARIANT: assigned once, whole; a reader sees the state before or after a group, never between.
            self._state = state
            for subscriber in self._subscribers:
                try:
                    subscriber(state, events)
                except Exception:  # one listener's mistake must not hide what is durable from the others
                    _logger.exception("a subscriber of the record failed")

    def current_at(self, now: float) -> float:
        """The instant, on the monotonic clock, up to which nothing acknowledged anywhere is missing in `state`.

        It stands still while the log's home cannot be asked: staleness budgets count from it, not from `now`.
        """
        return min(now, self._log.confirmed)

    def subscribe(self, callback: Subscriber) -> None:
        """Call back after each later commit of any process, in the record's order; must not block and must not commit."""
        with self._lock:
            self._subscribers.append(callback)


def _moved(position: int, expect: int) -> Conflict:
    return Conflict(f"the record is at position {position}, not {expect}", remedy="check again and repeat")
