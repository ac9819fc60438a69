"""Packed rows that more is added to: what a map of the state is while very many events are folded.

Owns the appending: a new row goes behind all others and only the index is made anew, so nothing already packed is copied
and the rows are never in memory twice. Refuses to be read by anybody but the fold: what it has become is a `Rows`.
"""

from __future__ import annotations

import itertools
from array import array
from bisect import bisect_left
from collections.abc import Callable, Mapping
from typing import Any, Final

from safeconduct.record.rows import GONE, RowCodec, Rows, hash_of, packed

_KNOWN: Final = 200_000
"""Hashes of keys that were not found are kept for when they are put in, up to so many."""
_NEAR: Final = 64


class GrowingRows:
    """Keys and values by key; `take` puts in many at once."""

    __slots__ = ("_data", "_dead", "_hashes", "_known", "_lengths", "_starts", "codec")

    def __init__(self, rows: Rows) -> None:
        """rows: to begin with; they are copied."""
        self.codec: RowCodec = rows.codec
        self._known: dict[Any, int] = {}
        self._begin(rows)

    def _begin(self, rows: Rows) -> None:
        """With these rows, one after the other and nothing between them."""
        self._hashes, self._lengths, self._data = array("Q"), array("I"), bytearray()
        self._dead = 0
        for piece in rows.part(0, len(rows)):
            self._hashes += piece.hashes
            self._lengths += piece.lengths
            self._data += piece.data
        self._starts = array("Q", itertools.accumulate(self._lengths, initial=0))
        self._starts.pop()

    def __len__(self) -> int:
        return len(self._hashes)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        wanted, hashes = hash_of(key), self._hashes
        at = bisect_left(hashes, wanted)
        while at < len(hashes) and hashes[at] == wanted:
            found, value = self._row(at)
            if found == key:
                return value
            at += 1
        if len(self._known) >= _KNOWN:
            self._known = {}
        self._known[key] = wanted
        return default

    def _row(self, at: int) -> tuple[Any, Any]:
        start = self._starts[at]
        return self.codec.decode(memoryview(self._data[start : start + self._lengths[at]]))

    def take(
        self, changes: Mapping[Any, Any], join: Callable[[Any, Any], Any] = lambda _, later: later
    ) -> None:
        """Put in all changes (GONE deletes). join: of the value there is and the one to put in, what is put in."""
        known, keys = self._known.get, list(changes)
        wanted_by = [known(key) or hash_of(key) for key in keys]
        order = sorted(range(len(keys)), key=wanted_by.__getitem__)
        self._known = {}
        found = (
            None if any(value is GONE for value in changes.values()) else self._places(keys, wanted_by, order)
        )
        if found is None:
            self._rebuild({key: self._joined(key, value, join) for key, value in changes.items()})
            return
        places, old = found
        end = len(self._data)
        lengths = self._encode(changes, old, join)
        starts = array("Q", itertools.accumulate(lengths, initial=end))
        for place, at in old.values():
            # The same hash in the same place: only where the row lies is another now.
            self._dead += self._lengths[at]
            self._lengths[at], self._starts[at] = lengths[place], starts[place]
        if old:
            order = [place for place in order if keys[place] not in old]
        self._enter(order, places, wanted_by, lengths, starts)
        if self._dead * 2 > len(self._data):
            self._rebuild({})

    def _joined(self, key: Any, value: Any, join: Callable[[Any, Any], Any]) -> Any:
        if value is GONE or (known := self.get(key, GONE)) is GONE:
            return value
        return join(known, value)

    def _places(
        self, keys: list[Any], wanted_by: list[int], order: list[int]
    ) -> tuple[list[int], dict[Any, tuple[int, int]]] | None:
        """Before which row each new key goes, in the given order; and of the keys here already, their place among `keys` and
        their position. None when two keys have one hash.
        """
        present, count, at, last = self._hashes, len(self._hashes), 0, -1
        places: list[int] = []
        old: dict[Any, tuple[int, int]] = {}
        for place in order:
            wanted = wanted_by[place]
            if wanted == last:
                return None
            last = wanted
            # The next one is nearly always near.
            near = at + _NEAR
            at = bisect_left(present, wanted, at, min(count, near))
            if at == near:
                at = bisect_left(present, wanted, at)
            if at < count and present[at] == wanted:
                key = keys[place]
                if self._row(at)[0] != key or (at + 1 < count and present[at + 1] == wanted):
                    return None
                old[key] = place, at
            else:
                places.append(at)
        return places, old

    def _encode(
        self, changes: Mapping[Any, Any], old: Mapping[Any, tuple[int, int]], join: Callable[[Any, Any], Any]
    ) -> array[int]:
        """Put the rows behind all others, and say how long each is.

        In the order in which the values were made: they lie so in memory, and in any other order this takes twice as long.
        """
        encode, data, lengths = self.codec.encode, self._data, array("I")
        for key, value in changes.items():
            if old and key in old:
                row = encode(key, join(self._row(old[key][1])[1], value))
            else:
                row = encode(key, value)
            lengths.append(len(row))
            data += row
        return lengths

    def _enter(
        self,
        order: list[int],
        places: list[int],
        wanted_by: list[int],
        lengths: array[int],
        starts: array[int],
    ) -> None:
        """Merge the new rows, ascending by hash in `order`, into the index, each before the row that `places` says."""
        present, old_lengths, old_starts = self._hashes, self._lengths, self._starts
        if not present:
            self._hashes = array("Q", [wanted_by[place] for place in order])
            self._lengths = array("I", [lengths[place] for place in order])
            self._starts = array("Q", [starts[place] for place in order])
            return
        merged, merged_lengths, merged_starts = array("Q"), array("I"), array("Q")
        begun = 0
        for place, at in zip(order, places, strict=True):
            if begun < at:
                merged += present[begun:at]
                merged_lengths += old_lengths[begun:at]
                merged_starts += old_starts[begun:at]
                begun = at
            merged.append(wanted_by[place])
            merged_lengths.append(lengths[place])
            merged_starts.append(starts[place])
        merged += present[begun:]
        merged_lengths += old_lengths[begun:]
        merged_starts += old_starts[begun:]
        self._hashes, self._lengths, self._starts = merged, merged_lengths, merged_starts

    def _rebuild(self, changes: Mapping[Any, Any]) -> None:
        """All rows anew, one after the other, with changes made: the slow way, which everything can go."""
        self._begin(packed(self.codec, self._rows().merged(changes)))

    def _rows(self) -> Rows:
        return Rows(self.codec, self._hashes, self._lengths, self._data, self._starts)

    def finished(self) -> Rows:
        """What it has become. Nothing may be put in afterwards."""
        if self._dead * 8 > len(self._data):
            self._rebuild({})
        rows = self._rows()
        self._hashes, self._lengths, self._starts, self._data = (
            array("Q"),
            array("I"),
            array("Q"),
            bytearray(),
        )
        return rows
