"""A name taken apart: its parts in Latin letters, what kind of word each is and how much it says.

Pure. The same text gives the same parts in every process; `analyse` is cached because lists repeat words, not because it keeps
anything.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache
from typing import Final, NamedTuple

import msgspec

from safeconduct.identity.screening.folding import (
    Script,
    compatible,
    letters_for_digits,
    main_script,
    unmask,
    wholly_lookalike,
)
from safeconduct.identity.screening.romanise import (
    BETWEEN,
    COMPOUND_FAMILIES,
    CONSONANTAL,
    native_form,
    romanise,
)
from safeconduct.identity.screening.sound import skeleton, sound, vowels
from safeconduct.identity.screening.words import (
    ABBREVIATIONS,
    COMMON,
    GENERIC,
    HONORIFICS,
    LEGAL_FORMS,
    LONGEST_FORM,
    NUMBERS,
    PARTICLES,
    PLACES,
    PREFIXES,
    ROMAN,
    SHY_FORMS,
    STOP,
    TITLES,
    TRANSLATED,
)


class PartKind(enum.StrEnum):
    """What a word of a name is."""

    NAME = "name"
    COMMON = "common"
    INITIAL = "initial"
    PARTICLE = "particle"
    TITLE = "title"
    PATRONYMIC = "patronymic"
    NUMBER = "number"
    GENERIC = "generic"
    PLACE = "place"


# How much agreeing in a word of this kind says, and how much it costs that the other name lacks it.
WEIGHT: Final[dict[PartKind, float]] = {
    PartKind.NAME: 1.0,
    PartKind.COMMON: 0.7,
    PartKind.INITIAL: 0.35,
    PartKind.PARTICLE: 0.08,
    PartKind.TITLE: 0.12,
    PartKind.PATRONYMIC: 0.6,
    PartKind.NUMBER: 0.7,
    PartKind.GENERIC: 0.5,
    PartKind.PLACE: 0.8,
}


class Part(msgspec.Struct, frozen=True, eq=False):
    """One word; the same word is the same object, so that likeness can be remembered by it. text: lower-case Latin letters and digits. native: in its own script, "" for Latin. weight: see WEIGHT."""

    text: str
    sound: str
    skeleton: str
    vowels: str
    native: str
    kind: PartKind
    weight: float


class Name(NamedTuple):
    """A name taken apart.

    script: what most of its letters are. consonantal: the Latin letters are a skeleton. forms: classes of the legal forms
    that were taken out of an organisation's name. joined: the letters of all words, as written, in one. weight: of all
    parts. initials: of an organisation's words, legal form included.
    """

    text: str
    script: Script
    consonantal: bool
    parts: tuple[Part, ...]
    forms: frozenset[str]
    joined: str
    person: bool
    weight: float
    initials: str


_DOTTED: Final = re.compile(r"(?<![^\W\d_])(?:[^\W\d_]\.[ ]?){2,}(?:[^\W\d_](?![^\W\d_]))?\.?")
_APOSTROPHES: Final = re.compile(r"['`´’‘ʼʻʿʾ′\"“”„«»]")
_POSSESSIVE: Final = re.compile(r"['’]s\b", re.IGNORECASE)
_WORDS: Final = re.compile(
    r"[^\W_]+(?:[\u0300-\u036f\u0591-\u05c7\u064b-\u065f\u0670\u0900-\u0fff\u1780-\u17ff]+[^\W_]*)*"
)
_CAMEL: Final = re.compile(r"(?<=[a-z])(?=[A-Z])")
_ORDINAL: Final = re.compile(r"^(\d+)(?:st|nd|rd|th)$")
_PATRONYMIC: Final = re.compile(r"(?:[oe]vich|[oe]vitch|ovych|yevich|[oe]vna|ivna|ichna|inichna)$")
_SERVANT: Final = re.compile(
    r"^abd[aeiou]?l(?=.{3})|^abdo?ul(?=.{3})|^abd(?:ou|[aeiou])(?:([rsntdz])(?=\1.{2})|sh(?=sh.{2}))"
)
_SERVANT_WORDS: Final = frozenset(
    {"abd", "abdul", "abdel", "abdal", "abdol", "abdoul", "abdu", "abdi", "abdur", "abdus"}
)
# "Saifuddin", "Seif el-Din", "Seifeddine"; "Habibullah", "Habib Ullah": what is joined to the name is written in a dozen ways.
_OF_THE_FAITH: Final = re.compile(r"^(.{3,}?)(?:[aeiou]{1,2}d{1,2}|[aeu]l?d)(?:ee|ie|i|e)ne?$")
_OF_GOD: Final = re.compile(r"^(?!abd)(.{3,}?)(?:(?:ou|u|o|a)ll?ah|ulla)$")
_FAITH_WORDS: Final = frozenset(
    {"din", "deen", "dine", "uddin", "eddine", "addin", "udin", "eddin", "aldin", "aldeen", "uldin"}
)
_GOD_WORDS: Final = frozenset({"allah", "ullah", "ollah", "ulla", "alla", "lah", "llah"})
_SERVANT_WORD: Final = re.compile(r"^abd(?:ou|[aeiou])(?:[lrsnzdt]|sh)$")
_NOT_SERVANT: Final = re.compile(r"^(?:abdul|abdal|abdel|abdoul)[aeiou]*l*[aeiou]*h?[io]?$")


def _length_factor(text: str) -> float:
    return min(1.0, 0.45 + 0.14 * len(text))


@lru_cache(maxsize=131_072)
def part(text: str, native: str, *, person: bool) -> Part:
    """The word taken as a part of a person's or an organisation's name."""
    letters = text.split(BETWEEN)
    text = "".join(letters)
    if text.isdigit():
        kind = PartKind.NUMBER
    elif person:
        if len(text) == 1 and not native:
            kind = PartKind.INITIAL
        elif text in PARTICLES:
            kind = PartKind.PARTICLE
        elif text in TITLES:
            kind = PartKind.TITLE
        elif len(text) > 6 and _PATRONYMIC.search(text):
            kind = PartKind.PATRONYMIC
        elif text in COMMON or text in HONORIFICS or text in PREFIXES:
            kind = PartKind.COMMON
        else:
            kind = PartKind.NAME
    elif text in STOP:
        kind = PartKind.PARTICLE
    elif text in GENERIC:
        kind = PartKind.GENERIC
    elif text in PLACES:
        kind = PartKind.PLACE
    else:
        kind = PartKind.NAME
    weight = WEIGHT[kind]
    if person and text in PREFIXES:
        weight = 0.3
    if kind in {PartKind.NAME, PartKind.COMMON}:
        weight *= _length_factor(text) if not native or len(text) > 3 else 1.0
    heard = sound(text) if len(letters) == 1 else "".join(map(sound, letters))
    return Part(text, heard, skeleton(heard), vowels(heard), native, kind, round(weight, 4))


def _words(text: str, *, person: bool) -> list[str]:
    text = _DOTTED.sub(
        lambda found: (
            found[0].replace(".", " " if person else "").replace(" " if not person else "\0", "") + " "
        ),
        text,
    )
    text = _POSSESSIVE.sub("", text)
    text = _APOSTROPHES.sub("", text)
    if not person:
        text = text.replace("&", " and ").replace("+", " and ")
        if "%" in text:
            text = text.replace("%", " percent")
    return _WORDS.findall(text)


def _person_parts(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """Write servants one way: "abd al X", "abdulX" and "abdel X" all become "abdul", "X"."""
    out: list[tuple[str, str]] = []
    skip_article = False
    for text, native in words:
        if text in _SERVANT_WORDS or (not native and _SERVANT_WORD.match(text)):
            out.append(("abdul", native))
            skip_article = True
            continue
        if skip_article and text in {"al", "el", "ul", "ur", "as", "ar", "ash", "il", "r"}:
            continue
        skip_article = False
        if native:
            out.append((text, native))
            continue
        if (found := _SERVANT.match(text)) and not _NOT_SERVANT.match(text):
            out.append(("abdul", ""))
            text = text[found.end() :]  # noqa: PLW2901 - the rest is a word like others
        if text in _FAITH_WORDS or text in _GOD_WORDS:
            out.append(("din" if text in _FAITH_WORDS else "allah", ""))
        elif len(text) > 6 and (found := _OF_THE_FAITH.match(text)):
            out += [(found[1], ""), ("din", "")]
        elif len(text) > 6 and (found := _OF_GOD.match(text)):
            out += [(found[1], ""), ("allah", "")]
        else:
            out.append((text, ""))
    return out


def _take_forms(words: list[tuple[str, str]]) -> tuple[list[tuple[str, str]], frozenset[str]]:
    """The words without legal forms at either end or, where unmistakable, anywhere; and the forms' classes."""
    texts = [text for text, _ in words]
    kept: list[tuple[str, str]] = []
    classes: set[str] = set()
    at = 0
    while at < len(texts):
        for length in range(min(LONGEST_FORM, len(texts) - at), 0, -1):
            form = LEGAL_FORMS.get(tuple(texts[at : at + length]))
            if form is None:
                continue
            shy = length == 1 and texts[at] in SHY_FORMS
            at_end = at + length == len(texts) or all(
                LEGAL_FORMS.get((word,)) is not None for word in texts[at + length :]
            )
            at_start = at == 0 and texts[at] in {"pt", "ao", "company", "ab", "as"} and len(texts) > 1
            whole = at == 0 and length == len(texts)
            if (not shy or at_end or at_start) and not whole and (at > 0 or length < len(texts)):
                classes.add("any" if texts[at : at + length] in (["company"], ["co"]) else form)
                at += length
                break
        else:
            kept.append(words[at])
            at += 1
    return (kept, frozenset(classes - {"any"})) if kept else (words, frozenset())


def _organisation_parts(words: list[tuple[str, str]]) -> list[tuple[str, str]]:
    out: list[tuple[str, str]] = []
    tens = 0
    for text, native in words:
        text = ABBREVIATIONS.get(text, text)  # noqa: PLW2901
        ordinal = _ORDINAL.match(text)
        value = int(ordinal[1]) if ordinal and len(ordinal[1]) < 9 else NUMBERS.get(text, ROMAN.get(text))
        if value is None and text.isdigit() and len(text) < 9:
            value = int(text)
        if value is not None:
            if tens and 0 < value < 10:
                out[-1] = (str(tens + value), "")
                tens = 0
                continue
            tens = value if value >= 20 and value % 10 == 0 else 0
            out.append((str(value), ""))
            continue
        tens = 0
        if text == "united" or text not in STOP:
            out.append((text, native))
    # "United States" and "U.S.", "United Kingdom" and "UK" are one word each.
    merged: list[tuple[str, str]] = []
    for text, native in out:
        if merged and merged[-1][0] == "united" and text in {"states", "kingdom"}:
            merged[-1] = ("us" if text == "states" else "uk", "")
        else:
            merged.append((text, native))
    return merged or words


def _latin_words(words: list[str], *, person: bool) -> tuple[list[list[tuple[str, str]]], Script]:
    """Readings of the whole name: lists of (latin, native), the official reading first."""
    script = main_script("".join(words))
    first: list[tuple[str, str]] = []
    other: list[tuple[str, str]] = []
    differs = False
    for word in words:
        word = (wholly_lookalike(word) if script is Script.LATIN else None) or unmask(word)  # noqa: PLW2901
        if word.isascii():
            text = word.lower()
            if any(sign.isdigit() for sign in text):
                text = letters_for_digits(text) if person or not text[-1].isdigit() else text
            first.append((text, ""))
            other.append((text, ""))
            continue
        readings, of = romanise(word, alone=len(words) == 1, person=person)
        native = "" if of is Script.LATIN else native_form(word)
        for target, reading in ((first, readings[0]), (other, readings[-1])):
            if len(reading) == 1:
                target.append((reading[0], native))
            elif of in {Script.HAN, Script.HANGUL}:
                cut = 2 if len(native) > 2 and native[:2] in COMPOUND_FAMILIES else 1
                target += [(reading[0], native[:cut]), (reading[1], native[cut:])]
            else:
                target += [(piece, native if piece == reading[-1] else "") for piece in reading]
        differs = differs or len(readings) > 1
    return ([first, other] if differs else [first]), script


def _build(text: str, words: list[tuple[str, str]], script: Script, *, person: bool) -> Name:
    words = [(latin, native) for latin, native in words if latin]
    forms: frozenset[str] = frozenset()
    initials = "" if person else "".join(latin[0] for latin, _ in words if latin not in STOP)
    joined = "".join(latin.replace(BETWEEN, "") for latin, _ in words)
    if person:
        words = _person_parts(words)
    else:
        words, forms = _take_forms(words)
        joined = "".join(latin for latin, _ in words if latin not in {"the", "and"})
        words = _organisation_parts(words)
    parts = tuple(part(latin, native, person=person) for latin, native in words)
    return Name(
        text,
        script,
        script in CONSONANTAL,
        parts,
        forms,
        joined,
        person,
        sum(part.weight for part in parts) or 0.01,
        initials,
    )


@lru_cache(maxsize=8_192)
def analyse(text: str, *, person: bool) -> tuple[Name, ...]:
    """A name taken apart, once for each way to read it in Latin letters (at least one; the official reading first).

    A person's name of the form "Family, Given" is put in reading order. Text without a letter or digit gives a name without
    parts.
    """
    plain = compatible(text)
    if person and plain.count(",") == 1:
        family, given = plain.split(",")
        plain = f"{given.strip()} {family.strip()}".strip()
    if not person and not plain.isascii():
        lower = plain.casefold()
        for written, english in TRANSLATED:
            if written in lower:
                lower = lower.replace(written, f" {english} ")
        plain = " ".join(lower.split())
    words = _words(plain, person=person)
    if person and len(words) == 1 and words[0].isascii() and _CAMEL.search(words[0]):
        words = _CAMEL.split(words[0])
    readings, script = _latin_words(words, person=person)
    return tuple(_build(plain, reading, script, person=person) for reading in readings)
