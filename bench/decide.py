"""What a decision costs: the core, one Cedar slice with every pack active, and the cache, from ten grants to many.

Beside it, in the same run, what handing the whole policy set to Cedar costs (one policy per grant). Prints one line per
figure and whether its goal was reached; writes JSON to bench/results/. `--quick` takes fewer samples and fewer grants;
without it the largest state has a million grants to a million persons, and its folding and its memory are printed too.

Times are of this thread's processor (CPU) per decision, so that a busy machine does not count as slowness; the wall-clock
p50 stands beside them.
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cedarpy
import msgspec

from safeconduct.decision.cache import DecisionCache
from safeconduct.decision.evaluation import decide
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Permit
from safeconduct.kernel.vocabulary import (
    Affiliation,
    Binding,
    ClearanceState,
    Compartment,
    DirectiveKind,
    Force,
    InFlight,
    Level,
    Purpose,
    Screening,
    Sector,
    Stage,
    SubjectKind,
    Surface,
    UsPerson,
    Visibility,
    Wire,
)
from safeconduct.passport.claims import Claims
from safeconduct.policy.packs import load_shipped
from safeconduct.policy.slices import forbidding
from safeconduct.record.events import (
    ClearanceGranted,
    DeploymentRegistered,
    DirectiveImported,
    Event,
    GrantGiven,
    ModelRegistered,
    OrganisationRegistered,
    OrganisationStandingChanged,
    OrgListPublished,
    PassportIssued,
    ProjectApproved,
    ProviderRegistered,
    StageChanged,
    SubjectEnrolled,
    VariantRegistered,
)
from safeconduct.record.events.orders import OrganisationEntry
from safeconduct.record.state import State, fold

NOW = 1_000_000
END = 2_000_000
FLAT = 1.5
ASKED = ("assurance.minimum@1", "org.approved@1", "us.is_informed.2026@1")
GOALS = {"core": 10.0, "slice": 80.0, "cache": 2.0}
PURPOSES = (Purpose.VULN_TRIAGE,)
PER_ORGANISATION = 100
ASKING = 10


def asking(grants: int) -> list[int]:
    """The numbers of those who ask: ten, spread over all, so that no one corner of the state is all that is read."""
    return [place * grants // ASKING for place in range(ASKING)]


def lei(organisation: int) -> str:
    """A synthetic identifier."""
    return f"SAMPLE{organisation:014d}"


def registrations() -> list[Event]:
    """One provider, one variant at C3 in a closed stage, an order in force that exempts US persons."""
    variant = "variant"
    return [
        ProviderRegistered(provider="lab", organisation="org-lab", jurisdiction="XX"),
        ModelRegistered(model="model", provider="lab"),
        VariantRegistered(variant=variant, model="model", level=Level.C3, compartments=(Compartment.CYB,)),
        StageChanged(
            variant=variant,
            stage=Stage.GOVERNMENT_APPROVED_ORGANISATIONS,
            org_list="approved",
            by="lab",
            at=0,
        ),
        DeploymentRegistered(
            deployment="deployment",
            variant=variant,
            kind="sandbox",
            base_url="http://127.0.0.1:1",
            upstream_model=variant,
            wires=(Wire.OPENAI,),
            region="r1",
            jurisdiction="XX",
        ),
        DirectiveImported(
            directive="authority/1/1",
            authority="authority",
            jurisdiction="XX",
            number="1",
            version=1,
            kind=DirectiveKind.LICENCE_REQUIRED,
            force=Force.BINDING,
            visibility=Visibility.PUBLIC,
            variants=(variant,),
            applies_to={"us_person": "no"},
            except_=(),
            amends=(),
            effective_from=0,
            effective_until=None,
            in_flight=InFlight.CUT,
            annexes=(),
            legal_source="Sample Act",
            packs=("us.is_informed.2026",),
            title="",
            jws="",
            document="",
            signed_with="",
            recorded_at=0,
        ),
    ]


def people(grants: int) -> Iterator[Event]:
    """`grants` persons with a grant each, a hundred to an organisation; those who ask, and theirs, are complete."""
    asked = set(asking(grants))
    listed = sorted({number // PER_ORGANISATION for number in asked})
    yield OrgListPublished(
        list="approved",
        version=1,
        authority="authority",
        sha256="",
        entries=tuple(OrganisationEntry(legal_name="Sample", lei=lei(one)) for one in listed),
        valid_from=0,
        valid_until=None,
        document="",
        recorded_at=0,
    )
    for number in range(grants):
        events: list[Event] = []
        organisation, subject = f"org-{number // PER_ORGANISATION}", f"subject-{number}"
        if number % PER_ORGANISATION == 0:
            events += [
                OrganisationRegistered(
                    organisation=organisation,
                    legal_name="Sample",
                    country="XX",
                    sector=Sector.OTHER,
                    lei=lei(number // PER_ORGANISATION),
                ),
                OrganisationStandingChanged(
                    organisation=organisation,
                    verified_until=END,
                    screening=Screening.CLEAR,
                    screened_at=0,
                    list_digests=(),
                    evidence="",
                ),
                GrantGiven(
                    grant=f"top-{number // PER_ORGANISATION}",
                    by_provider="lab",
                    by_organisation=None,
                    to_organisation=organisation,
                    to_group=None,
                    to_subject=None,
                    variants=("variant",),
                    purposes=PURPOSES,
                    surfaces=(Surface.API,),
                    regions=(),
                    valid_from=0,
                    valid_until=END,
                    approved_by=("a",),
                    requested_by="b",
                ),
                ProjectApproved(
                    project=f"project-{organisation}",
                    organisation=organisation,
                    owner=None,
                    purposes=PURPOSES,
                    compartments=(Compartment.CYB,),
                    members=(),
                    valid_from=0,
                    valid_until=END,
                    approved_by=("a",),
                    requested_by="b",
                ),
            ]
        events += [
            SubjectEnrolled(subject=subject, kind=SubjectKind.HUMAN, organisation=organisation),
            GrantGiven(
                grant=f"grant-{number}",
                by_provider=None,
                by_organisation=organisation,
                to_organisation=None,
                to_group=None,
                to_subject=subject,
                variants=("variant",),
                purposes=PURPOSES,
                surfaces=(Surface.API,),
                regions=(),
                valid_from=0,
                valid_until=END,
                approved_by=("a",),
                requested_by="b",
                parent=f"top-{number // PER_ORGANISATION}",
            ),
        ]
        if number in asked:
            events += [
                ClearanceGranted(
                    subject=subject,
                    level=Level.C3,
                    compartments=(Compartment.CYB,),
                    caveats=(),
                    state=ClearanceState.GRANTED,
                    valid_from=0,
                    valid_until=END,
                    adjudicators=("a", "b"),
                    evidence="",
                ),
                PassportIssued(
                    passport=f"passport-{number}",
                    subject=subject,
                    status_index=number,
                    key="",
                    valid_from=0,
                    valid_until=END,
                    commitment="",
                    aal=3,
                ),
            ]
        yield from events


def resident_mib() -> float:
    """MiB of this process that are in memory now (Linux); 0.0 where that cannot be read."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 2**20


def folded(size: int, base: State) -> tuple[State, dict[str, float]]:
    """The state with this many grants, and what it took to get there: seconds of this thread, MiB added."""
    gc.collect()
    before, began = resident_mib(), time.thread_time()
    # What stays is what the collector would walk again and again while more is built.
    gc.freeze()
    gc.disable()
    try:
        state = fold(people(size), base)
    finally:
        gc.enable()
        gc.unfreeze()
    gc.collect()
    return state, {
        "fold_s": round(time.thread_time() - began, 2),
        "fold_us_per_grant": round((time.thread_time() - began) * 1e6 / size, 1),
        "resident_mib": round(resident_mib() - before, 1),
    }


def question(number: int) -> DecisionRequest:
    """What the person of this number asks."""
    return DecisionRequest(
        subject=f"subject-{number}",
        holder=f"subject-{number}",
        kind=SubjectKind.HUMAN,
        passport=f"passport-{number}",
        claims=Claims(
            ial=2,
            fal=2,
            affiliation=Affiliation.ORG_ATTESTED,
            evidence_expires=END,
            citizenships=("XX",),
            us_person=(("ear", UsPerson.YES),),
            organisation=f"org-{number // PER_ORGANISATION}",
            age_over_18=True,
        ),
        aal=3,
        authenticated_at=NOW - 60,
        binding=Binding.DPOP,
        purpose=Purpose.VULN_TRIAGE,
        variant="variant",
        deployment="deployment",
        organisation=f"org-{number // PER_ORGANISATION}",
        project=f"project-org-{number // PER_ORGANISATION}",
    )


def measure(call, samples: int, batch: int) -> dict[str, float]:
    """p50 and p99 over batches, in microseconds per call: processor time, and wall time."""
    for _ in range(batch):
        call()
    cpu: list[float] = []
    wall: list[float] = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(samples):
            began, started = time.thread_time_ns(), time.perf_counter_ns()
            for _ in range(batch):
                call()
            wall.append((time.perf_counter_ns() - started) / batch / 1000)
            cpu.append((time.thread_time_ns() - began) / batch / 1000)
    finally:
        gc.enable()
    cpu.sort()
    return {
        "p50_us": round(statistics.median(cpu), 2),
        "p99_us": round(cpu[min(len(cpu) - 1, int(len(cpu) * 0.99))], 2),
        "wall_p50_us": round(statistics.median(wall), 2),
    }


def rotating(call, questions):
    """Call with one question after the other, so that no single entry stays hot."""
    position = 0

    def one():
        nonlocal position
        position = (position + 1) % len(questions)
        return call(questions[position])

    return one


def asked_anew(one, state):
    """A decision for which Cedar evaluates the slice, whatever was asked before."""
    forbidding.cache_clear()
    return decide(one, state, NOW)


def whole_set(grants: int, samples: int) -> dict[str, float]:
    """Cedar handed one policy per grant, as handles made once."""
    text = "\n".join(
        f'permit(principal == Subject::"subject-{n}", action == Action::"use", resource == Variant::"variant")'
        ' when { context.purpose == "vuln_triage" };'
        for n in range(grants)
    )
    policies, entities = cedarpy.PolicySet.from_str(text), cedarpy.Entities.from_json_str("[]")
    request = {
        "principal": 'Subject::"subject-3"',
        "action": 'Action::"use"',
        "resource": 'Variant::"variant"',
        "context": '{"purpose":"vuln_triage"}',
    }
    assert cedarpy.is_authorized(request, policies, entities).allowed
    return measure(lambda: cedarpy.is_authorized(request, policies, entities), samples, 1)


def machine() -> float:
    """Nanoseconds per iteration of an empty loop: how fast this machine runs Python at all."""
    rounds = 200_000
    best = float("inf")
    for _ in range(10):
        began = time.thread_time_ns()
        for _ in range(rounds):
            pass
        best = min(best, (time.thread_time_ns() - began) / rounds)
    return round(best, 1)


def smallest_cedar() -> float:
    """Microseconds of one question without facts to a set of one policy: what asking Cedar costs here at the least."""
    policies = cedarpy.PolicySet.from_str("permit (principal, action, resource);")
    entities = cedarpy.Entities.from_json_str("[]")
    request = {
        "principal": {"type": "Subject", "id": "-"},
        "action": {"type": "Action", "id": "use"},
        "resource": {"type": "Variant", "id": "-"},
    }
    assert cedarpy.is_authorized(request, policies, entities).allowed
    return measure(lambda: cedarpy.is_authorized(request, policies, entities), 100, 10)["p50_us"]


def run(sizes: list[int], samples: int) -> dict[str, dict[str, dict[str, float]]]:
    """All figures by number of grants."""
    base = fold(registrations())
    packs = load_shipped()
    results: dict[str, dict[str, dict[str, float]]] = {}
    for size in sizes:
        state, built = folded(size, base)
        print(
            f"{size:>9,} grants  folded in {built['fold_s']} s ({built['fold_us_per_grant']} us a grant),"
            f" {built['resident_mib']} MiB",
            flush=True,
        )
        with_packs = fold(packs, state)
        questions = [question(number) for number in asking(size)]
        for one in questions:
            permitted = decide(one, state, NOW), decide(one, with_packs, NOW)
            assert all(isinstance(decision, Permit) for decision in permitted), permitted
            # Every pack that speaks for such a request was asked; the others wait for an age limit, an enclave, an order that
            # cites them or an imported file of countries, and cost a look at their conditions.
            assert permitted[1].packs == ASKED, permitted[1].packs
        cache = DecisionCache()
        # Another object for each, as a gateway builds one per request from a token it has verified before.
        again = [msgspec.structs.replace(one) for one in questions]
        for one in questions:
            cache.decide(one, with_packs, NOW)
        figures = {
            "core": measure(rotating(lambda one, s=state: decide(one, s, NOW), questions), samples, 100),
            # The memory of Cedar's answers is emptied each time, so that Cedar itself is asked.
            "slice": measure(rotating(lambda one, s=with_packs: asked_anew(one, s), questions), samples, 20),
            "slice_remembered": measure(
                rotating(lambda one, s=with_packs: decide(one, s, NOW), questions), samples, 50
            ),
            "cache": measure(
                rotating(lambda one, s=with_packs, c=cache: c.decide(one, s, NOW), again), samples, 200
            ),
        }
        assert cache.misses == 10
        if size <= 10_000:
            figures["cedar_whole_set"] = whole_set(size, max(20, samples // 10))
        results[str(size)] = {**figures, "state": built}
        for name, figure in figures.items():
            goal = GOALS.get(name)
            verdict = "" if goal is None else ("reached" if figure["p50_us"] <= goal else "MISSED")
            against = "" if goal is None else f"goal {goal:g} us: {verdict}"
            print(
                f"{size:>9,} grants  {name:<16} p50 {figure['p50_us']:>10.2f} us  p99 {figure['p99_us']:>10.2f} us"
                f"  (wall p50 {figure['wall_p50_us']:.2f})  {against}",
                flush=True,
            )
    return results


def main() -> int:
    """Run, print, write. Exits 0 whether or not goals are reached: the figures say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer samples, at most 1,000 grants")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "decide.json")
    options = parser.parse_args()
    sizes = [10, 1_000] if options.quick else [10, 1_000, 10_000, 100_000, 1_000_000]
    loop = machine()
    cedar = smallest_cedar()
    print(
        f"this machine: an empty loop {loop} ns an iteration; one Cedar call, one policy, no facts {cedar} us",
        flush=True,
    )
    results = run(sizes, 50 if options.quick else 300)
    first, last = str(sizes[0]), str(sizes[-1])
    ratios = {
        str(size): round(results[str(size)]["core"]["p50_us"] / results[first]["core"]["p50_us"], 3)
        for size in sizes[1:]
    }
    for size, ratio in ratios.items():
        flat = "reached" if ratio <= FLAT else "MISSED"
        print(
            f"core at {int(size):,} grants / core at {sizes[0]:,}: {ratio:.2f}  goal flat (<= {FLAT}): {flat}"
        )
    largest = str(max(size for size in sizes if size <= 10_000))
    baseline = results[largest]["cedar_whole_set"]["p50_us"] / results[largest]["slice"]["p50_us"]
    print(f"whole-set Cedar / core with one slice at {int(largest):,} grants: {baseline:.1f}")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(
        json.dumps(
            {
                "bench": "decide",
                "quick": options.quick,
                "python": platform.python_version(),
                "empty_loop_ns": loop,
                "smallest_cedar_us": cedar,
                "goals_us": GOALS,
                "grants": results,
                "core_over_first": ratios,
                "core_last_over_first": ratios[last],
                "whole_set_over_slice": round(baseline, 2),
            },
            indent=2,
        )
        + "\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
