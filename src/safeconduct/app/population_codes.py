"""Arrays of small numbers that stand for what people have in common. Needs numpy, and is imported by nothing that serves.

Owns the arithmetic: two columns become one whose numbers tell every pair apart. No hashing: equal numbers mean equal pairs.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

Column = npt.NDArray[Any]

_DENSE: Final = 1 << 22
"""Up to so many possible pairs a table renumbers them; beyond, sorting does."""


class Coded:
    """A column of numbers 0 to `count` - 1."""

    __slots__ = ("codes", "count")

    def __init__(self, codes: Column, count: int) -> None:
        self.codes = codes
        self.count = count

    def __and__(self, other: Coded) -> Coded:
        """Pairs of this and the other, numbered anew without gaps."""
        if other.count <= 1:
            return self
        if self.count <= 1:
            return other
        bound = self.count * other.count
        # Half the bytes to move where the numbers allow it.
        pairs: Column = self.codes.astype(np.int32 if bound < 1 << 31 else np.int64) * other.count
        np.add(pairs, other.codes, out=pairs, casting="unsafe")
        return renumbered(pairs, bound)

    def taken(self, places: Column) -> Coded:
        """The column at these places."""
        return Coded(self.codes[places], self.count)


def renumbered(codes: Column, bound: int) -> Coded:
    """Numbers below `bound`, numbered anew without gaps."""
    if bound <= _DENSE:
        used = np.zeros(bound, dtype=bool)
        used[codes] = True
        table = np.cumsum(used, dtype=np.int32) - 1
        return Coded(table[codes], int(table[-1]) + 1 if bound else 0)
    values, found = np.unique(codes, return_inverse=True)
    return Coded(found.astype(np.int32), len(values))


def flags(values: Column) -> Coded:
    """A column of true and false."""
    return Coded(values.astype(np.int8), 2)


def same(length: int) -> Coded:
    """A column in which all are alike."""
    return Coded(np.zeros(length, dtype=np.int8), 1)


def in_force(begins: Column, ends: Column, at: int) -> Coded:
    """Whether `at` lies in [begin, end)."""
    return flags((begins <= at) & (at < ends))


def ended(ends: Column, at: int) -> Coded:
    """0: no end is set (-1); 1: it has ended; 2: it will."""
    return Coded(np.where(ends < 0, 0, np.where(ends <= at, 1, 2)).astype(np.int8), 3)


def sequences(starts: Column, entries: Coded) -> Coded:
    """A number for each row's sequence of entries. starts: of each row within the entries, and their end (one more)."""
    begins, lengths = starts[:-1], np.diff(starts)
    codes = np.zeros(len(begins), dtype=np.int64)
    count, place = 1, 0
    rows = np.flatnonzero(lengths > 0)
    while len(rows):
        longer = Coded(codes[rows], count) & entries.taken(begins[rows] + place)
        # Beyond all numbers so far: a sequence that ends here is told from one that goes on.
        codes[rows] = longer.codes.astype(np.int64) + count
        count += longer.count
        place += 1
        rows = rows[lengths[rows] > place]
    return renumbered(codes, count)


def ranges(owners: Column, rows: int) -> Column:
    """Where each row's entries begin (and the last ends), for ascending `owners`."""
    return np.searchsorted(owners, np.arange(rows + 1))


def firsts(codes: Coded) -> Column:
    """The first row of each number."""
    found = np.zeros(codes.count, dtype=np.int64)
    found[codes.codes[::-1]] = np.arange(len(codes.codes) - 1, -1, -1)
    return found
