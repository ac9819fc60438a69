"""Whom a directive would touch among very many: one of each class is decided, the rest are like it.

Owns the spreading of one's decisions to all who are alike, and the joining of those asked one by one: agents, and people
touched since the columns were made. Decides by `decide` only, so that a preview equals what is then observed, Cedar packs
included.
"""

from __future__ import annotations

import heapq
import itertools
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, overload

import msgspec
import numpy as np

from safeconduct.app.population import NOBODY, Columns, View
from safeconduct.app.population_classes import Classes, ProjectLists, directives_on, rows_of
from safeconduct.app.population_codes import firsts
from safeconduct.app.population_variants import kinds_of
from safeconduct.decision.evaluation import differ_in_orders_only
from safeconduct.decision.impact import Answered, Change, Impact, Outcome, outcome_of
from safeconduct.kernel.ids import OrganisationId, SubjectId, VariantId
from safeconduct.passport.claims import Claims
from safeconduct.record.state import State


class Asking(Protocol):
    """The questions that people would ask at the moment of the preview, each with its answer before the directive."""

    def of_claims(
        self, subject: SubjectId, claims: Claims, variants: Iterable[VariantId]
    ) -> Iterator[Answered]:
        """Of a person who would disclose these claims, about these variants."""
        ...

    def of_people(self, subjects: Iterable[SubjectId], unknown: list[SubjectId]) -> Iterator[Answered]:
        """Of these people in this order, with the claims that are kept; whoever has none is added to `unknown`."""
        ...

    def of_agents(self) -> Iterator[Answered]:
        """Of every agent."""
        ...


class Changes(Sequence[Change]):
    """The single questions that turn, made one by one when they are looked at: there may be millions."""

    def __init__(
        self,
        *,
        names: list[SubjectId],
        rows: Any,
        classes: Any,
        outcomes: list[Outcome],
        singly: list[Change],
        agents: list[Change],
    ) -> None:
        self._names = names
        self._rows = rows
        self._classes = classes
        self._outcomes = outcomes
        self._singly = singly
        self._agents = agents

    def __len__(self) -> int:
        each = np.array([len(one.turned) for one in self._outcomes], dtype=np.int64)
        many = int(each[self._classes].sum()) if len(each) else 0
        return many + len(self._singly) + len(self._agents)

    def __iter__(self) -> Iterator[Change]:
        subject = operator.attrgetter("subject")
        yield from heapq.merge(self._of_classes(), self._singly, key=subject)
        yield from self._agents

    def _of_classes(self) -> Iterator[Change]:
        some = np.array([bool(one.turned) for one in self._outcomes], dtype=bool)
        if not len(some):
            return
        for place in np.flatnonzero(some[self._classes]).tolist():
            name = self._names[int(self._rows[place])]
            for one in self._outcomes[int(self._classes[place])].turned:
                yield msgspec.structs.replace(one, subject=name)

    @overload
    def __getitem__(self, at: int) -> Change: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Change]: ...
    def __getitem__(self, at: int | slice) -> Change | Sequence[Change]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step > 0:
                return tuple(itertools.islice(self, start, stop, step))
            return tuple(self)[at]
        place = at if at >= 0 else len(self) + at
        found = next(itertools.islice(self, place, None), None) if place >= 0 else None
        if found is None:
            raise IndexError(at)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Sequence):
            return NotImplemented
        return len(self) == len(other) and all(map(operator.eq, self, other))

    __hash__ = None  # type: ignore[assignment]


class Asked(msgspec.Struct, frozen=True):
    """impact: as `decision.impact.preview` gives. without_claims: nothing can be said of them.

    classes: how many kinds of people there were. kinds: how many kinds of variants they were asked about. singly: how many subjects were asked about one by one.
    """

    impact: Impact
    without_claims: tuple[SubjectId, ...]
    classes: int
    kinds: int
    singly: int


def untouched_variants(before: State, after: State) -> frozenset[VariantId]:
    """Variants for which no directive that has a say differs: there, before and after are one answer."""
    found = []
    for variant in before.variants:
        one, other = directives_on(before, [variant]), directives_on(after, [variant])
        if one.keys() == other.keys() and all(other[name] is held for name, held in one.items()):
            found.append(variant)
    return frozenset(found)


def impact_of(
    columns: Columns, view: View, projects: ProjectLists, *, after: State, at: int, asking: Asking
) -> Asked:
    """`decision.impact.preview` over everybody enrolled. projects: of `view.state`, for these columns."""
    before = view.state
    same = untouched_variants(before, after)
    orders_only = differ_in_orders_only(before, after)
    kinds = kinds_of(before, after, columns.grants.named)

    def outcome(answered: Iterator[Answered]) -> Outcome:
        return outcome_of(answered, after, at, same, orders_only=orders_only)

    # An agent's name among the people's would have its questions counted in two places.
    agents = {held.registered.agent for held in before.mandates.values()}
    apart = np.zeros(len(columns.names), dtype=bool)
    apart[rows_of(columns.names, view.singles | agents)] = True
    chosen = Classes(columns, before, after, at, ends=view.ended, projects=projects).find(apart)
    outcomes: list[Outcome] = []
    organisations: list[OrganisationId] = columns.organisations.things
    for row in chosen.asked[firsts(chosen.classes)].tolist() if len(chosen.asked) else ():
        claims = _claims(columns, organisations, int(chosen.passport[row]))
        answered = asking.of_claims(columns.names[row], claims, kinds.asked)
        outcomes.append(outcome_of(answered, after, at, same, orders_only=orders_only, alike=kinds.alike))
    codes = chosen.classes.codes
    singles = sorted({*view.singles, *(columns.names[row] for row in np.flatnonzero(chosen.apart).tolist())})
    unknown: list[SubjectId] = []
    people = _by_subject(asking.of_people(singles, unknown), outcome)
    others = _by_subject(asking.of_agents(), outcome)
    names = columns.named[chosen.asked]
    alone = [*people.items(), *others.items()]

    def those(of_class: Iterable[bool], of_one: Iterable[SubjectId]) -> tuple[SubjectId, ...]:
        chosen_classes = np.fromiter(of_class, dtype=bool, count=len(outcomes))
        found = names[chosen_classes[codes]].tolist() if outcomes else []
        added = set(of_one)
        return tuple(sorted([*found, *added]) if added else found)

    seen = {name for name, _ in alone}
    allowed = {name for name, one in alone if one.allowed}
    loses = {name for name, one in alone if one.loses}
    gains = {name for name, one in alone if one.gains}
    sizes = np.bincount(codes, minlength=len(outcomes)) if outcomes else np.zeros(0, dtype=np.int64)
    questions = int(sum(one.questions * int(size) for one, size in zip(outcomes, sizes, strict=True)))
    impact = Impact(
        at=at,
        loses=those((one.loses for one in outcomes), loses),
        keeps=those((one.allowed and not one.loses for one in outcomes), allowed - loses),
        gains=those((one.gains for one in outcomes), gains),
        untouched=those(
            (bool(one.questions) and not one.allowed and not one.gains for one in outcomes),
            seen - allowed - gains,
        ),
        changes=Changes(
            names=columns.names,
            rows=chosen.asked,
            classes=codes,
            outcomes=outcomes,
            singly=[change for one in people.values() for change in one.turned],
            agents=[change for one in others.values() for change in one.turned],
        ),
        questions=questions + sum(one.questions for _, one in alone),
    )
    without = [columns.names[row] for row in chosen.without.tolist()]
    return Asked(
        impact=impact,
        without_claims=tuple(sorted([*without, *unknown]) if unknown else without),
        classes=len(outcomes),
        kinds=len(kinds.asked),
        singly=len(seen),
    )


def _claims(columns: Columns, organisations: Sequence[OrganisationId], passport: int) -> Claims:
    """The claims that a passport discloses, as far as decisions read them."""
    claimed = int(columns.claimed[passport])
    organisation: OrganisationId | None = None
    if claimed != NOBODY:
        organisation = organisations[claimed]
    evidence = int(columns.evidence[passport])
    return msgspec.structs.replace(
        columns.profiles[int(columns.claims[passport])],
        organisation=organisation,
        evidence_expires=None if evidence < 0 else evidence,
    )


def _by_subject(
    answered: Iterator[Answered], outcome: Callable[[Iterator[Answered]], Outcome]
) -> dict[SubjectId, Outcome]:
    """Outcomes of those asked one by one, in the order in which their questions came."""
    asked: dict[SubjectId, list[Answered]] = {}
    for one in answered:
        asked.setdefault(one[0].subject, []).append(one)
    return {name: outcome(iter(questions)) for name, questions in asked.items()}
