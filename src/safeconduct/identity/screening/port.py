"""What the desk asks of screening, and the development provider that searches no list and says so.

Owns the port. The development provider stands in while no list is in force, and is refused by a production profile.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

from safeconduct.identity.screening.entry import EntryKind, NameKind
from safeconduct.identity.screening.outcome import Hit, UsedList
from safeconduct.identity.screening.party import PartyHit, PartyScreening, ScreenedParty
from safeconduct.identity.screening.score import Band


class Screener(Protocol):
    """Searches lists for a person. name: shown with results; development: refused in production."""

    @property
    def name(self) -> str:
        """Who answers."""
        ...

    @property
    def development(self) -> bool:
        """It searches no list of anybody."""
        ...

    def screen(self, person: ScreenedParty, *, now: int) -> PartyScreening:
        """What was found, against named lists. Raises SafeconductError when it cannot tell: never a clear result then."""
        ...


_LIST = "development list"
_SHA256 = hashlib.sha256(b"development list: holds only the names below, of nobody").hexdigest()
POSSIBLE_NAME = "POSSIBLE TESTCASE"
MATCH_NAME = "MATCH TESTCASE"
_ENTRIES = {
    POSSIBLE_NAME: ("possible-testcase", Band.REVIEW, 0.8),
    MATCH_NAME: ("match-testcase", Band.BLOCK, 1.0),
}


class DevelopmentScreener:
    """Finds two made-up names and nobody else. For trying the desk out; it knows no list of anybody."""

    name = "development screening (searches no list)"
    development = True

    def screen(self, person: ScreenedParty, *, now: int) -> PartyScreening:
        """Hits in review and in block for the two made-up names, against a list that says what it is."""
        names = {" ".join(name.upper().split()): name for name in person.names}
        return PartyScreening(
            reasons=(),
            hits=tuple(
                PartyHit(
                    hit=Hit(
                        list=_LIST,
                        list_sha256=_SHA256,
                        entry=entry,
                        kind=EntryKind.PERSON,
                        name=name,
                        name_kind=NameKind.PRIMARY,
                        read_as=name.lower(),
                        score=score,
                        band=band,
                    ),
                    asked=names[name],
                    entry_sha256=hashlib.sha256(entry.encode()).hexdigest(),
                )
                for name, (entry, band, score) in _ENTRIES.items()
                if name in names
            ),
            lists=(UsedList(_LIST, _SHA256),),
            scorer=self.name,
            weights="",
            party_sha256=person.digest(),
            at=now,
        )
