"""The group commit of a log: entries get their index, are written together as one frame, and whoever waits is told.

Owns the writer thread's work, which an event loop may do in its place (`drive`). Refuses to go on after any failed write or
sync: what the kernel dropped cannot be told from what it kept, so nothing is retried and everything later is denied.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

from safeconduct.audit.files import LogDirectory
from safeconduct.audit.loop_writer import LoopWriter
from safeconduct.audit.recovery import EPOCH
from safeconduct.audit.segments import SegmentWriter
from safeconduct.audit.waiting import DurableCallback, Waiters, block_until_durable, call_back
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import InvalidInput, LogUnavailable, SafeconductError

MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Entries waiting for the disk beyond this are refused: a stalled disk must not fill the memory."""
HURRY_SPACING = 0.001
"""Seconds between two group commits that somebody waits for but can wait a moment for: a commit costs as much as ten requests."""
NEVER = float("inf")

_logger = logging.getLogger(__name__)


class Group(NamedTuple):
    """What is written as one frame. first: index of its first entry; end: index after its last."""

    entries: list[bytes]
    first: int
    end: int


class GroupCommit:
    """The writing half of `sequencing.Log`, which sets up what it uses. All methods are thread-safe."""

    size: int
    durable_size: int
    _clock: Clock
    _directory: LogDirectory
    _driver: LoopWriter | None
    _epoch_identity: object
    _failure: BaseException | None
    _handed: bool
    _lock: threading.Lock
    _max_entry: int
    _publish_wake: threading.Event
    _published_wake: threading.Condition
    _publisher_idle: bool
    _segments: SegmentWriter
    _untiled: list[list[bytes]]
    _wake: threading.Lock

    def _start_queue(self, size: int) -> None:
        """With an empty queue, behind `size` durable entries."""
        self.size = self.durable_size = self._flying_end = size
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._next = Waiters()
        self._flying = Waiters()
        self._closing = False
        self._idle = False
        self._due = NEVER  # when what is pending is to be written; monotonic seconds, 0 for at once
        self._sleeps_until = NEVER
        self._committed_at = 0.0

    # -- submitting and waiting ----------------------------------------------------------------------------------

    def submit(self, entry: bytes, *, within: float = 0.0) -> int:
        """Queue an entry and return its index at once; it is not durable yet. Costs about a microsecond.

        within: seconds that its write may wait for others to share a sync with; `hurry` ends the wait.
        Raises InvalidInput when the entry is too long, LogUnavailable when writing has ended or the disk is far behind.
        """
        length = len(entry)
        if length > self._max_entry:
            raise self._too_long(length)
        if type(entry) is not bytes:
            entry = bytes(entry)  # a buffer that the caller may change must not change under its hash
        with self._lock:
            if self._closing or self._failure is not None or self._pending_bytes > MAX_PENDING_BYTES:
                raise self._unavailable()
            index = self.size
            self.size = index + 1
            self._pending_bytes += length
            self._pending.append(entry)
            if not within:
                self._due_at(0.0)
            elif self._due == NEVER:
                self._due_at(self._clock.monotonic() + within)
        return index

    def hurry(self, *, at_once: bool = False) -> None:
        """Somebody waits for what was submitted: write it now, or (unless `at_once`) a millisecond after the last write began."""
        with self._lock:
            if self._pending:
                self._due_at(0.0 if at_once else self._committed_at + HURRY_SPACING)

    def _due_at(self, due: float) -> None:
        # Under `_lock`. The writer is woken only when it would otherwise sleep for longer.
        if due < self._due:
            self._due = due
            if self._driver is not None:
                if not self._handed and not self._driver.due_in(
                    due - self._clock.monotonic() if due else 0.0
                ):
                    self._wake_thread()
            elif due < self._sleeps_until:
                self._wake_thread()

    def _wake_thread(self) -> None:
        # Under `_lock`.
        if self._idle:
            self._idle = False
            self._wake.release()

    def submit_group(self, entries: Sequence[bytes]) -> int:
        """Queue entries that belong together and return the index of the first: after a crash all of them are there, or none.

        Raises InvalidInput when there is none, one is too long or all together are (64 MiB), LogUnavailable like `submit`;
        then none is queued.
        """
        group = [bytes(entry) for entry in entries]
        total = sum(map(len, group))
        longest = max(map(len, group), default=-1)
        if longest > self._max_entry:
            raise self._too_long(longest)
        if not group or total > MAX_PENDING_BYTES:
            limits = f"a group has at least one entry and {MAX_PENDING_BYTES} bytes at most"
            raise InvalidInput(limits, field="entries")
        with self._lock:
            if self._closing or self._failure is not None or self._pending_bytes > MAX_PENDING_BYTES:
                raise self._unavailable()
            index, self.size = self.size, self.size + len(group)
            self._pending_bytes += total
            # INVARIANT: under one hold of the lock. The writer takes all that is pending as one frame, so it never parts a group.
            self._pending += group
            self._due_at(0.0)
        return index

    def _too_long(self, length: int) -> InvalidInput:
        return InvalidInput(
            f"an entry has at most {self._max_entry} bytes, not {length}",
            field="entry",
            remedy="log a digest instead",
        )

    def on_durable(self, index: int, callback: DurableCallback) -> None:
        """Call back with None once the entry is durable, or with the LogUnavailable that prevented it.

        Called from the writer thread, or at once when the outcome is known. Must not block. Raises InvalidInput for an index
        that was not submitted.
        """
        with self._lock:
            waiters = self._waiters_for(index)
            if waiters is not None:
                waiters.callbacks.append(callback)
                return
            outcome = None if index < self.durable_size else self._unavailable()
        call_back(callback, outcome)

    async def wait_durable(self, index: int) -> None:
        """Return once the entry is durable. Raises LogUnavailable when it never will be, InvalidInput when it was not submitted."""
        if 0 <= index < self.durable_size:
            return
        loop = asyncio.get_running_loop()
        with self._lock:
            waiters = self._waiters_for(index)
            if waiters is None:
                if index < self.durable_size:
                    return
                raise self._unavailable()
            future = loop.create_future()
            futures = waiters.futures.get(loop)
            if futures is None:
                waiters.futures[loop] = [future]
            else:
                futures.append(future)
        await future

    def wait_durable_sync(self, index: int, timeout: float | None = None) -> None:
        """Block until the entry is durable. timeout: seconds. Raises LogUnavailable, InvalidInput, TimeoutError."""
        if 0 <= index < self.durable_size:
            return
        driver = self._driver
        if driver is not None and driver.here:
            # The loop that would write it is the one that waits here.
            driver.finish()
        elif driver is not None and driver.ended:
            self.undrive()
        block_until_durable(self.on_durable, index, timeout)

    def _waiters_for(self, index: int) -> Waiters | None:
        # Under `_lock`. None: the outcome is known already.
        if index >= self.size or index < 0:
            raise InvalidInput(f"entry {index} was not submitted", field="index")
        if index < self.durable_size or self._failure is not None:
            return None
        return self._flying if index < self._flying_end else self._next

    @property
    def failed(self) -> BaseException | None:
        """Why writing has ended, None while it goes on."""
        return self._failure

    @property
    def full(self) -> LogUnavailable | None:
        """Why there is no room for more; only a log with a budget (`audit.budget`) ever has a reason."""
        return None

    def _unavailable(self) -> LogUnavailable:
        if self._failure is not None:
            error = LogUnavailable(
                f"the log has stopped writing: {self._failure}",
                remedy="free space or replace the disk, then restart: what was acknowledged is safe",
            )
            error.__cause__ = self._failure
            return error
        if self._closing:
            return LogUnavailable("the log is closed")
        return LogUnavailable(
            "the disk does not keep up with the log", remedy="send less, or use a faster disk"
        )

    # -- the writer ----------------------------------------------------------------------------------------------

    def _guarded(self, loop: Callable[[], None]) -> None:
        try:
            loop()
        except BaseException as error:  # noqa: BLE001 - any surprise in here must deny, never hang those who wait
            self.fail(error)

    def fail(self, error: BaseException) -> None:
        """End writing for good; everyone who waits is told. Called by what writes for this log."""
        with self._lock:
            if self._failure is not None:
                return
            self._failure = error
            waiters = (self._flying, self._next)
            self._flying, self._next = Waiters(), Waiters()
            self._pending = []
            self._wake_thread()
            self._published_wake.notify_all()
        self._publish_wake.set()
        if not isinstance(error, SafeconductError | OSError):
            _logger.error("the log stopped writing", exc_info=error)
        for group in waiters:
            group.notify(self._unavailable)

    def drive(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Let this event loop write from now on, in place of the thread; call on the loop's thread. `undrive` ends it.

        False where a sync needs a thread that waits for it: then nothing changes.
        """
        with self._lock:
            if self._closing or self._failure is not None or self._driver is not None:
                return False
        # Another thread may be committing: what is under way there is waited for when the loop's first group is taken.
        sync = self._directory.background_sync(self._segments.file)
        if sync is None:
            return False
        with self._lock:
            self._handed = self._flying_end > self.durable_size
            self._driver = LoopWriter(self, loop, sync)
            if self._pending and not self._handed:
                self._driver.due_in(0.0)
        return True

    def undrive(self) -> None:
        """Give the writing back to the thread. From any thread, best while the loop still runs; also by `close`."""
        driver = self._driver
        if driver is None:
            return
        driver.stop()
        with self._lock:
            self._driver = None
            self._wake_thread()

    @property
    def segments(self) -> SegmentWriter:
        """For what writes groups."""
        return self._segments

    def take_group(self) -> Group | float:
        """For what writes groups in place of the thread: the next one, or the seconds until there is one (0: it will be told)."""
        with self._lock:
            if self._failure is not None or self._handed or not self._pending:
                return 0.0
            now = self._clock.monotonic()
            if self._due > now:
                return self._due - now
            if self._segments.full:
                # A new segment is several syncs: no loop waits for those.
                self._handed = True
                self._wake_thread()
                return 0.0
            return self._take(now)

    def _take(self, now: float) -> Group:
        # Under `_lock`.
        entries, first = self._pending, self._flying_end
        self._pending = []
        self._pending_bytes = 0
        self._due = NEVER
        self._committed_at = now
        self._flying, self._next = self._next, Waiters()
        self._flying_end = first + len(entries)
        return Group(entries, first, self._flying_end)

    def group_durable(self, group: Group) -> None:
        """Acknowledge a group. Called by what wrote it, after `check_epoch`."""
        with self._lock:
            if self._failure is not None:  # the publisher may have failed meanwhile
                return
            self.durable_size = group.end
            waiters, self._flying = self._flying, Waiters()
            self._untiled.append(group.entries)
            wake = self._publisher_idle
        waiters.notify(None)
        if wake:
            self._publish_wake.set()

    def _write_loop(self) -> None:
        while True:
            if self._driver is not None and self._driver.ended:
                self.undrive()
            group: Group | None = None
            with self._lock:
                if self._failure is not None:
                    return
                now = self._clock.monotonic()
                driven = self._driver is not None and not self._handed
                if self._pending and not driven and (self._due <= now or self._handed or self._closing):
                    group = self._take(now)
                elif self._handed:
                    # The loop takes over again.
                    self._handed = False
                    if self._driver is not None and self._pending:
                        self._driver.due_in(0.0)
                    continue
                elif self._closing and not driven:
                    return
                else:
                    self._idle = True
                    self._sleeps_until = NEVER if driven else self._due
            if group is None:
                self._sleep(self._sleeps_until - now)
                continue
            self._segments.append(group.entries, group.first)
            self.check_epoch()
            self.group_durable(group)
            with self._lock:
                if self._handed:
                    self._handed = False
                    if self._driver is not None and self._pending:
                        self._driver.due_in(0.0)

    def _sleep(self, seconds: float) -> None:
        """The idle writer waits to be woken, or until what is pending is due."""
        if self._wake.acquire(timeout=-1 if seconds == NEVER else max(0.0, seconds)):
            return
        with self._lock:
            woken, self._idle = not self._idle, False
        if woken:  # just as the wait ran out: the wake-up must not be left over for the next wait
            self._wake.acquire()

    def check_epoch(self) -> None:
        """Raise LogUnavailable when another writer has taken over."""
        # INVARIANT: between sync and acknowledgement. A writer that takes over makes its epoch durable before it reads the
        # write-ahead log, so it has read everything that is acknowledged after this check passed.
        if self._directory.identity(EPOCH) != self._epoch_identity:
            raise LogUnavailable("another writer has taken over this log", field=EPOCH)
