"""What of two names speaks against their being the same, as numbers from 0 to about 1: the terms of the score.

Every feature is 0 when nothing speaks against. Each comes with what was compared, so that a score can be explained.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Final, NamedTuple

from rapidfuzz.distance import OSA

from safeconduct.identity.screening.comparison import Alignment, WordPairs, align
from safeconduct.identity.screening.folding import Script
from safeconduct.identity.screening.name import Name, PartKind

_FILIATION: Final = frozenset({"bin", "ibn", "ben", "bint", "binti", "ould"})
# Scripts whose letters are read by a table of readings, one of several that a bearer may use.
_READ: Final = frozenset({Script.HAN, Script.HANGUL, Script.KANA})
# So many consonants that agree tell people apart although no vowel is written.
_ENOUGH_CONSONANTS: Final = 9.0
_EVERYBODYS: Final = frozenset({PartKind.COMMON, PartKind.GENERIC})
_MINOR: Final = frozenset({PartKind.PARTICLE, PartKind.TITLE})

PERSON_FEATURES: Final = (
    "spelling", "spelling_squared", "worst_word", "worst_squared", "conflict", "contradiction", "contradictions", "read", "read_unlike", "first_word_missing", "extra_on_thin", "extra_in_query", "extra_in_entry", "missing_words", "initials",
    "order", "thin", "single_word", "word_in_query", "word_in_entry", "very_thin", "whole", "whole_far", "script", "script_thin", "first_letters", "patronymic", "filiation", "common_only", "only_initials", "weak_alias",
)  # fmt: skip
ORGANISATION_FEATURES: Final = (
    "spelling", "spelling_squared", "worst_word", "worst_squared", "conflict", "contradiction", "contradictions", "read", "read_unlike", "first_word_missing", "extra_on_thin", "extra_in_query", "extra_in_entry", "missing_words", "order", "thin",
    "single_word", "word_in_query", "word_in_entry", "very_thin", "whole", "whole_far", "script", "script_thin", "first_letters", "numbers", "legal_form", "places", "generic_only", "generic_conflict", "acronym", "weak_alias",
)  # fmt: skip


class Compared(NamedTuple):
    """features: by name. alignment: what they were counted from."""

    features: dict[str, float]
    alignment: Alignment


def _weight(name: Name, places: tuple[int, ...]) -> float:
    return sum(name.parts[at].weight for at in places)


def _sorted_letters(name: Name) -> str:
    return " ".join(sorted(part.text for part in name.parts if part.kind not in _MINOR))


def _left(name: Name, left: tuple[int, ...], matched: set[int]) -> float:
    """Weight of words without a partner; one that is said twice says nothing the second time."""
    told = {name.parts[at].text for at in matched}
    return sum(part.weight * (0.15 if part.text in told else 1.0) for part in (name.parts[at] for at in left))


def _first_missing(entry: Name, left: tuple[int, ...], left_in_query: float) -> float:
    """1 when the query knows nothing of the entry's first word: a middle name is left out, a given one hardly."""
    core = [at for at, part in enumerate(entry.parts) if part.kind not in _MINOR]
    return 1.0 if len(core) > 2 and core[0] in left and left_in_query < 0.3 else 0.0


def _clip(value: float) -> float:
    return 0.0 if value < 0.0 else min(value, 1.0)


def compare(query: Name, entry: Name, words: WordPairs | None = None) -> Compared:
    """All features of two names that were taken apart for the same kind of holder. Both must have at least one part.

    words: their words as `pair_words` paired them, when that was done before; used up.
    """
    alignment = align(query, entry, words)
    consonants = query.consonantal or entry.consonantal
    a, b = query.parts, entry.parts
    total_a, total_b = query.weight, entry.weight
    bones = matched = told = spelled = worst = initials = first = common = core = 0.0
    longest = 0
    core_pairs = []
    for pair in alignment.pairs:
        weight = (_weight(query, pair.query) + _weight(entry, pair.entry)) / 2
        matched += weight
        unlike = 1.0 - pair.likeness
        kind = a[pair.query[0]].kind
        other = b[pair.entry[0]].kind
        if pair.reading == "initial":
            initials += max(_weight(query, pair.query), _weight(entry, pair.entry))
            core_pairs.append(pair)
            continue
        spelled += weight * unlike
        telling = 1.0 - min(1.0, 2.0 * unlike)
        if consonants and pair.reading == "consonants":
            # Three or four consonants in coarse classes are shared by many names: what they say grows with their number.
            told_share = min(1.0, len(a[pair.query[0]].skeleton) / 5)
        else:
            told_share = 1.0
        told += (
            (min(weight, _weight(query, pair.query), _weight(entry, pair.entry)) if consonants else weight)
            * telling
            * told_share
        )
        if kind not in _MINOR or other not in _MINOR:
            core_pairs.append(pair)
            core += weight
            plain = a[pair.query[0]].kind in _EVERYBODYS or b[pair.entry[0]].kind in _EVERYBODYS
            bones += telling * len(b[pair.entry[0]].skeleton) * (0.6 if plain else 1.0)
            longest += max(len(pair.query), len(pair.entry))
            worst = max(worst, unlike * min(1.0, weight / 0.6))
            heard_a, heard_b = a[pair.query[0]].sound[:1], b[pair.entry[0]].sound[:1]
            if heard_a != heard_b and unlike > 0.05 and not consonants:
                first += weight
            if (kind in _EVERYBODYS and other in _EVERYBODYS) or (
                consonants and (kind in _EVERYBODYS or other in _EVERYBODYS)
            ):
                common += weight
    left_a = _left(query, alignment.query_left, {at for pair in alignment.pairs for at in pair.query})
    left_b = _left(entry, alignment.entry_left, {at for pair in alignment.pairs for at in pair.entry})
    conflict = min(left_a, left_b)
    read = (query.script in _READ) != (entry.script in _READ)
    core_pairs.sort(key=lambda pair: pair.query)
    turned = sum(1 for one, two in pairwise(core_pairs) if two.entry < one.entry)
    if consonants or _acronym(alignment):
        whole = 0.0
    elif query.script is entry.script and query.script.value in {"han", "hangul"}:
        whole = 1.0 - OSA.normalized_similarity(query.text.replace(" ", ""), entry.text.replace(" ", ""))
    else:
        whole = 1.0 - max(
            OSA.normalized_similarity(_sorted_letters(query), _sorted_letters(entry)),
            OSA.normalized_similarity(query.joined, entry.joined),
        )
    spelling = spelled / matched if matched else 1.0
    features = {
        "spelling": spelling,
        "spelling_squared": _clip(spelling * 3) ** 2,
        "worst_word": _clip(worst * 2),
        "worst_squared": _clip(worst * 2) ** 2,
        "conflict": _clip(conflict / (min(total_a, total_b))),
        "contradiction": _clip(conflict / 0.6),
        "contradictions": _clip((conflict - 0.6) / 1.2),
        "read": 1.0 if read else 0.0,
        "read_unlike": _clip(worst * 3) if read else 0.0,
        "extra_in_query": _clip((left_a - conflict) / total_a),
        "first_word_missing": _first_missing(entry, alignment.entry_left, left_a)
        * (1.5 if initials else 1.0),
        "extra_on_thin": _clip(left_a + left_b - 2 * conflict) * _clip(1.0 - told / 2.2),
        "extra_in_entry": _clip((left_b - conflict) / total_b),
        "missing_words": _clip((left_a + left_b - 2 * conflict) / 3),
        "order": _clip(turned / 2),
        "thin": _clip(1.0 - told / 2.2),
        "single_word": 1.0 if longest == 1 and len(a) + len(b) > 2 else 0.0,
        "word_in_query": _clip(left_a) if longest == 1 else 0.0,
        "word_in_entry": _clip(left_b) if longest == 1 else 0.0,
        "very_thin": _clip(1.0 - told / 1.2),
        "whole_far": _clip((whole - 0.25) * 3),
        "whole": whole,
        "script_thin": _clip(1.0 - bones / _ENOUGH_CONSONANTS)
        if consonants and not (query.consonantal and entry.consonantal)
        else 0.0,
        "script": 1.0 if consonants and not (query.consonantal and entry.consonantal) else 0.0,
        "first_letters": first / core if core else 0.0,
    }
    if query.person:
        features |= {
            "initials": _clip(initials / min(total_a, total_b) if initials else 0.0),
            "only_initials": 1.0 if initials and core < 0.5 else 0.0,
            "filiation": _filiations(query, entry, alignment),
            "patronymic": _patronymics(query, entry, alignment),
            "common_only": common / core if core else 1.0,
        }
    else:
        features |= _organisation(query, entry, alignment, common / core if core else 1.0)
    return Compared(features, alignment)


def _acronym(alignment: Alignment) -> bool:
    return len(alignment.pairs) == 1 and alignment.pairs[0].reading == "acronym"


def _patronymics(query: Name, entry: Name, alignment: Alignment) -> float:
    """1 when both name a father, and not the same one."""
    fathers_a = {at for at, part in enumerate(query.parts) if part.kind is PartKind.PATRONYMIC}
    fathers_b = {at for at, part in enumerate(entry.parts) if part.kind is PartKind.PATRONYMIC}
    if not fathers_a or not fathers_b:
        return 0.0
    for pair in alignment.pairs:
        if fathers_a & set(pair.query) and fathers_b & set(pair.entry) and pair.likeness >= 0.75:
            return 0.0
    return 1.0


def _filiations(query: Name, entry: Name, alignment: Alignment) -> float:
    """1 when both say whose child they are, and the words after `bin` are turned round: father and son are two people."""
    sons_a = {at + 1 for at, part in enumerate(query.parts) if part.text in _FILIATION}
    sons_b = {at + 1 for at, part in enumerate(entry.parts) if part.text in _FILIATION}
    if not sons_a or not sons_b:
        return 0.0
    pairs = [pair for pair in alignment.pairs if query.parts[pair.query[0]].kind not in _MINOR]
    first = any(0 in pair.query and sons_b & set(pair.entry) for pair in pairs)
    second = any(0 in pair.entry and sons_a & set(pair.query) for pair in pairs)
    return 1.0 if first and second else 0.0


def _organisation(query: Name, entry: Name, alignment: Alignment, common: float) -> dict[str, float]:
    a, b = query.parts, entry.parts
    numbers_a = sorted(part.text for part in a if part.kind is PartKind.NUMBER)
    numbers_b = sorted(part.text for part in b if part.kind is PartKind.NUMBER)
    places_a = [at for at in alignment.query_left if a[at].kind is PartKind.PLACE]
    places_b = [at for at in alignment.entry_left if b[at].kind is PartKind.PLACE]
    generic_a = [at for at in alignment.query_left if a[at].kind is PartKind.GENERIC]
    generic_b = [at for at in alignment.entry_left if b[at].kind is PartKind.GENERIC]
    unlike_places = any(
        a[pair.query[0]].kind is PartKind.PLACE
        and b[pair.entry[0]].kind is PartKind.PLACE
        and pair.likeness < 0.95
        for pair in alignment.pairs
    )
    return {
        "numbers": 0.0 if numbers_a == numbers_b else 1.0 if numbers_a and numbers_b else 0.5,
        "legal_form": 1.0 if query.forms and entry.forms and not query.forms & entry.forms else 0.0,
        "places": 1.0 if (places_a and places_b) or unlike_places else 0.6 if places_a or places_b else 0.0,
        "generic_only": common,
        "generic_conflict": 1.0 if generic_a and generic_b else 0.0,
        "acronym": 1.0 if _acronym(alignment) else 0.0,
    }
