"""Keeps what a preview over a large population needs: the columns, made at the first preview and kept up by the record.

Owns when they are made. Small populations need none, so that numpy is imported only where it pays.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import msgspec

from safeconduct.app.ports import Record, Vault
from safeconduct.app.stored_claims import PASSPORT_CLAIMS, read_claims
from safeconduct.passport.claims import Claims
from safeconduct.record.events import Event
from safeconduct.record.projections import PassportState
from safeconduct.record.state import State

if TYPE_CHECKING:
    from safeconduct.app.population import Columns, Population, View
    from safeconduct.app.population_classes import ProjectLists

LEAST: Final = 2_000
"""Subjects from which columns pay."""
MOST_SINGLES: Final = 1_000
"""People asked one by one (a few milliseconds each) before the columns are made anew; or a hundredth of everybody."""


class Prepared(msgspec.Struct, frozen=True, eq=False):
    """What `population_impact.impact_of` works on."""

    columns: Columns
    view: View
    projects: ProjectLists


class ImpactDesk:
    """The columns of one record's population. Thread-safe."""

    def __init__(
        self,
        record: Record,
        read: Callable[[PassportState], Claims | None],
        *,
        erasures: Callable[[], int] = lambda: 0,
        least: int = LEAST,
        most_singles: int = MOST_SINGLES,
    ) -> None:
        """read: a passport's claims. erasures: grows whenever somebody's data is destroyed."""
        self._record = record
        self._read = read
        self._erasures = erasures
        self._least = least
        self._most_singles = most_singles
        self._lock = threading.Lock()  # of making; `_noting` is taken within it, never the other way round
        self._noting = threading.Lock()
        self._population: Population | None = None
        self._pending: list[tuple[State, Sequence[Event]]] | None = None
        self._made_at = 0
        self._projects: tuple[Any, Columns, ProjectLists] | None = None
        record.subscribe(self._note)

    def _note(self, state: State, events: Sequence[Event]) -> None:
        with self._noting:
            if self._pending is not None:
                self._pending.append((state, events))
            if self._population is not None:
                self._population.note(state, events)

    def columns(self) -> Prepared | None:
        """What holds now; None for a population that is asked about one by one."""
        if len(self._record.state.subjects) < self._least:
            return None
        with self._lock:
            population = self._kept() or self._make()
            view = population.view()
            return Prepared(population.columns, view, self._lists(population.columns, view.state))

    def _kept(self) -> Population | None:
        population = self._population
        if population is None or self._erasures() != self._made_at:
            return None
        view = population.view()
        most = max(self._most_singles, len(population.columns.names) // 100)
        return None if view.outdated or len(view.singles) > most else population

    def _make(self) -> Population:
        from safeconduct.app.population import Population, make_columns  # noqa: PLC0415 - numpy

        with self._noting:
            self._population = self._projects = None
            self._pending = []
        self._made_at = self._erasures()
        # Read after the list of what comes meanwhile was begun: nothing falls in between.
        state = self._record.state
        population = Population(state, make_columns(state, self._read))
        with self._noting:
            for later, events in self._pending:
                population.note(later, events)
            self._population, self._pending = population, None
        return population

    def _lists(self, columns: Columns, state: State) -> ProjectLists:
        from safeconduct.app.population_classes import ProjectLists  # noqa: PLC0415 - numpy
        from safeconduct.app.projects import Projects  # noqa: PLC0415

        known = self._projects
        # Maps never change, so identity tells whether the lists still hold.
        if known is None or known[0] is not state.projects or known[1] is not columns:
            self._projects = known = (state.projects, columns, ProjectLists(Projects(state), columns))
        return known[2]


def desk_of(record: Record, vault: Vault) -> ImpactDesk:
    """The desk of an instance: claims come from its vault."""

    def read(held: PassportState) -> Claims | None:
        return read_claims(vault, PASSPORT_CLAIMS, held.issued.passport, commitment=held.issued.commitment)

    return ImpactDesk(record, read, erasures=lambda: vault.erasures)
