"""Citizenships, residencies and the derived `us_person` of each regime.

`us_person` is derived here and nowhere else; no input has a field for it. A regime is a row of a table with its source.
"""

from __future__ import annotations

import msgspec

from safeconduct.kernel.vocabulary import UsPerson, UsStatus


class Citizenship(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A nationality held over [from, to); ISO 3166-1 alpha-2. None: no such bound is known."""

    country: str
    from_: int | None = msgspec.field(default=None, name="from")
    to: int | None = None


class Residency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A residence in a country: permanent | temporary | other, over [from, to)."""

    country: str
    status: str
    from_: int | None = msgspec.field(default=None, name="from")
    to: int | None = None


_PROTECTED = frozenset({UsStatus.CITIZEN, UsStatus.NATIONAL, UsStatus.LPR, UsStatus.REFUGEE, UsStatus.ASYLEE})

# Regime -> (statuses that make a US person, legal source). The two definitions agree today; they are two rows because
# either can be amended without the other.
REGIMES: dict[str, tuple[frozenset[UsStatus], str]] = {
    "ear": (_PROTECTED, "15 CFR 772.1 'U.S. person', 'Foreign person'"),
    "itar": (_PROTECTED, "22 CFR 120.62, 8 U.S.C. 1324b(a)(3)"),
}


def us_person(status: UsStatus, regime: str) -> UsPerson:
    """Whether a status makes a US person under a regime; undeclared stays undeclared. Raises KeyError."""
    statuses, _source = REGIMES[regime]
    if status is UsStatus.UNDECLARED:
        return UsPerson.UNDECLARED
    return UsPerson.YES if status in statuses else UsPerson.NO


def us_person_everywhere(status: UsStatus) -> tuple[tuple[str, UsPerson], ...]:
    """(regime, value) for every regime, ordered by regime."""
    return tuple((regime, us_person(status, regime)) for regime in sorted(REGIMES))


def held_at(intervals: tuple[Citizenship, ...] | tuple[Residency, ...], now: int) -> tuple[str, ...]:
    """Countries whose interval contains `now`, each once, ordered."""
    return tuple(
        sorted(
            {
                entry.country
                for entry in intervals
                if (entry.from_ is None or entry.from_ <= now) and (entry.to is None or now < entry.to)
            }
        )
    )
