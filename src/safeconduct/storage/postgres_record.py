"""The record's home in PostgreSQL, as one process sees it. Implements `app.shared_record.SharedLog`.

Owns the process's part: sending submissions, following what is durable, waiting, and a candidature as sequencer. The
commit of the entries' transaction is the acknowledgement. Unlike files, a database that was away comes back: meanwhile
every submission is refused, and what a lost connection left open is settled by the submission's uid. Only entries that
contradict what was signed end this home for good.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import secrets
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from typing import Any, Self, TypeVar

import asyncpg

from safeconduct.app.shared_record import Draft
from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.derived import DerivedLog
from safeconduct.audit.files import LogDirectory
from safeconduct.audit.merkle import EMPTY_ROOT
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import (
    Conflict,
    LogCorrupt,
    LogUnavailable,
    SafeconductError,
    UnsafeConfiguration,
)
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import KeyWrapper, Signer
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.postgres_schema import (
    HEAD,
    OUTAGE,
    Beginning,
    Head,
    channel,
    connect,
    forgetful_settings,
    prepare,
    read_head,
    reason,
    unavailable,
)
from safeconduct.storage.postgres_seal import RowSeal, fetch_sealed
from safeconduct.storage.postgres_sequencer import Sequencer
from safeconduct.storage.postgres_submissions import Submission, Submissions

POLL_SECONDS = 0.25
"""A notification wakes followers; this is for one that got lost, and keeps `confirmed` fresh."""
CHUNK = 4_096
_AWAY = "bring the database back: what was acknowledged is safe, and writing goes on by itself"

_logger = logging.getLogger(__name__)
_T = TypeVar("_T")
Follower = Callable[[int, Sequence[bytes]], None]


class PostgresRecordLog:
    """The record in a database, open in this process. Public methods are thread-safe. Use `PostgresRecordLog.open`."""

    def __init__(
        self,
        url: DatabaseUrl,
        mirror: DerivedLog,
        *,
        signer: Signer,
        clock: Clock,
        timeout: float,
        interval: float,
        retry: float,
        stall: float,
    ) -> None:
        self.url = url
        self.origin = mirror.verifier.name
        self.verifier = mirror.verifier
        self.notes: tuple[str, ...] = ()
        self.durable_size = 0
        """Entries that are durable and that followers in this process were told."""
        self.confirmed = clock.monotonic()
        """When the database last confirmed that nothing is missing here: seconds of the monotonic clock."""
        self._mirror = mirror
        self._seal = RowSeal(b"")
        self._clock = clock
        self._timeout = timeout
        self._retry = retry
        self._channel = channel(url)
        self._telling = threading.RLock()
        self._followers: list[Follower] = []
        self._failure: SafeconductError | None = None
        self._outage: LogUnavailable | None = None
        self._outage_since = 0.0
        self._closing = False
        self._published = threading.Condition()
        self._submissions = Submissions(clock, self._channel)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="record-database", daemon=True)
        self._hand = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="record-follower")
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self.sequencer = Sequencer(
            self._connect,
            mirror,
            signer=signer,
            clock=clock,
            channel=self._channel,
            interval=interval,
            retry=retry,
            stall=stall,
        )

    @classmethod
    def open(
        cls,
        url: DatabaseUrl,
        directory: LogDirectory,
        *,
        origin: str,
        signer: Signer,
        wrapper: KeyWrapper,
        clock: Clock,
        older: KeyWrapper | None = None,
        create: bool = False,
        random: RandomBytes = secrets.token_bytes,
        timeout: float = 10.0,
        checkpoint_interval: float = 0.2,
        retry: float = 0.25,
        stall: float = 2.0,
    ) -> Self:
        """Open the record: read all of it into the mirror in `directory`, check what was signed, begin to follow.

        wrapper: of the root key, older: of the one that gives way to it. timeout: seconds after which a submission is given up; stall: after which a sequencer that does nothing is replaced.
        Raises NotFound, UnsafeConfiguration, LogUnavailable, LogCorrupt.
        """
        mirror = DerivedLog.open(directory, LogVerifier.of(origin, signer))
        log = cls(
            url,
            mirror,
            signer=signer,
            clock=clock,
            timeout=timeout,
            interval=checkpoint_interval,
            retry=retry,
            stall=stall,
        )
        log._thread.start()
        try:
            first = None
            if create:
                empty = sign_checkpoint(signer, mirror.verifier, 0, EMPTY_ROOT)
                first = Beginning(empty.text, RowSeal.make(wrapper, origin, random)[1])
            log._await(log._start(first, wrapper, older))
        except BaseException as error:
            log._stop()
            if isinstance(error, OUTAGE):
                raise unavailable(error, url) from None
            raise
        return log

    def check_durable(self) -> None:
        """Refuse a server whose settings let a commit be forgotten in a power cut. Raises UnsafeConfiguration."""
        if self.notes:
            raise UnsafeConfiguration(
                self.notes[0], field="record_url", remedy="switch it on in the server's configuration"
            )

    def change_key(self, signer: Signer) -> None:  # noqa: ARG002 - what a log's key changes by
        """Not offered yet: other processes sign with the present key. Raises Conflict."""
        raise Conflict(
            "the key of a record in a database is not changed by command yet",
            field="record-log",
            remedy="keep it in an HSM or a KMS, where it need not move",
        )

    def change_root(self, wrapper: KeyWrapper) -> int:
        """Wrap the sealing key by another root key; returns 1. Raises LogUnavailable."""

        async def work() -> None:
            connection = await self._connect("rotation")
            try:
                await self._rewrap(connection, self._seal, wrapper)
            finally:
                connection.terminate()

        try:
            self._await(work())
        except OUTAGE:
            raise LogUnavailable("the record's database does not answer", remedy=_AWAY) from None
        return 1

    async def _rewrap(self, connection: asyncpg.Connection[Any], seal: RowSeal, wrapper: KeyWrapper) -> None:
        await connection.execute(
            "UPDATE record_head SET sealing_key = $1", seal.wrapped(wrapper, self.origin)
        )

    # -- the event loop's side -----------------------------------------------------------------------------------

    def _await(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _connect(self, purpose: str) -> asyncpg.Connection[Any]:
        return await connect(self.url, purpose, durable=purpose != "submitter")

    async def _start(self, first: Beginning | None, wrapper: KeyWrapper, older: KeyWrapper | None) -> None:
        connection = await self._connect("follower")
        try:
            wrapped = await prepare(connection, self.url, self.origin, first=first)
            try:
                seal = RowSeal.open(wrapper, self.origin, wrapped)
            except UnsafeConfiguration:
                if older is None:
                    raise
                seal = RowSeal.open(older, self.origin, wrapped)
                await self._rewrap(connection, seal, wrapper)
            self._seal = self.sequencer.seal = seal
            weak = await forgetful_settings(connection)
            if weak:
                self.notes = (f"the database may forget commits in a power cut: {', '.join(weak)} is off",)
                _logger.warning("%s", self.notes[0])
            head = read_head(await connection.fetchrow(HEAD))
            while self._mirror.size < head.size:
                entries, _ = await self._fetch(connection, min(head.size, self._mirror.size + CHUNK))
                await self._loop.run_in_executor(self._hand, self._append, entries)
            self._mirror.check_known()
            self.durable_size = self._mirror.size
            await self._publish(head)
        finally:
            connection.terminate()
        self._tasks = [
            self._loop.create_task(self._guarded(work()), name=name)
            for name, work in (
                ("follow", self._follow),
                ("send", self._submit_all),
                ("sequence", self.sequencer.run),
            )
        ]

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - any surprise must deny, never hang those who wait
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self._failure is None:
            known = isinstance(error, SafeconductError)
            self._failure = (
                error
                if isinstance(error, SafeconductError)
                else LogUnavailable(
                    f"the record stopped: {type(error).__name__}", remedy="see the log, then restart"
                )
            )
            _logger.error("the record stopped: %s", self._failure, exc_info=None if known else error)
        self.sequencer.closing = True
        # At once, not after a last round: what does not fit together is neither added to nor signed.
        for task in self._tasks:
            if task.get_name() == "sequence":
                task.cancel()
        self._submissions.refuse_all(self._unavailable)
        with self._published:
            self._published.notify_all()

    def _unavailable(self) -> LogUnavailable:
        if self._failure is not None:
            error = LogUnavailable(
                f"the record has stopped: {self._failure.message}",
                field=self._failure.field,
                remedy=self._failure.remedy,
            )
            error.__cause__ = self._failure
            return error
        if self._closing:
            return LogUnavailable("the record is closed")
        if self._outage is not None:
            return LogUnavailable(self._outage.message, remedy=_AWAY)
        return LogUnavailable("the record's sequencer does not answer in time", remedy="try again")

    # -- following -----------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        while not self._closing:
            connection: asyncpg.Connection[Any] | None = None
            try:
                connection = await self._connect("follower")
                await connection.add_listener(self._channel, lambda *_: self._wake.set())
                connection.add_termination_listener(lambda *_: self._wake.set())
                while True:
                    self._wake.clear()
                    await self._look(connection)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._wake.wait(), POLL_SECONDS)
            except OUTAGE as error:
                if self._outage is None:
                    self._outage_since = self._clock.monotonic()
                    _logger.warning("the record's database does not answer: %s", reason(error))
                # Callers on the network are not told which database, nor what it said.
                self._outage = LogUnavailable("the record's database does not answer", remedy=_AWAY)
                await asyncio.sleep(self._retry)
            finally:
                if connection is not None:
                    connection.terminate()

    async def _look(self, connection: asyncpg.Connection[Any]) -> None:
        asked = self._clock.monotonic()
        head = read_head(await connection.fetchrow(HEAD))
        if head.size < self._mirror.size:
            raise LogCorrupt(
                f"the database holds {head.size} entries where {self._mirror.size} were read before",
                field=self.url.shown,
                remedy="it was rolled back under a running process: restore the newer one",
            )
        if head.size > self._mirror.size:
            # Up to the head's size and in one piece: whole transactions, so no group is parted.
            first = self._mirror.size
            entries, uids = await self._fetch(connection, head.size)
            await self._loop.run_in_executor(self._hand, self._take, first, entries)
            for place, uid in enumerate(uids, start=first):
                self._submissions.settle(uid, place)
            self.sequencer.wake.set()  # there is something to sign
        await self._submissions.collect(connection)
        await self._publish(head)
        self.confirmed = asked
        if self._outage is not None:
            _logger.info("the record's database answers again")
            self._outage = None

    async def _fetch(self, connection: asyncpg.Connection[Any], end: int) -> tuple[list[bytes], list[str]]:
        return await fetch_sealed(connection, self._seal, self._mirror.size, end, where=self.url.shown)

    def _take(self, first: int, entries: Sequence[bytes]) -> None:
        with self._telling:
            self._append(entries)
            self.durable_size = first + len(entries)
            for follower in self._followers:
                follower(first, entries)

    def _append(self, entries: Sequence[bytes]) -> None:
        try:
            self._mirror.append(entries)
        except (
            OSError
        ) as error:  # a disk that fails here is no outage of the database: it does not pass by itself
            raise self._disk_failed(error) from error

    def _disk_failed(self, error: OSError) -> LogUnavailable:
        return LogUnavailable(
            f"the record's files cannot be written: {error.strerror}",
            field=str(error.filename or ""),
            remedy="free space or replace the disk, then restart; the database has everything",
        )

    async def _publish(self, head: Head) -> None:
        published = self._mirror.published
        before = published.size if published else -1
        if head.checkpoint is None or head.signed_size <= before or head.signed_size > self._mirror.size:
            return
        try:
            await self._loop.run_in_executor(self._hand, self._mirror.publish, head.checkpoint)
        except OSError as error:
            raise self._disk_failed(error) from error
        with self._published:
            self._published.notify_all()

    # -- submitting ----------------------------------------------------------------------------------------------

    def submit(self, drafts: Sequence[Draft], *, expect: int | None = None) -> int:
        """Append the drafts as one group; returns the index of the first once they are durable and were told.

        Raises Conflict, LogUnavailable.
        """
        submission = Submission(drafts, expect, self._clock.monotonic() + self._timeout)
        if self._closing or self._failure is not None or self._is_away():
            raise self._unavailable()
        self._loop.call_soon_threadsafe(self._enqueue, submission)
        try:
            return submission.future.result(self._timeout)
        except TimeoutError:
            self._loop.call_soon_threadsafe(self._submissions.withdraw, submission)
            raise self._unavailable() from None

    def _is_away(self) -> bool:
        # A moment's loss is waited out; during a long one every caller gets its answer at once.
        return self._outage is not None and self._clock.monotonic() - self._outage_since > self._timeout / 4

    def _enqueue(self, submission: Submission) -> None:
        if self._closing or self._failure is not None:
            submission.future.set_exception(self._unavailable())
            return
        self._submissions.enqueue(submission)

    async def _submit_all(self) -> None:
        while not self._closing:
            connection: asyncpg.Connection[Any] | None = None
            try:
                connection = await self._connect("submitter")
                self._submissions.send_again()
                while True:
                    self._submissions.wake.clear()
                    if await self._submissions.send(connection, self._seal):
                        self.sequencer.wake.set()
                    await self._submissions.wake.wait()
                    if connection.is_closed():
                        break
            except OUTAGE:
                await asyncio.sleep(self._retry)
            finally:
                if connection is not None:
                    connection.terminate()

    # -- reading -------------------------------------------------------------------------------------------------

    @property
    def failed(self) -> BaseException | None:
        """Why nothing can be written: a contradiction for good, or an outage while it lasts. None otherwise."""
        return self._failure or self._outage

    def follow(self, callback: Follower) -> None:
        """Call back with every durable entry from the first on; those that are there come before this returns."""
        with self._telling:
            for start in range(0, self.durable_size, CHUNK):
                end = min(self.durable_size, start + CHUNK)
                callback(start, list(self._mirror.read(start, end)))
            self._followers.append(callback)

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Durable entries [start, end). Raises InvalidInput beyond `durable_size`, LogCorrupt."""
        return self._mirror.read(start, end)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        """Proof that entry `index` is in the tree of `size`. Raises InvalidInput."""
        return self._mirror.inclusion_proof(index, size)

    def consistency_proof(self, old: int, new: int) -> list[bytes]:
        """Proof that the tree of size `new` extends that of size `old` > 0. Raises InvalidInput."""
        return self._mirror.consistency_proof(old, new)

    def checkpoint(self, *, force: bool = False) -> bytes:
        """The latest checkpoint seen. force: wait for one that covers all entries durable now. Raises LogUnavailable."""

        def covered(target: int) -> bool:
            published = self._mirror.published
            return self._failure is not None or (published is not None and published.size >= target)

        with self._published:
            target = self.durable_size if force else 0
            if not self._published.wait_for(lambda: covered(target), self._timeout):
                raise self._unavailable()
        published = self._mirror.published
        if self._failure is not None or published is None:
            raise self._unavailable()
        return published.text

    # -- closing -------------------------------------------------------------------------------------------------

    def close(self) -> None:
        """Let the sequencer sign what it has, end the connections, release the mirror. Never raises for a lost database."""
        if self._closing:
            return
        self._closing = True
        self._await(self._finish())
        self._stop()

    async def _finish(self) -> None:
        self.sequencer.closing = True
        self.sequencer.wake.set()
        sequencing = [task for task in self._tasks if task.get_name() == "sequence"]
        if sequencing and self._outage is None and self.sequencer.epoch is not None:
            await asyncio.wait(sequencing, timeout=3.0)
            with contextlib.suppress(*OUTAGE, SafeconductError):
                await asyncio.wait_for(self._last_look(), 3.0)
        pending = set(self._tasks)
        while pending:
            # Again and again: `wait_for` of Python 3.11 drops a cancellation that comes as what it waits for is done.
            for task in pending:
                task.cancel()
            _, pending = await asyncio.wait(pending, timeout=0.2)
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._submissions.refuse_all(self._unavailable)

    async def _last_look(self) -> None:
        connection = await self._connect("follower")
        try:
            await self._publish(read_head(await connection.fetchrow(HEAD)))
        finally:
            connection.terminate()

    def _stop(self) -> None:
        self._hand.shutdown()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._mirror.release()
