"""Screening: who is found, who is alarmed about, how fast and in how much memory; beside other scorers on the same data, same run.

    python bench/screening.py [--data DIR] [--json]

One threshold (the shipped `review` band; names in other scripts have their own, lower one) for every figure. An alert is a score in
review or block. Weights and bands are chosen on one half of the data by `fit_screening.py`; "other half" is what was not looked at
then. Peers: rapidfuzz's token_sort_ratio at .85 and WRatio at .9, as they are commonly set up, and for F1 at whichever threshold is
best for them; nomenklatura's logic-v2 at .7 from `bench/peers/env/nomenklatura` when `bench/peers/set-up nomenklatura` was run.
Names perturbed from a fixed seed are written to bench/results/. Times are of this thread's processor, so that a busy machine does
not count as slowness; wall-clock times stand beside them.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from rapidfuzz import fuzz, process, utils

from safeconduct.app.name_index import NameIndex
from safeconduct.identity.screening.entry import NameKind
from safeconduct.identity.screening.name import analyse
from safeconduct.identity.screening.score import Band, as_score, band_of, log_odds
from safeconduct.identity.screening.weights import shipped
from screening_data import (
    SHORT,
    cross_script,
    data_directory,
    half,
    latin_only,
    perturbed,
    read_entity_checks,
    read_innocents,
    read_lists,
    read_pairs,
)

RESULTS = Path(__file__).parent / "results"
PEER = Path(__file__).parent / "peers"
GOALS = {
    "f1": 0.86,
    "cross_script_recall": 0.85,
    "recall": 0.997,
    "alerts_per_1000": 1.0,
    "p50_ms": 2.0,
    "p99_ms": 10.0,
}
AT_MOST = {"alerts_per_1000", "p50_ms", "p99_ms"}
WEIGHTS = shipped()


def best_pair(first: str, second: str, *, person: bool) -> bool:
    """Whether two names alert."""
    return any(
        band_of(as_score(log_odds(a, b, NameKind.PRIMARY, WEIGHTS)), a, WEIGHTS.bands) is not Band.CLEAR
        for a in analyse(first, person=person)
        for b in analyse(second, person=person)
        if a.parts and b.parts
    )


def alerts(index: NameIndex, text: str) -> set[tuple[int, str]]:
    """Entries that a person's name alerts on, as (list, id)."""
    return {
        (found.row.source, found.row.entry.id)
        for found in index.search(analyse(text, person=True), WEIGHTS, -1.0)
        if band_of(as_score(found.z), found.query, WEIGHTS.bands) is not Band.CLEAR
    }


def f1(truth: list[bool], said: list[bool]) -> float:
    both = sum(a and b for a, b in zip(truth, said, strict=True))
    return 2 * both / max(1, sum(truth) + sum(said))


def ours(
    lists: dict[str, Any], pairs: list[Any], changed: list[Any], scripts: list[Any], innocents: list[str]
) -> dict[str, Any]:
    gc.collect()
    began = time.process_time()
    index = NameIndex(list(lists.values()), person=True)
    others = NameIndex(list(lists.values()), person=False)
    build = time.process_time() - began
    latin = NameIndex([latin_only(entries) for entries in lists.values()], person=True)
    said = [best_pair(pair.first, pair.second, person=pair.person) for pair in pairs]
    truth = [pair.match for pair in pairs]
    wall, cpu = [], []

    def timed(text: str) -> set[tuple[int, str]]:
        analyse.cache_clear()
        began_wall, began_cpu = time.perf_counter_ns(), time.thread_time_ns()
        found = alerts(index, text)
        cpu.append(time.thread_time_ns() - began_cpu)
        wall.append(time.perf_counter_ns() - began_wall)
        return found

    for text in innocents[:50]:  # fills the memory of words' likeness as a running service has it
        alerts(index, text)
    alarmed = [bool(timed(text)) for text in innocents]
    hit = [(0, one.entry) in timed(one.text) for one in changed]
    crossed = [(0, one.entry) in alerts(latin, one.text) for one in scripts]
    kinds = sorted({one.kind for one in changed})
    second = [n for n, pair in enumerate(pairs) if pair.half == 1]
    return {
        "f1": f1(truth, said),
        "f1_other_half": f1([truth[n] for n in second], [said[n] for n in second]),
        "f1_persons": f1(*_of(pairs, truth, said, person=True)),
        "f1_organisations": f1(*_of(pairs, truth, said, person=False)),
        "recall": _mean([found for one, found in zip(changed, hit, strict=True) if one.kind != SHORT]),
        "missed": [f"{one.kind}: {one.text}" for one, found in zip(changed, hit, strict=True) if not found],
        "recall_other_half": _mean(
            [found for one, found in zip(changed, hit, strict=True) if half(one.entry) and one.kind != SHORT]
        ),
        "recall_by_kind": {
            kind: _mean([found for one, found in zip(changed, hit, strict=True) if one.kind == kind])
            for kind in kinds
        },
        "cross_script_recall": sum(crossed) / len(crossed),
        "cross_script_recall_other_half": _mean(
            [found for one, found in zip(scripts, crossed, strict=True) if half(one.entry)]
        ),
        "alerts_per_1000": 1_000 * sum(alarmed) / len(alarmed),
        "alarmed": [text for text, alarm in zip(innocents, alarmed, strict=True) if alarm],
        "alerts_per_1000_other_half": 1_000
        * _mean([alarm for text, alarm in zip(innocents, alarmed, strict=True) if half(text)]),
        "p50_ms": float(np.percentile(cpu, 50)) / 1e6,
        "p99_ms": float(np.percentile(cpu, 99)) / 1e6,
        "wall_p50_ms": float(np.percentile(wall, 50)) / 1e6,
        "wall_p99_ms": float(np.percentile(wall, 99)) / 1e6,
        "build_s": build,
        "names": len(index.rows) + len(others.rows),
    }


def found_in(lists: dict[str, Any], source: int, changed: list[Any]) -> float:
    """Recall on another list's persons, whom no weight and no rule was chosen by."""
    index = NameIndex(list(lists.values()), person=True)
    return _mean([(source, one.entry) in alerts(index, one.text) for one in changed])


def _of(
    pairs: list[Any], truth: list[bool], said: list[bool], *, person: bool
) -> tuple[list[bool], list[bool]]:
    kept = [n for n, pair in enumerate(pairs) if pair.person is person]
    return [truth[n] for n in kept], [said[n] for n in kept]


def _mean(values: list[bool]) -> float:
    return sum(values) / max(1, len(values))


def ratio_peer(
    name: str,
    scorer: Callable[..., float],
    threshold: float,
    lists: dict[str, Any],
    pairs: list[Any],
    changed: list[Any],
    scripts: list[Any],
    innocents: list[str],
    *,
    every: int,
) -> dict[str, Any]:
    """A ratio of rapidfuzz against every name of every list. every: one of so many names is asked, since it takes long."""
    persons = {
        (source, entry.id): [utils.default_process(listed.text) for listed in entry.names]
        for source, entries in enumerate(lists.values())
        for entry in entries
        if entry.kind.value == "person"
    }
    latin = {
        entry.id: [utils.default_process(listed.text) for listed in entry.names]
        for entry in latin_only(lists["un"])
    }
    names = [text for texts in persons.values() for text in texts]
    truth = [pair.match for pair in pairs]
    scores = [scorer(utils.default_process(pair.first), utils.default_process(pair.second)) for pair in pairs]
    thresholds = sorted(set(scores))
    asked = innocents[::every]
    alarmed, cpu = 0, []
    for text in asked:
        began = time.thread_time_ns()
        alarmed += (
            process.extractOne(utils.default_process(text), names, scorer=scorer, score_cutoff=threshold)
            is not None
        )
        cpu.append(time.thread_time_ns() - began)

    def reaches(text: str, targets: list[str]) -> bool:
        plain = utils.default_process(text)
        return any(scorer(plain, target) >= threshold for target in targets)

    return {
        "peer": name,
        "threshold": threshold,
        "f1": max(f1(truth, [score >= least for score in scores]) for least in thresholds),
        "f1_at_threshold": f1(truth, [score >= threshold for score in scores]),
        "recall": _mean([reaches(one.text, persons[0, one.entry]) for one in changed if one.kind != SHORT]),
        "cross_script_recall": _mean([reaches(one.text, latin.get(one.entry, [])) for one in scripts]),
        "alerts_per_1000": 1_000 * alarmed / len(asked),
        "p50_ms": float(np.percentile(cpu, 50)) / 1e6,
        "p99_ms": float(np.percentile(cpu, 99)) / 1e6,
        "asked": len(asked),
    }


def logic_v2(pairs: list[Any], scripts: list[Any], lists: dict[str, Any]) -> dict[str, Any] | None:
    """nomenklatura's logic-v2 on the pairs and on the cross-script names, in its own environment; None when not installed."""
    python = PEER / "env/nomenklatura/bin/python"
    if not python.exists():
        return None
    primary = {entry.id: entry.names[0].text for entry in lists["un"]}
    asked = [["Person" if pair.person else "Organization", pair.first, pair.second] for pair in pairs]
    asked += [["Person", one.text, primary[one.entry]] for one in scripts]
    began = time.perf_counter()
    answer = subprocess.run(
        [str(python), str(PEER / "logic_v2.py")],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if answer.returncode:
        return {"peer": "logic-v2", "failed": answer.stderr.strip().splitlines()[-1:]}
    scores = json.loads(answer.stdout)
    of_pairs, of_scripts = scores[: len(pairs)], scores[len(pairs) :]
    truth = [pair.match for pair in pairs]
    return {
        "peer": "logic-v2",
        "threshold": 0.7,
        "f1": max(f1(truth, [score >= least for score in of_pairs]) for least in sorted(set(of_pairs))),
        "f1_at_threshold": f1(truth, [score >= 0.7 for score in of_pairs]),
        "cross_script_recall": _mean([score >= 0.7 for score in of_scripts]),
        "pair_ms": 1_000 * (time.perf_counter() - began) / len(asked),
    }


def memory(data: Path) -> dict[str, float]:
    """MiB that both indices add to a process that holds the lists' entries; measured in a process of its own."""
    script = (
        "import sys, gc; sys.path.insert(0, sys.argv[2]);"
        "from screening_data import read_lists; from pathlib import Path;"
        "import numpy;"
        "from safeconduct.app.name_index import NameIndex;"
        "from safeconduct.identity.screening.name import analyse; analyse('Иван 习 ivan', person=True);"
        "rss = lambda: int(open('/proc/self/statm').read().split()[1]) * 4096 / 2**20;"
        "lists = list(read_lists(Path(sys.argv[1])).values()); gc.collect(); before = rss();"
        "kept = [NameIndex(lists, person=True), NameIndex(lists, person=False)]; gc.collect(); print(before, rss())"
    )
    answer = subprocess.run(
        [sys.executable, "-c", script, str(data), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
    )
    before, after = map(float, answer.stdout.split())
    return {"index_mib": after - before, "process_mib": after}


def verdict(name: str, value: float) -> str:
    goal = GOALS[name]
    reached = value <= goal if name in AT_MOST else value >= goal
    return f"goal {'<=' if name in AT_MOST else '>='} {goal:g}: " + (
        "reached" if reached else f"MISSED by {abs(value - goal):.4g}"
    )


def main() -> int:
    """Run, print, write. Exits 0 whether or not goals are reached: the figures say so."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON instead")
    parser.add_argument("--output", type=Path, default=RESULTS / "screening.json")
    options = parser.parse_args()
    data = data_directory(options.data)
    if data is None:
        print("no screening data here: give --data DIR or set SAFECONDUCT_SHARED; nothing was measured")
        return 0
    lists = read_lists(data)
    pairs, innocents = read_pairs(data), read_innocents(data)
    changed, scripts = perturbed(lists["un"]), cross_script(lists["un"])
    RESULTS.mkdir(parents=True, exist_ok=True)
    with (RESULTS / "screening-perturbed.jsonl").open("w", encoding="utf-8") as file:
        for one in changed:
            file.write(json.dumps(one._asdict(), ensure_ascii=False) + "\n")
    figures = ours(lists, pairs, changed, scripts, innocents) | memory(data)
    checks = read_entity_checks(data)
    if checks:
        said = [best_pair(check.first, check.second, person=check.person) for check in checks]
        figures["f1_entity_checks"] = f1([check.match for check in checks], said)
    unseen = [one for one in perturbed(lists["ofac_sdn"]) if one.kind != SHORT]
    figures["recall_unseen_list"] = found_in(lists, 1, unseen)
    peers = [
        ratio_peer(
            "token_sort at .85",
            fuzz.token_sort_ratio,
            85,
            lists,
            pairs,
            changed,
            scripts,
            innocents,
            every=10,
        ),
        ratio_peer("WRatio at .9", fuzz.WRatio, 90, lists, pairs, changed, scripts, innocents, every=25),
    ]
    logic = logic_v2(pairs, scripts, lists)
    result = {
        "bench": "screening",
        "python": platform.python_version(),
        "weights": WEIGHTS.digest(),
        "goals": GOALS,
        "asked": {
            "pairs": len(pairs),
            "perturbed": len(changed),
            "cross_script": len(scripts),
            "innocents": len(innocents),
        },
        "ours": figures,
        "peers": [*peers, logic or {"peer": "logic-v2", "installed": False}],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    if options.json:
        print(json.dumps(result, indent=2, ensure_ascii=False))
        return 0
    print(
        f"{figures['names']:,} names of {sum(map(len, lists.values())):,} entries; {len(pairs)} pairs, {len(changed):,} perturbed names,"
        f" {len(scripts)} names in their own script, {len(innocents):,} innocents; alert from {WEIGHTS.bands.review}"
        f" ({WEIGHTS.bands.review_non_latin} for other scripts)"
    )
    for name in GOALS:
        other = figures.get(f"{name}_other_half")
        beside = "" if other is None else f"  (other half {other:.4f})"
        against = "; ".join(
            f"{peer['peer']} {peer[name]:.4g}" for peer in [*peers, logic or {}] if name in peer
        )
        print(f"{name:<22}{figures[name]:>9.4f}{beside:<22} {verdict(name, figures[name])}; {against}")
    print(
        f"wall p50 {figures['wall_p50_ms']:.2f} ms, p99 {figures['wall_p99_ms']:.2f} ms; F1 persons {figures['f1_persons']:.3f}, organisations {figures['f1_organisations']:.3f}"
    )
    print(
        f"built in {figures['build_s']:.1f} s CPU; indices {figures['index_mib']:.0f} MiB of {figures['process_mib']:.0f} MiB resident"
    )
    print(
        f"recall on OFAC's persons, never looked at: {figures['recall_unseen_list']:.4f};"
        f" F1 on the entity checks: {figures.get('f1_entity_checks', float('nan')):.3f}"
    )
    print(
        "recall by change: "
        + ", ".join(f"{kind} {value:.3f}" for kind, value in figures["recall_by_kind"].items())
    )
    print(
        "missed: "
        + ("; ".join(figures["missed"][:20]) or "none")
        + " | alarmed: "
        + ("; ".join(figures["alarmed"][:20]) or "none")
    )
    if logic is None:
        print("logic-v2: not installed (bench/peers/set-up nomenklatura; compiles PyICU against libicu-dev)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
