"""How a romanised word sounds, whoever romanised it: one spelling for each sound, and the skeleton of its consonants.

The merges are those that transliteration standards disagree about (Gaddafi, Qadhafi; Hsi Chin-ping, Xi Jinping; Scholz,
Sholz), not those of English spelling. Own tables; all functions are pure.
"""

from __future__ import annotations

import re
from typing import Final

# Longest first. Capitals stand for sounds that one Latin letter does not write: S sh, C ch, J zh or j, H kh, G gh, Z ts.
_CLUSTERS: Final = {
    "shch": "S", "tsch": "C", "dsch": "J", "stch": "S", "sch": "S", "tch": "C", "dzh": "J", "dsh": "J", "cch": "k",
    "ssh": "S", "zh": "J", "sh": "S", "ch": "C", "kh": "H", "gh": "g", "ph": "f", "th": "t", "dh": "d", "dj": "J",
    "dz": "z", "ck": "k", "cz": "C", "sz": "S", "cs": "C", "tz": "Z", "ts": "Z", "tj": "C", "qu": "k", "rh": "r", "bh": "b",
    "lh": "l", "gn": "n", "nh": "n", "ll": "l", "ss": "s", "ng": "n",
    "eo": "o", "eu": "u", "oo": "u", "ou": "u", "ow": "u", "au": "o", "aw": "o", "ae": "e", "oe": "o", "ue": "u", "ee": "i", "ea": "i",
    "ie": "i", "ei": "e", "ey": "i", "ai": "e", "ay": "e", "iy": "i", "yi": "i", "yy": "i", "ii": "i", "uu": "u",
    "aa": "a", "ia": "a", "ya": "a", "iu": "u", "yu": "u", "io": "o", "yo": "o", "ye": "e",
}  # fmt: skip
_LETTERS: Final = {"q": "k", "w": "v", "y": "i", "x": "ks", "j": "J", "c": "k"}
_PATTERN: Final = re.compile("|".join(sorted(_CLUSTERS, key=lambda c: (-len(c), c))) + "|[a-z]")
_SOFT_C: Final = re.compile(r"c(?=[eiy])")
# A j between a consonant and a vowel is a half-vowel: "Tatjana", "Ljubov".
_HALF_VOWEL: Final = re.compile(r"(?<=[bcfgklmnprstvz])j(?=[aeiou])")
_REPEATED: Final = re.compile(r"(.)\1+")
# Wade-Giles and the older ways, brought to pinyin's sounds before the rest: "hs" is "x", and so on.
_FIRST: Final = (("hs", "S"), ("x", "S"), ("ts", "Z"), ("tz", "Z"))
_AFTER_VOWEL: Final = re.compile(r"(?<=[aeiou])j(?![aeiou])")

# The coarse classes of the skeleton: voice and breath are what romanisers disagree about most.
COARSE: Final = str.maketrans(
    {"b": "p", "d": "t", "g": "k", "q": "k", "z": "s", "Z": "s", "S": "s", "C": "s", "H": "k"}
)
_VOWELS: Final = frozenset("aeiou")
# v and w are one letter with u in Arabic and Hebrew; h is breathed or not.
_UNWRITTEN: Final = frozenset("aeiouhwv")


def sound(word: str) -> str:
    """One spelling for the sounds of a lower-case Latin word: "qadhafi" and "kadafi" are the same, "gaddafi" is near."""
    start = ""
    for written, read in _FIRST:
        if word.startswith(written):
            start, word = read, word[len(written) :]
            break
    word = _HALF_VOWEL.sub("", _SOFT_C.sub("s", word))
    word = _AFTER_VOWEL.sub("i", word)
    spelled = _PATTERN.sub(lambda found: _CLUSTERS.get(found[0]) or _LETTERS.get(found[0], found[0]), word)
    whole = _REPEATED.sub(r"\1", start + spelled)
    return whole[:-1] if len(whole) > 3 and whole[-1] == "h" else whole


def skeleton(heard: str) -> str:
    """The consonants of a sound in coarse classes, without h and half-vowels, as Arabic and Hebrew write a name.

    "" for a word without consonants.
    """
    return "".join(letter for letter in heard.translate(COARSE) if letter not in _UNWRITTEN)


def vowels(heard: str) -> str:
    """The vowels of a sound in order, o and u as one: of "Mohammed" "oae", of "Muhammad" "oaa"."""
    return "".join("o" if letter == "u" else letter for letter in heard if letter in _VOWELS)
