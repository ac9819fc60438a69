"""A list changes, and everybody enrolled is searched for its changed entries: how long, among 100,000 people.

    python bench/rescreen.py [--people 100000] [--changed 100] [--quick] [--output FILE]

Everybody is made up from a fixed seed: names drawn as unevenly as names are, and one in 500 of them a variant of a changed entry's.
Beside it, in the same run, the naive way: each person screened again against the whole list, timed on a sample and extrapolated (the
output says so), and checked: whom the naive way finds in the sample, the reverse search must find. Times are of this thread's processor,
so that a busy machine does not count as slowness; wall-clock times stand beside them.
"""

from __future__ import annotations

import argparse
import json
import platform
import random
import resource
import time
from pathlib import Path
from typing import Any

from safeconduct.app.enrolled_index import EnrolledIndex, EnrolledParty
from safeconduct.app.enrolled_names import SHARD
from safeconduct.app.screen_name import LoadedList, NameLists, NameToScreen
from safeconduct.identity.screening.entry import EntryKind, ListedName, ListEntry
from safeconduct.identity.screening.score import Band

SEED = 20261123
GOAL_SECONDS = 10.0
LISTED = 10_000
SAMPLE = 300
_ONSETS = [
    "b",
    "br",
    "ch",
    "d",
    "dr",
    "f",
    "g",
    "gr",
    "h",
    "j",
    "k",
    "kh",
    "l",
    "m",
    "n",
    "p",
    "r",
    "s",
    "sh",
    "t",
    "tr",
    "v",
    "w",
    "y",
    "z",
]
_VOWELS = ["a", "e", "i", "o", "u", "aa", "ei", "ou"]
_ENDS = ["", "n", "r", "l", "s", "m", "k", "t", "nd", "sh", ""]


def words(rng: random.Random, count: int, syllables: tuple[int, int]) -> list[str]:
    """Made-up words."""
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(rng.choice(_ONSETS) + rng.choice(_VOWELS) for _ in range(rng.randint(*syllables)))
        found[(word + rng.choice(_ENDS)).capitalize()] = None
    return list(found)


class Names:
    """Names drawn with the few at the head of each list far more often than the rest."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.given = words(rng, 4_000, (1, 3))
        self.family = words(rng, 40_000, (2, 4))
        self._odds = {
            len(each): [1 / (at + 20) for at in range(len(each))] for each in (self.given, self.family)
        }

    def _some(self, pool: list[str], count: int) -> list[str]:
        return self.rng.choices(pool, weights=self._odds[len(pool)], k=count)

    def draw(self, count: int) -> list[str]:
        first, middle, last = (
            self._some(self.given, count),
            self._some(self.given, count),
            self._some(self.family, count),
        )
        return [
            f"{a} {b} {c}" if self.rng.random() < 0.4 else f"{a} {c}"
            for a, b, c in zip(first, middle, last, strict=True)
        ]

    def variant(self, name: str) -> str:
        """A letter off, or in another order."""
        if self.rng.random() < 0.5:
            return " ".join(reversed(name.split()))
        at = self.rng.randrange(1, len(name))
        return name[:at] + self.rng.choice("aeioulmnrst") + name[at + 1 :]


def made_list(names: Names, count: int) -> list[ListEntry]:
    """Made-up entries of two names each."""
    primary, alias = names.draw(count), names.draw(count)
    return [
        ListEntry(f"made-up-{at}", EntryKind.PERSON, (ListedName(one), ListedName(other)))
        for at, (one, other) in enumerate(zip(primary, alias, strict=True))
    ]


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--people", type=int, default=100_000)
    parser.add_argument("--changed", type=int, default=100)
    parser.add_argument("--quick", action="store_true", help="5,000 people, 1,000 entries")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    people, listed = (5_000, 1_000) if given.quick else (given.people, LISTED)
    names = Names(random.Random(SEED))
    entries = made_list(names, listed)
    changed = entries[: given.changed]
    enrolled = names.draw(people)
    for at in range(0, people, 500):
        enrolled[at] = names.variant(changed[(at // 500) % len(changed)].names[0].text)
    parties = [EnrolledParty(f"made-up-{at}", (name,)) for at, name in enumerate(enrolled)]

    start = time.process_time(), time.perf_counter()
    shards = [EnrolledIndex(parties[at : at + SHARD], person=True) for at in range(0, people, SHARD)]
    build = time.process_time() - start[0], time.perf_counter() - start[1]

    lists = NameLists([LoadedList("made.up", "ab" * 32, tuple(entries))])
    start = time.process_time(), time.perf_counter()
    hits = [hit for shard in shards for hit in shard.search(changed, lists.weights)]
    reverse = time.process_time() - start[0], time.perf_counter() - start[1]
    found = {(hit.party, hit.entry) for hit in hits}

    # Half of the sample are variants of changed entries, or it would hold hardly any hit to check.
    sample = list(range(0, people, 500))[: SAMPLE // 2]
    sample += random.Random(SEED).sample(range(people), SAMPLE - len(sample))
    ids = {entry.id for entry in changed}
    start = time.process_time(), time.perf_counter()
    naive = {
        (parties[at].id, hit.entry)
        for at in sample
        for hit, _ in lists.hits(NameToScreen(enrolled[at], "person"))
        if hit.entry in ids
    }
    forward = time.process_time() - start[0], time.perf_counter() - start[1]
    whole = forward[0] / len(sample) * people
    result: dict[str, Any] = {
        "people": people,
        "entries": listed,
        "changed": len(changed),
        "index_cpu_seconds": round(build[0], 2),
        "reverse_cpu_seconds": round(reverse[0], 2),
        "reverse_wall_seconds": round(reverse[1], 2),
        "hits": len(hits),
        "hits_in_block": sum(hit.band is Band.BLOCK for hit in hits),
        "naive_cpu_seconds": round(whole, 1),
        "naive_sample": len(sample),
        "ratio": round(whole / reverse[0], 1),
        "naive_hits_in_sample": len(naive),
        "of_them_not_found": len(naive - found),
        "goal_seconds": GOAL_SECONDS,
        "goal_reached": reverse[0] <= GOAL_SECONDS,
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "machine": platform.platform(),
    }
    print(f"{people:,} people, {len(changed):,} changed entries of {listed:,}")
    print(f"  index of their names, made once       {build[0]:8.2f} s ({build[1]:.2f} s by the clock)")
    print(f"  reverse search of what changed        {reverse[0]:8.2f} s ({reverse[1]:.2f} s by the clock)")
    print(
        f"  baseline: each of them screened again {whole:8.1f} s (extrapolated from {len(sample)}), {result['ratio']} times as long"
    )
    print(
        f"  {len(hits):,} hits; of {len(naive)} that the baseline finds in its sample {len(naive - found)} are not among them"
    )
    print(f"  goal: {GOAL_SECONDS:g} s, {'reached' if result['goal_reached'] else 'missed'}")
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=1) + "\n")
    if naive - found:
        raise SystemExit("the reverse search does not find what the naive one finds")


if __name__ == "__main__":
    main()
