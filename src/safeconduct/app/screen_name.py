"""Screen a name against the lists in force.

The indices are made beside whatever answers, when the record puts another version of a list into force, and then swapped in whole. A
name and what is known of its bearer are used for the answer and kept nowhere.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable, Sequence
from typing import Final

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.name_index import Found, NameIndex
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.app.screening_lists import ListStatus, ListStore, list_statuses, settings_of
from safeconduct.identity.screening.canary import ExactNames
from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.folding import LONGEST
from safeconduct.identity.screening.name import analyse
from safeconduct.identity.screening.outcome import Explanation, Hit, NameScreening, UsedList
from safeconduct.identity.screening.score import Band, Facts, as_score, band_of, explain, shifted
from safeconduct.identity.screening.weights import SCORER, Weights, shipped
from safeconduct.kernel.errors import InvalidInput, SafeconductError
from safeconduct.kernel.vocabulary import Role

MOST_NAMES: Final = 500
MOST_HITS: Final = 20
KINDS: Final = ("person", "organisation")
_DATE: Final = re.compile(r"^\d{4}(-(0[1-9]|1[0-2])(-(0[1-9]|[12]\d|3[01]))?)?$")
_COUNTRY: Final = re.compile(r"^[A-Z]{2}$")


class NameToScreen(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A name and what is known of its bearer. kind: `person`, `organisation`, or "" for whichever it is."""

    name: str
    kind: str = ""
    born: str | None = None
    countries: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()


class ScreenNames(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most 500 names. explain: every hit says what its score is made of."""

    names: tuple[NameToScreen, ...]
    explain: bool = False


class LoadedList(msgspec.Struct, frozen=True):
    """A version of a list as it is screened against. unusable: why it cannot clear anybody, or ""."""

    name: str
    sha256: str
    entries: tuple[ListEntry, ...]
    unusable: str = ""


class NameLists:
    """Indices over some versions of lists. Immutable."""

    def __init__(self, lists: Sequence[LoadedList], weights: Weights | None = None) -> None:
        self.lists: Final = tuple(sorted(lists, key=lambda one: one.name))
        self.weights: Final = weights or shipped()
        entries = [one.entries for one in self.lists]
        self._persons: Final = NameIndex(entries, person=True)
        self._others: Final = NameIndex(entries, person=False)

    def screen(
        self, asked: NameToScreen, *, at: int, explained: bool = False, unusable: dict[str, str] | None = None
    ) -> NameScreening:
        """One name; the same name, lists and weights give the same answer in every process. unusable: by list, why it cannot clear
        anybody now, instead of what was known when it was loaded. Raises InvalidInput naming the member.
        """
        hits = [hit for hit, _ in self.hits(asked, explained=explained)]
        used, reasons = self.used(unusable)
        band = Band.CLEAR
        if hits or reasons:
            band = Band.BLOCK if any(hit.band is Band.BLOCK for hit in hits) else Band.REVIEW
        return NameScreening(
            asked.name, band, reasons, tuple(hits[:MOST_HITS]), used, SCORER, self.weights.digest(), at
        )

    def hits(self, asked: NameToScreen, *, explained: bool = False) -> list[tuple[Hit, ListEntry]]:
        """Every hit with its entry, the best first. Raises InvalidInput naming the member."""
        facts = check_name(asked)
        found: list[Found] = []
        for kind, index in zip(KINDS, (self._persons, self._others), strict=True):
            if asked.kind in {"", kind}:
                found += index.search(analyse(asked.name, person=kind == "person"), self.weights, -1.0)
        return sorted(
            (
                (hit, one.row.entry)
                for one in found
                if (hit := self._hit(one, facts, explained=explained)) is not None
            ),
            key=lambda pair: (-pair[0].score, pair[0].list, pair[0].entry),
        )

    def used(self, unusable: dict[str, str] | None = None) -> tuple[tuple[UsedList, ...], tuple[str, ...]]:
        """The lists, and why they clear nobody; no reason when they do. unusable: as `screen` takes it."""
        used = tuple(
            UsedList(one.name, one.sha256, one.unusable if unusable is None else unusable.get(one.name, ""))
            for one in self.lists
        )
        reasons = [f"{one.name}: {one.unusable}" for one in used if one.unusable]
        if not used:
            reasons.append("no list is in force")
        return used, tuple(reasons)

    def _hit(self, found: Found, facts: Facts, *, explained: bool) -> Hit | None:
        row, query = found.row, found.query
        plain = as_score(found.z)
        band = band_of(plain, query, self.weights.bands)
        if band is Band.CLEAR:
            return None
        score, shifts = shifted(plain, query, facts, row.entry, self.weights)
        explanation = None
        if explained:
            made = explain(query, row.name, row.listed.kind, self.weights)
            explanation = Explanation(made.bias, made.terms, made.words, shifts)
        of = self.lists[row.source]
        return Hit(
            list=of.name,
            list_sha256=of.sha256,
            entry=row.entry.id,
            kind=row.entry.kind,
            name=row.listed.text,
            name_kind=row.listed.kind,
            read_as=" ".join(part.text for part in query.parts),
            score=score,
            band=band,
            programmes=row.entry.programmes,
            explanation=explanation,
        )


def check_name(asked: NameToScreen) -> Facts:
    """What is known of the bearer, checked. Raises InvalidInput naming the member."""
    if not any(letter.isalnum() for letter in asked.name):
        raise InvalidInput("a name has at least one letter", field="name")
    if len(asked.name) > LONGEST:
        raise InvalidInput(f"{len(asked.name):,} characters (at most {LONGEST:,})", field="name")
    if asked.kind not in {"", *KINDS}:
        raise InvalidInput(
            "unknown kind", field="kind", remedy=f"one of: {', '.join(KINDS)}, or leave it out"
        )
    if asked.born is not None and not _DATE.match(asked.born):
        raise InvalidInput("not a date", field="born", remedy="YYYY, YYYY-MM or YYYY-MM-DD")
    for country in asked.countries:
        if not _COUNTRY.match(country):
            raise InvalidInput(
                "not a country's code", field="countries", remedy="two capital letters of ISO 3166-1, e.g. KP"
            )
    if (
        len(asked.countries) > 50
        or len(asked.identifiers) > 50
        or any(len(one) > 200 for one in asked.identifiers)
    ):
        raise InvalidInput(
            "too many or too long", field="identifiers", remedy="at most 50, of 200 characters each"
        )
    return Facts(asked.born, asked.countries, asked.identifiers)


class IndexedNames:
    """Finds a canary by its exact name and by an index built of the very version that is to come into force (`CanarySearch`)."""

    def missing(self, canaries: Sequence[str], entries: Iterable[ListEntry]) -> list[str]:
        """The canaries that were not found, in their order. Holds the entries in memory while it looks."""
        if not canaries:
            return []
        kept = tuple(entries)
        absent = set(ExactNames().missing(canaries, kept))
        lists = NameLists([LoadedList("canaries", "", kept)])
        return [
            name for name in canaries if name in absent or not lists.screen(NameToScreen(name), at=0).hits
        ]


class NameScreener:
    """The lists in force, indexed; made anew when the record puts other versions into force."""

    def __init__(self, instance: Instance, store: ListStore) -> None:
        self._instance = instance
        self._store = store
        self._building = threading.Lock()
        self._kept: tuple[tuple[tuple[str, str], ...], NameLists] | None = None

    def suspends(self, list: str, band: Band) -> bool:
        """Whether a hit of this list stops at once somebody who holds something; the block band always does."""
        settings = settings_of(self._store, list)
        return band is Band.BLOCK or (band is Band.REVIEW and settings.suspend_from == "review")

    def screen(self, caller: Caller, ask: ScreenNames) -> list[NameScreening]:
        """By an operator, an analyst or an adjudicator. Raises Forbidden, InvalidInput naming the member."""
        require_role(caller, Role.OPERATOR, Role.ANALYST, Role.ADJUDICATOR)
        if not 1 <= len(ask.names) <= MOST_NAMES:
            raise InvalidInput(f"1 to {MOST_NAMES} names at a time", field="names")
        for number, one in enumerate(ask.names):
            try:
                check_name(one)
            except InvalidInput as error:
                raise InvalidInput(
                    error.message, field=f"names[{number}].{error.field}", remedy=error.remedy
                ) from None
        lists, unusable = self.in_force()
        at = instant(self._instance)
        return [lists.screen(one, at=at, explained=ask.explain, unusable=unusable) for one in ask.names]

    def in_force(self) -> tuple[NameLists, dict[str, str]]:
        """The indices of what is in force now, made when they are not there yet; and by list, why it cannot clear anybody."""
        statuses = [one for one in list_statuses(self._instance, self._store) if one.in_force is not None]
        unusable = {one.list: _why(one) for one in statuses if not one.usable}
        wanted = tuple((one.list, one.in_force.sha256) for one in statuses if one.in_force is not None)
        kept = self._kept
        if kept is None or kept[0] != wanted:
            with self._building:
                kept = self._kept
                if kept is None or kept[0] != wanted:
                    loaded = [self._load(name, sha256) for name, sha256 in wanted]
                    kept = (wanted, NameLists(loaded))
                    # A version that could not be read is tried again with the next question.
                    self._kept = None if any(one.unusable for one in loaded) else kept
        return kept[1], {one.name: one.unusable for one in kept[1].lists if one.unusable} | unusable

    def _load(self, name: str, sha256: str) -> LoadedList:
        try:
            return LoadedList(name, sha256, tuple(self._store.entries(name, sha256)))
        except SafeconductError as error:
            return LoadedList(name, sha256, (), f"cannot be read: {error.message}")


def _why(status: ListStatus) -> str:
    if status.fault:
        return status.fault
    return f"past its age of {status.max_age // 86_400} days" if status.past_age else "not usable"
