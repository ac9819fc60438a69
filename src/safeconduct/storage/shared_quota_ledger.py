"""Quotas counted in a shared table: exact across all worker processes of a machine, and kept across their restarts.

Implements `gateway.quota_ledger.QuotaLedger`. A window that slides is counted as the fixed ones that overlap it: one for
each bucket at which it may begin. Each is a single counter with a limit, so no process ever sees half a sum. Refuses (and
its caller denies) what it cannot count: a table that is full or held by a process that was stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from safeconduct.gateway.quota_ledger import Charge, Held
from safeconduct.kernel.errors import SafeconductError
from safeconduct.storage.shared_table import SharedTable

QUOTA_TABLE = "shared/quotas"
"""Where it lies below a data directory."""
QUOTA_GROUPS = 8_192
"""Half a million slots in 16 MiB. A fixed window takes one a counter, a sliding one up to 21."""


class SharedQuotaLedger:
    """Counters in the file at `path`, which is made when the first is needed. Thread-safe."""

    def __init__(self, path: Path, *, groups: int = QUOTA_GROUPS) -> None:
        self._path = path
        self._groups = groups
        self._opening = threading.Lock()
        self._table: SharedTable | None = None

    def _opened(self) -> SharedTable:
        with self._opening:
            if self._table is None:
                self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                self._table = SharedTable.open(self._path, groups=self._groups)
            return self._table

    def reserve(self, charges: Sequence[Charge], now: int, done: Callable[[Held | None], None]) -> None:
        """See `QuotaLedger`. Others may be refused because of what is being taken back here, never admitted."""
        taken: list[tuple[Charge, int]] = []
        held: Held | None
        try:
            held = self._reserve(self._opened(), charges, now, taken)
        except (SafeconductError, OSError):
            if self._table is not None:
                self._give_back(self._table, taken, now)
            held = None
        done(held)

    def _reserve(
        self, table: SharedTable, charges: Sequence[Charge], now: int, taken: list[tuple[Charge, int]]
    ) -> Held:
        used: list[int] = []
        for charge in charges:
            bucket = now // charge.width
            totals: list[int] = []
            try:
                admitted = table.add_each(
                    _steps(charge, bucket, now), charge.amount, now=now, done=totals, limit=charge.limit
                )
            finally:
                first = bucket - charge.span + 1
                taken += [(charge, start) for start in range(first, first + len(totals))]
            if not admitted:
                self._give_back(table, taken, now)
                return Held(admitted=False, used=tuple(self._counted(table, charges, now)))
            used.append(totals[0] - charge.amount)
        return Held(admitted=True, used=tuple(used), buckets=tuple(now // charge.width for charge in charges))

    def settle(self, charges: Sequence[Charge], held: Held, amounts: Sequence[int], now: int) -> None:
        """See `QuotaLedger`."""
        try:
            table = self._opened()
            for charge, bucket, amount in zip(charges, held.buckets, amounts, strict=True):
                more = amount - charge.amount
                if more:
                    steps = _steps(charge, now // charge.width if more > 0 else bucket, now)
                    table.add_each(steps, more, now=now, done=[])
        except (SafeconductError, OSError):
            # What could not be given back counts until its window is over: too much, never too little.
            return

    def used(self, charges: Sequence[Charge], now: int) -> list[int]:
        """See `QuotaLedger`."""
        return self._counted(self._opened(), charges, now)

    def close(self) -> None:
        """See `QuotaLedger`."""
        with self._opening:
            if self._table is not None:
                self._table.close()
                self._table = None

    def _counted(self, table: SharedTable, charges: Sequence[Charge], now: int) -> list[int]:
        return [
            table.get(_key(charge, now // charge.width - charge.span + 1), now / 1000) for charge in charges
        ]

    def _give_back(self, table: SharedTable, taken: Sequence[tuple[Charge, int]], now: int) -> None:
        for charge, start in reversed(taken):
            until = (start + charge.span) * charge.width
            try:
                table.add_each([(_key(charge, start), until)], -charge.amount, now=now, done=[])
            except SafeconductError:
                continue


def _steps(charge: Charge, bucket: int, now: int) -> list[tuple[bytes, int]]:
    """Key and end of every window that the bucket lies in and that is not over, the one that began first before the others."""
    width, span = charge.width, charge.span
    return [
        (_key(charge, start), until)
        for start in range(bucket - span + 1, bucket + 1)
        if (until := (start + span) * width) > now
    ]


def _key(charge: Charge, start: int) -> bytes:
    return charge.counter + start.to_bytes(8, "big", signed=True)
