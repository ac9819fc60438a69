"""Names for the screening bench and for choosing the scorer's weights, and how both are split. All of it is optional data.

Directory: `--data DIR`, or `data` in SAFECONDUCT_SHARED or in `shared` beside the project, holding `sanctions/ofac-2018`, `sanctions/ofac-consolidated-2025`,
`sanctions/un-2026` and `screening/`. Perturbations are made here from a fixed seed.

The split: half 0 chooses the weights and half 1 is what they are reported on. A pair's half is a bit of the digest of its two names;
a listed person's, of the entry's id; an innocent's, of the name. Nothing of half 1 is looked at by `fit_screening.py`.
"""

from __future__ import annotations

import csv
import hashlib
import os
import random
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import msgspec

from safeconduct.identity.screening.entry import EntryKind, ListEntry
from safeconduct.identity.screening.sources.ofac_csv import read_ofac_csv
from safeconduct.identity.screening.sources.reading import Defect, Reading
from safeconduct.identity.screening.sources.un_xml import read_un_xml

SEED: Final = 20261123
EACH: Final = 200
_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz"
_LEAST_LETTERS: Final = 10
# Two wrong letters in a shorter name make another one ("Kim Sok Chol", "Kim Sik Chon"); those are counted apart.
_LEAST_FOR_EDITS: Final = 12
SHORT: Final = "two edits, short names"


class Pair(NamedTuple):
    """Two names of the same holder, or not, as the bench's makers labelled them."""

    person: bool
    first: str
    second: str
    match: bool

    @property
    def half(self) -> int:
        return half(f"{self.first}|{self.second}")


class Perturbed(NamedTuple):
    """A listed person's name, changed. entry: whom it must find."""

    kind: str
    entry: str
    text: str


def half(text: str) -> int:
    """0 to choose weights by, 1 to report on."""
    return hashlib.sha256(text.encode()).digest()[0] & 1


def data_directory(given: str | None) -> Path | None:
    """Where the data is, or None when it is not there."""
    beside = (
        Path(os.environ.get("SAFECONDUCT_SHARED") or Path(__file__).resolve().parents[1].parent / "shared")
        / "data"
    )
    place = Path(given) if given else beside
    return place if (place / "screening" / "name_bench_cases.csv").is_file() else None


def _chunks(path: Path) -> list[bytes]:
    return [path.read_bytes()]


def read_lists(data: Path) -> dict[str, list[ListEntry]]:
    """UN, OFAC SDN and OFAC Consolidated. The old OFAC files lack their end marks and hold orphan rows, which is confirmed here."""
    un = read_un_xml(
        _chunks(data / "sanctions/un-2026/UN_consolidated.xml"), reading=Reading(confirmed=list(Defect))
    )
    sdn = data / "sanctions/ofac-2018"
    cons = data / "sanctions/ofac-consolidated-2025"
    return {
        "un": list(un),
        "ofac_sdn": list(
            read_ofac_csv(
                _chunks(sdn / "sdn.csv"),
                addresses=_chunks(sdn / "add.csv"),
                aliases=_chunks(sdn / "alt.csv"),
                reading=Reading(confirmed=list(Defect)),
            )
        ),
        "ofac_cons": list(
            read_ofac_csv(
                _chunks(cons / "cons_prim.csv"),
                aliases=_chunks(cons / "cons_alt.csv"),
                reading=Reading(confirmed=list(Defect)),
            )
        ),
    }


def read_pairs(data: Path) -> list[Pair]:
    """The 826 labelled pairs. Persons are compared as persons, everything else as organisations."""
    with (data / "screening/name_bench_cases.csv").open(newline="", encoding="utf-8") as file:
        return [
            Pair(row["schema"] == "Person", row["name1"], row["name2"], row["is_match"] == "true")
            for row in csv.DictReader(file)
        ]


def read_entity_checks(data: Path) -> list[Pair]:
    """Pairs of whole entities, as their names; empty where PyYAML is not installed. Parts of names are put in order."""
    try:
        import yaml  # noqa: PLC0415
    except ImportError:
        return []

    def named(entity: dict[str, str]) -> str:
        parts = (entity.get(part) for part in ("firstName", "middleName", "fatherName", "lastName"))
        return entity.get("name") or " ".join(part for part in parts if part)

    checks = yaml.safe_load((data / "screening/entity_bench_checks.yml").read_text(encoding="utf-8"))[
        "checks"
    ]
    return [
        Pair(
            check["schema"] == "Person",
            named(check["query"]),
            named(check["candidate"]),
            bool(check["match"]),
        )
        for check in checks
    ]


def read_innocents(data: Path) -> list[str]:
    """A thousand made-up people."""
    with (data / "screening/negatives_1000.csv").open(newline="", encoding="utf-8") as file:
        return [row["full_name"] for row in csv.DictReader(file)]


def is_latin(text: str) -> bool:
    """Every letter is of the Latin script."""
    return all("LATIN" in unicodedata.name(letter, "") for letter in text if letter.isalpha())


def cross_script(un: list[ListEntry]) -> list[Perturbed]:
    """Persons' names in their original script, each of which must find its entry by Latin names alone."""
    return [
        Perturbed("cross-script", entry.id, name.text)
        for entry in un
        if entry.kind is EntryKind.PERSON
        for name in entry.names
        if name.original_script and not is_latin(name.text)
    ]


def latin_only(entries: list[ListEntry]) -> list[ListEntry]:
    """The entries without names in other scripts; an entry that has no other is left out."""
    kept = []
    for entry in entries:
        names = tuple(name for name in entry.names if not name.original_script and is_latin(name.text))
        if names:
            kept.append(msgspec.structs.replace(entry, names=names))
    return kept


def _two_edits(rng: random.Random, text: str) -> str:
    for _ in range(2):
        at = rng.choice([place for place, letter in enumerate(text) if letter.isalpha()])
        kind = rng.randrange(4)
        if kind == 0:
            text = text[:at] + text[at + 1 :]
        elif kind == 1:
            text = text[:at] + rng.choice(_LETTERS) + text[at:]
        elif kind == 2:
            text = text[:at] + rng.choice(_LETTERS) + text[at + 1 :]
        elif at + 1 < len(text) and text[at + 1].isalpha():
            text = text[:at] + text[at + 1] + text[at] + text[at + 2 :]
    return text


def _joined(rng: random.Random, text: str) -> str:
    words = text.split()
    at = rng.randrange(len(words) - 1)
    return " ".join([*words[:at], words[at] + words[at + 1], *words[at + 2 :]])


def _without_middle(rng: random.Random, text: str) -> str:
    words = text.split()
    at = rng.randrange(1, len(words) - 1)
    return " ".join(words[:at] + words[at + 1 :])


def _reordered(rng: random.Random, text: str) -> str:
    words = text.split()
    before = list(words)
    while words == before and len(set(words)) > 1:
        rng.shuffle(words)
    return " ".join(words)


def _last_as_initial(_: random.Random, text: str) -> str:
    words = text.split()
    return " ".join([*words[:-1], f"{words[-1][0]}."])


# Spellings that romanisations of the UN list's languages disagree about.
_VARIANTS: Final = (
    ("ou", "u"), ("kh", "h"), ("q", "k"), ("ee", "i"), ("oo", "u"), ("u", "o"), ("dh", "d"), ("gh", "g"), ("y", "i"), ("j", "dj"),
    ("ph", "f"), ("sh", "ch"), ("w", "v"), ("aa", "a"), ("z", "s"),
)  # fmt: skip


def _other_romanisation(rng: random.Random, text: str) -> str:
    text = text.lower()
    usable = [variant for variant in _VARIANTS if variant[0] in text]
    rng.shuffle(usable)
    for written, other in usable[:2]:
        text = text.replace(written, other)
    return text


def perturbed(un: list[ListEntry], seed: int = SEED) -> list[Perturbed]:
    """200 persons for each kind of change. Primary names of at least two words and ten letters,
    twelve for the edits (those of ten and eleven are a kind of their own, SHORT, and count in no total); what takes a middle word away, and
    the initial, ask for three words ("Kim T." is nobody's name).
    """
    rng = random.Random(seed)
    persons = sorted((entry for entry in un if entry.kind is EntryKind.PERSON), key=lambda entry: entry.id)
    texts = [(entry.id, entry.names[0].text) for entry in persons]
    texts = [
        (entry, text)
        for entry, text in texts
        if is_latin(text) and sum(map(str.isalpha, text)) >= _LEAST_LETTERS
    ]
    two = [one for one in texts if len(one[1].split()) >= 2]
    long = [one for one in two if sum(map(str.isalpha, one[1])) >= _LEAST_FOR_EDITS]
    short = [one for one in two if sum(map(str.isalpha, one[1])) < _LEAST_FOR_EDITS]
    three = [one for one in texts if len(one[1].split()) >= 3]
    kinds: tuple[tuple[str, list[tuple[str, str]], Callable[[random.Random, str], str]], ...] = (
        ("two edits", long, _two_edits),
        ("joined parts", two, _joined),
        ("middle dropped", three, _without_middle),
        ("reordered", two, _reordered),
        ("last as initial", three, _last_as_initial),
        ("romanised otherwise", two, _other_romanisation),
        (SHORT, short, _two_edits),
    )
    return [
        Perturbed(kind, entry, change(rng, text))
        for kind, pool, change in kinds
        for entry, text in rng.sample(pool, min(EACH, len(pool)))
    ]
