"""The writer of a log: gives entries their index, makes them durable in groups, publishes tiles and checkpoints.

Owns the two threads of a log. The writer thread takes whatever was submitted, writes it as one frame and syncs once (an event
loop may do this in its place, see `drive`); the publisher thread hashes, writes tiles and signs, and never delays an acknowledgement. Refuses to go on after any failed write
or sync: what the kernel dropped cannot be told from what it kept, so nothing is retried and everything later is denied.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.loop_writer import LoopWriter
from safeconduct.audit.merkle import consistency_proof, inclusion_proof
from safeconduct.audit.publishing import Publication
from safeconduct.audit.recovery import EPOCH, Epoch, Recovered, own_verifier, recover, take_over
from safeconduct.audit.segments import SegmentWriter
from safeconduct.audit.tile import ENTRIES, MAX_ENTRY, TILE_WIDTH, decode_bundle, tile_path
from safeconduct.audit.waiting import DurableCallback, Waiters, block_until_durable, call_back
from safeconduct.audit.wal import DIRECTORY
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, InvalidInput, LogUnavailable, SafeconductError
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import Signer

SEGMENT_BYTES = 64 * 1024 * 1024
MAX_PENDING_BYTES = 64 * 1024 * 1024
"""Entries waiting for the disk beyond this are refused: a stalled disk must not fill the memory."""
HURRY_SPACING = 0.001
"""Seconds between two group commits that somebody waits for but can wait a moment for: a commit costs as much as ten requests."""
_NEVER = float("inf")
_TICK = 0.02
"""Seconds between two looks of a busy publisher: short pieces of hashing keep the interpreter free for requests."""

_logger = logging.getLogger(__name__)


class _KeyChangeAsked:
    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.done = threading.Event()
        self.error: SafeconductError | None = None


class Group(NamedTuple):
    """What is written as one frame. first: index of its first entry; end: index after its last."""

    entries: list[bytes]
    first: int
    end: int


class Log:
    """A log open for writing. All methods are thread-safe. Use `Log.open`."""

    origin: str
    size: int
    """Next index: entries submitted so far, durable or not."""
    durable_size: int
    """Entries that survive a power cut."""

    def __init__(
        self,
        directory: LogDirectory,
        *,
        signer: Signer,
        verifier: LogVerifier,
        clock: Clock,
        epoch: Epoch,
        recovered: Recovered,
        checkpoint_interval: float,
        max_entry: int,
        segment_bytes: int,
        random: RandomBytes,
    ) -> None:
        self.origin = verifier.name
        self.verifier = verifier
        self.notes: tuple[str, ...] = tuple(recovered.notes)
        self._directory = directory
        self._key_change: _KeyChangeAsked | None = None
        self._clock = clock
        self._epoch = epoch
        self._epoch_identity = directory.identity(EPOCH)
        self._interval = checkpoint_interval
        self._max_entry = max_entry

        self._lock = threading.Lock()  # guards what submitters and waiters touch; held for moments only
        self._pending: list[bytes] = []
        self._pending_bytes = 0
        self._next = Waiters()
        self._flying = Waiters()
        self._flying_end = 0
        self._untiled: list[list[bytes]] = []
        self._failure: BaseException | None = None
        self._closing = False
        self._written_out = False
        self._idle = False
        self._due = _NEVER  # when what is pending is to be written; monotonic seconds, 0 for at once
        self._sleeps_until = _NEVER
        self._committed_at = 0.0
        self._wake = threading.Lock()  # a binary semaphore: released to wake the idle writer
        self._wake.acquire()
        self._driver: LoopWriter | None = None
        self._handed = False  # the event loop leaves the next group to the thread

        # `_publication.lock` is taken before `_lock`, never after it.
        self._publication = Publication(
            directory,
            signer=signer,
            verifier=verifier,
            tree=recovered.tree,
            published=recovered.published,
            check_epoch=self.check_epoch,
        )
        self.size = self.durable_size = self._flying_end = self._publication.tree.size

        self._publish_wake = threading.Event()
        self._publisher_idle = False
        self._forced = 0
        self._published_wake = threading.Condition(self._lock)
        self._segments = SegmentWriter(
            directory, origin=verifier.name, epoch=epoch.number, segment_bytes=segment_bytes, random=random
        )
        self._threads: list[threading.Thread] = []

    @classmethod
    def open(
        cls,
        directory: LogDirectory,
        *,
        origin: str,
        signer: Signer,
        clock: Clock,
        create: bool = False,
        checkpoint_interval: float = 0.2,
        max_entry: int = MAX_ENTRY,
        segment_bytes: int = SEGMENT_BYTES,
        random: RandomBytes = secrets.token_bytes,
    ) -> Log:
        """Open for writing: lock, new epoch, replay, check against our own last checkpoint, publish.

        checkpoint_interval: seconds between two checkpoints while entries arrive. max_entry: bytes, at most 65,535.
        segment_bytes: where the write-ahead log starts a new file.
        Raises NotFound (no log and not `create`), LogUnavailable (another writer, a failing disk), LogCorrupt, InvalidInput.
        """
        if not 0 < max_entry <= MAX_ENTRY:
            raise InvalidInput(f"an entry has at most {MAX_ENTRY} bytes", field="max_entry")
        verifier = own_verifier(directory, origin, signer)
        try:
            epoch = take_over(directory, create=create)
            try:
                recovered = recover(directory, verifier, create=create)
                log = cls(
                    directory,
                    signer=signer,
                    verifier=verifier,
                    clock=clock,
                    epoch=epoch,
                    recovered=recovered,
                    checkpoint_interval=checkpoint_interval,
                    max_entry=max_entry,
                    segment_bytes=segment_bytes,
                    random=random,
                )
                log._start(recovered)
            except BaseException:
                directory.release()
                raise
        except OSError as error:
            raise LogUnavailable(
                f"the log cannot be opened: {error}", field=str(error.filename or "")
            ) from error
        return log

    # -- opening -------------------------------------------------------------------------------------------------

    def _start(self, recovered: Recovered) -> None:
        self._publication.write_tiles(recovered.finished)
        tree = self._publication.tree
        self._segments.start(tree.size - len(tree.tail), tree.tail, durable=tree.size)
        self._publication.sync_tiles()
        # The new segment repeats what full bundles do not hold yet, so all older ones can go. One by one, oldest first:
        # a crash in between must leave no gap.
        for path in recovered.segments:
            self._directory.remove(path)
            self._directory.sync_directory(DIRECTORY)
        for path in self._directory.list(DIRECTORY):
            if path.endswith(".tmp"):
                self._directory.remove(path)
        self._publication.repair_partial_tiles()
        self._publication.publish()
        for name, target in (("writer", self._write_loop), ("publisher", self._publish_loop)):
            thread = threading.Thread(target=self._guarded, args=(target,), name=f"log-{name}", daemon=True)
            self._threads.append(thread)
            thread.start()

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
            elif self._due == _NEVER:
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
        self._due = _NEVER
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
                    self._sleeps_until = _NEVER if driven else self._due
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
        if self._wake.acquire(timeout=-1 if seconds == _NEVER else max(0.0, seconds)):
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

    # -- the publisher -------------------------------------------------------------------------------------------

    def _publish_loop(self) -> None:
        due_at = self._clock.monotonic()
        while True:
            with self._lock:
                if self._failure is not None:
                    return
                last = self._written_out  # read before the entries: nothing comes after it
                forced = self._forced
                self._publisher_idle = False
            self._tile()
            if self._key_change is not None:
                self._change_key(self._key_change)
            published = self._publication.size
            now = self._clock.monotonic()
            if self._publication.tree.size > published and (now >= due_at or forced > published or last):
                self._publication.publish()
                with self._lock:
                    self._published_wake.notify_all()
                self._trim()
                due_at = now + self._interval
            elif last:
                return
            with self._lock:
                wait: float | None = None
                if self._written_out:
                    wait = 0
                elif self._untiled or self._publication.tree.size > self._publication.size:
                    wait = _TICK
                # Only a publisher with nothing to do is woken by the writer; a busy one looks for itself.
                self._publisher_idle = wait is None
            self._publish_wake.wait(wait)
            self._publish_wake.clear()

    def change_key(self, signer: Signer, timeout: float = 30.0) -> None:
        """Sign with another key from now on; the change itself is written to the key history, signed by both keys.

        Returns once the checkpoint of the new key is published. timeout: seconds. Raises InvalidInput (the same key, one used
        before, no Ed25519), LogUnavailable, TimeoutError.
        """
        asked = _KeyChangeAsked(signer)
        with self._lock:
            if self._closing or self._failure is not None:
                raise self._unavailable()
            if self._key_change is not None:
                raise Conflict("the log's key is being changed", field="key", remedy="try again in a moment")
            self._key_change = asked
        self._publish_wake.set()
        if not asked.done.wait(timeout):
            raise self._unavailable() if self._failure is not None else TimeoutError
        if asked.error is not None:
            raise asked.error

    def _change_key(self, asked: _KeyChangeAsked) -> None:
        # In the publisher's thread: no checkpoint of the old key can be under way.
        try:
            self._publication.publish()
            self.verifier = self._publication.change_key(asked.signer)
        except SafeconductError as error:
            asked.error = error
        except BaseException:
            asked.error = LogUnavailable(
                "the key could not be changed", field="key", remedy="see the log's failure"
            )
            raise
        finally:
            self._key_change = None
            asked.done.set()

    def _tile(self) -> None:
        with self._publication.lock:
            with self._lock:
                batches, self._untiled = self._untiled, []
            for batch in batches:
                self._publication.append(batch)

    def _trim(self) -> None:
        # Tiles first: a segment goes only when its entries are durable elsewhere.
        size = self._publication.tree.size
        old = self._segments.covered_by(size - size % TILE_WIDTH)
        if old:
            self._publication.sync_tiles()
            self._segments.remove(old)

    # -- reading -------------------------------------------------------------------------------------------------

    def checkpoint(self, *, force: bool = False) -> bytes:
        """The latest published checkpoint (a signed note). force: publish one that covers all entries durable now.

        Raises LogUnavailable when it cannot be published.
        """
        with self._lock:
            if force:
                target = self.durable_size
                self._forced = max(self._forced, target)
                self._publish_wake.set()
                while self._publication.size < target:
                    if self._failure is not None or not any(thread.is_alive() for thread in self._threads):
                        raise self._unavailable()
                    self._published_wake.wait(1.0)
            return self._publication.checkpoint

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Durable entries [start, end) as they were submitted. Raises InvalidInput beyond `durable_size`, LogCorrupt."""
        if not 0 <= start <= end <= self.durable_size:
            raise InvalidInput(
                f"entries {start} to {end} are not all durable ({self.durable_size} are)", field="end"
            )
        return self._read(start, end)

    def _read(self, start: int, end: int) -> Iterator[bytes]:
        while start < end:
            with self._publication.lock:
                stored = self._publication.tree.size - len(self._publication.tree.tail)
                recent: list[bytes] = []
                if start >= stored:
                    recent = list(self._publication.tree.tail)
                    with self._lock:
                        for batch in self._untiled:
                            recent += batch
            if start >= stored:
                yield from recent[start - stored : end - stored]
                return
            number, offset = divmod(start, TILE_WIDTH)
            path = tile_path(ENTRIES, number)
            bundle = decode_bundle(self._directory.read(path), path)
            chunk = bundle[offset : offset + end - start]
            yield from chunk
            start += len(chunk)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size`, 32-byte hashes from the leaf's sibling up. Raises InvalidInput."""
        self._need(size)
        with self._publication.lock:
            return inclusion_proof(self._publication.tree.node(), index, size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of size `new` extends that of size `old` > 0. Raises InvalidInput."""
        self._need(new)
        with self._publication.lock:
            return consistency_proof(self._publication.tree.node(), old, new)

    def _need(self, size: int) -> None:
        if size > self.durable_size:
            raise InvalidInput(f"the log has no durable size {size}", field="size")
        if size > self._publication.tree.size:
            self.checkpoint(force=True)  # tiles are the publisher's to write: this makes it catch up

    # -- closing -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Write what was submitted, publish a last checkpoint, release the lock. Never raises for a failed log; see `failed`."""
        self.undrive()
        with self._lock:
            already = self._closing
            self._closing = True
            self._wake_thread()
        writer, publisher = self._threads
        writer.join()
        with self._lock:
            self._written_out = True
        self._publish_wake.set()
        publisher.join()
        if not already:
            self._segments.close()
            self._directory.release()
