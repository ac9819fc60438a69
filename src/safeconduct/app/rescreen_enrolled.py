"""Use case of a list's change: search its changed entries against everybody enrolled, open reviews, and stop at once whom they mean.

Owns that no version of a list comes into force without this having been done to its end: what was searched last is kept per list, so a
process that was killed in between begins again. A change of a list stops people and never brings anybody back; that is a reviewer's. The
log says how many, never who.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Final

import msgspec

from safeconduct.app.assess_case import screened_person
from safeconduct.app.enrolled_index import ReverseHit
from safeconduct.app.enrolled_names import EnrolledNames, Progress, quiet
from safeconduct.app.kyc_desk import KycDesk, record_screening
from safeconduct.app.kyc_files import PersonFile, cases_of, load, load_person, save
from safeconduct.app.screen_organisation import rescreen_organisation
from safeconduct.app.screen_party import ListScreener
from safeconduct.app.screening_lists import ListStore, entries_in_force
from safeconduct.identity.kyc_case import screening_changed
from safeconduct.identity.kyc_states import KycCase
from safeconduct.identity.screening.entry import ListEntry
from safeconduct.identity.screening.list_difference import difference
from safeconduct.identity.screening.party import PartyScreening, open_hits, severity
from safeconduct.identity.screening.weights import shipped
from safeconduct.kernel.errors import Conflict, LogUnavailable, NotFound, SafeconductError
from safeconduct.kernel.vocabulary import CaseState
from safeconduct.record.events.screening import ScreeningListPutInForce

_KIND: Final = "rescreened-list"
_SUBJECT: Final = "node:screening"
ATTEMPTS: Final = 5
"""How often one person's file is tried again when somebody else writes it at the same time."""

MANY: Final = 1_500
"""Entries above which it is quicker to screen everybody again than to search for each entry (bench/rescreen.py: about 0.08 s each
among 100,000 people, against 140 s)."""

_log = logging.getLogger("safeconduct.screening")


class Rescreened(msgspec.Struct, frozen=True):
    """What a search came to; counts only. before: the version that was searched last, None for none.

    entries: added and changed. people, organisations: parties screened again because of them. reviews: hits that are open now and were
    not. stopped: parties. failed: parties that could not be brought up to date; they are tried again.
    """

    list: str
    before: str | None
    after: str
    entries: int = 0
    people: int = 0
    organisations: int = 0
    reviews: int = 0
    stopped: int = 0
    failed: int = 0


class _Searched(msgspec.Struct, frozen=True):
    """The version of a list that everybody was searched for."""

    sha256: str
    entries_sha256: str
    at: int


class Rescreener:
    """Searches what changed. One at a time per process; safe to repeat."""

    def __init__(self, desk: KycDesk, lists: ListScreener, store: ListStore, names: EnrolledNames) -> None:
        self._desk = desk
        self._lists = lists
        self._store = store
        self.names: Final = names
        self._searched: dict[str, _Searched | None] = {}
        self._erasures = desk.instance.vault.erasures

    def due(self) -> list[str]:
        """Lists whose version in force has not been searched for yet."""
        return [
            name
            for name, event in self._desk.instance.record.state.screening_lists.items()
            if (known := self._last(name)) is None or known.entries_sha256 != event.entries_sha256
        ]

    def _last(self, name: str) -> _Searched | None:
        if name not in self._searched:
            data = self._desk.instance.vault.get(_KIND, name)
            self._searched[name] = msgspec.json.decode(data, type=_Searched) if data is not None else None
        return self._searched[name]

    def tidy(self) -> None:
        """Drop from memory the names of whoever was erased since."""
        erasures = self._desk.instance.vault.erasures
        if erasures != self._erasures:
            self._erasures = erasures
            self.names.people()

    def run(self, name: str, progress: Progress = quiet) -> Rescreened:
        """Search for what changed in a list since it was searched last. Raises NotFound, LogUnavailable, the store's errors."""
        event = self._desk.instance.record.state.screening_lists.get(name)
        if event is None:
            raise NotFound(f"no version of {name} is in force", field="list")
        before = self._last(name)
        entries, gone = self._changes(event, before)
        done = Rescreened(name, before.sha256 if before is not None else None, event.sha256, len(entries))
        weights = shipped()
        if entries or gone:
            parts = self.names.people(progress)
            seen: set[str] = set()
            many = len(entries) > MANY
            for number, part in enumerate(parts):
                hits = [] if many else part.search(entries, weights)
                whom = [party.id for party in part.parties] if many else _worst_first(hits)
                done = self._people(done, whom, seen)
                progress("searching", number + 1, len(parts))
            # Whose last screening names an entry that changed or is gone: what a reviewer sees must be what the list says.
            touched = self.names.found(name, gone | {entry.id for entry in entries})
            done = self._people(done, sorted(touched), seen)
            named = self.names.organisations()
            found = (
                [party.id for party in named.parties]
                if many
                else _worst_first(named.search(entries, weights))
            )
            done = self._organisations(done, found)
        if done.failed:
            _log.error("%s: %d parties could not be screened again; they are tried again", name, done.failed)
            return done
        now = _Searched(event.sha256, event.entries_sha256, self._desk.now())
        self._desk.instance.vault.put(_KIND, name, _SUBJECT, msgspec.json.encode(now))
        self._searched[name] = now
        _log.info(
            "%s: %d changed entries, %d parties screened again, %d hits to review, %d stopped",
            name, done.entries, done.people + done.organisations, done.reviews, done.stopped,
        )  # fmt: skip
        return done

    def _changes(
        self, event: ScreeningListPutInForce, before: _Searched | None
    ) -> tuple[list[ListEntry], frozenset[str]]:
        """Entries that were added or changed, and ids of those that are gone."""
        if before is None:
            return list(entries_in_force(self._store, event)), frozenset()
        try:
            found = difference(
                self._store.entries(event.list, before.sha256), entries_in_force(self._store, event)
            )
        except SafeconductError:
            # The version before is lost here: then everything may have changed.
            return list(entries_in_force(self._store, event)), frozenset()
        gone = frozenset(each.id for each in found.removed)
        ids = found.ids
        return [entry for entry in entries_in_force(self._store, event) if entry.id in ids], gone

    def _people(self, done: Rescreened, subjects: Iterable[str], seen: set[str]) -> Rescreened:
        for subject in subjects:
            if subject in seen:
                continue
            seen.add(subject)
            try:
                opened, stopped = self._person(subject)
            except LogUnavailable:
                raise
            except NotFound:
                continue  # erased meanwhile
            except SafeconductError:
                done = msgspec.structs.replace(done, failed=done.failed + 1)
                continue
            done = msgspec.structs.replace(
                done, people=done.people + 1, reviews=done.reviews + opened, stopped=done.stopped + stopped
            )
        return done

    def _person(self, subject: str) -> tuple[int, bool]:
        """How many hits are open that were not, and whether the person was stopped."""
        for _ in range(ATTEMPTS):
            person, _ = load_person(self._desk.instance, subject)
            concerned = [case for case in cases_of(self._desk.instance, person.subject) if _concerned(case)]
            if not concerned:
                # Nothing is held or decided on yet; who hands in a case is screened then.
                return 0, False
            now = self._desk.now()
            found = self._lists.screen_as(screened_person(person), "person", now=now, list_change=True)
            still = open_hits(found, person.cleared)
            after = {(one.pair, one.entry_sha256) for one in still}
            before = _open(person)
            stops = self._desk.suspends(still)
            changed = msgspec.structs.replace(person, screening=found, screening_note=self._lists.name)
            if stops:
                # First of all, and whatever becomes of the file: nobody the list means gets through meanwhile.
                record_screening(self._desk, changed)
            if after == before and not _newer(found, person.screening):
                return 0, stops
            try:
                self._write(changed, concerned, now)
            except Conflict:
                continue
            return len(after - before), stops
        raise Conflict("the file changed with every attempt", field="version")

    def _write(self, changed: PersonFile, concerned: list[KycCase], now: int) -> None:
        """The person's file with the first case, then the event in the others."""
        for number, case in enumerate(concerned):
            file = load(self._desk.instance, case.id)
            if number == 0 and file.person.version != changed.version:
                raise Conflict("the file changed meanwhile", field="version")
            save(
                self._desk.instance,
                file,
                # The cause is not said: what a case's history says may come to the record.
                case=screening_changed(file.case, at=now, by="event", cause=""),
                person=changed if number == 0 else None,
            )

    def _organisations(self, done: Rescreened, organisations: Iterable[str]) -> Rescreened:
        for name in organisations:
            try:
                opened, stopped = rescreen_organisation(self._desk, self._lists, name, now=self._desk.now())
            except LogUnavailable:
                raise
            except SafeconductError:
                done = msgspec.structs.replace(done, failed=done.failed + 1)
                continue
            done = msgspec.structs.replace(
                done,
                organisations=done.organisations + 1,
                reviews=done.reviews + opened,
                stopped=done.stopped + stopped,
            )
        return done


def _concerned(case: KycCase) -> bool:
    """Something stands in it, or somebody is deciding on what screening found."""
    return case.approval is not None or case.state is CaseState.REVIEW


def _open(person: PersonFile) -> set[tuple[tuple[str, str], str]]:
    if person.screening is None:
        return set()
    return {(one.pair, one.entry_sha256) for one in open_hits(person.screening, person.cleared)}


def _newer(found: PartyScreening, before: PartyScreening | None) -> bool:
    """A cleared pair's entry, or its band, is another than was screened, or the person's data are."""
    if before is None:
        return bool(found.hits)
    return {(one.pair, one.entry_sha256, one.hit.band) for one in found.hits} != {
        (one.pair, one.entry_sha256, one.hit.band) for one in before.hits
    }


def _worst_first(hits: Iterable[ReverseHit]) -> list[str]:
    worst: dict[str, int] = {}
    for hit in hits:
        worst[hit.party] = max(worst.get(hit.party, 0), severity(hit.band))
    return sorted(worst, key=lambda party: (-worst[party], party))
