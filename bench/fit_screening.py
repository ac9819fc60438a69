"""Chooses the scorer's weights on one half of the data (see `screening_data.py`) and writes them; the other half is not looked at.

Logistic regression with weights of at least 0: a feature is what speaks against a match, and never for it. Pairs count once; listed
persons found under a changed name are positives, and whoever is found for an innocent a negative, the hardest ones again in
each round. Deterministic. `--write` replaces the shipped weights.

    python bench/fit_screening.py --data DIR [--write]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from safeconduct.app.name_index import NameIndex
from safeconduct.identity.screening.entry import NameKind
from safeconduct.identity.screening.features import ORGANISATION_FEATURES, PERSON_FEATURES, compare
from safeconduct.identity.screening.name import analyse
from safeconduct.identity.screening.weights import Bands, Shifts, Terms, Weights
from screening_data import (
    cross_script,
    data_directory,
    half,
    latin_only,
    perturbed,
    read_innocents,
    read_lists,
    read_pairs,
)

PLACE = Path(__file__).parents[1] / "src/safeconduct/identity/screening/weights.json"
ROUNDS = 6
FIRST = Terms(2.0, dict.fromkeys(PERSON_FEATURES, 1.0))
# What the data cannot tell: a weak alias is discounted by at least this, and few consonants
# of a common name say at most so much.
LEAST = {"weak_alias": 3.0, "script_thin": 6.8, "first_word_missing": 2.4, "acronym": 1.5}
# Weights of the kinds of examples in the fit, and thresholds.
NEGATIVE, POSITIVE, CROSS, RIDGE = 3.0, 0.5, 0.25, 0.3
# Added to the biases, so that the border that half 0 shows for Latin names is a score of .5.
BORDER = 0.66
# Perturbations of the fit have a seed of their own.
FIT_SEED = 7


def vector(query: Any, entry: Any, names: tuple[str, ...], kind: NameKind = NameKind.PRIMARY) -> list[float]:
    features = compare(query, entry).features | {"weak_alias": 1.0 if kind is NameKind.WEAK else 0.0}
    return [features[name] for name in names]


def pair_vectors(pair: Any, names: tuple[str, ...]) -> list[list[float]]:
    return [
        vector(a, b, names)
        for a in analyse(pair.first, person=pair.person)
        for b in analyse(pair.second, person=pair.person)
        if a.parts and b.parts
    ] or [[1.0] * len(names)]


def descend(x: Any, y: Any, counts: Any, weights: Any, bias: float, least: Any) -> tuple[Any, float]:
    """Projected Adam on the weighted logistic loss."""
    total = counts.sum()
    mean, square = np.zeros(len(weights) + 1), np.zeros(len(weights) + 1)
    for step in range(1, 1_001):
        p = 1 / (1 + np.exp(-np.clip(bias - x @ weights, -30, 30)))
        g = (p - y) * counts
        gradient = np.append(-(x.T @ g) / total + RIDGE * weights / total, g.sum() / total)
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.999 * square + 0.001 * gradient * gradient
        move = 0.05 * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-9)
        weights = np.maximum(weights - move[:-1], least)
        bias -= move[-1]
    return weights, float(bias)


def found_vectors(index: NameIndex, text: str, want: str | None) -> list[list[float]]:
    vectors = []
    for query in analyse(text, person=True):
        for at in index.candidates(query, 32) if query.parts else ():
            row = index.rows[at]
            if want is None or (row.entry.id == want and row.source == 0):
                vectors.append(vector(query, row.name, PERSON_FEATURES, row.listed.kind))
    return vectors


def fit(groups: list[tuple[list[list[float]], float, float, int]], size: int) -> Terms:
    """groups: vectors of which the best ones (so many) count, the label, the weight."""
    least = np.zeros(size)
    for feature, weight in LEAST.items():
        if feature in FEATURES[size]:
            least[FEATURES[size].index(feature)] = weight
    weights, bias = np.ones(size), 2.0
    arrays = [(np.array(vectors), label, count, most) for vectors, label, count, most in groups if vectors]
    for _ in range(ROUNDS):
        x, y, counts = [], [], []
        for vectors, label, count, most in arrays:
            for at in np.argsort(vectors @ weights, kind="stable")[:most]:
                x.append(vectors[at])
                y.append(label)
                counts.append(count)
        weights, bias = descend(np.array(x), np.array(y), np.array(counts), weights, bias, least)
    return Terms(
        round(bias + BORDER, 3), dict(zip(FEATURES[size], (round(float(w), 3) for w in weights), strict=True))
    )


FEATURES = {len(PERSON_FEATURES): PERSON_FEATURES, len(ORGANISATION_FEATURES): ORGANISATION_FEATURES}
assert len(FEATURES) == 2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data")
    parser.add_argument("--write", action="store_true")
    parser.add_argument(
        "--all", action="store_true", help="on both halves (to see what the split costs; never shipped)"
    )
    options = parser.parse_args()
    data = data_directory(options.data)
    if data is None:
        print("no data: give --data DIR", file=sys.stderr)
        return 2

    def mine(text: str) -> bool:
        return options.all or half(text) == 0

    pairs = [pair for pair in read_pairs(data) if options.all or pair.half == 0]
    lists = read_lists(data)
    index = NameIndex(list(lists.values()), person=True)
    latin = NameIndex([latin_only(entries) for entries in lists.values()], person=True)
    groups = [
        (pair_vectors(pair, PERSON_FEATURES), float(pair.match), 1.0, 1) for pair in pairs if pair.person
    ]
    groups += [
        (found_vectors(index, one.text, one.entry), 1.0, POSITIVE, 1)
        for one in perturbed(lists["un"], FIT_SEED)
        if mine(one.entry)
    ]
    groups += [
        (found_vectors(latin, one.text, one.entry), 1.0, CROSS, 1)
        for one in cross_script(lists["un"])
        if mine(one.entry)
    ]
    groups += [
        (found_vectors(index, name, None), 0.0, NEGATIVE, 2) for name in read_innocents(data) if mine(name)
    ]
    person = fit(groups, len(PERSON_FEATURES))
    firms = [
        (pair_vectors(pair, ORGANISATION_FEATURES), float(pair.match), 1.0, 1)
        for pair in pairs
        if not pair.person
    ]
    organisation = fit(firms, len(ORGANISATION_FEATURES))
    weights = Weights(
        version="1",
        person=person,
        organisation=organisation,
        bands=Bands(review=0.5, review_non_latin=0.49, block=0.95),
        shifts=Shifts(
            birth_date=0.1,
            birth_year=0.05,
            birth_contradicts=0.1,
            country=0.04,
            country_contradicts=0.03,
            identifier=0.3,
        ),
        candidates=32,
        compared=14,
    )
    text = msgspec.json.format(msgspec.json.encode(weights), indent=1)
    print(text.decode())
    if options.write:
        PLACE.write_bytes(text + b"\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
