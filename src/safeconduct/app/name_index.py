"""An index of all names of some lists, in memory: which of them could be the name asked about.

Built whole, beside whatever is in force, and never changed afterwards. It finds; it does not judge: what it returns is scored by
`identity.screening`. Keys of a name are its words' sounds, their consonants, and runs of three sounds over the whole name without
spaces, so that a typing error, words written together, another order or another romanisation leave enough of them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from safeconduct.identity.screening.entry import EntryKind, ListEntry, ListedName
from safeconduct.identity.screening.name import Name, PartKind, analyse

# A key that more than this share of all names has finds nothing and costs time; it is used only where there are no others.
COMMON_SHARE: Final = 0.12
_ENOUGH_KEYS: Final = 4
_NAME_SHARE: Final = 0.3
_MINOR: Final = frozenset({PartKind.PARTICLE, PartKind.TITLE})


def keys_of(name: Name, *, consonants: bool) -> Iterator[str]:
    """Keys of a name taken apart. consonants: only those that a script without vowels can give."""
    core = [part for part in name.parts if part.kind not in _MINOR] or list(name.parts)
    for part in core:
        if len(part.skeleton) > 1:
            yield f"~{part.skeleton}"
    bones = "".join(part.skeleton for part in core)
    yield from (f"#{bones[at : at + 3]}" for at in range(len(bones) - 2))
    if consonants:
        return
    heard = "".join(part.sound for part in core)
    yield from (heard[at : at + 3] for at in range(len(heard) - 2))
    if len(heard) < 3:
        yield heard
    for part in core:
        yield f"={part.sound}"
        if part.native:
            yield f"@{part.native}"
    if not name.person and len(core) > 2:
        yield f"={''.join(part.text[0] for part in core)}"


class Row:
    """One name of one entry of one list. names: it taken apart, each way it can be read."""

    __slots__ = ("entry", "listed", "name", "source")

    def __init__(self, source: int, entry: ListEntry, listed: ListedName, name: Name) -> None:
        self.source = source
        self.entry = entry
        self.listed = listed
        self.name = name


def _persons(kind: EntryKind) -> tuple[bool, ...]:
    if kind is EntryKind.PERSON:
        return (True,)
    return (True, False) if kind is EntryKind.UNKNOWN else (False,)


class NameIndex:
    """All names of the given lists. Lists are numbered by their place. Immutable."""

    def __init__(self, lists: Sequence[Iterable[ListEntry]]) -> None:
        rows: list[Row] = []
        numbers: dict[str, int] = {}
        pairs = array("i")
        ends = array("i", [0])
        for source, entries in enumerate(lists):
            for entry in entries:
                for listed in entry.names:
                    for person in _persons(entry.kind):
                        for name in analyse.__wrapped__(listed.text, person=person):
                            if name.parts:
                                rows.append(Row(source, entry, listed, name))
                                for key in sorted(set(keys_of(name, consonants=name.consonantal))):
                                    pairs.append(numbers.setdefault(key, len(numbers)))
                                ends.append(len(pairs))
        self.rows: Final = tuple(rows)
        self._numbers: Final = numbers
        key_of_pair = np.array(pairs, dtype=np.int32)
        row_of_pair = np.repeat(np.arange(len(rows), dtype=np.int32), np.diff(np.array(ends)))
        order = np.argsort(key_of_pair, kind="stable")
        found = np.bincount(key_of_pair, minlength=len(numbers))
        weight = np.log(1 + max(1, len(rows)) / np.maximum(found, 1)).astype(np.float32)
        is_bone = np.fromiter((key[0] in "~#" for key in numbers), dtype=np.bool_, count=len(numbers))
        said = weight[key_of_pair].astype(np.float64)
        self._rows_by_key: Final[NDArray[np.int32]] = row_of_pair[order]
        self._starts: Final[NDArray[np.int64]] = np.concatenate(([0], np.cumsum(found)))
        self._weight: Final[NDArray[np.float32]] = weight
        self._norm: Final[NDArray[np.float64]] = np.bincount(row_of_pair, weights=said, minlength=len(rows))
        self._bones: Final[NDArray[np.float64]] = np.bincount(
            row_of_pair, weights=said * is_bone[key_of_pair], minlength=len(rows)
        )
        for made in (self._rows_by_key, self._starts, self._weight, self._norm, self._bones):
            made.setflags(write=False)

    def candidates(self, name: Name, most: int) -> list[int]:
        """Places of at most so many rows, the most promising first; equal ones in the order of the lists."""
        if not self.rows:
            return []
        own = 0.0
        limit = len(self.rows) * COMMON_SHARE
        unknown = math.log(1 + len(self.rows))
        known: list[tuple[float, int]] = []
        for key in sorted(set(keys_of(name, consonants=name.consonantal))):
            number = self._numbers.get(key)
            if number is None:
                own += unknown
            else:
                weight = float(self._weight[number])
                own += weight
                known.append((-weight, number))
        known.sort()
        found: list[NDArray[np.int32]] = []
        weights: list[float] = []
        for minus, number in known:
            start, end = int(self._starts[number]), int(self._starts[number + 1])
            if end - start > limit and len(found) >= _ENOUGH_KEYS:
                break
            found.append(self._rows_by_key[start:end])
            weights.append(-minus)
        if not found:
            return []
        scores = np.bincount(
            np.concatenate(found),
            weights=np.repeat(np.array(weights), [len(places) for places in found]),
            minlength=len(self.rows),
        )
        scores /= own + _NAME_SHARE * (self._bones if name.consonantal else self._norm)
        if most < len(scores):
            best = np.argpartition(-scores, most)[:most]
            least = scores[best].min()
            best = np.flatnonzero(scores >= least) if least > 0 else np.flatnonzero(scores > 0)
        else:
            best = np.flatnonzero(scores > 0)
        order = np.lexsort((best, -scores[best]))[:most]
        return [int(at) for at in best[order]]
