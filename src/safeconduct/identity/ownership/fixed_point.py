"""Who is blocked under a regime: the least fixed point of its limbs over a graph, once from below and once from above.

Owns the computation. From below only what is known counts: who is caught then is blocked. From above every unknown counts at
its highest, as far as what others are known to hold leaves room: who is caught only then is unknown. Percentages along a
chain are never multiplied, and an owner that is not caught passes nothing down. Cycles need no care: a node is caught once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from safeconduct.identity.ownership.designation import Designated
from safeconduct.identity.ownership.graph import Graph, View
from safeconduct.identity.ownership.regime import Limb, Outcome, Regime
from safeconduct.identity.ownership.share import WHOLE

BATCH: Final = 4096
"""Persons followed at one time, a bit each: enough to share the way, few enough to keep the numbers short."""
_FEW: Final = 8
"""Owners up to which every combination of them is tried."""

_Limbs = list[tuple[Limb, View]]


class Assessment:
    """What a regime says of every node. blocked, possible: caught from below and from above, by the nodes' numbers."""

    def __init__(self, graph: Graph, regime: Regime, designated: Designated) -> None:
        self.graph = graph
        self.regime = regime
        self.designated = designated
        self.blocked = _caught(graph, regime, designated, upper=False)
        # Mostly nothing is unknown, or nothing that matters: then there is no second pass to make.
        self.possible = _caught(graph, regime, designated, upper=True)
        self._restrictive: dict[int, int] | None = None

    def outcome(self, node: str) -> Outcome:
        """Of one node; a node that no holding names is clear unless a list names it."""
        if node in self.designated:
            return Outcome.BLOCKED
        number = self.graph.index.get(node)
        if number is None:
            return Outcome.CLEAR
        if self.blocked[number]:
            return Outcome.BLOCKED
        return Outcome.UNKNOWN if self.possible[number] else Outcome.CLEAR

    def most_restrictive(self, node: str) -> str | None:
        """The most restrictive of the lists that reach a blocked or unknown node, in the regime's order."""
        held = self.designated.get(node)
        lists = [one.list for one in self.regime.lists]
        if self._restrictive is None:
            self._restrictive = self._ranks(lists)
        ranks = [lists.index(held[0].list)] if held else []
        number = self.graph.index.get(node)
        if number is not None and number in self._restrictive:
            ranks.append(self._restrictive[number])
        return lists[min(ranks)] if ranks else None

    def _ranks(self, lists: list[str]) -> dict[int, int]:
        index, found = self.graph.index, dict[int, int]()
        views = [self.graph.view(limb) for limb in self.regime.limbs]
        begins = sorted(
            (lists.index(held[0].list), index[name])
            for name, held in self.designated.items()
            if name in index
        )
        for rank, start in begins:
            stack = [start]
            while stack:
                number = stack.pop()
                if number in found:
                    continue
                found[number] = rank
                stack += [
                    owned
                    for view in views
                    for owned, _, high, _ in view.out.get(number, ())
                    if high and self.possible[owned]
                ]
        return found


def highest(low: int, high: int, total: int) -> int:
    """The most that owners holding `low` to `high` can hold, when all owners together hold at least `total`.

    Statements that add up to more than the whole contradict each other, so then nobody's holding limits another's.
    """
    return min(high, WHOLE - (total - low)) if total <= WHOLE else min(high, WHOLE)


def _caught(graph: Graph, regime: Regime, designated: Designated, *, upper: bool) -> bytearray:
    index = graph.index
    caught = bytearray(len(graph.names))
    work = sorted({index[name] for name in designated if name in index})
    for number in work:
        caught[number] = 1
    together = [(limb, graph.view(limb)) for limb in regime.limbs if limb.aggregate]
    alone: _Limbs = [(limb, graph.view(limb)) for limb in regime.limbs if not limb.aggregate]
    sums = [([0] * len(caught), [0] * len(caught)) for _ in together]
    persons: list[int] = []
    covered = bytearray(len(caught))
    while True:
        while work:
            owner = work.pop()
            if alone and not covered[owner] and any(owner in view.out for _, view in alone):
                persons.append(owner)
            for (limb, view), (lows, highs) in zip(together, sums, strict=True):
                total, met = view.total, limb.met
                for owned, low, high, _ in view.out.get(owner, ()):
                    lows[owned] += low
                    highs[owned] += high
                    if caught[owned]:
                        continue
                    if met(highest(lows[owned], highs[owned], total[owned]) if upper else lows[owned]):
                        caught[owned] = 1
                        work.append(owned)
        # Whoever stands under somebody else's control adds nothing that the other did not reach already.
        persons = [person for person in persons if not covered[person]]
        if not persons:
            return caught
        batch = persons[-BATCH:]
        for member in _reached_by(batch, alone, upper=upper):
            covered[member] = 1
            if not caught[member]:
                caught[member] = 1
                work.append(member)


def _reached_by(persons: Sequence[int], limbs: _Limbs, *, upper: bool) -> list[int]:
    """All that any of these persons owns or controls, alone or through those, and the persons themselves.

    What `reached_alone` says for each of them, on one way through the graph: a person is a bit, and nodes that hold each
    other by a single holding each (a strongly connected component) share one set of bits.
    """
    nodes = _below(persons, limbs, upper=upper)
    single, summed = _split(nodes, limbs, upper=upper)
    components = strongly_connected(nodes, single)
    component_of = {node: place for place, component in enumerate(components) for node in component}
    bits = [0] * len(components)
    for place, person in enumerate(persons):
        bits[component_of[person]] |= 1 << place
    # When a component's bits changed last and when a sum was looked at last, by a counter of steps.
    changed_at, looked_at = [1] * len(components), dict.fromkeys(summed, 0)
    step, changed = 1, True
    while changed:
        changed = False
        # Components come owned first, so backwards each is complete before what it holds is looked at.
        for place in range(len(components) - 1, -1, -1):
            for node in components[place]:
                if node not in summed:
                    continue
                step += 1
                for limb, view in summed[node]:
                    since = looked_at[node]
                    owners = view.into[node]
                    if not any(
                        changed_at[component_of[one[0]]] >= since for one in owners if one[0] in nodes
                    ):
                        continue
                    gained = _reached_together(limb, view, node, bits, component_of, upper=upper)
                    if gained & ~bits[place]:
                        bits[place] |= gained
                        changed_at[place], changed = step, True
                looked_at[node] = step
            held = bits[place]
            if held:
                for node in components[place]:
                    for owned in single[node]:
                        then = component_of[owned]
                        if held & ~bits[then]:
                            bits[then] |= held
                            changed_at[then], changed = step, True
    return [node for node in nodes if bits[component_of[node]]]


def _below(persons: Sequence[int], limbs: _Limbs, *, upper: bool) -> dict[int, None]:
    """All that these persons would reach if they were one: nobody reaches more alone, so nothing else need be looked at."""
    nodes = dict.fromkeys(persons)
    work = list(nodes)
    sums: list[dict[int, list[int]]] = [{} for _ in limbs]
    joined: set[tuple[int, int]] = set()
    while work:
        owner = work.pop()
        for place, (limb, view) in enumerate(limbs):
            held, total, met = sums[place], view.total, limb.met
            for owned, one_low, one_high, together in view.out.get(owner, ()):
                if owned in nodes:
                    continue
                low, high = one_low, one_high
                if together:
                    if (place, owned) in joined:
                        continue
                    joined.add((place, owned))
                    low, high = view.joint[owned]
                if view.adds_up:
                    known = held.get(owned)
                    if known is None:
                        held[owned] = [low, high]
                    else:
                        known[0] = low = known[0] + low
                        known[1] = high = known[1] + high
                    most = highest(low, high, total[owned]) if upper else low
                else:
                    most = high if upper else low
                if met(most):
                    nodes[owned] = None
                    work.append(owned)
    return nodes


def _split(
    nodes: dict[int, None], limbs: _Limbs, *, upper: bool
) -> tuple[dict[int, list[int]], dict[int, _Limbs]]:
    """By owner, what it holds by a single holding; by owned, the limbs under which holdings have to be added up."""
    single: dict[int, list[int]] = {node: [] for node in nodes}
    summed: dict[int, _Limbs] = {}
    for limb, view in limbs:
        met, total = limb.met, view.total
        for owned in nodes:
            parts = lows = highs = 0
            joined = False
            for owner, low, high, together in view.into.get(owned, ()):
                if owner not in nodes:
                    continue
                if not view.adds_up:
                    most = high if upper else low
                else:
                    most = highest(low, high, total[owned]) if upper else low
                if met(most) and not together:
                    single[owner].append(owned)
                else:
                    parts += 2 if together else 1
                # A single holding that suffices may be a part of a sum as well, but it needs no sum.
                if not together:
                    lows, highs = lows + low, highs + high
                elif not joined:
                    joined = True
                    lows, highs = lows + view.joint[owned][0], highs + view.joint[owned][1]
            if parts > 1 and view.adds_up and met(highest(lows, highs, total[owned]) if upper else lows):
                summed.setdefault(owned, []).append((limb, view))
    return single, summed


def strongly_connected(nodes: Iterable[int], out: Mapping[int, Sequence[int]]) -> list[list[int]]:
    """The strongly connected components, each after all that it leads to. Source: Tarjan 1972, without recursion."""
    order: dict[int, int] = {}
    lowest: dict[int, int] = {}
    stack: list[int] = []
    on_stack: set[int] = set()
    components: list[list[int]] = []
    for root in nodes:
        if root in order:
            continue
        path: list[tuple[int, Iterator[int]]] = []
        visiting: int | None = root
        while visiting is not None or path:
            if visiting is not None:
                order[visiting] = lowest[visiting] = len(order)
                stack.append(visiting)
                on_stack.add(visiting)
                path.append((visiting, iter(out[visiting])))
                visiting = None
            node, rest = path[-1]
            for then in rest:
                if then not in order:
                    visiting = then
                    break
                if then in on_stack:
                    lowest[node] = min(lowest[node], order[then])
            if visiting is not None:
                continue
            path.pop()
            if path:
                above = path[-1][0]
                lowest[above] = min(lowest[above], lowest[node])
            if lowest[node] == order[node]:
                at = stack.index(node) if stack[-1] != node else len(stack) - 1
                components.append(stack[at:])
                on_stack.difference_update(stack[at:])
                del stack[at:]
    return components


def _reached_together(
    limb: Limb, view: View, owned: int, bits: Sequence[int], component_of: Mapping[int, int], *, upper: bool
) -> int:
    """The persons whose parts of `owned`, held by themselves and through others, add up to enough."""
    total, met = view.total[owned], limb.met
    known = bits[component_of[owned]]
    parts: list[tuple[int, int, int]] = []
    parties = asked = 0
    for owner, low, high, together in view.into[owned]:
        place = component_of.get(owner)
        here = bits[place] & ~known if place is not None else 0
        if not here:
            continue
        asked |= here
        if together:
            parties |= here
        else:
            parts.append((here, low, high))
    if parties:
        joint_low, joint_high = view.joint[owned]
        parts.append((parties, joint_low, joint_high))

    def enough(low: int, high: int) -> bool:
        return met(highest(low, high, total) if upper else low)

    if not enough(sum(part[1] for part in parts), sum(part[2] for part in parts)):
        return 0
    found = 0
    if len(parts) <= _FEW:
        # (persons that hold all parts taken so far, the next part, least, most)
        tries = [(asked, 0, 0, 0)]
        while tries:
            held, place, low, high = tries.pop()
            held &= ~found
            if not held:
                continue
            if place and enough(low, high):
                found |= held
            elif place < len(parts):
                part, one_low, one_high = parts[place]
                tries.append((held, place + 1, low, high))
                tries.append((held & part, place + 1, low + one_low, high + one_high))
        return found
    while asked:
        bit = asked & -asked
        asked ^= bit
        low = sum(part[1] for part in parts if part[0] & bit)
        high = sum(part[2] for part in parts if part[0] & bit)
        if enough(low, high):
            found |= bit
    return found


def reached_alone(
    person: int, limbs: _Limbs, *, upper: bool, sums: dict[tuple[int, int], list[int]]
) -> set[int]:
    """One person and all that it owns or controls, alone or through those (least fixed point), with the sums for showing.

    sums: filled with the least and most units that the person and those hold, per limb's place and node.
    """
    found = {person}
    joined: set[tuple[int, int]] = set()
    work = [person]
    while work:
        owner = work.pop()
        for place, (limb, view) in enumerate(limbs):
            for owned, one_low, one_high, together in view.out.get(owner, ()):
                low, high, key = one_low, one_high, (place, owned)
                if together:
                    # Each party of a joint arrangement is taken to hold what all of them hold.
                    if key in joined:
                        continue
                    joined.add(key)
                    low, high = view.joint[owned]
                held = sums.get(key)
                if held is None:
                    held = sums[key] = [0, 0]
                if view.adds_up:
                    held[0] += low
                    held[1] += high
                    most = highest(held[0], held[1], view.total[owned]) if upper else held[0]
                else:
                    held[0], held[1] = max(held[0], low), max(held[1], high)
                    most = held[1] if upper else held[0]
                if owned not in found and limb.met(most):
                    found.add(owned)
                    work.append(owned)
    return found
