"""Why a regime says what it says of an organisation: the sum per owner, and the path to each list's entry, as text.

Owns the wording for the analyst. Everything shown was computed by `fixed_point`; nothing is decided again here.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from safeconduct.identity.ownership.designation import Designation
from safeconduct.identity.ownership.edge import EdgeKind, Holding
from safeconduct.identity.ownership.fixed_point import Assessment, highest, reached_alone
from safeconduct.identity.ownership.regime import Limb, Outcome, Period, in_force
from safeconduct.identity.ownership.share import Share, percent

MOST_NODES: Final = 200
"""Nodes that one explanation shows; what is left out is counted."""
MOST_PATHS: Final = 20


class Sum(msgspec.Struct, frozen=True):
    """What was added up against a threshold: under one limb, of one person or (None) of all blocked owners together.

    through: those that the person owns or controls and that hold a part. caught: whether it reaches the threshold from below
    (`blocked`) or from above (`unknown`).
    """

    limb: str
    person: str | None
    share: Share
    asked: str
    caught: Outcome
    through: tuple[str, ...] = ()


class Held(msgspec.Struct, frozen=True):
    """One holding shown: who, how much, who says so, and what the owner is."""

    owner: str
    owned: str
    kind: EdgeKind
    share: Share
    outcome: Outcome
    sources: tuple[tuple[str, str, str], ...]
    disputed: bool = False
    designations: tuple[Designation, ...] = ()


class Hop(msgspec.Struct, frozen=True):
    """One step of a path: `owner` holds `share` of `owned`."""

    owner: str
    owned: str
    kind: EdgeKind
    share: Share


class Explanation(msgspec.Struct, frozen=True):
    """All that an analyst needs about one organisation under one regime on one day.

    computed: what the graph says; outcome: what that amounts to under the regime's status. held: nearest owners first.
    accounted: how much of the equity any holding accounts for. left_out: caught owners that were not shown.
    """

    organisation: str
    regime: str
    version: str
    legal_source: str
    on: str
    status: str
    status_source: str
    computed: Outcome
    outcome: Outcome
    most_restrictive: str | None
    accounted: Share
    sums: tuple[Sum, ...]
    held: tuple[Held, ...]
    paths: tuple[tuple[Hop, ...], ...]
    designations: tuple[Designation, ...] = ()
    left_out: int = 0


def explain(assessment: Assessment, node: str, on: str) -> Explanation:
    """Explain what the regime says of `node` on a day (ISO 8601 date)."""
    regime = assessment.regime
    period: Period | None = regime.status_on(on)
    computed = assessment.outcome(node)
    held, paths, left_out = _upstream(assessment, node)
    equity = [
        one.share
        for one in assessment.graph.into(node)
        if one.kind in regime.limbs[0].kinds and one.owner != node
    ]
    return Explanation(
        organisation=node,
        regime=regime.regime,
        version=regime.version,
        legal_source=regime.legal_source,
        on=on,
        status=period.status.value if period is not None else "not in force yet",
        status_source=period.source if period is not None else "",
        computed=computed,
        outcome=in_force(computed, period),
        most_restrictive=assessment.most_restrictive(node) if computed is not Outcome.CLEAR else None,
        accounted=Share(sum(one.low for one in equity), sum(one.high for one in equity)),
        sums=_sums(assessment, node),
        held=held,
        paths=paths,
        designations=assessment.designated.get(node, ()),
        left_out=left_out,
    )


def _verdict(limb: Limb, share: Share, most: int) -> Outcome:
    if limb.met(share.low):
        return Outcome.BLOCKED
    return Outcome.UNKNOWN if limb.met(most) else Outcome.CLEAR


def _sums(assessment: Assessment, node: str) -> tuple[Sum, ...]:
    graph, regime = assessment.graph, assessment.regime
    number = graph.index.get(node)
    if number is None:
        return ()
    found: list[Sum] = []
    for limb in regime.limbs:
        if limb.aggregate:
            low = high = low_of_possible = 0
            for one in graph.into(node):
                if one.kind in limb.kinds and one.owner != node:
                    owner = graph.index[one.owner]
                    if assessment.possible[owner]:
                        low_of_possible += one.share.low
                        high += one.share.high
                    if assessment.blocked[owner]:
                        low += one.share.low
            if high:
                most = highest(low_of_possible, high, graph.view(limb).total[number])
                found.append(_sum(limb, None, Share(low, max(low, most)), most))
    alone = [(limb, graph.view(limb)) for limb in regime.limbs if not limb.aggregate]
    if alone:
        covered: set[int] = set()
        for person in _persons(assessment, node):
            if person in covered:
                continue
            lower: dict[tuple[int, int], list[int]] = {}
            below = reached_alone(person, alone, upper=False, sums=lower)
            upper: dict[tuple[int, int], list[int]] = {}
            above = reached_alone(person, alone, upper=True, sums=upper)
            covered |= above - {number}
            for place, (limb, view) in enumerate(alone):
                if (place, number) not in upper:
                    continue
                low, high = upper[place, number]
                most = highest(low, high, view.total[number]) if view.adds_up else high
                share = Share(lower.get((place, number), [0, 0])[0], most)
                through = tuple(
                    sorted(
                        graph.names[one]
                        for one in below | above
                        if one not in {person, number}
                        and any(owned == number for owned, *_ in view.out.get(one, ()))
                    )
                )
                added = _sum(limb, graph.names[person], share, most, through)
                if added.caught is Outcome.BLOCKED and not assessment.blocked[person]:
                    # Whoever is not known to be blocked does not block, however much it holds.
                    added = msgspec.structs.replace(added, caught=Outcome.UNKNOWN)
                found.append(added)
    return tuple(found)


def _sum(limb: Limb, person: str | None, share: Share, most: int, through: tuple[str, ...] = ()) -> Sum:
    asked = f"{limb.operator.value} {percent(limb.threshold)}"
    return Sum(limb.name, person, share, asked, _verdict(limb, share, most), through)


def _persons(assessment: Assessment, node: str) -> list[int]:
    """Caught owners above a node: those on a list first, then the nearest."""
    graph, seen, queue, order = assessment.graph, {node}, deque([node]), list[str]()
    while queue and len(seen) <= MOST_NODES:
        for one in graph.into(queue.popleft()):
            if one.owner not in seen and assessment.possible[graph.index[one.owner]]:
                seen.add(one.owner)
                order.append(one.owner)
                queue.append(one.owner)
    return [graph.index[name] for name in sorted(order, key=lambda name: name not in assessment.designated)]


def _upstream(assessment: Assessment, node: str) -> tuple[tuple[Held, ...], tuple[tuple[Hop, ...], ...], int]:
    """The caught owners above a node, the shortest path from each that is on a list, and how many were left out."""
    graph, kinds = assessment.graph, {kind for limb in assessment.regime.limbs for kind in limb.kinds}
    alone = any(not limb.aggregate for limb in assessment.regime.limbs)
    below: dict[str, Holding | None] = {node: None}
    queue, held, left_out = deque([node]), list[Held](), 0
    paths: list[tuple[Hop, ...]] = []
    while queue:
        owned = queue.popleft()
        into = [one for one in graph.into(owned) if one.kind in kinds and one.owner != owned]
        joint = alone and any(
            one.kind is EdgeKind.JOINT_ARRANGEMENT and assessment.possible[graph.index[one.owner]]
            for one in into
        )
        for one in into:
            caught = bool(assessment.possible[graph.index[one.owner]])
            if not caught and not (joint and one.kind is EdgeKind.JOINT_ARRANGEMENT):
                continue
            if len(below) > MOST_NODES and one.owner not in below:
                left_out += 1
                continue
            held.append(_held(assessment, one))
            if not caught or one.owner in below:
                continue
            below[one.owner] = one
            queue.append(one.owner)
            if one.owner in assessment.designated and len(paths) < MOST_PATHS:
                paths.append(_path(below, one.owner))
    return tuple(held), tuple(paths), left_out


def _held(assessment: Assessment, one: Holding) -> Held:
    return Held(
        one.owner,
        one.owned,
        one.kind,
        one.share,
        assessment.outcome(one.owner),
        tuple((said.source, said.as_of, str(said.percent)) for said in one.statements),
        one.disputed,
        assessment.designated.get(one.owner, ()),
    )


def _path(below: dict[str, Holding | None], start: str) -> tuple[Hop, ...]:
    hops: list[Hop] = []
    holding = below[start]
    while holding is not None:
        hops.append(Hop(holding.owner, holding.owned, holding.kind, holding.share))
        holding = below[holding.owned]
    return tuple(hops)


def as_text(explanation: Explanation) -> str:
    """The explanation as lines for a terminal."""
    status = (
        f"{explanation.status} ({explanation.status_source})"
        if explanation.status_source
        else explanation.status
    )
    regime = f"{explanation.regime} version {explanation.version}"
    lines = [
        f"{explanation.organisation} under {regime} on {explanation.on}: {explanation.outcome.value.upper()}",
        f"  rule: {explanation.legal_source}",
        f"  status: {status}",
    ]
    if explanation.outcome is not explanation.computed:
        lines.append(f"  by the graph alone: {explanation.computed.value}")
    lines += [f"  it is itself {_entry(designation)}" for designation in explanation.designations]
    for one in explanation.sums:
        whose = "all caught owners together" if one.person is None else one.person
        through = f", through {', '.join(one.through)}" if one.through else ""
        lines.append(
            f"  {one.limb}: {one.share} held by {whose}{through}; {one.asked} is caught: {one.caught.value}"
        )
    owned = None
    for held in explanation.held:
        if held.owned != owned:
            owned = held.owned
            lines.append(f"  owners of {owned}:")
        said = "; ".join(f"{source} as of {day}: {share}" for source, day, share in held.sources)
        marks = [
            held.outcome.value,
            *map(_entry, held.designations),
            *(["sources differ"] if held.disputed else []),
        ]
        lines.append(f"    {held.share} {held.kind.value} {held.owner} ({', '.join(marks)}) [{said}]")
    lines += [
        "  path: " + path[0].owner + "".join(f" -> {hop.share} -> {hop.owned}" for hop in path)
        for path in explanation.paths
    ]
    if explanation.most_restrictive:
        lines.append(f"  most restrictive list: {explanation.most_restrictive}")
    if explanation.left_out:
        lines.append(f"  {explanation.left_out} more owners are not shown")
    lines.append(f"  equity accounted for: {_accounted(explanation.accounted)}")
    return "\n".join(lines)


def _entry(designation: Designation) -> str:
    return f"entry {designation.entry} of {designation.list} ({designation.version})"


def _accounted(share: Share) -> str:
    return percent(share.low) if share.low == share.high else f"at least {percent(share.low)}"
