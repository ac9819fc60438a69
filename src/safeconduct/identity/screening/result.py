"""The result of screening a person or an organisation, as a desk reports it. Screening itself is not done here."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.vocabulary import Screening


class ScreenedList(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of one list: its name and the SHA-256 (hex) of its file."""

    name: str
    sha256: str


class ScreeningResult(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Outcome against all these lists. at: seconds since the epoch."""

    result: Screening
    lists: tuple[ScreenedList, ...]
    at: int

    def digests(self) -> tuple[str, ...]:
        """SHA-256 of the lists, ordered, each once."""
        return tuple(sorted({entry.sha256 for entry in self.lists}))


def is_clear(result: ScreeningResult | None) -> bool:
    """True only for a clear result against at least one named list: clear against nothing proves nothing."""
    return result is not None and result.result is Screening.CLEAR and bool(result.lists)
