"""The port through which use is counted, and the ledger of a single process.

Owns what every ledger must keep: a reservation is whole or nothing, what was admitted in any window never exceeds the
limit, whoever asks at the same time, and what is given back goes where it was taken from. Refuses to know what is counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec


class Charge(msgspec.Struct, frozen=True):
    """An amount for one counter.

    counter: 16 bytes that name it. limit: of what counts together. width: milliseconds of a bucket, aligned to the epoch.
    span: how many buckets count together, the present one included.
    """

    counter: bytes
    amount: int
    limit: int
    width: int
    span: int


class Held(msgspec.Struct, frozen=True):
    """What a ledger answers. used: what counted before, one number a charge. buckets: those charged; empty when refused."""

    admitted: bool
    used: tuple[int, ...]
    buckets: tuple[int, ...] = ()


class QuotaLedger(Protocol):
    """Counts use. `now` is milliseconds since the epoch. Charges of one call name different counters."""

    def reserve(self, charges: Sequence[Charge], now: int, done: Callable[[Held | None], None]) -> None:
        """Charge all of them, or none when one would pass its limit. `done` may be called before this returns.

        None: the ledger cannot tell (away, full); the caller denies. Never raises.
        """
        ...

    def settle(self, charges: Sequence[Charge], held: Held, amounts: Sequence[int], now: int) -> None:
        """What was reserved turned out to be `amounts`. Less goes back to the bucket it came from, if that still counts;
        more is charged to the present one, past the limit if need be. Never raises: a ledger that cannot, keeps more.
        """
        ...

    def used(self, charges: Sequence[Charge], now: int) -> list[int]:
        """What counts now, one number a charge. May block: not for an event loop. Raises SafeconductError."""
        ...

    def close(self) -> None:
        """Let go of what it has open. Idempotent."""
        ...


class _Counter:
    __slots__ = ("buckets", "newest", "until")

    def __init__(self) -> None:
        self.buckets: dict[int, int] = {}
        self.newest = 0
        self.until = 0

    def present(self, bucket: int, span: int) -> int:
        """The bucket to charge: never before one that was charged, so that a clock set back opens no new window."""
        if bucket > self.newest:
            self.newest = bucket
            for old in [one for one in self.buckets if one <= bucket - span]:
                del self.buckets[old]
        return self.newest


SWEEP_AT = 4096


class MemoryQuotaLedger:
    """Counters in the memory of one process. Used from one thread, but for `used`."""

    def __init__(self) -> None:
        self._counters: dict[bytes, _Counter] = {}
        self._sweep_at = SWEEP_AT

    def reserve(self, charges: Sequence[Charge], now: int, done: Callable[[Held | None], None]) -> None:
        """See `QuotaLedger`."""
        used: list[int] = []
        buckets: list[int] = []
        admitted = True
        for charge in charges:
            counter = self._counters.get(charge.counter) or self._new(charge.counter, now)
            buckets.append(counter.present(now // charge.width, charge.span))
            counted = sum(counter.buckets.values())
            used.append(counted)
            admitted = admitted and counted + charge.amount <= charge.limit
        if not admitted:
            done(Held(admitted=False, used=tuple(used)))
            return
        for charge, bucket in zip(charges, buckets, strict=True):
            self._add(charge, bucket, charge.amount)
        done(Held(admitted=True, used=tuple(used), buckets=tuple(buckets)))

    def settle(self, charges: Sequence[Charge], held: Held, amounts: Sequence[int], now: int) -> None:
        """See `QuotaLedger`."""
        for charge, bucket, amount in zip(charges, held.buckets, amounts, strict=True):
            more = amount - charge.amount
            counter = self._counters.get(charge.counter) or self._new(charge.counter, now)
            present = counter.present(now // charge.width, charge.span)
            if more > 0:
                self._add(charge, present, more)
            elif more < 0 and bucket in counter.buckets:
                counter.buckets[bucket] = max(0, counter.buckets[bucket] + more)

    def used(self, charges: Sequence[Charge], now: int) -> list[int]:
        """See `QuotaLedger`."""
        found = []
        for charge in charges:
            counter = self._counters.get(charge.counter)
            bucket = max(now // charge.width, counter.newest if counter is not None else 0)
            buckets = dict(counter.buckets) if counter is not None else {}
            found.append(sum(amount for one, amount in buckets.items() if one > bucket - charge.span))
        return found

    def close(self) -> None:
        """See `QuotaLedger`."""

    def _add(self, charge: Charge, bucket: int, amount: int) -> None:
        counter = self._counters[charge.counter]
        counter.buckets[bucket] = counter.buckets.get(bucket, 0) + amount
        counter.until = max(counter.until, (bucket + charge.span) * charge.width)

    def _new(self, name: bytes, now: int) -> _Counter:
        if len(self._counters) >= self._sweep_at:
            self._counters = {key: one for key, one in self._counters.items() if one.until > now}
            self._sweep_at = max(SWEEP_AT, 2 * len(self._counters))
        counter = self._counters[name] = _Counter()
        return counter
