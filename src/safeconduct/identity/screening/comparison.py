"""Two names put beside each other: which word stands for which, how alike, and what is left over on either side.

Pure. The likeness of two words is the best of several readings of them (letters, sounds, consonants, own script), each a number
from 0 to 1, and says which reading it was.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from rapidfuzz.distance import OSA

from safeconduct.identity.screening.name import Name, Part, PartKind, part
from safeconduct.identity.screening.words import SAME_NAME

# Below this two words do not stand for each other at all.
PAIRED: Final = 0.55
# Joined words must be this alike, or the joining is not believed.
JOINED: Final = 0.8
# Whole names without spaces must be this alike for the spaces to be what differs; shorter ones say too little.
RESPACED: Final = 0.92
_RESPACED_LETTERS: Final = 6
_SECONDARY: Final = frozenset({PartKind.PARTICLE, PartKind.TITLE})
_INITIAL_LIKENESS: Final = 0.9

_letters = OSA.normalized_similarity


class Paired(NamedTuple):
    """Words of the query and of the entry that stand for each other. reading: by what they are alike."""

    query: tuple[int, ...]
    entry: tuple[int, ...]
    likeness: float
    reading: str


class Alignment(NamedTuple):
    """Pairs, and the places of words that have no partner."""

    pairs: tuple[Paired, ...]
    query_left: tuple[int, ...]
    entry_left: tuple[int, ...]


@lru_cache(maxsize=262_144)
def likeness(a: Part, b: Part, consonants_only: bool) -> tuple[float, str]:
    """How alike two words are, 0 to 1, and by which reading."""
    if a.native and b.native and not consonants_only and _same_script_block(a.native, b.native):
        return _letters(a.native, b.native), "own script"
    if a.text == b.text:
        return 1.0, "same"
    if a.kind is PartKind.NUMBER or b.kind is PartKind.NUMBER:
        return 0.0, "number"
    if a.kind is PartKind.INITIAL or b.kind is PartKind.INITIAL:
        other = b if a.kind is PartKind.INITIAL else a
        initial = a if a.kind is PartKind.INITIAL else b
        if other.kind in _SECONDARY or other.kind is PartKind.INITIAL or not other.sound or not initial.sound:
            return 0.0, "initial"
        same = other.text[0] == initial.text[0] or other.sound[0] == initial.sound[0]
        return (_INITIAL_LIKENESS, "initial") if same else (0.0, "initial")
    if a.native and b.native and a.native == b.native:
        return 1.0, "own script"
    if consonants_only:
        if a.native and b.native:
            return _letters(a.native, b.native), "own script"
        return _by_skeleton(a, b)
    best, reading = _letters(a.text, b.text), "letters"
    heard = _letters(a.sound, b.sound) - 0.03
    if heard > best:
        best, reading = heard, "sound"
    if best < 0.9 and len(a.skeleton) > 1 and a.skeleton == b.skeleton:
        alike = 0.74 + 0.18 * _letters(a.vowels, b.vowels)
        if alike > best:
            best, reading = alike, "consonants"
    if best < 0.93 and a.text in SAME_NAME and b.text in SAME_NAME and SAME_NAME[a.text] & SAME_NAME[b.text]:
        best, reading = 0.93, "same name"
    return best, reading


def _same_script_block(a: str, b: str) -> bool:
    # Han and Hangul write a syllable or a word in one letter: their own letters are the finer measure.
    return (0x4E00 <= ord(a[0]) <= 0x9FFF and 0x4E00 <= ord(b[0]) <= 0x9FFF) or (
        0xAC00 <= ord(a[0]) <= 0xD7AF and 0xAC00 <= ord(b[0]) <= 0xD7AF
    )


def _by_skeleton(a: Part, b: Part) -> tuple[float, str]:
    left, right = a.skeleton, b.skeleton
    if not left or not right:
        return (0.6 if left == right and a.text[:1] == b.text[:1] else 0.0), "consonants"
    if left == right:
        return (0.96 if len(left) > 2 else 0.92 if len(left) > 1 else 0.8), "consonants"
    return max(0.0, _letters(left, right) - 0.04), "consonants"


def _merged(parts: tuple[Part, ...], places: tuple[int, ...], *, person: bool) -> Part:
    return part(
        "".join(parts[at].text for at in places), "".join(parts[at].native for at in places), person=person
    )


def align(query: Name, entry: Name) -> Alignment:
    """Pair the words of two names, most alike first; then try whether words written together or apart explain the rest."""
    consonants = query.consonantal or entry.consonantal
    a, b = query.parts, entry.parts
    scored = []
    for i, left in enumerate(a):
        for j, right in enumerate(b):
            alike, reading = likeness(left, right, consonants)
            if alike >= PAIRED:
                minor = (left.kind in _SECONDARY) != (right.kind in _SECONDARY)
                # Of equals, the pair that stands at the same place and says most comes first, whatever the order of the loop.
                scored.append((-(alike - 0.3 * minor), -(left.weight + right.weight), abs(i - j), i, j, alike, reading))
    scored.sort()
    pairs: list[Paired] = []
    free_a, free_b = set(range(len(a))), set(range(len(b)))
    for _, _, _, i, j, alike, reading in scored:
        if i in free_a and j in free_b:
            free_a.discard(i)
            free_b.discard(j)
            pairs.append(Paired((i,), (j,), alike, reading))
    if (free_a or free_b) or any(pair.likeness < JOINED for pair in pairs):
        if not consonants and min(len(query.joined), len(entry.joined)) >= _RESPACED_LETTERS:
            whole = _letters(query.joined, entry.joined)
            if whole >= RESPACED and len(a) + len(b) > 2:
                everything = Paired(tuple(range(len(a))), tuple(range(len(b))), whole, "written together")
                return Alignment((everything,), (), ())
        pairs = _join(query, entry, pairs, free_a, free_b, consonants)
    return Alignment(tuple(pairs), tuple(sorted(free_a)), tuple(sorted(free_b)))


def _join(
    query: Name, entry: Name, pairs: list[Paired], free_a: set[int], free_b: set[int], consonants: bool
) -> list[Paired]:
    """Words that are written together on one side: "Ramimakhlouf", "Plat Ono Vich", "JC"."""
    found = []
    for flipped in (False, True):
        long, short = (entry, query) if flipped else (query, entry)
        for size in (2, 3):
            for start in range(len(long.parts) - size + 1):
                places = tuple(range(start, start + size))
                if any(long.parts[at].kind is PartKind.INITIAL and size > 2 for at in places):
                    continue
                whole = _merged(long.parts, places, person=query.person)
                for other, word in enumerate(short.parts):
                    if word.kind is PartKind.INITIAL or abs(len(word.text) - len(whole.text)) > 3:
                        alike = 0.0
                    else:
                        alike = likeness(whole, word, consonants)[0]
                    reading = "joined"
                    if alike < JOINED and size == len(word.text) and query.person and not word.native:
                        if all(long.parts[at].text[:1] == letter for at, letter in zip(places, word.text, strict=True)) and all(
                            long.parts[at].kind not in _SECONDARY for at in places
                        ) and not set(word.text) & set("aeiouy"):
                            alike, reading = _INITIAL_LIKENESS, "initial"
                    if alike >= JOINED:
                        left, right = ((other,), places) if flipped else (places, (other,))
                        found.append((-alike, -size, left, right, reading))
    found.sort()
    for minus, _, left, right, reading in found:
        touched = [pair for pair in pairs if set(pair.query) & set(left) or set(pair.entry) & set(right)]
        if any(len(pair.query) + len(pair.entry) > 2 for pair in touched):
            continue
        # What the joining explains must be more than what it takes apart.
        gain = _said(query, left) + _said(entry, right)
        loss = sum((_said(query, pair.query) + _said(entry, pair.entry)) * pair.likeness for pair in touched)
        if gain * -minus <= loss + 0.05:
            continue
        for pair in touched:
            pairs.remove(pair)
            free_a.update(pair.query)
            free_b.update(pair.entry)
        free_a.difference_update(left)
        free_b.difference_update(right)
        pairs.append(Paired(left, right, -minus, reading))
    # Whatever the joining set free may still find a partner.
    for i in sorted(free_a):
        best = max(
            ((likeness(query.parts[i], entry.parts[j], consonants), -j) for j in free_b), default=((0.0, ""), 0)
        )
        if best[0][0] >= PAIRED:
            free_a.discard(i)
            free_b.discard(-best[1])
            pairs.append(Paired((i,), (-best[1],), *best[0]))
    return pairs


def _said(name: Name, places: tuple[int, ...]) -> float:
    return sum(name.parts[at].weight for at in places)
