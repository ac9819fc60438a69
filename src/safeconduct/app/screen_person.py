"""A person of the desk against the screening lists in force: every name of theirs, and the worst answer counts.

Owns the choice: as soon as one list is in force, lists are what screens. Without any, a development profile has a provider that searches
nothing and says so; production finds nobody clear.
"""

from __future__ import annotations

from typing import Final

from safeconduct.app.ports import Caller, Instance
from safeconduct.app.screen_name import NameScreener, NameToScreen, ScreenNames
from safeconduct.identity.screening.port import DevelopmentScreener, ScreenedPerson
from safeconduct.identity.screening.result import ScreenedList, ScreeningResult
from safeconduct.kernel.vocabulary import Role, Screening

# The desk asks in its own name: whose case it is was settled before.
_DESK: Final = Caller(role=Role.ADJUDICATOR, party="kyc-desk", id="kyc-desk")
_WORST: Final = (Screening.MATCH, Screening.POSSIBLE, Screening.NONE, Screening.CLEAR)


class PersonScreener:
    """Implements `identity.screening.port.Screener`. names: the lists in force, indexed."""

    def __init__(self, instance: Instance, names: NameScreener) -> None:
        self._instance = instance
        self._names = names
        self._stand_in = DevelopmentScreener() if instance.profile == "development" else None

    @property
    def development(self) -> bool:
        """The stand-in would answer."""
        return self._stand_in is not None and not self._instance.record.state.screening_lists

    @property
    def name(self) -> str:
        """Who answers."""
        return self._stand_in.name if self.development and self._stand_in is not None else "lists in force"

    def screen(self, person: ScreenedPerson, *, now: int) -> ScreeningResult:
        """The worst of what the person's names come to, against every list that was searched. Raises SafeconductError."""
        if self.development and self._stand_in is not None:
            return self._stand_in.screen(person, now=now)
        if not person.names:
            return ScreeningResult(result=Screening.NONE, lists=(), at=now)
        asked = tuple(
            NameToScreen(
                name=name,
                kind="person",
                born=_born(person.birth_date),
                countries=person.countries,
                identifiers=tuple(number for _, number in person.documents),
            )
            for name in person.names
        )
        found = [one.result() for one in self._names.screen(_DESK, ScreenNames(names=asked))]
        searched: dict[tuple[str, str], ScreenedList] = {
            (entry.name, entry.sha256): entry for one in found for entry in one.lists
        }
        worst = min((one.result for one in found), key=_WORST.index)
        return ScreeningResult(result=worst, lists=tuple(searched[key] for key in sorted(searched)), at=now)


def _born(text: str | None) -> str | None:
    """A date as far as it is known: a document may leave out day, month or all of it."""
    if text is None:
        return None
    known = text.split("--", maxsplit=1)[0].rstrip("-")
    return known if known[:1].isdigit() else None
