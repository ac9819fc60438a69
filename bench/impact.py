"""Who loses access under an unsigned directive, among a million people and ten variants: how long it takes to say, by name.

Beside it, in the same run, the baseline: `decide` for everybody's questions, timed on a sample and extrapolated (the output
says so), and checked: the sample's people must be named by both. Times are of a machine that others use too, so CPU stands
beside wall time. Usage: python bench/impact.py [--people 1000000] [--quick] [--output FILE]
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

import population as made
from safeconduct.app.population import Population, make_columns
from safeconduct.app.population_classes import ProjectLists
from safeconduct.app.population_impact import impact_of
from safeconduct.app.preview_directive import Questions
from safeconduct.app.projects import Projects
from safeconduct.decision.impact import outcome_of
from safeconduct.kernel.vocabulary import DirectiveKind, Force, InFlight, Visibility
from safeconduct.record.bulk import fold_many
from safeconduct.record.events import DirectiveImported, Event
from safeconduct.record.events.orders import Annex, OrganisationEntry
from safeconduct.record.state import State

GOAL_SECONDS = 1.0
GOAL_BYTES = 1.5 * 1024**3
SAMPLE = 2_000


def memory() -> dict[str, int]:
    """Resident bytes now and at the most."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            now = int(line.split()[1]) * 1024
    return {"rss": now, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def directive(number: str, kind: DirectiveKind, applies_to: dict, except_: tuple = (), amends: tuple = ()):
    """A directive on all ten variants, with an annex of every hundredth organisation."""
    entries = tuple(
        OrganisationEntry(legal_name=f"Sample {one}", lei=made.lei_of(one)) for one in range(0, 40_000, 100)
    )
    return DirectiveImported(
        directive=f"authority/{number}/1",
        authority="authority",
        jurisdiction="XX",
        number=number,
        version=1,
        kind=kind,
        force=Force.BINDING,
        visibility=Visibility.PUBLIC,
        variants=made.NAMES,
        applies_to=applies_to,
        except_=except_,
        amends=amends,
        effective_from=made.NOW,
        effective_until=None,
        in_flight=InFlight.CUT,
        annexes=(Annex(name="a", media_type="application/jsonl", sha256="", entries=entries),),
        legal_source="Sample Act",
        packs=("us.is_informed.2026",),
        title="",
        jws="",
        document="",
        signed_with="",
        recorded_at=made.NOW,
    )


def directives() -> dict[str, tuple[list[Event], Event, int]]:
    """By name: what is in force already, the unsigned directive, and the moment asked about."""
    required = directive("1", DirectiveKind.LICENCE_REQUIRED, {"us_person": "no"})
    exempting = ({"organisation": {"in": "annex:a"}}, {"employee_of_provider": True})
    return {
        "licence_required, foreign nationals": ([], required, made.NOW),
        "suspend, two citizenships, an annex exempt": (
            [],
            directive("2", DirectiveKind.SUSPEND, {"citizenship": {"in": ["BH", "CK"]}}, exempting[:1]),
            made.NOW,
        ),
        "partially_authorise, an annex and the provider": (
            [required],
            directive("3", DirectiveKind.PARTIALLY_AUTHORISE, {"all": []}, exempting, ("authority/1/1",)),
            made.NOW,
        ),
        "rescind, in 30 days": (
            [required],
            directive("4", DirectiveKind.RESCIND, {"all": []}, amends=("authority/1/1",)),
            made.NOW + 30 * 86_400,
        ),
    }


class _Bench(Questions):
    """The questions of the preview; claims come from the generator, where an instance has its vault."""

    def __init__(self, state: State, at: int, projects: Projects, number_of: dict) -> None:
        super().__init__(None, state, at, projects)
        self.number_of = number_of

    def sampled(self, subjects: list) -> Iterator:
        """As if nobody were like anybody else."""
        for subject in subjects:
            yield subject, list(self.of_claims(subject, made.claims_of(self.number_of[subject])))


def measured(columns, population, projects: ProjectLists, candidate: State, at: int, asking) -> dict:
    """The best of three: the interpreter's own noise aside, a preview costs this. And the first, which found nothing warm."""
    best, first = {"seconds": float("inf")}, None
    for _ in range(3):
        gc.collect()
        began, cpu = time.perf_counter(), time.process_time()
        found = impact_of(columns, population.view(), projects, after=candidate, at=at, asking=asking)
        counts = found.impact.counts
        seconds, used = time.perf_counter() - began, time.process_time() - cpu
        first = first or {"first_seconds": round(seconds, 3), "first_cpu_seconds": round(used, 3)}
        if seconds < best["seconds"]:
            best = {"seconds": round(seconds, 3), "cpu_seconds": round(used, 3)}
    return {
        **best,
        **first,
        **counts,
        "questions": found.impact.questions,
        "changes": len(found.impact.changes),
        "without_claims": len(found.without_claims),
        "classes": found.classes,
        "kinds": found.kinds,
        "singly": found.singly,
        "found": found,
    }


def baseline(asking: _Bench, columns, candidate: State, at: int, found, sample: int) -> dict:
    """`decide` before and after for everybody in a sample, extrapolated, and the same people named."""
    step = max(1, len(columns.names) // sample)
    without = set(found.without_claims)
    subjects = [name for name in columns.names[::step] if name not in without]
    began, cpu = time.perf_counter(), time.process_time()
    outcomes = {
        name: outcome_of(iter(questions), candidate, at) for name, questions in asking.sampled(subjects)
    }
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    loses, gains = set(found.impact.loses), set(found.impact.gains)
    keeps, untouched = set(found.impact.keeps), set(found.impact.untouched)
    for name, one in outcomes.items():
        assert (name in loses) == one.loses, name
        assert (name in gains) == one.gains, name
        assert (name in keeps) == (one.allowed and not one.loses), name
        assert (name in untouched) == (bool(one.questions) and not one.allowed and not one.gains), name
    scale = (len(columns.names) - len(without)) / max(1, len(subjects))
    return {
        "sample": len(subjects),
        "seconds_extrapolated": round(seconds * scale, 1),
        "cpu_seconds_extrapolated": round(used * scale, 1),
    }


def main() -> int:
    """Run, print, write. Exits 0 whether or not goals are reached: the figures say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 people")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "impact.json")
    options = parser.parse_args()
    people = 20_000 if options.quick else options.people
    began, cpu = time.perf_counter(), time.process_time()
    state = fold_many(made.events(people))
    print(
        f"{people:,} people, {len(made.NAMES)} variants: state made in {time.perf_counter() - began:.0f} s,"
        f" {memory()['rss'] / 1e6:,.0f} MB",
        flush=True,
    )
    began, cpu = time.perf_counter(), time.process_time()
    columns = make_columns(state, lambda held: made.claims_of(held.issued.status_index))
    columns_made = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
    }
    gc.collect()
    print(
        f"columns made once in {columns_made['seconds']} s ({columns_made['cpu_seconds']} s CPU, claims from a"
        f" generator: an instance reads its vault), {memory()['rss'] / 1e6:,.0f} MB",
        flush=True,
    )
    results = {}
    for name, (in_force, unsigned, at) in directives().items():
        before = state
        for event in in_force:
            before = before.apply(event, before.position + 1)
        population = Population(before, columns)
        projects = ProjectLists(Projects(before), columns)
        asking = _Bench(before, at, projects.projects, {})
        candidate = before.apply(unsigned, before.position + 1)
        figures = measured(columns, population, projects, candidate, at, asking)
        resident = memory()["rss"]
        found = figures.pop("found")
        step = max(1, len(columns.names) // SAMPLE)
        wanted = set(columns.names[::step])
        asking.number_of = {
            subject: number for number in range(people) if (subject := made.name_of("sub", number)) in wanted
        }
        figures["baseline"] = baseline(asking, columns, candidate, at, found, SAMPLE)
        figures["rss"] = resident
        results[name] = figures
        verdict = "reached" if figures["seconds"] <= GOAL_SECONDS else "MISSED"
        ratio = figures["baseline"]["cpu_seconds_extrapolated"] / max(figures["cpu_seconds"], 1e-9)
        print(
            f"{name}: {figures['seconds']:.3f} s ({figures['cpu_seconds']:.3f} s CPU, the first {figures['first_cpu_seconds']:.3f}), goal {GOAL_SECONDS} s: {verdict};"
            f" {figures['loses']:,} lose, {figures['keeps']:,} keep, {figures['gains']:,} gain;"
            f" {figures['questions']:,} questions in {figures['classes']:,} classes and {figures['kinds']} kinds of variants;"
            f" decide on each, extrapolated from {figures['baseline']['sample']:,}:"
            f" {figures['baseline']['cpu_seconds_extrapolated']:.0f} s CPU, {ratio:,.0f} x",
            flush=True,
        )
        del found
    resident = max(one["rss"] for one in results.values())
    verdict = "reached" if resident <= GOAL_BYTES else "MISSED"
    print(
        f"memory of state, columns and answer: {resident / 1e6:,.0f} MB, goal {GOAL_BYTES / 1e6:,.0f} MB: {verdict}"
    )
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(
        json.dumps(
            {
                "people": people,
                "variants": len(made.NAMES),
                "python": platform.python_version(),
                "numpy": np.__version__,
                "msgspec": msgspec.__version__,
                "goals": {"seconds": GOAL_SECONDS, "bytes": GOAL_BYTES},
                "columns": columns_made,
                "rss": resident,
                "peak": memory()["peak"],
                "directives": results,
            },
            indent=2,
        )
        + "\n"
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
