"""Whether two names may be one person's: a statement in any script held against the letters that a document's zone can write.

Owns a comparison that raises an alert for a human; it decides nothing. A document writes names in A to Z only (ICAO 9303-3
section 6), shortens long ones and may put parts in another order.
"""

from __future__ import annotations

import unicodedata

# ICAO 9303-3 section 6, table A: letters that do not decompose, and those with a customary second spelling.
_TRANSLITERATED = {
    "Æ": "AE", "Ø": "OE", "Œ": "OE", "ß": "SS", "Þ": "TH", "Ð": "D", "Ł": "L", "Đ": "D", "Ħ": "H", "ı": "I",
    "Ŋ": "N", "Ŧ": "T", "ſ": "S", "ẞ": "SS",
}  # fmt: skip
_UMLAUTS = {"Ä": "AE", "Ö": "OE", "Ü": "UE", "Å": "AA"}


def _words(name: str, *, umlauts: bool) -> frozenset[str]:
    text = unicodedata.normalize("NFC", name).upper()
    if umlauts:
        text = "".join(_UMLAUTS.get(char, char) for char in text)
    text = "".join(_TRANSLITERATED.get(char, char) for char in text)
    plain = "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))
    # An apostrophe is left out, a hyphen parts (9303-3 4.6).
    joined = plain.replace("'", "").replace("’", "")
    return frozenset("".join(char if char.isalnum() else " " for char in joined).split())


def same_name(first: str, second: str) -> bool:
    """True when every word of the shorter name stands in the longer one, in any order, or begins a word there.

    Names in other scripts than a document's are compared as they are written.
    """
    return any(
        _within(_words(first, umlauts=one), _words(second, umlauts=two))
        for one in (False, True)
        for two in (False, True)
    )


def _within(first: frozenset[str], second: frozenset[str]) -> bool:
    if not first or not second:
        return False
    fewer, more = sorted((first, second), key=len)
    return all(any(_begins(word, other) for other in more) for word in fewer)


def _begins(word: str, other: str) -> bool:
    # Three letters: the zone cuts long names short, and initials say nothing.
    return word == other or (
        min(len(word), len(other)) >= 3 and (word.startswith(other) or other.startswith(word))
    )
