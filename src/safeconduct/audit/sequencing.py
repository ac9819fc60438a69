"""The writer of a log: gives entries their index, makes them durable in groups, publishes tiles and checkpoints.

Owns the two threads of a log. The writer thread takes whatever was submitted, writes it as one frame and syncs once (an event
loop may do this in its place, see `drive`); the publisher thread hashes, writes tiles and signs, and never delays an acknowledgement. Refuses to go on after any failed write
or sync: what the kernel dropped cannot be told from what it kept, so nothing is retried and everything later is denied.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.group_commit import GroupCommit
from safeconduct.audit.loop_writer import LoopWriter
from safeconduct.audit.merkle import consistency_proof, inclusion_proof
from safeconduct.audit.publishing import Publication
from safeconduct.audit.recovery import EPOCH, Epoch, Recovered, own_verifier, recover, take_over
from safeconduct.audit.segments import SegmentWriter
from safeconduct.audit.tile import ENTRIES, MAX_ENTRY, TILE_WIDTH, decode_bundle, tile_path
from safeconduct.audit.wal import DIRECTORY
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, InvalidInput, LogUnavailable, SafeconductError
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import Signer

SEGMENT_BYTES = 64 * 1024 * 1024
_TICK = 0.02
"""Seconds between two looks of a busy publisher: short pieces of hashing keep the interpreter free for requests."""

_logger = logging.getLogger(__name__)


class _KeyChangeAsked:
    def __init__(self, signer: Signer) -> None:
        self.signer = signer
        self.done = threading.Event()
        self.error: SafeconductError | None = None


class Log(GroupCommit):
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
        self._untiled: list[list[bytes]] = []
        self._failure: BaseException | None = None
        self._written_out = False
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
        self._start_queue(self._publication.tree.size)

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
