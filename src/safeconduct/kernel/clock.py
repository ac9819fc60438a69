"""The only place that reads a clock. Everything else takes time as an argument or a `Clock`.

Unit: `now()` is wall time in seconds since 1970-01-01T00:00:00Z (RFC 7519 NumericDate, with a fraction);
`monotonic()` is seconds on a clock that never steps. Stored instants are whole seconds unless a name says `_ms`.
"""

from __future__ import annotations

import datetime as _dt
import threading
import time
from collections.abc import Callable
from typing import Protocol

# Counts while the machine sleeps, too: a grant does not last longer because a lid was closed.
_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
SLEW = 0.0005
"""Seconds per second by which a steady clock follows its reference (what NTP daemons slew by)."""


class Clock(Protocol):
    """Where a use case gets its time."""

    simulated: bool

    def now(self) -> float:
        """Wall time, seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; staleness budgets and timeouts use this one."""
        ...


class SystemClock:
    """The machine's clock."""

    simulated = False

    def now(self) -> float:
        """Wall time, seconds since the epoch."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; the same for all processes of the machine."""
        return time.clock_gettime(_STEADY)


class SteadyClock:
    """Wall time that a jump of the machine's clock cannot move, forwards or backwards.

    It starts at its reference and from then on counts seconds of the steady clock, following the reference by at most 500
    ppm. So a jump neither brings an expired grant back nor ends an order early; a slow correction is taken over.
    reference: the wall clock that is followed. A clock that was wrong at the start stays wrong until a restart: `drift`
    says by how much. Thread-safe.
    """

    simulated = False

    def __init__(
        self,
        reference: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = lambda: time.clock_gettime(_STEADY),
    ) -> None:
        self._reference = reference
        self._monotonic = monotonic
        self._lock = threading.Lock()
        # (steady instant, wall time at it, how far the reference was ahead then): replaced as one.
        self._base = (monotonic(), reference(), 0.0)

    def now(self) -> float:
        """Wall time, seconds since the epoch; never less than before."""
        base = self._base
        passed = self._monotonic() - base[0]
        if passed >= 1.0:
            # The reference is asked once a second: this is on the path of every request.
            base, passed = self._follow()
        return _wall(base, max(0.0, passed))

    def _follow(self) -> tuple[tuple[float, float, float], float]:
        with self._lock:
            at = self._monotonic()
            if at - self._base[0] >= 1.0:
                wall = _wall(self._base, at - self._base[0])
                self._base = (at, wall, self._reference() - wall)
            return self._base, at - self._base[0]

    def monotonic(self) -> float:
        """Seconds on a clock that never steps; the same for all processes of the machine."""
        return self._monotonic()

    @property
    def drift(self) -> float:
        """Seconds by which the reference is ahead of this clock."""
        return self._reference() - self.now()


def _wall(base: tuple[float, float, float], passed: float) -> float:
    _, wall, ahead = base
    most = passed * SLEW
    return wall + passed + min(most, max(-most, ahead))


class SimulatedClock:
    """A wall clock that a story sets and that only moves forward; monotonic time stays real.

    A production profile refuses it. Between two settings it stands still.
    """

    simulated = True

    def __init__(self, start: float) -> None:
        self._now = start

    def now(self) -> float:
        """The wall time that was set last."""
        return self._now

    def monotonic(self) -> float:
        """Real monotonic seconds."""
        return time.clock_gettime(_STEADY)

    def move_to(self, instant: float) -> None:
        """Set the wall time. Raises ValueError when `instant` lies before the present one."""
        if instant < self._now:
            raise ValueError(f"a clock only moves forward: {instant} < {self._now}")
        self._now = instant


def parse_instant(text: str) -> int:
    """Whole seconds since the epoch from RFC 3339 text with an offset, or from a plain date (00:00 UTC).

    Raises ValueError when the text is neither.
    """
    if len(text) == 10:
        day = _dt.date.fromisoformat(text)
        return int(_dt.datetime(day.year, day.month, day.day, tzinfo=_dt.UTC).timestamp())
    moment = _dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no offset: write Z for UTC")
    return int(moment.timestamp())


def format_instant(instant: float) -> str:
    """RFC 3339 text in UTC, whole seconds, `Z`."""
    return _dt.datetime.fromtimestamp(int(instant), tz=_dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
