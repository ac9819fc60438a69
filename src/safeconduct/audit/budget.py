"""A log that takes no more than it may: a budget of bytes, and room on the disk that it leaves to others.

Owns when a decision log stops. It stops early for new decisions and a little later for what still belongs to requests that were
let through, so that their ends are recorded. Refuses to delete anything to make room: what is retained is somebody's decision.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from safeconduct.audit.merkle import HASH_SIZE
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.errors import LogUnavailable

MARGIN = 64
"""One part in so many of the budget, and of the floor, is kept for the ends of requests that run."""
LOOK_BYTES = 64 * 1024
"""So many bytes of entries are taken between two looks at the disk."""
_OVERHEAD = 2 + HASH_SIZE + 1


class BudgetedLog(Log):
    """A log with limits; `limit` sets them right after `open`."""

    _budget = 0
    _floor = 0
    _used = 0
    _free: Callable[[], int] | None = None
    _looked_at = -LOOK_BYTES
    _seen_free = 0
    _looked_when = 0.0

    def limit(self, *, budget: int, used: int, floor: int, free: Callable[[], int]) -> None:
        """budget: bytes that full bundles and tiles may take, 0 for no budget; used: that they take now.

        The write-ahead log and the partial tiles of the last 256 entries come on top.

        floor: bytes of the disk to leave to others; free: those that are free now.
        """
        self._budget, self._used, self._floor, self._free = budget, used, floor, free

    @property
    def full(self) -> LogUnavailable | None:
        """Why no new decision may be written, None while there is room."""
        return self._full(1)

    def _full(self, margins: int) -> LogUnavailable | None:
        # margins: 1 for a new decision, 0 for the end of one that was let through.
        budget = self._budget
        if budget and self._used > budget - margins * (budget // MARGIN):
            return LogUnavailable(
                f"the decision log has used its budget of {budget} bytes",
                field="decision_budget",
                remedy="raise SAFECONDUCT_DECISION_BUDGET and restart; the record still takes revocations",
            )
        floor = self._floor
        if self._free is not None and self._look(self._free) < floor + margins * (floor // MARGIN):
            return LogUnavailable(
                "the disk is full but for what is kept for the record",
                field="disk",
                remedy="free space; the record still takes revocations",
            )
        return None

    def _look(self, free: Callable[[], int]) -> int:
        now = self._clock.monotonic()
        if self._used - self._looked_at >= LOOK_BYTES or now - self._looked_when > 0.1:
            # What is durable and not in tiles yet takes its room a second time.
            with self._lock:
                untiled = sum(len(entry) for batch in self._untiled for entry in batch)
            self._seen_free = free() - untiled
            self._looked_at, self._looked_when = self._used, now
        return self._seen_free - 2 * (self._used - self._looked_at)

    def submit(self, entry: bytes, *, within: float = 0.0) -> int:
        """As `Log.submit`. Raises LogUnavailable also when there is no room left."""
        refused = self._full(0)
        if refused is not None:
            raise refused
        index = super().submit(entry, within=within)
        self._used += len(entry) + _OVERHEAD
        return index

    def submit_group(self, entries: Sequence[bytes]) -> int:
        """As `Log.submit_group`. Raises LogUnavailable also when there is no room left."""
        refused = self._full(0)
        if refused is not None:
            raise refused
        index = super().submit_group(entries)
        self._used += sum(map(len, entries)) + _OVERHEAD * len(entries)
        return index

    @classmethod
    def open(cls, *given: Any, **more: Any) -> BudgetedLog:
        """As `Log.open`; without limits until `limit` is called."""
        log = super().open(*given, **more)
        assert isinstance(log, cls)
        return log
