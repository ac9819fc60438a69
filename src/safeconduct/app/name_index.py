"""An index of all names of some lists, in memory: which of them could be the name asked about.

Built whole, beside whatever is in force, and never changed afterwards. It finds; it does not judge: what it returns is scored by
`identity.screening`. Keys of a name are its words' sounds, their consonants, and runs of three sounds over the whole name without
spaces, so that a typing error, words written together, another order or another romanisation leave enough of them.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from safeconduct.identity.screening.comparison import pair_words
from safeconduct.identity.screening.entry import EntryKind, ListedName, ListEntry
from safeconduct.identity.screening.name import Name, PartKind, analyse
from safeconduct.identity.screening.score import log_odds
from safeconduct.identity.screening.sound import sound
from safeconduct.identity.screening.weights import Weights

# A key that more than this share of all names has finds nothing and costs time; it is used only where there are no others.
COMMON_SHARE: Final = 0.12
_ENOUGH_KEYS: Final = 4
_NAME_SHARE: Final = 0.3
# Names that explain less of each other than this are never alike enough to be looked at.
_LEAST_PROMISE: Final = 0.4
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
    if len(name.initials) > 2:
        yield f"={sound(name.initials)}"
        yield f"={sound(name.initials[:-1])}"


def rarity(rows: int, found: int) -> int:
    """What a key says that so many of all rows have; whole numbers, the same on every machine."""
    return round(256 * math.log(1 + rows / max(1, found)))


def sums(places: NDArray[np.int32], weights: NDArray[np.float64], minlength: int) -> NDArray[np.float64]:
    """Sum of the weights of each place."""
    return np.bincount(places, weights=weights, minlength=minlength).astype(np.float64, copy=False)


class Row:
    """One name of one entry of one list. names: it taken apart, each way it can be read."""

    __slots__ = ("entry", "listed", "name", "source")

    def __init__(self, source: int, entry: ListEntry, listed: ListedName, name: Name) -> None:
        self.source = source
        self.entry = entry
        self.listed = listed
        self.name = name


class Found(NamedTuple):
    """A row that was scored. z: log-odds of the name as it was read best."""

    row: Row
    query: Name
    z: float


class NameIndex:
    """All names of the given lists. Lists are numbered by their place. Immutable."""

    def __init__(self, lists: Sequence[Iterable[ListEntry]], *, person: bool) -> None:
        """person: the names of persons, taken apart as such; else those of everything else. UNKNOWN entries are in both."""
        rows: list[Row] = []
        numbers: dict[str, int] = {}
        pairs = array("i")
        ends = array("i", [0])
        for source, entries in enumerate(lists):
            for entry in entries:
                if (entry.kind is EntryKind.PERSON) != person and entry.kind is not EntryKind.UNKNOWN:
                    continue
                for listed in entry.names:
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
        # Whole numbers, so that sums and with them the order of candidates are the same on every machine.
        weight = np.array([rarity(len(rows), int(count)) for count in found] or [0], dtype=np.float32)
        is_bone = np.fromiter((key[0] in "~#" for key in numbers), dtype=np.bool_, count=len(numbers))
        said = weight[key_of_pair].astype(np.float64)
        self._rows_by_key: Final[NDArray[np.int32]] = row_of_pair[order]
        self._starts: Final[NDArray[np.int64]] = np.concatenate(([0], np.cumsum(found)))
        self._weight: Final[NDArray[np.float32]] = weight
        self._norm: Final[NDArray[np.float64]] = sums(row_of_pair, weights=said, minlength=len(rows))
        self._bones: Final[NDArray[np.float64]] = sums(
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
        unknown = rarity(len(self.rows), 1)
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
        scores = sums(
            np.concatenate(found),
            weights=np.repeat(np.array(weights, dtype=np.float64), [len(places) for places in found]),
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

    def search(self, readings: Sequence[Name], weights: Weights, least: float) -> list[Found]:
        """The best row of each entry whose log-odds are at least so much, best first; ties in the order of the lists."""
        best: dict[tuple[int, str], tuple[float, int, Found]] = {}
        for query in readings:
            if not query.parts:
                continue
            for at in self.promising(query, weights):
                row = self.rows[at]
                z = log_odds(query, row.name, row.listed.kind, weights)
                key = (row.source, row.entry.id)
                if z >= least and (key not in best or (-z, at) < best[key][:2]):
                    best[key] = (-z, at, Found(row, query, z))
        return [found for _, _, found in sorted(best.values(), key=lambda one: one[:2])]

    def promising(self, query: Name, weights: Weights) -> list[int]:
        """Of the candidates those whose words explain most of both names."""
        places = self.candidates(query, weights.candidates)
        promises = []
        for place in places:
            promise = pair_words(query, self.rows[place].name).promise
            if promise >= _LEAST_PROMISE:
                promises.append((-promise, place))
        promises.sort()
        return [place for _, place in promises[: weights.compared]]
