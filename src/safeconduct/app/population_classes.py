"""Who is alike for a directive at one moment: everybody whose decisions are the same, whatever is asked.

Owns the argument that they are: a decision reads of a person only what is joined here, and of times only whether they have
come. What a decision does with it is not repeated: one of each kind is decided by `decide` itself. So what is missing here
shows as a preview that differs from the decisions (a property test compares them), and what is too much costs time only.
"""

from __future__ import annotations

import functools
import operator
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from safeconduct.app.population import BAD_CLAIMS, NOBODY, STOP, Columns
from safeconduct.app.population_codes import (
    Coded,
    Column,
    ended,
    flags,
    in_force,
    renumbered,
    sequences,
)
from safeconduct.app.projects import Projects
from safeconduct.authorization.predicate import CitizenshipIn, DeemedExportTo, Predicate, leaves
from safeconduct.decision.access_checks import MAX_LINKS
from safeconduct.decision.pack_checks import country_groups_of, nationality_of
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.ids import DirectiveId, OrganisationId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.record.projections import DirectiveState, OrganisationState
from safeconduct.record.state import State


class Chosen(msgspec.Struct, frozen=True, eq=False):
    """Rows of those who are asked in classes, and the class of each in that order; and rows of the others.

    passport: by row, the passport asked with (NOBODY: none). apart: whom the classes leave out, as asked for, and those
    whose claims do not fit the record. without: nothing can be said of them.
    """

    passport: Column
    asked: Column
    classes: Coded
    apart: Column
    without: Column


def directives_on(state: State, variants: Iterable[VariantId]) -> dict[DirectiveId, DirectiveState]:
    """Every directive that may have a say on these variants, amendments and rescissions included."""
    found: dict[DirectiveId, DirectiveState] = {}
    left = [name for variant in variants for name in state.orders_on.get(variant, ())]
    while left:
        name = left.pop()
        if name in found:
            continue
        found[name] = held = state.directives[name]
        left += [*held.amended_by, *held.rescinded_by]
    return found


def _predicates(directives: Iterable[DirectiveState]) -> Iterator[Predicate]:
    for held in directives:
        if held.applies_to is not None:
            yield held.applies_to
        yield from held.exceptions


class Classes:
    """Works out the classes for two states that differ in orders only, at `at` (seconds)."""

    def __init__(
        self, columns: Columns, before: State, after: State, at: int, *, ends: Column, projects: ProjectLists
    ) -> None:
        """ends: the column of the grants' ends, as it stands for `before`."""
        self._columns = columns
        self._state = before
        self._at = at
        self._ends = ends
        self._projects = projects
        directives: dict[int, DirectiveState] = {}
        for state in (before, after):
            for held in directives_on(state, state.variants).values():
                directives[id(held)] = held
        self._directives = list(directives.values())

    def find(self, apart: Column) -> Chosen:
        """The class of everybody who can be asked. apart: by row, whom to leave out."""
        columns, at = self._columns, self._at
        passport = self._passports()
        claims = (
            np.where(passport >= 0, columns.claims[passport], NOBODY) if len(columns.claims) else passport
        )
        apart = apart | (claims == BAD_CLAIMS)
        rows = np.flatnonzero((claims >= 0) & ~apart)
        held = passport[rows]
        organisations = columns.organisation[rows]
        evidence = columns.evidence[held]
        claimed = columns.claimed[held]
        parts = [
            Coded(columns.about[rows], columns.abouts),
            in_force(columns.clearance_begins[rows], columns.clearance_ends[rows], at),
            self._organisations().taken(organisations),
            self._profiles().taken(columns.claims[held]),
            ended(evidence, at),
            Coded(np.where(claimed == NOBODY, 0, np.where(claimed == organisations, 1, 2)), 3),
            Coded(columns.passport_aal[held], 4),
            Coded(columns.passport_status[held], 4),
            *(part.taken(rows) for part in self._terms()),
            self._granted().taken(rows),
            self._known_by_projects().taken(rows),
            *(part.taken(rows) for part in self._licences()),
        ]
        return Chosen(
            passport=passport,
            asked=rows,
            classes=functools.reduce(operator.and_, parts),
            apart=apart,
            without=np.flatnonzero((claims < 0) & ~apart),
        )

    def _passports(self) -> Column:
        """The last valid passport in force; when there is none, the last suspended one."""
        columns, at = self._columns, self._at
        count, total = len(columns.names), len(columns.passport_status)
        starts = columns.passport_starts
        good = (columns.passport_begins <= at) & (at < columns.passport_ends)
        valid = good & (columns.passport_status == int(PassportStatus.VALID))
        # A valid one comes before any suspended one, a later one before an earlier one.
        weight = np.where(good, np.arange(total) + np.where(valid, total, 0), NOBODY)
        best = np.full(count, NOBODY, dtype=np.int64)
        some = np.flatnonzero(np.diff(starts) > 0)
        if len(some):
            best[some] = np.maximum.reduceat(weight, starts[some])
        return np.where(best >= total, best - total, best)

    def _organisations(self) -> Coded:
        """By number of the organisation, and last for nobody's: what decisions read of it."""
        state, at = self._state, self._at
        known: dict[OrganisationId, int] = self._columns.organisations.numbers  # type: ignore[assignment]
        table: dict[Any, int] = {}
        codes = np.zeros(len(known) + 1, dtype=np.int64)
        providers: dict[OrganisationId, list[Any]] = {}
        for provider in state.providers.values():
            providers.setdefault(provider.organisation, []).append(provider.provider)
        for name, place in known.items():
            held = state.organisations.get(name)
            about: Any = None
            if held is not None:
                standing = held.standing
                about = (
                    held.registered.provider,
                    tuple(sorted(providers.get(name, ()))),
                    None
                    if standing is None
                    else (standing.screening, standing.suspended, at >= standing.verified_until),
                    _ownership_at(held, at),
                    country_groups_of(state, (held.registered.country,)),
                )
            codes[place] = table.setdefault(about, len(table) + 1)
        found = Coded(codes, len(table) + 1)
        for members in self._memberships():
            on = np.zeros(len(codes), dtype=bool)
            on[[known[name] for name in members if name in known]] = True
            found &= flags(on)
        # NOBODY takes the last place.
        return found

    def _memberships(self) -> set[frozenset[OrganisationId]]:
        state = self._state
        found = {held.organisations for held in state.org_lists.values()}
        found |= {members for held in self._directives for members in held.annexes.values()}
        found |= {frozenset(held.given.annex) for held in state.licences.values()}
        return {members for members in found if members}

    def _profiles(self) -> Coded:
        """By profile of claims: itself, but of citizenships only what a directive can ask."""
        asked = {
            leaf.countries
            for predicate in _predicates(self._directives)
            for leaf in leaves(predicate)
            if isinstance(leaf, CitizenshipIn)
        }
        countries = sorted(asked, key=sorted)
        # Only orders about deemed exports, and packs that an order cites, ask to which countries showing something exports it.
        cited = any(held.imported.packs for held in self._directives) or any(
            isinstance(leaf, DeemedExportTo)
            for predicate in _predicates(self._directives)
            for leaf in leaves(predicate)
        )
        table: dict[Any, int] = {}
        codes = np.zeros(len(self._columns.profiles), dtype=np.int64)
        for place, claims in enumerate(self._columns.profiles):
            held = claims.citizenships
            told: tuple[Any, ...] = (bool(held), *(not one.isdisjoint(held or ()) for one in countries))
            if self._state.country_groups:
                counted = nationality_of(claims)
                told = (*told, counted is None, country_groups_of(self._state, counted or ()))
            read = msgspec.structs.replace(claims, citizenships=None)
            if not cited:
                read = msgspec.structs.replace(read, deemed_export=())
            codes[place] = table.setdefault((read, told), len(table))
        return Coded(codes, max(1, len(table)))

    def _terms(self) -> Iterator[Coded]:
        """For each terms document that a variant asks for: who has signed it, for now."""
        columns, at = self._columns, self._at
        count = len(columns.names)
        rows = np.repeat(np.arange(count), np.diff(columns.terms_starts))
        good = (columns.terms_begins <= at) & (at < columns.terms_ends)
        asked = {one.registered.terms for one in self._state.variants.values()}
        for wanted in sorted(one for one in asked if one is not None):
            signed = np.zeros(count, dtype=bool)
            number = columns.terms.get(wanted)
            if number is not None:
                signed[rows[good & (columns.terms_name == number)]] = True
            yield flags(signed)

    def _granted(self) -> Coded:
        """What each person is granted: the chains above their grants, in order."""
        grants, at = self._columns.grants, self._at
        link = (
            Coded(grants.about, max(1, grants.abouts))
            & in_force(grants.begins, grants.ends, at)
            & ended(self._ends, at)
        )
        count = len(self._columns.names)
        owners = np.repeat(np.arange(count), np.diff(grants.leaf_starts))
        mine = self._columns.organisation[owners]
        chain = Coded(grants.leaf_via, 3)
        current = grants.leaf_grant
        for _ in range(MAX_LINKS):
            there = current >= 0
            if not len(current):
                break
            place = np.where(there, current, 0)
            about = link.codes[place] * 4 + (grants.by[place] == mine) * 2 + (grants.to[place] == mine) + 2
            # 0: the chain is complete; 1: what should be above is not there.
            chain &= renumbered(np.where(there, about, np.where(current == STOP, 0, 1)), link.count * 4 + 2)
            current = np.where(there, grants.parent[place], STOP)
            if not (current != STOP).any():
                break
        return sequences(grants.leaf_starts, chain)

    def _known_by_projects(self) -> Coded:
        """The projects that each person can be asked under, in order."""
        return self._projects.codes(self._at)

    def _licences(self) -> Iterator[Coded]:
        """For each set of people that a licence names: who is in it."""
        seen: set[frozenset[SubjectId]] = set()
        for held in self._state.licences.values():
            subjects = frozenset(held.given.subjects)
            if not subjects or subjects in seen:
                continue
            seen.add(subjects)
            named = np.zeros(len(self._columns.names), dtype=bool)
            named[rows_of(self._columns.names, subjects)] = True
            yield flags(named)


def rows_of(names: Sequence[SubjectId], wanted: Iterable[SubjectId]) -> list[int]:
    """Rows of those who have one. names: ascending."""
    found = []
    for name in wanted:
        row = bisect_left(names, name)
        if row < len(names) and names[row] == name:
            found.append(row)
    return found


def _ownership_at(held: OrganisationState, at: int) -> tuple[tuple[str, str, Outcome], ...]:
    """What the ownership regimes say of an organisation at a moment."""
    if held.ownership is None:
        return ()
    return tuple(
        (finding.regime, finding.version, span.outcome)
        for finding in held.ownership.findings
        for span in finding.spans
        if span.since <= at and (span.until is None or at < span.until)
    )


class ProjectLists:
    """Which list of projects each row of the columns has. Made once for a map of projects: it does not depend on the time."""

    def __init__(self, projects: Projects, columns: Columns) -> None:
        self.projects = projects
        known = columns.organisations.numbers
        # Everybody of an organisation has the same, save those with a project of their own.
        lists: list[list[int]] = [[] for _ in range(len(known) + 1)]
        for organisation, places in self.projects.everybody.items():
            if organisation in known:
                lists[known[organisation]] = places
        marks = [0] * sum(map(len, lists))
        offset = len(lists)
        # NOBODY takes the last list, which is empty.
        self._list_of = columns.organisation.astype(np.int64) % offset
        numbers = columns.organisations.things
        table: dict[Any, int] = {}
        own = {*self.projects.owned, *(subject for subject, _ in self.projects.members)}
        for row in rows_of(columns.names, own):
            place = int(columns.organisation[row])
            employer = None if place == NOBODY else numbers[place]
            places = self.projects.of(columns.names[row], employer)
            stand = [self._stand(one, columns.names[row], employer) for one in places]
            number = table.setdefault((*places, NOBODY, *stand), len(table))
            if number == len(lists) - offset:
                lists.append(places)
                marks += stand
            self._list_of[row] = offset + number
        self._starts = np.concatenate([[0], np.cumsum([len(one) for one in lists])]).astype(np.int64)
        self._entries = np.array([place for one in lists for place in one], dtype=np.int64)
        self._marks = Coded(np.array(marks, dtype=np.int64), 9)

    def _about(self, at: int) -> Coded:
        table: dict[Any, int] = {}
        codes = np.zeros(len(self.projects.held), dtype=np.int64)
        for place, project in enumerate(self.projects.held):
            approved, end = project.approved, project.ended_at
            about = (
                frozenset(approved.purposes),
                frozenset(approved.compartments),
                approved.organisation is None,
                approved.owner is None,
                bool(approved.members),
                approved.valid_from <= at < approved.valid_until,
                None if end is None else end <= at,
            )
            codes[place] = table.setdefault(about, len(table))
        return Coded(codes, max(1, len(table)))

    def _stand(self, place: int, subject: SubjectId, organisation: OrganisationId | None) -> int:
        """How somebody with a project of their own stands to one; 0 is for those who have none."""
        approved = self.projects.held[place].approved
        inside = approved.organisation is not None and approved.organisation == organisation
        return 1 + (approved.owner == subject) * 4 + inside * 2 + (subject in approved.members)

    def codes(self, at: int) -> Coded:
        """By row: a number for the projects that the subject can be asked under."""
        return sequences(self._starts, self._about(at).taken(self._entries) & self._marks).taken(
            self._list_of
        )
