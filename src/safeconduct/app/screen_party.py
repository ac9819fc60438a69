"""Screen a person or an organisation under every name against the lists in force: the real provider behind the desk's `Screener` port.

The same data, lists and weights give the same hits in every process. Refuses to be clear against a list that is past its age, cannot be
read, or is not there.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from safeconduct.app.screen_name import NameLists, NameScreener, NameToScreen
from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.folding import LONGEST
from safeconduct.identity.screening.outcome import Hit
from safeconduct.identity.screening.party import (
    PartyHit,
    PartyScreening,
    ScreenedParty,
    entry_digest,
    severity,
)
from safeconduct.identity.screening.weights import SCORER

_COUNTRY: Final = re.compile(r"[A-Z]{2}")
_BORN: Final = re.compile(r"\d{4}(?:-(?:0[1-9]|1[0-2])(?:-(?:0[1-9]|[12]\d|3[01]))?)?")
_MOST: Final = 50
NAMELESS: Final = "there is no name to search for"


def asked_of(party: ScreenedParty, kind: str) -> list[NameToScreen]:
    """One question per name, in the order of the names. kind: `person` or `organisation`."""
    born = _BORN.match(party.birth_date or "")
    return [
        NameToScreen(
            name=name[:LONGEST],
            kind=kind,
            born=born.group() if born is not None else None,
            countries=tuple(one for one in party.countries if _COUNTRY.fullmatch(one))[:_MOST],
            identifiers=tuple(number[:200] for _, number in party.documents)[:_MOST],
        )
        for name in dict.fromkeys(party.names)
        if any(letter.isalnum() for letter in name[:LONGEST])
    ]


def screen_party(
    lists: NameLists,
    party: ScreenedParty,
    *,
    kind: str,
    at: int,
    unusable: dict[str, str] | None = None,
    list_change: bool = False,
) -> PartyScreening:
    """All hits of all names, each entry once under the name that fits best. None is left out: whoever clears must see them all."""
    best: dict[tuple[str, str], tuple[tuple[int, float], Hit, ListEntry, str]] = {}
    questions = asked_of(party, kind)
    for asked in questions:
        for hit, entry in lists.hits(asked, explained=True):
            rank = (severity(hit.band), hit.score)
            known = best.get((hit.list, hit.entry))
            if known is None or rank > known[0]:
                best[hit.list, hit.entry] = (rank, hit, entry, asked.name)
    used, reasons = lists.used(unusable)
    ordered = sorted(best.values(), key=lambda one: (-one[0][0], -one[0][1], one[1].list, one[1].entry))
    return PartyScreening(
        reasons=reasons if questions else (*reasons, NAMELESS),
        hits=tuple(
            PartyHit(
                hit=hit,
                asked=name,
                entry_sha256=entry_digest(entry),
                born=tuple(
                    one.first if one.first == one.last else f"{one.first}/{one.last}"
                    for one in entry.birth_dates
                ),
                countries=entry.countries,
            )
            for _, hit, entry, name in ordered
        ),
        lists=used,
        scorer=SCORER,
        weights=lists.weights.digest(),
        party_sha256=party.digest(),
        at=at,
        list_change=list_change,
    )


class ListScreener:
    """Implements `Screener` on the lists in force."""

    name = "lists in force"
    development = False

    def __init__(self, names: NameScreener) -> None:
        self.names: Final = names

    def screen(self, person: ScreenedParty, *, now: int) -> PartyScreening:
        """A person against what is in force now."""
        return self.screen_as(person, "person", now=now)

    def screen_as(
        self, party: ScreenedParty, kind: str, *, now: int, list_change: bool = False
    ) -> PartyScreening:
        """A person or an organisation against what is in force now."""
        lists, unusable = self.names.in_force()
        return screen_party(lists, party, kind=kind, at=now, unusable=unusable, list_change=list_change)


def again(screening: PartyScreening, lists: NameLists, party: ScreenedParty, *, kind: str) -> PartyScreening:
    """The same screening run again from the versions it names: what it was, when everything is still there and unchanged."""
    return msgspec.structs.replace(
        screen_party(
            lists,
            party,
            kind=kind,
            at=screening.at,
            unusable={one.name: one.unusable for one in screening.lists if one.unusable},
        ),
        list_change=screening.list_change,
    )
