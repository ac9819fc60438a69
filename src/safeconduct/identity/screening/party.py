"""Screening of a whole person or organisation under all their names, and what a human has cleared of it.

Pure. Owns that a pair of a party and an entry stays cleared only while neither side has changed, and that nothing but a rationale of a
human makes a hit stop counting. A list that cannot clear anybody cannot be cleared away.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection

import msgspec

from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.outcome import Hit, UsedList
from safeconduct.identity.screening.result import ScreenedList, ScreeningResult
from safeconduct.identity.screening.score import Band
from safeconduct.kernel.vocabulary import Screening

_encode = msgspec.json.Encoder(order="sorted").encode
_SEVERITY = {Band.CLEAR: 0, Band.REVIEW: 1, Band.BLOCK: 2}
_RESULT = {Band.CLEAR: Screening.CLEAR, Band.REVIEW: Screening.POSSIBLE, Band.BLOCK: Screening.MATCH}


class ScreenedParty(msgspec.Struct, frozen=True):
    """Who is searched for. names: as stated, as documents and registers write them. birth_date: ISO 8601, parts may be `--`.

    countries: ISO 3166-1 alpha-2. documents: issuer and number of each.
    """

    names: tuple[str, ...]
    birth_date: str | None = None
    countries: tuple[str, ...] = ()
    documents: tuple[tuple[str, str], ...] = ()

    def digest(self) -> str:
        """SHA-256 (hex) of everything that is searched for, whatever its order. It tells whether the party's data changed."""
        one = ScreenedParty(
            tuple(sorted(set(self.names))),
            self.birth_date,
            tuple(sorted(set(self.countries))),
            tuple(sorted(set(self.documents))),
        )
        return hashlib.sha256(_encode(one)).hexdigest()


def entry_digest(entry: ListEntry) -> str:
    """SHA-256 (hex) of an entry as it was read: the same in another version unless the entry changed."""
    return hashlib.sha256(_encode(entry)).hexdigest()


class PartyHit(msgspec.Struct, frozen=True):
    """An entry that the party could be. asked: the party's name that fits best. entry_sha256: of the entry as it then was.

    born, countries: what the list knows of the entry, for whoever compares.
    """

    hit: Hit
    asked: str
    entry_sha256: str
    born: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()

    @property
    def pair(self) -> tuple[str, str]:
        """List and entry."""
        return self.hit.list, self.hit.entry


class PartyScreening(msgspec.Struct, frozen=True):
    """A party against the lists in force, with everything needed to run it again to the same result.

    reasons: why nobody is clear against these lists (a list past its age, at fault, or none). scorer, weights: what scored (its name,
    SHA-256 of the weights). party_sha256: of the party's data as they were. at: seconds. list_change: a list's version asked for it.
    """

    reasons: tuple[str, ...]
    hits: tuple[PartyHit, ...]
    lists: tuple[UsedList, ...]
    scorer: str
    weights: str
    party_sha256: str
    at: int
    list_change: bool = False

    @property
    def band(self) -> Band:
        """Of the best hit; never clear while a list cannot clear anybody."""
        least = Band.REVIEW if self.reasons or self.hits else Band.CLEAR
        return max((least, *(one.hit.band for one in self.hits)), key=_SEVERITY.__getitem__)

    def result(self) -> ScreeningResult:
        """As evidence states it, whatever has been cleared."""
        return self.result_of(self.band)

    def result_of(self, band: Band) -> ScreeningResult:
        """With another band, as when hits were cleared."""
        used = tuple(ScreenedList(one.name, one.sha256) for one in self.lists)
        return ScreeningResult(_RESULT[band], used, self.at)


class ClearedPair(msgspec.Struct, frozen=True):
    """A human's finding that this party is not whom this entry means. Both digests bind it to what was compared.

    band, score: of the hit that was cleared. by: the reviewer's key. at: seconds.
    """

    list: str
    entry: str
    entry_sha256: str
    party_sha256: str
    band: Band
    score: float
    by: str
    rationale: str
    at: int

    def covers(self, hit: PartyHit, party_sha256: str) -> bool:
        """The very pair that was cleared, and neither side has changed, nor became likelier than was looked at."""
        return (
            (self.list, self.entry) == hit.pair
            and self.entry_sha256 == hit.entry_sha256
            and self.party_sha256 == party_sha256
            and _SEVERITY[hit.hit.band] <= _SEVERITY[self.band]
        )


def open_hits(screening: PartyScreening, cleared: Collection[ClearedPair]) -> tuple[PartyHit, ...]:
    """Hits that nobody has cleared, or whose clearance no longer holds."""
    return tuple(
        hit for hit in screening.hits if not any(one.covers(hit, screening.party_sha256) for one in cleared)
    )


def standing_band(screening: PartyScreening, cleared: Collection[ClearedPair]) -> Band:
    """The band that is left when what was cleared no longer counts."""
    return msgspec.structs.replace(screening, hits=open_hits(screening, cleared)).band


def standing_result(screening: PartyScreening, cleared: Collection[ClearedPair]) -> ScreeningResult:
    """The result that is left when what was cleared no longer counts."""
    return screening.result_of(standing_band(screening, cleared))


def severity(band: Band) -> int:
    """Higher is worse."""
    return _SEVERITY[band]
