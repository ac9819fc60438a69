"""The record kept in a transparency log: commits events, folds them, tells subscribers. Implements `app.ports.Record`.

Owns the order of things: durable first, then folded, then told. Refuses to answer from anything but the log: the state is
folded from it at the start (a snapshot that its checkpoint proves saves the folding), so nothing else has to be right.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence

from safeconduct.app.snapshots import Snapshots, fold_record
from safeconduct.audit.sequencing import Log
from safeconduct.audit.tile import MAX_ENTRY
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, InvalidInput, LogCorrupt, SafeconductError
from safeconduct.kernel.ids import RandomBytes, new_id
from safeconduct.record.envelope import open_body, open_entry, read_entry
from safeconduct.record.events import Event, decode, encode
from safeconduct.record.state import State

RECENT = 4_096
"""Entries whose ids are remembered, so that a repeated commit is told from a new one."""

_logger = logging.getLogger(__name__)
_ONCE = re.compile(r"[A-Za-z0-9_.-]{1,96}")

Subscriber = Callable[[State, Sequence[Event]], None]


def read_events(entries: Iterator[bytes], start: int = 0) -> Iterator[Event]:
    """Events of the record from entry `start` on. Raises LogCorrupt naming the entry that does not fit."""
    read, opened, decoded = read_entry, open_body, decode
    for index, entry in enumerate(entries, start):
        try:
            envelope = read(entry)
            event = decoded(opened(envelope))
        except SafeconductError as error:
            raise LogCorrupt(
                f"entry {index} cannot be folded: {error}",
                field=f"entry {index}",
                remedy="run `safeconduct audit fsck`; a record made by a newer release needs that release",
            ) from None
        if envelope.seq != index:
            raise LogCorrupt(f"entry {index} says that it is entry {envelope.seq}", field=f"entry {index}")
        yield event


def check_once(once: str | None) -> None:
    """Refuse an id of a commit that could not be an entry's uid. Raises InvalidInput."""
    if once is not None and not _ONCE.fullmatch(once):
        raise InvalidInput("an id is 1 to 96 letters, digits, dots, dashes or underscores", field="once")


class RecordKeeper:
    """The only writer of the record. Safe to call from several threads; state is read without a lock."""

    def __init__(
        self,
        log: Log,
        *,
        clock: Clock,
        random: RandomBytes = secrets.token_bytes,
        snapshots: Snapshots | None = None,
    ) -> None:
        """Fold the log, from the latest snapshot on when there is one to be believed. Raises LogCorrupt.

        Afterwards `snapshot` is the position of the one used (0: none) and `notes` says which were refused and why.
        """
        self._log = log
        self._clock = clock
        self._random = random
        self._lock = threading.Lock()
        self._subscribers: list[Subscriber] = []
        found = fold_record(log, read_events, snapshots)
        self._state = found.state
        self.snapshot, self.notes = found.position, found.refused
        size = log.durable_size
        self._recent: dict[str, int] = {
            read_entry(entry).uid: place
            for place, entry in enumerate(log.read(max(0, size - RECENT), size), start=max(0, size - RECENT))
        }

    @property
    def state(self) -> State:
        """The fold of everything durable so far."""
        return self._state

    def commit(self, events: Sequence[Event], *, expect: int | None = None, once: str | None = None) -> int:
        """Append events in order, wait until all are durable, fold them, tell subscribers; returns the new position.

        once: the caller's id of this commit; a repeat among the last 4,096 entries writes nothing and returns the same
        position. Raises Conflict when the record moved on since position `expect`, InvalidInput when an event does not fit an entry (65,535
        bytes), LogUnavailable when the log has ended: then all of the events or none may turn out to be durable at the next
        start, none is acknowledged, and nothing more is written.
        """
        check_once(once)
        with self._lock:
            state = self._state
            if once is not None and (place := self._recent.get(once)) is not None:
                return place + len(events)
            if expect is not None and expect != state.position:
                raise Conflict(
                    f"the record is at position {state.position}, not {expect}",
                    remedy="check again and repeat",
                )
            if not events:
                return state.position
            # Encoded and measured before anything is queued: what is refused must not leave half a group behind.
            time_ms = int(self._clock.now() * 1000)
            first = self._log.size
            entries = [
                open_entry(
                    encode(event),
                    uid=once if once is not None and offset == 0 else new_id("evt", self._random),
                    seq=first + offset,
                    time_ms=time_ms,
                    type=str(event.__struct_config__.tag),
                )
                for offset, event in enumerate(events)
            ]
            for entry, event in zip(entries, events, strict=True):
                if len(entry) > MAX_ENTRY:
                    raise InvalidInput(
                        f"a {event.__struct_config__.tag} of {len(entry)} bytes does not fit an entry ({MAX_ENTRY})",
                        field="event",
                        remedy="split it",
                    )
            submitted = self._log.submit_group(entries)
            self._log.wait_durable_sync(submitted + len(entries) - 1)
            if once is not None:
                self._recent[once] = submitted
                while len(self._recent) > RECENT:
                    del self._recent[next(iter(self._recent))]
            for event in events:
                state = state.apply(event, state.position + 1)
            # INVARIANT: assigned once, whole; a reader sees the state before or after the group, never between.
            self._state = state
            # Told under the lock, so that every subscriber sees commits in the order of the record.
            for subscriber in self._subscribers:
                try:
                    subscriber(state, events)
                except (
                    Exception
                ):  # one listener's mistake must not undo what is durable or hide it from the others
                    _logger.exception("a subscriber of the record failed")
            return state.position

    def current_at(self, now: float) -> float:
        """The instant up to which nothing acknowledged is missing in `state`: now, since this is the only writer."""
        return now

    def subscribe(self, callback: Subscriber) -> None:
        """Call back after each later commit, in commit order; must not block and must not commit."""
        with self._lock:
            self._subscribers.append(callback)
