"""Tells followers where the record stands: after each commit at once, and otherwise five times a second.

Owns the thread that does so and the order that makes a heartbeat true: the clock is read first, the position after it, so
whatever was acknowledged before that instant is in the tree that the heartbeat names. Refuses to name entries that are not
durable and published.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import msgspec

from safeconduct.audit.checkpoint import Checkpoint, parse_checkpoint
from safeconduct.audit.heartbeat import sign_heartbeat
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.signing import Signer
from safeconduct.record.events import Event
from safeconduct.record.state import State

BEAT_SECONDS = 0.2
"""Between two heartbeats while nothing happens; a follower may count on 300 ms."""

_logger = logging.getLogger(__name__)


class PublishedRecord(Protocol):
    """The record's log as this module reads it (`audit.sequencing.Log`)."""

    origin: str

    def checkpoint(self, *, force: bool = False) -> bytes:
        """The latest signed note; force: one that covers everything durable. Raises LogUnavailable."""
        ...

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Durable entries as submitted."""
        ...


class FoldedRecord(Protocol):
    """The record as it is folded (`app.record_keeper.RecordKeeper`)."""

    @property
    def state(self) -> State:
        """The fold of everything acknowledged so far."""
        ...

    def current_at(self, now: float) -> float:
        """Up to when nothing acknowledged is missing in `state`, on the monotonic clock."""
        ...

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        """Call back after each commit."""
        ...


class Beat(msgspec.Struct, frozen=True):
    """One heartbeat. as_of: seconds of this process's steady clock; time: wall time then; jws: signed, for followers.

    history: of the record's key, as the note file has it; followers need it when the key changes.
    """

    number: int
    checkpoint: Checkpoint
    as_of: float
    time: float
    jws: str
    history: bytes


class RecordFeed:
    """One per process that has the record open. `start` it; `close` ends its thread.

    Listeners are called from its thread, after each beat, and must not block.
    """

    def __init__(
        self,
        log: PublishedRecord,
        record: FoldedRecord,
        clock: Clock,
        *,
        signer: Callable[[], Signer],
        history: Callable[[], bytes] = bytes,
    ) -> None:
        """signer: the present key of the record's log. history: of that key."""
        self.boot = secrets.token_hex(16)
        self.origin = log.origin
        self.beat: Beat | None = None
        self._log = log
        self._record = record
        self._clock = clock
        self._signer = signer
        self._history = history
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._listeners: list[Callable[[Beat], None]] = []
        self._thread: threading.Thread | None = None

    @property
    def signer(self) -> Signer:
        """The present key of the record's log: followers pin it, or one before it."""
        return self._signer()

    def start(self) -> None:
        """Make the first beat and start the thread. Raises LogUnavailable."""
        self._record.subscribe(lambda _state, _events: self._wake.set())
        self._round()
        self._thread = threading.Thread(target=self._run, name="record-feed", daemon=True)
        self._thread.start()

    def listen(self, callback: Callable[[Beat], None]) -> Callable[[], None]:
        """Call back after each beat; returns what ends that."""
        with self._lock:
            self._listeners.append(callback)

        def leave() -> None:
            with self._lock:
                if callback in self._listeners:
                    self._listeners.remove(callback)

        return leave

    def entries(self, start: int, end: int) -> list[bytes]:
        """Entries [start, end) of the record."""
        return list(self._log.read(start, end))

    def _run(self) -> None:
        complained = False
        while not self._closing.is_set():
            self._wake.wait(BEAT_SECONDS)
            self._wake.clear()
            if self._closing.is_set():
                return
            try:
                self._round()
                complained = False
            except LogUnavailable as error:
                # No beat, so every follower's state goes stale by its budgets: nothing is known to be current. Files that have
                # failed stay so; a database that was away comes back, and the beats with it.
                if not complained:
                    _logger.error("followers get no heartbeats: %s", error)  # noqa: TRY400 - no defect, so no trace
                complained = True
            except Exception:  # one failed beat must not end the heartbeats
                _logger.exception("a heartbeat failed")

    def _round(self) -> None:
        # INVARIANT: in this order. A commit that is acknowledged after `as_of` may be missing, one before it may not.
        now, time = self._clock.monotonic(), self._clock.now()
        # Where others write the record too, it is as current as its home last said; that stands still while it is away.
        as_of = self._record.current_at(now)
        time -= now - as_of
        position = self._record.state.position
        last = self.beat
        checkpoint = last.checkpoint if last is not None else None
        if checkpoint is None or checkpoint.size < position:
            checkpoint = parse_checkpoint(self._log.checkpoint(force=True))
        # The key before its history: a history that is read later knows the key.
        signer = self._signer()
        jws = sign_heartbeat(
            signer,
            origin=self.origin,
            boot=self.boot,
            at=int(as_of * 1000),
            time=int(time * 1000),
            size=checkpoint.size,
            root=checkpoint.root,
        )
        self.beat = Beat(last.number + 1 if last else 1, checkpoint, as_of, time, jws, self._history())
        self._tell(self.beat)

    def _tell(self, beat: Beat) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for listener in listeners:
            try:
                listener(beat)
            except Exception:  # one listener's mistake must not hide the beat from the others
                _logger.exception("a listener of the record failed")

    @property
    def closed(self) -> bool:
        """No more beats will come: whoever follows should let go."""
        return self._closing.is_set()

    def close(self) -> None:
        """End the thread, and wake the listeners a last time."""
        self._closing.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(5)
        if self.beat is not None:
            self._tell(self.beat)
