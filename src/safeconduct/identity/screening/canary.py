"""Canaries: names that must be found in every version of a list before it may come into force.

Owns the port and its plainest form, the exact name. Finding them through an index also shows that the index was built of this version.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Protocol

from safeconduct.identity.screening.entry import ListEntry


class CanarySearch(Protocol):
    """Searches names in the entries of one version, as a screening would."""

    def missing(self, canaries: Sequence[str], entries: Iterable[ListEntry]) -> list[str]:
        """The canaries that were not found, in their order. Reads `entries` once, to the end at most."""
        ...


def _key(name: str) -> tuple[str, ...]:
    plain = unicodedata.normalize("NFKD", name.casefold())
    letters = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return tuple(sorted(re.findall(r"\w+", letters)))


class ExactNames:
    """Finds a canary when an entry has a name of the same words, in any order, case and accents aside."""

    def missing(self, canaries: Sequence[str], entries: Iterable[ListEntry]) -> list[str]:
        """Implements `CanarySearch`."""
        wanted = {_key(canary): canary for canary in canaries}
        wanted.pop((), None)
        for entry in entries:
            if not wanted:
                break
            for name in entry.names:
                wanted.pop(_key(name.text), None)
        left = set(wanted.values()) | {canary for canary in canaries if not _key(canary)}
        return [canary for canary in canaries if canary in left]
