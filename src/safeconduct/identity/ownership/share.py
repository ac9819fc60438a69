"""Shares as whole numbers: what is known of a percentage, from below and from above.

Owns reading and writing of percentages. Refuses floating point: half a unit decides whether somebody is blocked.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from safeconduct.kernel.errors import InvalidInput

UNITS: Final = 10_000
"""Units in one per cent."""
WHOLE: Final = 100 * UNITS

_NUMBER: Final = r"(\d{1,3})(?:\.(\d{1,30}))?"
_ONE: Final = re.compile(rf"{_NUMBER}\s*%?", re.ASCII)
_RANGE: Final = re.compile(rf"(>?)\s*{_NUMBER}\s*%?\s*\.\.\s*(<?)\s*{_NUMBER}\s*%?", re.ASCII)
_FRACTION: Final = re.compile(r"(\d{1,12})/(\d{1,12})", re.ASCII)
_REMEDY: Final = 'write "25", "33.3333", "1/3", "25..50", ">25..50" or "unknown"'


class Share(msgspec.Struct, frozen=True, gc=False):
    """A percentage in units of 1/10,000 of a per cent, at least `low` and at most `high`; equal when it is known."""

    low: int
    high: int

    def __str__(self) -> str:
        if self.low == self.high:
            return percent(self.low)
        if (self.low, self.high) == (0, WHOLE):
            return "unknown"
        return f"{percent(self.low)[:-2]} to {percent(self.high)}"


UNKNOWN: Final = Share(0, WHOLE)
NONE: Final = Share(0, 0)


def percent(units: int) -> str:
    """Units as text, exactly: `33.3333 %`."""
    whole, rest = divmod(units, UNITS)
    return f"{whole}.{rest:04d}".rstrip("0").rstrip(".") + " %"


def _units(whole: str, decimals: str | None, *, up: bool) -> int:
    digits = decimals or ""
    units = int(whole) * UNITS + int(digits[:4].ljust(4, "0"))
    return units + 1 if up and digits[4:].strip("0") else units


def read_share(text: str, field: str = "percent") -> Share:
    """Read a percentage: a number, a range (`25..50`; `>25..50` leaves 25 itself out), a fraction, or `unknown`.

    What does not fit 1/10,000 of a per cent becomes bounds: `1/3` is 33.3333 to 33.3334 %. Raises InvalidInput.
    """
    text = text.strip()
    if text.lower() in {"unknown", "?"}:
        return UNKNOWN
    if found := _ONE.fullmatch(text):
        share = Share(_units(*found.groups(), up=False), _units(*found.groups(), up=True))
    elif found := _RANGE.fullmatch(text):
        over, low, low_part, under, high, high_part = found.groups()
        least = _units(low, low_part, up=False) + (1 if over else 0)
        share = Share(least, _units(high, high_part, up=True) - (1 if under else 0))
    elif (found := _FRACTION.fullmatch(text)) and int(found[2]):
        low_units, rest = divmod(int(found[1]) * WHOLE, int(found[2]))
        share = Share(low_units, low_units + bool(rest))
    else:
        raise InvalidInput(f"{text[:40]!r} is not a percentage", field=field, remedy=_REMEDY)
    if not 0 <= share.low <= share.high <= WHOLE:
        raise InvalidInput(
            f"{text[:40]!r} is not between 0 and 100, from low to high", field=field, remedy=_REMEDY
        )
    return share
