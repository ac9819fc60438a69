"""The elected sequencer of a record in PostgreSQL: gives submissions their places and signs the tree, under a fencing epoch.

Owns the election (an advisory lock, and an epoch in the head's row that every write checks in its own transaction). Refuses
to write once another epoch has begun: whatever this process still believes, its transaction then changes no row and is
rolled back. The lock only keeps candidates from taking turns; the epoch is what makes it safe.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import msgspec

from safeconduct.app.shared_record import Draft
from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.derived import DerivedLog, process_name
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import LogCorrupt, LogUnavailable
from safeconduct.kernel.signing import Signer
from safeconduct.storage.postgres_schema import HEAD, OUTAGE, read_head
from safeconduct.storage.postgres_seal import RowSeal

BATCH = 512
"""Submissions in one transaction: their commit is one write of the database's log, however many they are."""
_KEY = "hashtextextended('safeconduct sequencer ' || current_schema(), 0)"
_END_HOLDER = (
    "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid"  # noqa: S608
    " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
    " AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    f" AND (l.classid::bigint << 32 | l.objid::bigint) = {_KEY} AND l.pid <> pg_backend_pid()"
    # One that the server is working for is slow and not gone: ending it would only throw that work away.
    " AND a.state IS DISTINCT FROM 'active'"
)
_KEEP_SECONDS = 60

_logger = logging.getLogger(__name__)
_drafts = msgspec.msgpack.Decoder(list[Draft])

Connect = Callable[[str], Awaitable["asyncpg.Connection[Any]"]]


class Deposed(LogUnavailable):
    """Another process was elected meanwhile; nothing of this attempt was written."""

    kind = "deposed"


class Sequencer:
    """One process's candidature. `run` until cancelled; all methods belong to the event loop's thread."""

    def __init__(
        self,
        connect: Connect,
        mirror: DerivedLog,
        *,
        signer: Signer,
        clock: Clock,
        channel: str,
        interval: float,
        retry: float,
        stall: float,
    ) -> None:
        """interval: seconds between checkpoints; retry: between attempts; stall: how long work may lie before a holder is ended."""
        self._connect = connect
        self._mirror = mirror
        self._signer = signer
        self._verifier: LogVerifier = mirror.verifier
        self._clock = clock
        self._channel = channel
        self._interval = interval
        self._retry = retry
        self._stall = stall
        self._size = 0
        self._signed = -1
        self._signed_at = 0.0
        self._inherited: bytes | None = None
        self.seal = RowSeal(b"")
        """Set before `run`: the key comes out of the database."""
        self.wake = asyncio.Event()
        self.epoch: int | None = None
        """The epoch this process sequences in, None while another one does or nobody."""
        self.closing = False

    async def run(self) -> None:
        """Stand for election, sequence while elected, begin again after a loss. Raises LogCorrupt."""
        while not self.closing:
            try:
                connection = await self._connect("sequencer")
            except OUTAGE:
                await self._pause()
                continue
            try:
                await self._serve(connection)
            except Deposed as lost:
                _logger.warning("%s", lost)
            except OUTAGE as error:
                _logger.warning("the sequencer lost its database: %s", type(error).__name__)
                await self._pause()
            finally:
                self.epoch = None
                # The lock goes with the connection.
                connection.terminate()

    async def _pause(self) -> None:
        if not self.closing:
            await asyncio.sleep(self._retry)

    async def _serve(self, connection: asyncpg.Connection[Any]) -> None:
        await connection.add_listener(self._channel, self._notified)
        while not await connection.fetchval(f"SELECT pg_try_advisory_lock({_KEY})"):
            if self.closing:
                return
            await self._end_stalled(connection)
            await asyncio.sleep(self._retry)
        await self._begin(connection)
        while True:
            self.wake.clear()
            busy = await self._sequence(connection)
            await self._sign(connection, force=self.closing)
            if self.closing and not busy:
                await connection.close()
                return
            if not busy:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self.wake.wait(), self._wait_seconds())

    def _notified(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        if payload != "size":
            self.wake.set()

    def _wait_seconds(self) -> float:
        # While something is unsigned the next checkpoint is due; otherwise a lost notification is what the pause is for.
        return max(0.01, self._interval / 2) if self._signed < self._size else 1.0

    async def _end_stalled(self, connection: asyncpg.Connection[Any]) -> None:
        """End the holder's connection when submissions lie about: it hangs, or its machine is gone without a word."""
        lying = await connection.fetchval(
            "SELECT 1 FROM record_submission WHERE placed IS NULL AND refused_at IS NULL"
            " AND at < clock_timestamp() - $1 * interval '1 second' LIMIT 1",
            self._stall,
        )
        if lying is None:
            return
        ended = await connection.fetch(_END_HOLDER)
        if ended:
            _logger.warning("the sequencer left submissions lying: its connection was ended")

    async def _begin(self, connection: asyncpg.Connection[Any]) -> None:
        row = await connection.fetchrow(
            "UPDATE record_head SET epoch = epoch + 1, holder = $1 RETURNING epoch, size, signed_size, checkpoint",
            process_name(),
        )
        head = read_head(row)
        self._size, self._signed = head.size, head.signed_size
        self._inherited = head.checkpoint
        self._signed_at = self._clock.monotonic() - self._interval
        self.epoch = head.epoch
        _logger.info("sequencing the record from entry %d in epoch %d", head.size, head.epoch)

    # -- giving places -------------------------------------------------------------------------------------------

    async def _sequence(self, connection: asyncpg.Connection[Any]) -> bool:
        """Place what was submitted; True when there was something."""
        rows = await connection.fetch(
            "SELECT id, uid, expect, drafts, seal, expires < clock_timestamp() AS late FROM record_submission"
            " WHERE placed IS NULL AND refused_at IS NULL ORDER BY id LIMIT $1",
            BATCH,
        )
        if not rows:
            return False
        known = {
            row["uid"]: row["seq"]
            for row in await connection.fetch(
                "SELECT uid, seq FROM record_entry WHERE uid = ANY($1)", [row["uid"] for row in rows]
            )
        }
        size = self._size
        seqs: list[int] = []
        uids: list[str] = []
        entries: list[bytes] = []
        done: list[int] = []
        placed: list[tuple[int, int]] = []
        refused: list[tuple[int, int]] = []
        for row in rows:
            expected = self.seal.of_submission(row["uid"], row["expect"], row["drafts"])
            if not self.seal.fits(row["seal"], expected):
                _logger.error("a submission that no control process of this instance made was dropped")
                done.append(row["id"])
            elif row["uid"] in known:
                placed.append((row["id"], known[row["uid"]]))
            elif row["late"]:
                done.append(row["id"])  # whoever waited was told that it was not acknowledged
            elif row["expect"] is not None and row["expect"] != size:
                refused.append((row["id"], size))
            else:
                for draft in _drafts.decode(row["drafts"]):
                    seqs.append(size)
                    uids.append(draft.uid)
                    entries.append(draft.entry(size))
                    size += 1
                done.append(row["id"])
        await self._write(
            connection, size, (seqs, uids, entries), done, {"placed": placed, "refused_at": refused}
        )
        self._size = size
        return True

    async def _write(
        self,
        connection: asyncpg.Connection[Any],
        size: int,
        rows: tuple[list[int], list[str], list[bytes]],
        done: list[int],
        outcomes: dict[str, list[tuple[int, int]]],
    ) -> None:
        async with connection.transaction():
            # INVARIANT: first in the transaction. It takes the head's row, so a later epoch waits for this commit and reads
            # it, or came first and leaves no row to change here.
            fenced = await connection.fetchval(
                "UPDATE record_head SET size = $1 WHERE epoch = $2 AND size = $3 RETURNING epoch",
                size,
                self.epoch,
                self._size,
            )
            if fenced is None:
                raise Deposed("another process sequences the record now", field=f"epoch {self.epoch}")
            if rows[0]:
                await connection.execute(
                    "INSERT INTO record_entry (seq, uid, entry, seal)"
                    " SELECT * FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[])",
                    *rows,
                    [self.seal.of_entry(seq, entry) for seq, entry in zip(rows[0], rows[2], strict=True)],
                )
            for column, found in outcomes.items():
                if found:
                    await connection.execute(
                        f"UPDATE record_submission s SET {column} = o.at FROM"  # noqa: S608 - two names of our own
                        " unnest($1::bigint[], $2::bigint[]) AS o(id, at) WHERE s.id = o.id",
                        [one for one, _ in found],
                        [at for _, at in found],
                    )
            await connection.execute(
                "DELETE FROM record_submission WHERE id = ANY($1)"
                " OR (at < clock_timestamp() - $2 * interval '1 second' AND coalesce(placed, refused_at) IS NOT NULL)",
                done,
                float(_KEEP_SECONDS),
            )
            await connection.execute("SELECT pg_notify($1, 'size')", self._channel)

    # -- signing -------------------------------------------------------------------------------------------------

    async def _sign(self, connection: asyncpg.Connection[Any], *, force: bool = False) -> None:
        """Sign the tree of what this process has read back, when it is due."""
        now = self._clock.monotonic()
        if not force and now - self._signed_at < self._interval:
            return
        size, root = self._mirror.head()
        if size <= self._signed:
            return
        if self._inherited is not None:
            # INVARIANT: nothing is signed on top of a tree head that these entries do not lead to.
            self._mirror.check(self._mirror.read_checkpoint(self._inherited), "the last checkpoint signed")
            self._inherited = None
        checkpoint = sign_checkpoint(self._signer, self._verifier, size, root)
        written = await connection.fetchval(
            "UPDATE record_head SET checkpoint = $1, signed_size = $2"
            " WHERE epoch = $3 AND signed_size < $2 AND size >= $2 RETURNING size",
            checkpoint.text,
            size,
            self.epoch,
        )
        if written is None:
            head = read_head(await connection.fetchrow(HEAD))
            if head.epoch != self.epoch:
                raise Deposed("another process sequences the record now", field=f"epoch {self.epoch}")
            raise LogCorrupt(
                f"refusing to sign size {size}: the database says {head.size} entries, {head.signed_size} signed",
                field="checkpoint",
                remedy="the database was rolled back under a running process: restore the newer one",
            )
        self._signed, self._signed_at = size, now
        await connection.execute("SELECT pg_notify($1, 'size')", self._channel)
