"""What screening one name against some lists found: hits with bands, and everything needed to run it again to the same result."""

from __future__ import annotations

import msgspec

from safeconduct.identity.screening.entry import EntryKind, NameKind
from safeconduct.identity.screening.result import ScreenedList, ScreeningResult
from safeconduct.identity.screening.score import Band, Shift, Term, WordMatch
from safeconduct.kernel.vocabulary import Screening


class Explanation(msgspec.Struct, frozen=True):
    """Why a hit has its score: its log-odds are bias minus the effects of terms; shifts moved it inside its band."""

    bias: float
    terms: tuple[Term, ...]
    words: tuple[WordMatch, ...]
    shifts: tuple[Shift, ...]


class Hit(msgspec.Struct, frozen=True, omit_defaults=True):
    """An entry that the name could be. list_sha256: the version of the list. name: the entry's name that fits best.

    read_as: how the name asked about was read in Latin letters. score: 0 to 1, after shifts.
    """

    list: str
    list_sha256: str
    entry: str
    kind: EntryKind
    name: str
    name_kind: NameKind
    read_as: str
    score: float
    band: Band
    programmes: tuple[str, ...] = ()
    explanation: Explanation | None = None


class UsedList(msgspec.Struct, frozen=True):
    """A list that was in force. unusable: why it cannot show that somebody is not listed (past its age, faulty), or ""."""

    name: str
    sha256: str
    unusable: str = ""


class NameScreening(msgspec.Struct, frozen=True):
    """One name against the lists in force.

    band: of the best hit; never `clear` while a list is unusable or none is in force: `reasons` says which. scorer, weights: what
    scored (name, and SHA-256 of the weights). at: seconds since the epoch.
    """

    name: str
    band: Band
    reasons: tuple[str, ...]
    hits: tuple[Hit, ...]
    lists: tuple[UsedList, ...]
    scorer: str
    weights: str
    at: int

    def result(self) -> ScreeningResult:
        """As evidence states it. A hit in `block` is a match until a human decides; review is possible."""
        outcome = {Band.CLEAR: Screening.CLEAR, Band.REVIEW: Screening.POSSIBLE, Band.BLOCK: Screening.MATCH}
        used = tuple(ScreenedList(one.name, one.sha256) for one in self.lists)
        return ScreeningResult(outcome[self.band], used, self.at)
