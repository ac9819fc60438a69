"""What the desk asks of screening, and the development provider that screens nothing and says so.

Owns the port. The development provider is refused by a production profile, where without a real one nothing is screened and
nothing from C2 on is approved.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import msgspec

from safeconduct.identity.screening.result import ScreenedList, ScreeningResult
from safeconduct.kernel.vocabulary import Screening


class ScreenedPerson(msgspec.Struct, frozen=True):
    """Who is searched for. names: as stated and as the documents write them; birth_date: ISO 8601, parts may be `--`."""

    names: tuple[str, ...]
    birth_date: str | None
    countries: tuple[str, ...]
    documents: tuple[tuple[str, str], ...] = ()


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

    def screen(self, person: ScreenedPerson, *, now: int) -> ScreeningResult:
        """The result against named lists. Raises SafeconductError when it cannot tell: never a clear result then."""
        ...


_LIST = b"development list: holds only the names below, of nobody"
POSSIBLE_NAME = "POSSIBLE TESTCASE"
MATCH_NAME = "MATCH TESTCASE"


class DevelopmentScreener:
    """Finds two made-up names and nobody else. For trying the desk out; it knows no list of anybody."""

    name = "development screening (searches no list)"
    development = True

    def screen(self, person: ScreenedPerson, *, now: int) -> ScreeningResult:
        """`possible` and `match` for the two made-up names, else `clear` against a list that says what it is."""
        names = {" ".join(name.upper().split()) for name in person.names}
        result = Screening.CLEAR
        if POSSIBLE_NAME in names:
            result = Screening.POSSIBLE
        if MATCH_NAME in names:
            result = Screening.MATCH
        lists = (ScreenedList(name="development list", sha256=hashlib.sha256(_LIST).hexdigest()),)
        return ScreeningResult(result=result, lists=lists, at=now)
