"""Two names put beside each other: which word stands for which, how alike, and what is left over on either side.

Pure. The likeness of two words is the best of several readings of them (letters, sounds, consonants, own script), each a number
from 0 to 1, and says which reading it was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final, NamedTuple

from rapidfuzz.distance import OSA

from safeconduct.identity.screening.name import Name, Part, PartKind, part
from safeconduct.identity.screening.sound import COARSE
from safeconduct.identity.screening.words import SAME_NAME

# Below this two words do not stand for each other at all.
PAIRED: Final = 0.55
# Joined words must be this alike, or the joining is not believed.
JOINED: Final = 0.8
# Whole names without spaces must be this alike for the spaces to be what differs; shorter ones say too little.
RESPACED: Final = 0.85
_RESPACED_LETTERS: Final = 6
_SECONDARY: Final = frozenset({PartKind.PARTICLE, PartKind.TITLE})
_INITIAL_LIKENESS: Final = 0.9
# "America" and "American" are one place; "Estonia" and "Ethiopia", both spelled right, are two.
_SAME_PLACE: Final = 0.85

_SPOKEN: Final = frozenset("aeiouy")

_distance = OSA.distance
_similarity = OSA.normalized_similarity
# One wrong letter of two or three is not half of a name: short words are measured as if they had so many letters.
_LEAST_LENGTH: Final = 4


def _letters(a: str, b: str) -> float:
    return 1.0 - _distance(a, b) / max(len(a), len(b), _LEAST_LENGTH)


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
        return _similarity(a.native, b.native), "own script"
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
            return _similarity(a.native, b.native), "own script"
        return _by_skeleton(a, b)
    best, reading = _letters(a.text, b.text), "letters"
    if a.kind is PartKind.PLACE and b.kind is PartKind.PLACE and best < _SAME_PLACE:
        return 0.0, "another place"
    heard = _letters(a.sound, b.sound) - 0.03
    if heard > best:
        best, reading = heard, "sound"
    if best < 0.9 and len(a.skeleton) > 1 and a.skeleton == b.skeleton and _begin_alike(a.sound, b.sound):
        alike = 0.74 + 0.18 * _similarity(a.vowels, b.vowels)
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


_OPEN: Final = frozenset("aeou")
_EITHER: Final = frozenset("uiyw")


def _begin_alike(a: str, b: str) -> bool:
    """Both begin with a vowel, or with consonants of one class."""
    return (a[0] in _SPOKEN and b[0] in _SPOKEN) or a[0].translate(COARSE) == b[0].translate(COARSE)


def _beginnings_differ(a: str, b: str) -> bool:
    """One begins with a vowel or a breath and the other does not, as far as a script without vowels can tell."""
    one, other = a[:1], b[:1]
    if one in _EITHER or other in _EITHER or not one or not other:
        return False
    return (one in _OPEN) != (other in _OPEN) or (one == "h") != (other == "h")


def _by_skeleton(a: Part, b: Part) -> tuple[float, str]:
    left, right = a.skeleton, b.skeleton
    if not left or not right:
        return (0.85 if left == right and not _beginnings_differ(a.text, b.text) else 0.0), "consonants"
    alike = (
        (0.96 if len(left) > 2 else 0.92 if len(left) > 1 else 0.8)
        if left == right
        else _similarity(left, right) - 0.04
    )
    if _beginnings_differ(a.text, b.text):
        alike -= 0.2
    return max(0.0, alike), "consonants"


def _merged(parts: tuple[Part, ...], places: tuple[int, ...], *, person: bool) -> Part:
    return part(
        "".join(parts[at].text for at in places), "".join(parts[at].native for at in places), person=person
    )


class WordPairs(NamedTuple):
    """Words paired one to one, before joinings are tried. promise: how much of both names the pairs explain, 0 to 1."""

    pairs: list[Paired]
    free_query: set[int]
    free_entry: set[int]
    weak: bool
    promise: float


def pair_words(query: Name, entry: Name) -> WordPairs:
    """Pair the words of two names, most alike first."""
    consonants = query.consonantal or entry.consonantal
    a, b = query.parts, entry.parts
    scored = []
    for i, left in enumerate(a):
        minor = left.kind in _SECONDARY
        for j, right in enumerate(b):
            alike, reading = likeness(left, right, consonants)
            if alike >= PAIRED:
                # A title or particle is no partner for a name that merely looks like it. Of equals the pair that says most and
                # stands at the same place comes first, whatever the order of the loop.
                first = alike - 0.3 if minor != (right.kind in _SECONDARY) else alike
                scored.append((-first, -(left.weight + right.weight), abs(i - j), i, j, alike, reading))
    scored.sort()
    pairs: list[Paired] = []
    free_a, free_b = set(range(len(a))), set(range(len(b)))
    weak = False
    explained = 0.0
    for _, minus, _, i, j, alike, reading in scored:
        if i in free_a and j in free_b:
            free_a.discard(i)
            free_b.discard(j)
            pairs.append(Paired((i,), (j,), alike, reading))
            weak = weak or alike < JOINED
            explained -= minus * alike
    promise = explained / (query.weight + entry.weight)
    if promise < 1.0:
        short = min(query.weight, entry.weight)
        promise = max(promise, 0.8 * min(1.0, explained / 2 / short))
        if not query.person and (stands_for(query, entry) or stands_for(entry, query)):
            promise = 0.9
        if not consonants and (free_a or free_b):
            promise = max(promise, _similarity(query.joined, entry.joined, score_cutoff=0.6))
    return WordPairs(pairs, free_a, free_b, weak, promise)


def stands_for(short: Name, long: Name) -> bool:
    """Whether one name is the acronym of the other: three to eight letters, with or without the legal form's."""
    if len(short.parts) != 1 or len(long.parts) < 2:
        return False
    letters = short.parts[0].text
    return 3 <= len(letters) <= 8 and (
        long.initials == letters or (len(letters) > 3 and long.initials[:-1] == letters)
    )


def align(query: Name, entry: Name, words: WordPairs | None = None) -> Alignment:
    """Pair the words of two names; then try whether words written together or apart explain the rest. Uses up `words`."""
    consonants = query.consonantal or entry.consonantal
    a, b = query.parts, entry.parts
    pairs, free_a, free_b, weak, _ = words or pair_words(query, entry)
    if not query.person and (stands_for(query, entry) or stands_for(entry, query)):
        everything = Paired(tuple(range(len(a))), tuple(range(len(b))), _INITIAL_LIKENESS, "acronym")
        return Alignment((everything,), (), ())
    if free_a or free_b or weak:
        if (
            len(a) + len(b) > 2
            and not consonants
            and min(len(query.joined), len(entry.joined)) >= _RESPACED_LETTERS
        ):
            whole = _similarity(query.joined, entry.joined, score_cutoff=RESPACED)
            if whole:
                everything = Paired(tuple(range(len(a))), tuple(range(len(b))), whole, "written together")
                return Alignment((everything,), (), ())
        _join(query, entry, pairs, free_a, free_b, consonants)
    return Alignment(tuple(pairs), tuple(sorted(free_a)), tuple(sorted(free_b)))


def _loose(free: set[int], paired: Iterable[tuple[tuple[int, ...], float]]) -> set[int]:
    """Places of words that no good pair explains."""
    return free | {at for places, alike in paired if alike < JOINED for at in places}


def _joinings(
    short: Name, long: Name, loose_short: set[int], loose_long: set[int], consonants: bool
) -> Iterator[tuple[float, int, int, tuple[int, ...], str]]:
    """One word of `short` that is two or three words of `long` written together, or their initials ("JC")."""
    parts = long.parts
    lengths = [len(part.text) for part in parts]
    for at in sorted(loose_short):
        word = short.parts[at]
        if word.kind is PartKind.INITIAL:
            continue
        own = len(word.text)
        for size in (2, 3):
            for start in range(len(parts) - size + 1):
                places = range(start, start + size)
                if loose_long.isdisjoint(places):
                    continue
                if abs(own - sum(lengths[start : start + size])) <= 2:
                    alike = likeness(_merged(parts, tuple(places), person=short.person), word, consonants)[0]
                    if alike >= JOINED:
                        yield -alike, -size, at, tuple(places), "joined"
                elif (
                    own == size
                    and short.person
                    and not word.native
                    and all(parts[place].text[:1] == word.text[n] for n, place in enumerate(places))
                    and not any(parts[place].kind in _SECONDARY for place in places)
                    and not set(word.text) & _SPOKEN
                ):
                    yield -_INITIAL_LIKENESS, -size, at, tuple(places), "initial"


def _join(  # noqa: PLR0917 - the state of one alignment
    query: Name, entry: Name, pairs: list[Paired], free_a: set[int], free_b: set[int], consonants: bool
) -> None:
    """Words that are written together on one side: "Ramimakhlouf", "Plat Ono Vich", "JC"."""
    loose_a = _loose(free_a, ((pair.query, pair.likeness) for pair in pairs))
    loose_b = _loose(free_b, ((pair.entry, pair.likeness) for pair in pairs))
    found: list[tuple[float, int, tuple[int, ...], tuple[int, ...], str]] = [
        (minus, size, (at,), places, reading)
        for minus, size, at, places, reading in _joinings(query, entry, loose_a, loose_b, consonants)
    ]
    found += [
        (minus, size, places, (at,), reading)
        for minus, size, at, places, reading in _joinings(entry, query, loose_b, loose_a, consonants)
    ]
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
    if free_a and free_b:
        _initial_of_article(query, entry, pairs, free_a, free_b)
    # Whatever the joining set free may still find a partner.
    for i in sorted(free_a) if found else ():
        best = max(
            ((likeness(query.parts[i], entry.parts[j], consonants), -j) for j in free_b),
            default=((0.0, ""), 0),
        )
        if best[0][0] >= PAIRED:
            free_a.discard(i)
            free_b.discard(-best[1])
            pairs.append(Paired((i,), (-best[1],), *best[0]))


def _initial_of_article(
    query: Name, entry: Name, pairs: list[Paired], free_a: set[int], free_b: set[int]
) -> None:
    """An initial, "A.", may stand for "al-Khafaji": the article is a part of the word as its bearer spells it."""
    for flipped in (False, True):
        short, long = (entry, query) if flipped else (query, entry)
        free_short, free_long = (free_b, free_a) if flipped else (free_a, free_b)
        for at in sorted(free_short):
            if short.parts[at].kind is not PartKind.INITIAL:
                continue
            for place in sorted(free_long):
                article = place - 1
                if article < 0 or long.parts[place].kind in _SECONDARY:
                    continue
                # After "servant of" the article is not kept as a word of its own.
                unsaid = long.parts[article].text == "abdul" and short.parts[at].text in "ae"
                said = (
                    long.parts[article].kind is PartKind.PARTICLE
                    and long.parts[article].text[:1] == short.parts[at].text
                )
                if unsaid or said:
                    free_short.discard(at)
                    words = (place,) if unsaid else (article, place)
                    free_long.difference_update(words)
                    for pair in [
                        one for one in pairs if said and article in (one.query if flipped else one.entry)
                    ]:
                        pairs.remove(pair)
                        (free_b if flipped else free_a).update(pair.entry if flipped else pair.query)
                    pairs.append(
                        Paired(words, (at,), _INITIAL_LIKENESS, "initial")
                        if flipped
                        else Paired((at,), words, _INITIAL_LIKENESS, "initial")
                    )
                    break


def _said(name: Name, places: tuple[int, ...]) -> float:
    return sum(name.parts[at].weight for at in places)
