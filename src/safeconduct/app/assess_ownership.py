"""What the ownership regimes say of the organisations here, out of the files that were imported.

Owns which files, regimes and designations count at a moment of the record, and the events by which the record comes to agree.
Refuses to be kept: everything is computed anew from files that are named by their digests, so the same record and files give
the same answer anywhere. `designations_of` is the one place where another source of designations would join.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from safeconduct.app.ports import Instance
from safeconduct.identity.ownership.designation import Designation, designated_under
from safeconduct.identity.ownership.document import read_designations, read_edges
from safeconduct.identity.ownership.edge import OwnershipEdge, Statement, holdings_on
from safeconduct.identity.ownership.fixed_point import Assessment
from safeconduct.identity.ownership.graph import Graph
from safeconduct.identity.ownership.regime import Outcome, Regime, read_regime
from safeconduct.kernel.canonical import canonical_json, sha256_hex
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId
from safeconduct.record.events import Event
from safeconduct.record.events.holders import OrganisationRegistered
from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipFinding, OwnershipImported
from safeconduct.record.state import State, fold

VAULT_KIND = "ownership"
EDGES, DESIGNATIONS = "edges", "designations"
# One data key for all files: they are about legal persons, under the ids that registers and lists give them.
VAULT_SUBJECT = "ownership"

# What a file says never changes: it is named by its digest. Only a few are kept, so that a burst of imports does not grow.
_read: dict[str, tuple[OwnershipEdge, ...] | tuple[Designation, ...]] = {}
_nodes: dict[str, frozenset[str]] = {}
_MOST_READ = 32


class _Latest:
    """The last assessments and what they were made from."""

    __slots__ = ("entry",)

    def __init__(self) -> None:
        self.entry: tuple[object, object, object, dict[str, Assessment]] | None = None


_latest = _Latest()


def day_of(seconds: int) -> str:
    """The day (UTC) of an instant, ISO 8601."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


def parse(
    kind: str, data: bytes, form: str, *, today: str
) -> tuple[OwnershipEdge, ...] | tuple[Designation, ...]:
    """The rows of a file. Raises InvalidInput."""
    return read_edges(data, form, today=today) if kind == EDGES else read_designations(data, form)


def _rows(instance: Instance, file: OwnershipImported) -> tuple[OwnershipEdge, ...] | tuple[Designation, ...]:
    known = _read.get(file.sha256)
    if known is None:
        data = instance.vault.get(VAULT_KIND, file.sha256)
        if data is None or sha256_hex(data) != file.sha256:
            raise InvalidInput(
                "a file of ownership that the record names is not in the vault, or is another",
                field=file.sha256,
                remedy="restore the vault, or import the same file again",
            )
        known = parse(file.kind, data, file.form, today=day_of(file.recorded_at))
        remember(file.sha256, known)
    return known


def remember(sha256: str, rows: tuple[OwnershipEdge, ...] | tuple[Designation, ...]) -> None:
    """Keep what a file of this digest was read as."""
    if len(_read) >= _MOST_READ:
        _read.clear()
    _read[sha256] = rows


def _files(state: State, kind: str | None, known_at: int) -> list[OwnershipImported]:
    found = [
        one
        for one in state.ownership_files.values()
        if kind in {None, one.kind} and one.recorded_at <= known_at
    ]
    return sorted(found, key=lambda one: one.number)


def statements_of(instance: Instance, state: State, known_at: int) -> list[Statement]:
    """Every statement recorded until `known_at` (seconds, included), in the order of recording."""
    found = []
    named = _Names(state)
    for file in _files(state, EDGES, known_at):
        for edge in _rows(instance, file):
            assert isinstance(edge, OwnershipEdge)
            owner, owned = named.of(edge.owner), named.of(edge.owned)
            if owner != edge.owner or owned != edge.owned:
                edge = msgspec.structs.replace(edge, owner=owner, owned=owned)  # noqa: PLW2901 - the same edge
            found.append(Statement(edge, file.recorded_at))
    return found


def designations_of(instance: Instance, state: State, known_at: int) -> tuple[Designation, ...]:
    """Who is on which list: of each list the file imported last that names it."""
    latest: dict[str, OwnershipImported] = {}
    for file in _files(state, DESIGNATIONS, known_at):
        latest.update({name: file for name, _ in file.lists})
    named = _Names(state)
    found = []
    for name in sorted(latest):
        for one in _rows(instance, latest[name]):
            assert isinstance(one, Designation)
            if one.list == name:
                node = named.of(one.node)
                found.append(one if node == one.node else msgspec.structs.replace(one, node=node))
    return tuple(found)


class _Names:
    """Nodes under one name: an organisation registered here is `org:ID`, by whatever exact identifier a file names it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._known: dict[str, str] = {}

    def of(self, node: str) -> str:
        known = self._known.get(node)
        if known is None:
            known = self._known[node] = self._find(node)
        return known

    def _find(self, node: str) -> str:
        kind, _, rest = node.partition(":")
        held: OrganisationId | None = None
        if kind == "lei":
            held = self._state.by_lei.get(rest)
        elif kind == "reg":
            authority, _, number = rest.partition(":")
            held = self._state.by_registry.get((authority, number))
        return node if held is None else f"org:{held}"


def node_of(state: State, text: str) -> str:
    """The node that somebody means: an organisation's id, or a node as a file writes it."""
    if ":" not in text or OrganisationId(text) in state.organisations:
        return f"org:{text}"
    return _Names(state).of(text)


def regimes_of(state: State, known_at: int) -> tuple[Regime, ...]:
    """Of each computation pack the version published last until `known_at`, unless it is a draft, suspended or rescinded."""
    found = []
    for name in sorted(state.packs):
        held = [
            one
            for one in state.packs[name]
            if one.published.kind == "computation" and one.published.recorded_at <= known_at
        ]
        if held and held[-1].status == "active":
            pack = held[-1].published
            found.append(
                read_regime(
                    pack.policies, version=pack.version, title=pack.title, legal_source=pack.legal_source
                )
            )
    return tuple(found)


def assess(instance: Instance, state: State, *, on: str, known_at: int) -> dict[str, Assessment]:
    """Each regime's assessment of the graph of a day, by the regime's name. The last answer is kept: analysts ask on."""
    regimes = regimes_of(state, known_at)
    files = tuple((one.sha256, one.recorded_at) for one in _files(state, None, known_at))
    asked = (files, on, regimes)
    known = _latest.entry
    # Maps never change, so identity tells whether an identifier still means the same organisation.
    if known is not None and known[0] == asked and known[1] is state.by_lei and known[2] is state.by_registry:
        return known[3]
    graph = Graph(holdings_on(statements_of(instance, state, known_at), on))
    designations = designations_of(instance, state, known_at)
    found = {
        regime.regime: Assessment(graph, regime, designated_under(regime, designations)) for regime in regimes
    }
    # One assignment: another thread sees the old entry or the new one, never half of it.
    _latest.entry = (asked, state.by_lei, state.by_registry, found)
    return found


def ownership_events(
    instance: Instance, state: State, now: int, *, only: Iterable[OrganisationId] | None = None
) -> list[OwnershipAssessed]:
    """The events by which the record agrees with what `state` makes of every organisation, or of those named.

    Nothing for organisations that no file names and of which nothing was said before.
    """
    if not state.ownership_files:
        return []
    assessments = assess(instance, state, on=day_of(now), known_at=now)
    inputs = sha256_hex(
        canonical_json(
            {
                "files": sorted(state.ownership_files),
                "regimes": [[one.regime.regime, one.regime.version] for one in assessments.values()],
            }
        )
    )
    events = []
    for name in sorted(state.organisations if only is None else only):
        held, node = state.organisations[name], f"org:{name}"
        findings = tuple(_finding(one, node) for one in assessments.values())
        before = held.ownership
        if before is None and all(finding.outcome is Outcome.CLEAR for finding in findings):
            graphs = [one.graph.index for one in assessments.values()]
            if not any(node in index for index in graphs):
                continue
        if before is None or before.findings != findings:
            events.append(OwnershipAssessed(name, findings, inputs, now))
    return events


def _finding(assessment: Assessment, node: str) -> OwnershipFinding:
    regime, outcome = assessment.regime, assessment.outcome(node)
    return OwnershipFinding(
        regime.regime,
        regime.version,
        regime.legal_source,
        outcome,
        regime.spans(outcome),
        assessment.most_restrictive(node) if outcome is not Outcome.CLEAR else None,
    )


def with_ownership(instance: Instance, state: State, events: Sequence[Event], now: int) -> list[Event]:
    """These events and, after them, what they change of anybody's ownership outcome; for one commit.

    A registration gives an organisation, or an identifier of one, a place in the graph: whoever is above or below it is
    assessed as well, but only when a file names it: most registrations cost a look-up.
    """
    after = fold(events, state)
    if not after.ownership_files:
        return list(events)
    nodes = {node for event in events for node in _nodes_of(state, event)}
    if not any(node in _named(instance, file) for file in after.ownership_files.values() for node in nodes):
        return list(events)
    return [*events, *ownership_events(instance, after, now)]


def _nodes_of(state: State, event: Event) -> Iterator[str]:
    """The nodes that a registration gives to an organisation or takes from it."""
    if not isinstance(event, OrganisationRegistered):
        return
    known = state.organisations.get(event.organisation)
    for one in (event, known.registered if known is not None else event):
        yield f"org:{one.organisation}"
        if one.lei is not None:
            yield f"lei:{one.lei}"
        if one.registry is not None:
            yield f"reg:{one.registry.authority}:{one.registry.number}"


def named_nodes(instance: Instance, state: State, kind: str) -> frozenset[str]:
    """The nodes that files of a kind name, as they write them."""
    return frozenset(
        node
        for file in state.ownership_files.values()
        if file.kind == kind
        for node in _named(instance, file)
    )


def _named(instance: Instance, file: OwnershipImported) -> frozenset[str]:
    """The nodes of a file, as it writes them."""
    rows = _rows(instance, file)
    known = _nodes.get(file.sha256)
    if known is None:
        if len(_nodes) >= _MOST_READ:
            _nodes.clear()
        known = _nodes[file.sha256] = frozenset(
            node
            for one in rows
            for node in ((one.owner, one.owned) if isinstance(one, OwnershipEdge) else (one.node,))
        )
    return known
