"""Everybody enrolled, in columns: what decisions depend on, one array a fact, so that a million can be looked at in a second.

Owns the columns and their upkeep. Only the control plane makes them: claims are in the vault, and stay in memory here as
numbers for as long as the columns do. Refuses to guess: whoever was touched by an event since the columns were made is
`single` and asked about one by one, until the columns are made anew.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Final

import msgspec
import numpy as np

from safeconduct.app.population_codes import Column, ranges
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.ids import GrantId, OrganisationId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import PassportStatus, SubjectKind
from safeconduct.passport.claims import Claims
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import (
    ClearanceChanged,
    ClearanceGranted,
    GrantEnded,
    GrantGiven,
)
from safeconduct.record.events.holders import (
    GroupMembershipChanged,
    MandateRegistered,
    MisuseSignalReceived,
    PassportIssued,
    PassportStatusChanged,
    SubjectEnrolled,
    SubjectScreened,
    TermsSigned,
)
from safeconduct.record.large_map import in_one_order
from safeconduct.record.projections import ClearanceHeld, GrantState, PassportState, SubjectState
from safeconduct.record.state import State

ReadClaims = Callable[[PassportState], Claims | None]

UNREAD: Final = frozenset({"fal", "residencies", "role", "sector", "level", "compartments"})
"""Claims that no decision reads."""
APART: Final = frozenset({"organisation", "evidence_expires"})
"""Claims with columns of their own; the rest are one number."""
NEVER: Final = 1 << 62
NO_CLAIMS, BAD_CLAIMS = -1, -2
NOBODY: Final = -1
MISSING, STOP = -1, -2
DIRECT, OWN_GROUP, OTHER_GROUP = range(3)


def _add(holders: dict[Any, GrantId | list[GrantId]], holder: Any, name: GrantId) -> None:
    known = holders.get(holder)
    if known is None:
        holders[holder] = name
    elif isinstance(known, list):
        known.append(name)
    else:
        holders[holder] = [known, name]


class Numbered:
    """Things and the numbers they were given, in order of appearance."""

    def __init__(self) -> None:
        self.numbers: dict[Hashable, int] = {}

    def __len__(self) -> int:
        return len(self.numbers)

    def of(self, thing: Hashable) -> int:
        """The thing's number, a new one at first sight."""
        return self.numbers.setdefault(thing, len(self.numbers))

    def of_one(self, thing: Hashable | None) -> int:
        """The same, and NOBODY for None."""
        return NOBODY if thing is None else self.of(thing)

    @property
    def things(self) -> list[Any]:
        """What the numbers stand for."""
        return list(self.numbers)


def two_adjudicators(adjudicators: Sequence[str]) -> bool:
    """Whether at least two different ones are named."""
    return len(adjudicators) >= 2 and adjudicators.count(adjudicators[0]) != len(adjudicators)


def _about(subject: SubjectState) -> Hashable:
    """What of a subject no clock changes."""
    held = subject.clearance
    clearance: Hashable = None
    if held is not None:
        granted = held.granted
        clearance = (
            granted.level,
            granted.compartments,
            granted.caveats,
            held.state,
            two_adjudicators(granted.adjudicators),
        )
    screening = None if subject.screening is None else subject.screening.screening
    return (subject.enrolled.kind, screening, clearance)


def profile_of(claims: Claims) -> Claims:
    """The claims that are one number."""
    return msgspec.structs.replace(claims, **dict.fromkeys(APART), **_NOTHING)


_NOTHING: Final = {name: getattr(Claims(), name) for name in UNREAD}


def _about_grant(held: GrantState) -> Hashable:
    given = held.given
    return (
        given.by_provider,
        given.by_organisation is None,
        given.variants,
        given.purposes,
        given.surfaces,
        given.regions,
        given.conditions,
    )


class Grants(msgspec.Struct, frozen=True, eq=False):
    """Columns by grant. parent: its row, MISSING or STOP (the provider's own). `leaf_`: by subject, what each holds and how.

    places: rows of the grants to organisations. awaited: parents that are named and not there. named: the sets of variants
    that grants name, each once.
    """

    about: Column
    abouts: int
    begins: Column
    ends: Column
    ended: Column
    by: Column
    to: Column
    parent: Column
    leaf_starts: Column
    leaf_grant: Column
    leaf_via: Column
    places: dict[GrantId, int]
    awaited: frozenset[GrantId]
    named: frozenset[frozenset[VariantId]]


class Columns(msgspec.Struct, frozen=True, eq=False):
    """One row a subject that is no agent, in the order of ids. `passport_`: one row a passport, `terms_`: one a signature.

    named: the names as an array. about: number of what does not change by the clock. claims: number of the profile, NO_CLAIMS or BAD_CLAIMS.
    """

    names: list[SubjectId]
    named: Column
    about: Column
    abouts: int
    organisation: Column
    clearance_begins: Column
    clearance_ends: Column
    passport_starts: Column
    passport_status: Column
    passport_aal: Column
    passport_begins: Column
    passport_ends: Column
    claims: Column
    claimed: Column
    evidence: Column
    profiles: list[Claims]
    terms_starts: Column
    terms_name: Column
    terms_begins: Column
    terms_ends: Column
    terms: dict[Any, int]
    grants: Grants
    organisations: Numbered
    groups: dict[tuple[OrganisationId, str], list[int]]


def _seconds() -> array[int]:
    return array("q")


class _Making:
    """Columns under construction, rows in the order in which the subjects come."""

    def __init__(self, state: State, read_claims: ReadClaims) -> None:
        self.state = state
        self.read = read_claims
        self.names: list[SubjectId] = []
        self.abouts, self.organisations, self.profiles, self.term_names = (
            Numbered(),
            Numbered(),
            Numbered(),
            Numbered(),
        )
        self.about, self.organisation = array("i"), array("i")
        self.clearance = _seconds(), _seconds()
        self.passports = array("i"), array("b"), array("b"), _seconds(), _seconds()
        self.claims, self.claimed, self.evidence = array("i"), array("i"), _seconds()
        self.terms = array("i"), array("i"), _seconds(), _seconds()
        self.groups: dict[tuple[OrganisationId, str], list[int]] = {}

    def subject(self, name: SubjectId, subject: SubjectState) -> None:
        row = len(self.names)
        self.names.append(name)
        self.about.append(self.abouts.of(_about(subject)))
        self.organisation.append(self.organisations.of_one(subject.enrolled.organisation))
        held: ClearanceHeld | None = subject.clearance
        self.clearance[0].append(held.granted.valid_from if held is not None else 0)
        self.clearance[1].append(held.granted.valid_until if held is not None else 0)
        for passport in subject.passports:
            self._passport(row, self.state.passports[passport])
        for signed in subject.terms:
            rows, names, begins, ends = self.terms
            rows.append(row)
            names.append(self.term_names.of(signed.terms))
            begins.append(signed.signed_at)
            ends.append(NEVER if signed.until is None else signed.until)
        for group in sorted(subject.groups):
            self.groups.setdefault(group, []).append(row)

    def _passport(self, row: int, held: PassportState) -> None:
        if held.status is PassportStatus.INVALID:
            # For good, so it is never asked with.
            return
        rows, statuses, aals, begins, ends = self.passports
        issued = held.issued
        rows.append(row)
        statuses.append(int(held.status))
        aals.append(issued.aal)
        begins.append(issued.valid_from)
        ends.append(issued.valid_until)
        try:
            claims = self.read(held)
        except VerificationFailed:
            self._no_claims(BAD_CLAIMS)
            return
        if claims is None:
            self._no_claims(NO_CLAIMS)
            return
        self.claims.append(self.profiles.of(profile_of(claims)))
        self.claimed.append(self.organisations.of_one(claims.organisation))
        self.evidence.append(-1 if claims.evidence_expires is None else claims.evidence_expires)

    def _no_claims(self, why: int) -> None:
        self.claims.append(why)
        self.claimed.append(NOBODY)
        self.evidence.append(-1)

    def grants(self, rank: Column) -> Grants:
        """Columns of all grants; rows of holders are those of `rank`."""
        abouts = Numbered()
        named: set[tuple[VariantId, ...]] = set()
        places: dict[GrantId, int] = {}
        top: dict[GrantId, int] = {}
        parents: list[GrantId | None] = []
        about, stops = array("i"), array("i")
        begins, ends, ended = _seconds(), _seconds(), _seconds()
        by, to = array("i"), array("i")
        # One name, or several in a list: nearly everybody has one grant.
        holders: dict[Any, GrantId | list[GrantId]] = {}
        known: dict[GrantId | None, GrantId | None] = {}
        for place, (name, held) in enumerate(self.state.grants.items()):
            given = held.given
            places[name] = place
            if given.to_organisation is not None:
                top[name] = place
            about.append(abouts.of(_about_grant(held)))
            named.add(given.variants)
            begins.append(given.valid_from)
            ends.append(given.valid_until)
            ended.append(-1 if held.ended_at is None else held.ended_at)
            by.append(self.organisations.of_one(given.by_organisation))
            to.append(self.organisations.of_one(given.to_organisation))
            if given.by_provider is not None:
                stops.append(place)
            # Many have the same parent: one text of it is enough.
            parents.append(known.setdefault(given.parent, given.parent))
            if given.to_subject is not None:
                _add(holders, given.to_subject, name)
            elif given.to_group is not None:
                _add(holders, (given.by_organisation, given.to_group), name)
        parent = np.array(
            array("i", (MISSING if one is None else places.get(one, MISSING) for one in parents))
        )
        parent[stops] = STOP
        awaited = frozenset(one for one in parents if one is not None and one not in places)
        del parents
        leaves = [array("i"), array("i"), array("b")]
        for row, subject in enumerate(self.names):
            self._leaves(leaves, int(rank[row]), ("subject", subject), DIRECT, holders=holders, places=places)
        # By group in their order: a person's groups are asked in it too.
        for group, rows in sorted(self.groups.items()):
            if group not in holders:
                continue
            own = self.organisations.numbers.get(group[0], MISSING)
            for row in rows:
                via = OWN_GROUP if self.organisation[row] == own else OTHER_GROUP
                self._leaves(leaves, int(rank[row]), ("group", group), via, holders=holders, places=places)
        rows_, grants, vias = (np.array(one) for one in leaves)
        order = np.argsort(rows_, kind="stable")
        return Grants(
            about=np.array(about),
            abouts=len(abouts),
            begins=np.array(begins),
            ends=np.array(ends),
            ended=np.array(ended),
            by=np.array(by),
            to=np.array(to),
            parent=parent,
            leaf_starts=ranges(rows_[order], len(self.names)),
            leaf_grant=grants[order],
            leaf_via=vias[order],
            places=top,
            awaited=awaited,
            named=frozenset(map(frozenset, named)),
        )

    def _leaves(
        self,
        leaves: list[array[int]],
        row: int,
        holder: Any,
        via: int,
        *,
        holders: dict[Any, GrantId | list[GrantId]],
        places: dict[GrantId, int],
    ) -> None:
        found = holders.get(holder[1])
        names: Sequence[GrantId] = () if found is None else (found,) if isinstance(found, str) else found
        if len(names) > 1:
            # In the order of the record: the first chain that holds is the one that counts.
            variants = {variant for name in names for variant in self.state.grants[name].given.variants}
            index = self.state.grants_to
            names = in_one_order(index.get((*holder, variant), ()) for variant in sorted(variants))
        for name in names:
            leaves[0].append(row)
            leaves[1].append(places[name])
            leaves[2].append(via)


def make_columns(state: State, read_claims: ReadClaims) -> Columns:
    """Columns of everybody in `state`. Takes tens of seconds for a million, and the vault's time for their claims."""
    making = _Making(state, read_claims)
    for name, subject in state.subjects.items():
        if subject.enrolled.kind is not SubjectKind.AGENT:
            making.subject(name, subject)
    count = len(making.names)
    order = np.array(sorted(range(count), key=making.names.__getitem__), dtype=np.int64)
    rank = np.empty(count, dtype=np.int64)
    rank[order] = np.arange(count)
    grants = making.grants(rank)

    def by_row(rows: array[int], columns: Sequence[array[int]]) -> tuple[Column, list[Column]]:
        placed = rank[np.array(rows, dtype=np.int64)]
        sort = np.argsort(placed, kind="stable")
        return ranges(placed[sort], count), [np.array(one)[sort] for one in columns]

    rows, *columns = making.passports
    passport_starts, passports = by_row(rows, [*columns, making.claims, making.claimed, making.evidence])
    rows, *columns = making.terms
    terms_starts, terms = by_row(rows, columns)
    names = [making.names[row] for row in order]
    return Columns(
        names=names,
        named=np.array(names, dtype=object),
        about=np.array(making.about)[order],
        abouts=len(making.abouts),
        organisation=np.array(making.organisation)[order],
        clearance_begins=np.array(making.clearance[0])[order],
        clearance_ends=np.array(making.clearance[1])[order],
        passport_starts=passport_starts,
        passport_status=passports[0],
        passport_aal=passports[1],
        passport_begins=passports[2],
        passport_ends=passports[3],
        claims=passports[4],
        claimed=passports[5],
        evidence=passports[6],
        profiles=making.profiles.things,
        terms_starts=terms_starts,
        terms_name=terms[0],
        terms_begins=terms[1],
        terms_ends=terms[2],
        terms=making.term_names.numbers,
        grants=grants,
        organisations=making.organisations,
        groups={group: [int(rank[row]) for row in held] for group, held in making.groups.items()},
    )


class View(msgspec.Struct, frozen=True, eq=False):
    """The latest state told of, who was touched since the columns were made, and the column of the grants' ends.

    outdated: an event changed more than can be told apart; the columns are to be made anew.
    """

    state: State
    singles: frozenset[SubjectId]
    ended: Column
    outdated: bool


class Population:
    """The columns, the state that they are good for, and who is to be asked about one by one. Thread-safe."""

    def __init__(self, state: State, columns: Columns) -> None:
        self.columns = columns
        self._lock = threading.Lock()
        self._state = state
        self._singles: set[SubjectId] = set()
        self._outdated = False

    def view(self) -> View:
        """What holds now, at one moment."""
        with self._lock:
            grants = self.columns.grants
            return View(self._state, frozenset(self._singles), grants.ended.copy(), self._outdated)

    def note(self, state: State, events: Sequence[Event]) -> None:
        """Keep up with a commit; quick, since it runs while the record is held."""
        with self._lock:
            if state.position > self._state.position:
                self._state = state
            for event in events:
                self._touch(state, event)

    def _touch(self, state: State, event: Event) -> None:
        singles = self._singles
        match event:
            case (
                SubjectEnrolled()
                | SubjectScreened()
                | TermsSigned()
                | GroupMembershipChanged()
                | ClearanceGranted()
                | ClearanceChanged()
                | PassportIssued()
            ):
                singles.add(event.subject)
            case PassportStatusChanged():
                held = state.passports.get(event.passport)
                if held is not None:
                    singles.add(held.issued.subject)
            case MisuseSignalReceived() if event.subject is not None:
                singles.add(event.subject)
            case MandateRegistered():
                singles.add(event.agent)
            case GrantGiven():
                self._grant(event)
            case GrantEnded():
                ended = state.grants.get(event.grant)
                if ended is not None and not self._end(ended):
                    self._grant(ended.given)
            case _:
                # Organisations, projects, variants, orders, lists, licences and packs are read from the state at every question.
                pass

    def _grant(self, given: GrantGiven) -> None:
        if given.grant in self.columns.grants.awaited:
            self._outdated = True
        if given.to_subject is not None:
            self._singles.add(given.to_subject)
        elif given.to_group is not None and given.by_organisation is not None:
            names = self.columns.names
            rows = self.columns.groups.get((given.by_organisation, given.to_group), ())
            self._singles.update(names[row] for row in rows)
        # One to an organisation reaches nobody until a grant under it is given, and that touches its holder.

    def _end(self, held: GrantState) -> bool:
        place = self.columns.grants.places.get(held.given.grant)
        if place is None or held.ended_at is None:
            return False
        self.columns.grants.ended[place] = held.ended_at
        return True
