"""What one process submitted to the shared record and waits for: sent once or again, withdrawn, settled.

Owns the bookkeeping between callers' threads and the event loop. A submission's uid makes it safe to send it again after a lost
connection. Decides no order: the sequencer does.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

import asyncpg
import msgspec

from safeconduct.app.shared_record import Draft
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, LogUnavailable
from safeconduct.storage.postgres_seal import RowSeal

LAPSE = 0.8
"""The part of the waiting time after which a submission lapses in the database: what was given up is not written later."""


class Submission:
    """One group on its way. until: on the monotonic clock, when its caller gives up."""

    __slots__ = ("drafts", "expect", "future", "until")

    def __init__(self, drafts: Sequence[Draft], expect: int | None, until: float) -> None:
        self.drafts = drafts
        self.expect = expect
        self.until = until
        self.future: concurrent.futures.Future[int] = concurrent.futures.Future()

    @property
    def uid(self) -> str:
        """The group's name: its first entry's uid."""
        return self.drafts[0].uid


class Submissions:
    """All of one process. Methods belong to the event loop's thread."""

    def __init__(self, clock: Clock, channel: str) -> None:
        self.wake = asyncio.Event()
        self._clock = clock
        self._channel = channel
        self._waiting: dict[str, list[Submission]] = {}
        self._unsent: list[Submission] = []
        self._withdrawn: list[str] = []

    def enqueue(self, submission: Submission) -> None:
        """Take one to be sent."""
        self._waiting.setdefault(submission.uid, []).append(submission)
        self._unsent.append(submission)
        self.wake.set()

    def withdraw(self, submission: Submission) -> None:
        """Its caller gave up: take it back where that is still possible."""
        waiting = self._waiting.get(submission.uid, [])
        if submission in waiting:
            waiting.remove(submission)
            if not waiting:
                del self._waiting[submission.uid]
                self._withdrawn.append(submission.uid)
                self.wake.set()

    def send_again(self) -> None:
        """What was sent over a lost connection may not have arrived: all of it again, its uid keeps it single."""
        self._unsent = [one for group in self._waiting.values() for one in group]

    async def send(self, connection: asyncpg.Connection[Any], seal: RowSeal) -> bool:
        """Hand over what waits to be sent, sealed; whether there was something. Raises one of OUTAGE."""
        withdrawn, self._withdrawn = self._withdrawn, []
        if withdrawn:
            await connection.execute(
                "DELETE FROM record_submission WHERE uid = ANY($1) AND placed IS NULL", withdrawn
            )
        now = self._clock.monotonic()
        batch, self._unsent = self._unsent, []
        batch = [one for one in batch if not one.future.done() and one.until > now]
        if not batch:
            return False
        drafts = [msgspec.msgpack.encode(list(one.drafts)) for one in batch]
        # Unlogged, and not waited for: what makes an entry durable is the sequencer's commit alone.
        await connection.execute(
            "WITH sent AS (INSERT INTO record_submission (uid, expect, drafts, expires, seal)"
            " SELECT uid, expect, drafts, clock_timestamp() + seconds * interval '1 second', seal"
            " FROM unnest($1::text[], $2::bigint[], $3::bytea[], $4::float8[], $6::bytea[])"
            " AS s(uid, expect, drafts, seconds, seal)"
            " ON CONFLICT (uid) DO NOTHING) SELECT pg_notify($5, 'work')",
            [one.uid for one in batch],
            [one.expect for one in batch],
            drafts,
            [(one.until - now) * LAPSE for one in batch],
            self._channel,
            [seal.of_submission(one.uid, one.expect, each) for one, each in zip(batch, drafts, strict=True)],
        )
        return True

    async def collect(self, connection: asyncpg.Connection[Any]) -> None:
        """Take back what the sequencer refused, or found placed before. Raises one of OUTAGE."""
        if not self._waiting:
            return
        for row in await connection.fetch(
            "DELETE FROM record_submission WHERE uid = ANY($1) AND coalesce(placed, refused_at) IS NOT NULL"
            " RETURNING uid, placed, refused_at",
            list(self._waiting),
        ):
            self.settle(row["uid"], row["placed"], refused_at=row["refused_at"])

    def settle(self, uid: str, place: int | None, *, refused_at: int | None = None) -> None:
        """Tell who waits: the place of the group's first entry, or that the record was somewhere else than expected."""
        for one in self._waiting.pop(uid, ()):
            if one.future.done():
                continue
            if place is not None:
                one.future.set_result(place)
            else:
                one.future.set_exception(
                    Conflict(
                        f"the record is at position {refused_at}, not {one.expect}",
                        remedy="check again and repeat",
                    )
                )

    def refuse_all(self, error: Callable[[], LogUnavailable]) -> None:
        """Tell everyone that it will not be."""
        waiting, self._waiting = self._waiting, {}
        for submissions in waiting.values():
            for one in submissions:
                if not one.future.done():
                    one.future.set_exception(error())
