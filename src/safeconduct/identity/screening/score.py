"""The score of two names, and what it is made of.

A score is 1 / (1 + exp(-z)), z being the bias minus each feature times its weight. Nothing else goes in, so a score explains itself:
its terms add up to it. Facts beside the name shift it inside its band and never across (`shifted`).
"""

from __future__ import annotations

import enum
import math
from typing import Final

import msgspec

from safeconduct.identity.screening.comparison import Alignment, WordPairs
from safeconduct.identity.screening.entry import ListEntry, NameKind
from safeconduct.identity.screening.features import compare
from safeconduct.identity.screening.folding import Script
from safeconduct.identity.screening.name import Name
from safeconduct.identity.screening.weights import Bands, Shifts, Weights

_DECIMALS: Final = 4
_LEAST_STEP: Final = 10**-_DECIMALS


class Band(enum.StrEnum):
    """What becomes of a hit. REVIEW: a human decides, with a rationale."""

    CLEAR = "clear"
    REVIEW = "review"
    BLOCK = "block"


class Term(msgspec.Struct, frozen=True):
    """One thing that speaks against a match. effect: value times weight, in log-odds; query, entry: what was compared."""

    feature: str
    value: float
    weight: float
    effect: float
    query: str
    entry: str


class WordMatch(msgspec.Struct, frozen=True):
    """Words that stand for each other. reading: by what they are alike (letters, sound, consonants, initial, joined ...)."""

    query: str
    entry: str
    likeness: float
    reading: str


class Score(msgspec.Struct, frozen=True):
    """score: 0 to 1, four decimals. bias plus the effects of terms (subtracted) is its log-odds."""

    score: float
    bias: float
    terms: tuple[Term, ...]
    words: tuple[WordMatch, ...]


class Facts(msgspec.Struct, frozen=True):
    """What is known of the person or organisation beside the name.

    born: ISO 8601 `YYYY`, `YYYY-MM` or `YYYY-MM-DD`. countries: ISO 3166-1 alpha-2. identifiers: as written.
    """

    born: str | None = None
    countries: tuple[str, ...] = ()
    identifiers: tuple[str, ...] = ()


class Shift(msgspec.Struct, frozen=True):
    """What one fact beside the name did to the score. applied: less than `amount` where the band ended."""

    fact: str
    amount: float
    query: str
    entry: str


def log_odds(
    query: Name, entry: Name, kind: NameKind, weights: Weights, words: WordPairs | None = None
) -> float:
    """Z of two names, six decimals, without its explanation. Uses up `words`."""
    terms = weights.person if query.person else weights.organisation
    features = compare(query, entry, words).features
    z = terms.bias
    for feature, weight in terms.weights.items():
        if feature == "weak_alias":
            z -= weight if kind is NameKind.WEAK else 0.0
        else:
            z -= weight * features[feature]
    return round(z, 6)


def as_score(z: float) -> float:
    """The score of log-odds, 0 to 1, four decimals."""
    return round(1 / (1 + math.exp(-z)) if z > -50 else 0.0, _DECIMALS)


def explain(query: Name, entry: Name, kind: NameKind, weights: Weights) -> Score:
    """The score of two names with every term that took part in it, the heaviest first."""
    chosen = weights.person if query.person else weights.organisation
    compared = compare(query, entry)
    terms = []
    for feature, weight in chosen.weights.items():
        if feature == "weak_alias":
            value = 1.0 if kind is NameKind.WEAK else 0.0
        else:
            value = compared.features[feature]
        if value * weight > 0:
            left, right = _evidence(feature, query, entry, compared.alignment)
            terms.append(
                Term(feature, round(value, _DECIMALS), weight, round(value * weight, _DECIMALS), left, right)
            )
    terms.sort(key=lambda term: (-term.effect, term.feature))
    words = tuple(
        WordMatch(
            _written(query, pair.query),
            _written(entry, pair.entry),
            round(pair.likeness, _DECIMALS),
            pair.reading,
        )
        for pair in sorted(compared.alignment.pairs)
    )
    return Score(as_score(log_odds(query, entry, kind, weights)), chosen.bias, tuple(terms), words)


def _written(name: Name, places: tuple[int, ...]) -> str:
    return " ".join(name.parts[at].text for at in places)


def _evidence(feature: str, query: Name, entry: Name, alignment: Alignment) -> tuple[str, str]:
    """The words of both names that a feature looked at."""
    if feature in {
        "spelling",
        "spelling_squared",
        "worst_word",
        "worst_squared",
        "first_letters",
        "read_unlike",
    }:
        unlike = sorted((pair.likeness, pair) for pair in alignment.pairs if pair.likeness < 1)
        if feature.startswith("worst") or feature == "read_unlike":
            unlike = unlike[:1]
        return (
            ", ".join(_written(query, pair.query) for _, pair in unlike),
            ", ".join(_written(entry, pair.entry) for _, pair in unlike),
        )
    if feature == "legal_form":
        return ", ".join(sorted(query.forms)), ", ".join(sorted(entry.forms))
    if feature in _LEFT_OVER:
        return _written(query, alignment.query_left), _written(entry, alignment.entry_left)
    if feature in {"initials", "only_initials"}:
        found = [pair for pair in alignment.pairs if pair.reading == "initial"]
        return (
            ", ".join(_written(query, pair.query) for pair in found),
            ", ".join(_written(entry, pair.entry) for pair in found),
        )
    return query.text, entry.text


_LEFT_OVER: Final = frozenset(
    [
        "conflict",
        "contradiction",
        "contradictions",
        "first_word_missing",
        "extra_on_thin",
        "extra_in_query",
        "extra_in_entry",
        "missing_words",
        "word_in_query",
        "word_in_entry",
        "generic_conflict",
        "places",
    ]
)


def band_of(score: float, query: Name, bands: Bands) -> Band:
    """The band of a score; a name in another script is reviewed from a lower score on."""
    if score >= bands.block:
        return Band.BLOCK
    least = bands.review if query.script is Script.LATIN else bands.review_non_latin
    return Band.REVIEW if score >= least else Band.CLEAR


def shifted(
    score: float, query: Name, facts: Facts, entry: ListEntry, weights: Weights
) -> tuple[float, tuple[Shift, ...]]:
    """The score after birth date, countries and identifiers; it stays inside the band that the names alone gave."""
    band = band_of(score, query, weights.bands)
    shifts = tuple(_shifts(facts, entry, weights.shifts))
    if band is Band.CLEAR or not shifts:
        return score, ()
    least = weights.bands.review if query.script is Script.LATIN else weights.bands.review_non_latin
    low, high = (
        (weights.bands.block, 1.0) if band is Band.BLOCK else (least, weights.bands.block - _LEAST_STEP)
    )
    moved = score + sum(shift.amount for shift in shifts)
    return round(min(high, max(low, moved)), _DECIMALS), shifts


def _shifts(facts: Facts, entry: ListEntry, weights: Shifts) -> list[Shift]:
    found = []
    if facts.born and entry.birth_dates:
        listed = ", ".join(
            sorted(
                {
                    f"{date.first}/{date.last}" if date.first != date.last else date.first
                    for date in entry.birth_dates
                }
            )
        )
        exact = any(date.first == facts.born == date.last for date in entry.birth_dates)
        year = int(facts.born[:4])
        near = any(int(date.first[:4]) - 1 <= year <= int(date.last[:4]) + 1 for date in entry.birth_dates)
        found.append(
            Shift("birth_date", weights.birth_date, facts.born, listed)
            if exact
            else Shift("birth_year", weights.birth_year, facts.born, listed)
            if near
            else Shift("birth_contradicts", -weights.birth_contradicts, facts.born, listed)
        )
    if facts.countries and entry.countries:
        shared = sorted(set(facts.countries) & set(entry.countries))
        found.append(
            Shift("country", weights.country, ", ".join(shared), ", ".join(shared))
            if shared
            else Shift(
                "country_contradicts",
                -weights.country_contradicts,
                ", ".join(facts.countries),
                ", ".join(entry.countries),
            )
        )
    if facts.identifiers and entry.identifiers:
        known = {_bare(identifier.value): identifier.value for identifier in entry.identifiers}
        found += [
            Shift("identifier", weights.identifier, given, known[_bare(given)])
            for given in facts.identifiers
            if len(_bare(given)) >= 4 and _bare(given) in known
        ]
    return found


def _bare(identifier: str) -> str:
    return "".join(sign for sign in identifier if sign.isalnum()).casefold()
