"""Names of everybody enrolled, kept in memory in parts, so that a list's change is searched against all of them in seconds.

Owns that nobody is missing and that whoever was erased is gone: before each use the parts are held against the vault, and a part in which
anything changed is made anew. People come from the KYC store, organisations from the record. Names of people live in this process's memory and nowhere else; nothing here writes a log.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Final

import msgspec

from safeconduct.app.assess_case import screened_person
from safeconduct.app.enrolled_index import EnrolledIndex, EnrolledParty
from safeconduct.app.kyc_files import PEOPLE, PersonFile
from safeconduct.app.ports import Instance

SHARD: Final = 4_096
"""People in a part: making one anew takes well under a second."""

Progress = Callable[[str, int, int], None]
"""Told the step, how many are done and how many there are."""


def quiet(_step: str, _done: int, _of: int) -> None:
    """No progress."""


class _Part:
    """marks: of the people in it, as the vault told them when it was made. found: by list and entry, whose screening names it."""

    def __init__(
        self, marks: Mapping[str, bytes], index: EnrolledIndex, found: dict[tuple[str, str], set[str]]
    ) -> None:
        self.marks = dict(marks)
        self.index = index
        self.found = found


class EnrolledNames:
    """The index over one instance. Safe to call from several threads."""

    def __init__(self, instance: Instance) -> None:
        self._instance = instance
        self._lock = threading.Lock()
        self._parts: dict[int, _Part] = {}
        self._parties: tuple[tuple[EnrolledParty, ...], EnrolledIndex] | None = None

    def people(self, progress: Progress = quiet) -> list[EnrolledIndex]:
        """Parts that together hold every person with a file, as it is now."""
        with self._lock:
            marks = self._instance.vault.marks(PEOPLE)
            count = max(1, -(-len(marks) // SHARD))
            # A power of two, so that people stay where they are while others come and go.
            places = 1 << (count - 1).bit_length()
            wanted: dict[int, dict[str, bytes]] = {place: {} for place in range(places)}
            for name, mark in marks.items():
                wanted[_place(name, places)][name] = mark
            if len(self._parts) != places:
                self._parts = {}
            for done, (place, held) in enumerate(wanted.items()):
                known = self._parts.get(place)
                if known is None or known.marks != held:
                    found: dict[tuple[str, str], set[str]] = {}
                    parties = [party for name in held for party in self._person(name, found)]
                    self._parts[place] = _Part(held, EnrolledIndex(parties, person=True), found)
                    progress("names", done + 1, places)
            return [self._parts[place].index for place in range(places)]

    def found(self, name: str, entries: Collection[str]) -> set[str]:
        """Who was found to be one of these entries of a list, when the parts were made."""
        with self._lock:
            return {
                subject
                for part in self._parts.values()
                for (of, entry), subjects in part.found.items()
                if of == name and entry in entries
                for subject in subjects
            }

    def _person(self, name: str, found: dict[tuple[str, str], set[str]]) -> Iterator[EnrolledParty]:
        data = self._instance.vault.get(PEOPLE, name)
        if data is None:
            return
        person = msgspec.json.decode(data, type=PersonFile)
        for hit in person.screening.hits if person.screening is not None else ():
            found.setdefault(hit.pair, set()).add(name)
        names = screened_person(person).names
        if names:
            yield EnrolledParty(name, names)

    def organisations(self) -> EnrolledIndex:
        """Every organisation of the record under its legal name."""
        parties = tuple(
            EnrolledParty(name, (held.registered.legal_name,))
            for name, held in self._instance.record.state.organisations.items()
        )
        with self._lock:
            if self._parties is None or self._parties[0] != parties:
                self._parties = (parties, EnrolledIndex(parties, person=False))
            return self._parties[1]

    def forget(self) -> None:
        """Drop everything; it is made anew when it is asked for."""
        with self._lock:
            self._parts = {}
            self._parties = None


def _place(name: str, places: int) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") % places
