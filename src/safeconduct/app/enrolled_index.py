"""An index of the names of everybody enrolled, in memory, to search entries of lists in reverse: who could be this entry?

Built whole and never changed afterwards. It scores with the very scorer that screens forward (the enrolled name asks, the entry's name
is listed), so what it finds is what screening each of them again would find; which of all names are scored is chosen by the keys that
both names share. Keeps keys and texts, not names taken apart.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from safeconduct.app.name_index import keys_of, rarity, sums
from safeconduct.identity.screening.comparison import pair_words
from safeconduct.identity.screening.entry import EntryKind, ListEntry, NameKind
from safeconduct.identity.screening.name import Name, analyse
from safeconduct.identity.screening.party import severity
from safeconduct.identity.screening.score import Band, as_score, band_of, log_odds
from safeconduct.identity.screening.weights import Weights

# Two names that share less of the rarer keys of the one that has fewer are never alike enough to be scored (tests hold this
# against screening everybody).
LEAST_SHARED: Final = 0.15
_LEAST_PROMISE: Final = 0.4


class EnrolledParty(NamedTuple):
    """Somebody enrolled: their pseudonym or an organisation's id, and every name they go by."""

    id: str
    names: tuple[str, ...]


class ReverseHit(NamedTuple):
    """party: whose name; entry: whom it could be; band: of the best of their names."""

    party: str
    entry: str
    band: Band


class EnrolledIndex:
    """Names of some parties of one kind. Immutable."""

    def __init__(self, parties: Sequence[EnrolledParty], *, person: bool) -> None:
        self._person: Final = person
        self.parties: Final = tuple(parties)
        numbers: dict[str, int] = {}
        pairs, ends = array("i"), array("q", [0])
        owners, readings = array("i"), array("h")
        texts: list[str] = []
        consonantal = array("b")
        for place, party in enumerate(self.parties):
            for text in party.names:
                for reading, name in enumerate(analyse.__wrapped__(text, person=person)):
                    if not name.parts:
                        continue
                    owners.append(place)
                    readings.append(reading)
                    texts.append(text)
                    consonantal.append(name.consonantal)
                    for key in sorted(set(keys_of(name, consonants=name.consonantal))):
                        pairs.append(numbers.setdefault(key, len(numbers)))
                    ends.append(len(pairs))
        self._texts: Final = texts
        self._owners: Final = owners
        self._readings: Final = readings
        self._numbers: Final = numbers
        rows = len(texts)
        key_of_pair = np.array(pairs, dtype=np.int32)
        row_of_pair = np.repeat(np.arange(rows, dtype=np.int32), np.diff(np.array(ends)))
        found = np.bincount(key_of_pair, minlength=len(numbers))
        weight = np.array([rarity(rows, int(count)) for count in found] or [0], dtype=np.float64)
        is_bone = np.fromiter((key[0] in "~#" for key in numbers), dtype=np.bool_, count=len(numbers))
        self._rows_by_key: Final[NDArray[np.int32]] = row_of_pair[np.argsort(key_of_pair, kind="stable")]
        self._starts: Final[NDArray[np.int64]] = np.concatenate(([0], np.cumsum(found)))
        self._weight: Final[NDArray[np.float64]] = weight
        said = weight[key_of_pair] if rows else np.zeros(0)
        self._norm: Final[NDArray[np.float64]] = sums(row_of_pair, said, rows)
        bones = said * is_bone[key_of_pair] if rows else said
        self._bones: Final[NDArray[np.float64]] = sums(row_of_pair, bones, rows)
        self._consonantal: Final[NDArray[np.bool_]] = np.array(consonantal, dtype=np.bool_)

    def __len__(self) -> int:
        return len(self._texts)

    def near(self, name: Name) -> NDArray[np.int64]:
        """Places of all names that share enough keys with this one."""
        rows = len(self._texts)
        nothing = np.zeros(0, dtype=np.int64)
        if not rows:
            return nothing
        own = bones = 0.0
        unknown = rarity(rows, 1)
        found: list[NDArray[np.int32]] = []
        weights: list[float] = []
        # In one order, so that the sums are the same in every process.
        for key in sorted(set(keys_of(name, consonants=name.consonantal))):
            number = self._numbers.get(key)
            weight = unknown if number is None else float(self._weight[number])
            own += weight
            bones += weight if key[0] in "~#" else 0.0
            if number is not None:
                found.append(self._rows_by_key[self._starts[number] : self._starts[number + 1]])
                weights.append(weight)
        if not found:
            return nothing
        shared = np.bincount(
            np.concatenate(found),
            np.repeat(np.array(weights), [len(places) for places in found]),
            minlength=rows,
        )
        # A name without vowels has only its consonants to share.
        theirs = self._bones if name.consonantal else self._norm
        mine = np.where(self._consonantal, bones, own)
        return np.flatnonzero(shared >= LEAST_SHARED * np.minimum(theirs, mine).clip(min=1.0))

    def search(self, entries: Iterable[ListEntry], weights: Weights) -> list[ReverseHit]:
        """Every party and entry whose best names come to review or block, in the order of the parties."""
        asked: list[tuple[ListEntry, NameKind, Name]] = [
            (entry, listed.kind, name)
            for entry in entries
            if self._person == (entry.kind is EntryKind.PERSON) or entry.kind is EntryKind.UNKNOWN
            for listed in entry.names
            for name in analyse.__wrapped__(listed.text, person=self._person)
            if name.parts
        ]
        near = [self.near(name) for _, _, name in asked]
        if not near:
            return []
        rows = np.concatenate(near)
        questions = np.repeat(np.arange(len(near)), [len(each) for each in near])
        # Party by party, so that each name is taken apart once.
        order = np.lexsort((questions, rows))
        best: dict[tuple[int, str], Band] = {}
        last, query = -1, None
        for row, number in zip(rows[order].tolist(), questions[order].tolist(), strict=True):
            if row != last:
                query = analyse.__wrapped__(self._texts[row], person=self._person)[self._readings[row]]
                last = row
            assert query is not None
            entry, kind, name = asked[number]
            key = (self._owners[row], entry.id)
            band = best.get(key)
            if band is Band.BLOCK or pair_words(query, name).promise < _LEAST_PROMISE:
                continue
            found = band_of(as_score(log_odds(query, name, kind, weights)), query, weights.bands)
            if found is not Band.CLEAR and (band is None or severity(found) > severity(band)):
                best[key] = found
        return [ReverseHit(self.parties[place].id, entry, band) for (place, entry), band in best.items()]
