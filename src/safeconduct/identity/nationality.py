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


DEEMED_EXPORT_REGIMES = ("ear", "itar")


def deemed_export(
    citizenships: tuple[Citizenship, ...], residencies: tuple[Residency, ...], regime: str, now: int
) -> tuple[str, ...]:
    """Countries to which showing this person controlled technology counts as an export, ordered; of foreign persons only.

    ear: the most recent country of citizenship or permanent residency (15 CFR 734.13(b)): the one held now that began last.
    One that began at a time unknown counts as held from birth; of several that cannot be told apart all are given.
    itar: every country of citizenship, held or ever held, and of permanent residency (22 CFR 120.50(b)). Raises KeyError.
    """
    permanent = tuple(
        entry for entry in residencies if entry.status == "permanent" and _holds(entry.from_, entry.to, now)
    )
    if regime == "itar":
        ever = {entry.country for entry in citizenships if entry.from_ is None or entry.from_ <= now}
        return tuple(sorted(ever | {entry.country for entry in permanent}))
    if regime != "ear":
        raise KeyError(regime)
    held = [entry for entry in citizenships if _holds(entry.from_, entry.to, now)]
    spans = [(entry.from_, entry.country) for entry in held] + [
        (each.from_, each.country) for each in permanent
    ]
    began = [(-1 if start is None else start, country) for start, country in spans]
    latest = max((start for start, _ in began), default=0)
    return tuple(sorted({country for start, country in began if start == latest}))


def deemed_export_everywhere(
    citizenships: tuple[Citizenship, ...] | None, residencies: tuple[Residency, ...] | None, now: int
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """(regime, countries) for every regime, ordered; empty while citizenships or residencies are undeclared."""
    if citizenships is None or residencies is None:
        return ()
    return tuple(
        (regime, deemed_export(citizenships, residencies, regime, now)) for regime in DEEMED_EXPORT_REGIMES
    )


def _holds(start: int | None, end: int | None, now: int) -> bool:
    return (start is None or start <= now) and (end is None or now < end)


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
