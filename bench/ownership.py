"""Who is blocked through 100,000 edges, under each shipped regime, beside repeating the rules until nothing changes.

Three made-up worlds from a fixed seed: `groups` (corporate groups a few levels deep, minority holdings between them, a tenth of
the percentages unknown), `chain` (one chain of 100,000 links, against its order) and `tangle` (owners drawn at random: cycles
everywhere, percentages that contradict each other). The figure is graph and fixed point from below and from above; the baseline is
a plain loop over all edges that adds up and starts again until nothing changes, from below and from above, and answers the same
(for regimes that add up over all owners; it has no answer for those that look at each person alone). Seconds of this thread's
processor, best of some runs. Goal: 1 s. `--quick` takes 10,000 edges. Writes JSON to bench/results/.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable
from pathlib import Path

from safeconduct.identity.ownership.designation import Designation, designated_under
from safeconduct.identity.ownership.edge import EdgeKind, Holding
from safeconduct.identity.ownership.fixed_point import Assessment, highest
from safeconduct.identity.ownership.graph import Graph
from safeconduct.identity.ownership.regime import Regime, read_regime
from safeconduct.identity.ownership.share import UNITS, WHOLE, Share
from safeconduct.policy.packs import load_regimes

GOAL = 1.0
BASELINE_LIMIT = 5.0
Edges = list[tuple[int, int, EdgeKind, Share]]


def _share(draw: random.Random) -> Share:
    units = draw.choice([100, 100, 75, 60, 51, 50, 40, 25, 10]) * UNITS
    return Share(0, WHOLE) if draw.random() < 0.1 else Share(units, units)


def groups(count: int, draw: random.Random) -> tuple[Edges, list[int]]:
    """Trees of companies in which a parent comes before its subsidiaries, votes beside shares, holdings across."""
    edges: Edges = []
    nodes = count * 2 // 3
    for node in range(1, nodes):
        first = node - node % 200
        parent = draw.randrange(first, node) if node > first else draw.randrange(node)
        edges.append((parent, node, EdgeKind.EQUITY, _share(draw)))
    while len(edges) < count:
        owner, owned = draw.randrange(nodes), draw.randrange(nodes)
        kind = draw.choice([EdgeKind.EQUITY, EdgeKind.VOTES, EdgeKind.BOARD, EdgeKind.JOINT_ARRANGEMENT])
        edges.append((owner, owned, kind, Share(10 * UNITS, 10 * UNITS)))
    return edges, list(range(0, nodes, 97))


def chain(count: int, draw: random.Random) -> tuple[Edges, list[int]]:
    """Every link owns half of the next, told in an order that no single pass can follow."""
    half = Share(WHOLE // 2, WHOLE // 2)
    edges: Edges = [(node, node + 1, EdgeKind.EQUITY, half) for node in range(count)]
    draw.shuffle(edges)
    return edges, [0]


def tangle(count: int, draw: random.Random) -> tuple[Edges, list[int]]:
    """Random owners: one component of cycles."""
    nodes = count * 2 // 5
    pairs: dict[tuple[int, int], None] = {}
    while len(pairs) < count:
        pairs[draw.randrange(nodes), draw.randrange(nodes)] = None
    return [(*pair, EdgeKind.EQUITY, _share(draw)) for pair in pairs], list(range(0, nodes, 20))


WORLDS = {"groups": groups, "chain": chain, "tangle": tangle}


def repeated(holdings: list[Holding], regime: Regime, listed: set[str]) -> tuple[set[str], set[str]] | None:
    """The baseline: all sums over all edges, again and again. None when it takes too long."""
    (limb,) = (limb for limb in regime.limbs if limb.aggregate)
    held = [one for one in holdings if one.kind in limb.kinds and one.owner != one.owned]
    total: dict[str, int] = {}
    for one in held:
        total[one.owned] = total.get(one.owned, 0) + one.share.low
    answers = []
    began = time.thread_time()
    for upper in (False, True):
        caught = set(listed)
        size = -1
        while size != len(caught):
            if time.thread_time() - began > BASELINE_LIMIT:
                return None
            size = len(caught)
            low: dict[str, int] = {}
            high: dict[str, int] = {}
            for one in held:
                if one.owner in caught:
                    low[one.owned] = low.get(one.owned, 0) + one.share.low
                    high[one.owned] = high.get(one.owned, 0) + one.share.high
            caught |= {
                node
                for node, units in low.items()
                if limb.met(highest(units, high[node], total[node]) if upper else units)
            }
        answers.append(caught)
    return answers[0], answers[1]


def least(call: Callable[[], object], runs: int) -> float:
    """Seconds of processor time of the best run."""
    best = float("inf")
    for _ in range(runs):
        start = time.thread_time()
        call()
        best = min(best, time.thread_time() - start)
    return best


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="10,000 edges")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "ownership.json")
    options = parser.parse_args()
    count = 10_000 if options.quick else 100_000
    regimes = [read_regime(pack.policies, version=pack.version) for pack in load_regimes()]
    figures: dict[str, dict[str, float | int | None]] = {}
    for world, make in WORLDS.items():
        edges, roots = make(count, random.Random(20261123))
        holdings = [Holding(f"other:n:{a}", f"other:n:{b}", kind, share, ()) for a, b, kind, share in edges]
        for regime in regimes:
            listed = tuple(
                Designation(f"other:n:{root}", regime.lists[0].list, "1", str(root)) for root in roots
            )
            designated = designated_under(regime, listed)
            seconds = least(lambda d=designated, r=regime, h=holdings: Assessment(Graph(h), r, d), 2)  # type: ignore[misc]
            answer = Assessment(Graph(holdings), regime, designated)
            names = answer.graph.names
            blocked = {names[place] for place, one in enumerate(answer.blocked) if one}
            possible = {names[place] for place, one in enumerate(answer.possible) if one}
            baseline: float | None = None
            only_sums = len(regime.limbs) == 1 and regime.limbs[0].aggregate
            if only_sums:
                start = time.thread_time()
                plain = repeated(holdings, regime, set(designated) & set(names))
                if plain is not None:
                    baseline = time.thread_time() - start
                    assert plain == (blocked, possible), "the baseline answers otherwise"
            name = f"{world}, {regime.regime}"
            figures[name] = {
                "seconds": round(seconds, 3),
                "baseline": None if baseline is None else round(baseline, 3),
                "blocked": len(blocked),
                "unknown": len(possible) - len(blocked),
            }
            beside = (
                f"repeated {baseline:6.2f} s, {baseline / seconds:6.1f} x"
                if baseline is not None
                else f"repeated: more than {BASELINE_LIMIT:.0f} s"
                if only_sums
                else "repeated: no answer"
            )
            met = "reached" if seconds < GOAL else f"missed by {seconds / GOAL - 1:.0%}"
            print(
                f"{name:28} {seconds:6.3f} s CPU, goal {met}; {beside}; "
                f"{len(blocked)} blocked, {len(possible) - len(blocked)} unknown of {len(names)}"
            )
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"edges": count, "figures": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
