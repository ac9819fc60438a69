"""Text as strangers write it, made comparable: compatibility forms, lookalike letters, invisible characters, marks.

Owns which script a letter belongs to and what a letter pretends to be. Refuses to guess words: it knows letters only.
"""

from __future__ import annotations

import enum
import unicodedata
from functools import lru_cache
from typing import Final

# Names on lists are at most 1,000 characters; what a stranger sends beyond that is not a name, and costs time.
LONGEST: Final = 1_000


class Script(enum.StrEnum):
    """Writing systems that are told apart, because each is romanised its own way."""

    LATIN = "latin"
    CYRILLIC = "cyrillic"
    GREEK = "greek"
    ARABIC = "arabic"
    HEBREW = "hebrew"
    HAN = "han"
    KANA = "kana"
    HANGUL = "hangul"
    THAI = "thai"
    OTHER = "other"


# First and last code point of the blocks that hold letters of names. Whatever is alphabetic and in none is OTHER.
_BLOCKS: Final = (
    (0x0041, 0x024F, Script.LATIN),
    (0x0250, 0x02AF, Script.LATIN),
    (0x0370, 0x03FF, Script.GREEK),
    (0x0400, 0x052F, Script.CYRILLIC),
    (0x0590, 0x05FF, Script.HEBREW),
    (0x0600, 0x06FF, Script.ARABIC),
    (0x0750, 0x077F, Script.ARABIC),
    (0x0870, 0x08FF, Script.ARABIC),
    (0x0E00, 0x0E7F, Script.THAI),
    (0x1100, 0x11FF, Script.HANGUL),
    (0x1C80, 0x1C8F, Script.CYRILLIC),
    (0x1E00, 0x1EFF, Script.LATIN),
    (0x1F00, 0x1FFF, Script.GREEK),
    (0x2C60, 0x2C7F, Script.LATIN),
    (0x2DE0, 0x2DFF, Script.CYRILLIC),
    (0x3005, 0x3007, Script.HAN),
    (0x3040, 0x30FF, Script.KANA),
    (0x3130, 0x318F, Script.HANGUL),
    (0x31F0, 0x31FF, Script.KANA),
    (0x3400, 0x4DBF, Script.HAN),
    (0x4E00, 0x9FFF, Script.HAN),
    (0xA640, 0xA69F, Script.CYRILLIC),
    (0xA720, 0xA7FF, Script.LATIN),
    (0xAC00, 0xD7AF, Script.HANGUL),
    (0xF900, 0xFAFF, Script.HAN),
    (0xFB1D, 0xFB4F, Script.HEBREW),
    (0xFB50, 0xFDFF, Script.ARABIC),
    (0xFE70, 0xFEFC, Script.ARABIC),
    (0x20000, 0x3FFFF, Script.HAN),
)

# Letters of other alphabets that are drawn like a Latin one (Unicode UTS 39, confusables), lower and upper case. Only those
# that a name is plausibly spoofed with; the rest is left to romanisation.
_LOOKALIKES: Final = dict(
    zip(
        "аеорсухіјѕԁһӏԛԝҽгпкмтвнАВЕКМНОРСТУХІЈЅԌԚԜҮүԍαοινυρτκΑΒΕΖΗΙΚΜΝΟΡΤΥΧϲϳγηωεօսոցհյզղքք",
        "aeopcyxijsdhlqwernkmtbhABEKMHOPCTYXIJSGQWYygaoivuptkABEZHIKMNOPTYXcjynweounghjqnpf",
        strict=True,
    )
)
# Digits and signs that stand for a letter inside a word ("Sech1n").
_DIGIT_LETTERS: Final = str.maketrans("013457@$", "oieastas")
_NINE_LETTERS: Final = str.maketrans("9", "g")


@lru_cache(maxsize=16_384)
def script_of(letter: str) -> Script:
    """Script of one letter; marks, digits and signs are OTHER."""
    point = ord(letter)
    for first, last, script in _BLOCKS:
        if first <= point <= last:
            return script
    return Script.OTHER


def main_script(text: str) -> Script:
    """The script that most letters of the text are of; LATIN where there are none. Kana decides for Japanese."""
    if text.isascii():
        return Script.LATIN
    counts: dict[Script, int] = {}
    for letter in text:
        if letter.isalpha():
            script = script_of(letter)
            counts[script] = counts.get(script, 0) + 1
    if not counts:
        return Script.LATIN
    return max(sorted(counts), key=lambda script: counts[script])


def compatible(text: str) -> str:
    """NFKC without control, format and private characters; every kind of space and dash is the plain one; one line.

    Mathematical, full-width and enclosed letters become plain ones by NFKC. U+FFFD, which a broken decoder leaves, becomes
    a space, so that what stands around it still counts.
    """
    text = text[:LONGEST]
    if text.isascii() and text.isprintable():
        return " ".join(text.split())
    kept = []
    for letter in unicodedata.normalize("NFKC", text):
        category = unicodedata.category(letter)
        if category in {"Cc", "Zs", "Zl", "Zp"} or letter == "�":
            kept.append(" ")
        elif letter == "‌":  # zero width non-joiner: parts a Persian compound, as a hyphen would
            kept.append("")
        elif category[0] == "C":
            continue
        elif category == "Pd":
            kept.append("-")
        else:
            kept.append(letter)
    return " ".join("".join(kept).split())


def unmask(word: str) -> str:
    """A word whose letters are of several alphabets, with the strange ones read as the Latin letters they look like.

    A word of one alphabet is left alone: "Воробьев" is not a disguise. A word is taken for a disguised Latin one when it
    mixes Latin with letters that have a Latin lookalike.
    """
    if word.isascii():
        return word
    scripts = {script_of(letter) for letter in word if letter.isalpha()}
    if Script.LATIN not in scripts or len(scripts) < 2:
        return word
    return "".join(_LOOKALIKES.get(letter, letter) for letter in word)


def wholly_lookalike(word: str) -> str | None:
    """The Latin reading of a word all of whose letters look like Latin ones, or None. "РАУ" can be read "PAY"."""
    if word.isascii():
        return None
    read = "".join(_LOOKALIKES.get(letter, letter) for letter in word)
    return read if read.isascii() else None


def letters_for_digits(word: str) -> str:
    """A word with digits inside read as letters; a number, or a word that only ends or begins with one, stays."""
    inner = word.strip("0123456789")
    if not inner or word.isalpha() or not any(sign.isdigit() or sign in "@$" for sign in inner):
        return word
    return word.translate(_DIGIT_LETTERS).translate(_NINE_LETTERS)
