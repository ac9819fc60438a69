"""The facts that a passport discloses about its holder, as a decision sees them.

Never holds a name, a birth date or a document. A member that is None was not disclosed; that is not the same as "no".
"""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level, Sector, UsPerson


class Claims(msgspec.Struct, frozen=True, omit_defaults=True, cache_hash=True):
    """Disclosed claims. Hashable, so that it can be part of a cache key.

    ial, fal: SP 800-63-4 levels 1-3 computed when the passport was issued (the AAL belongs to the session, not here).
    evidence_expires: seconds since the epoch, the earliest expiry of the evidence the assurance rests on.
    citizenships, residencies: ISO 3166-1 alpha-2 codes held now.
    us_person: pairs (regime, value), e.g. (("ear", "no"),).
    deemed_export: pairs (regime, countries) to which showing this person controlled technology counts as an export.
    """

    ial: int | None = None
    fal: int | None = None
    affiliation: Affiliation | None = None
    evidence_expires: int | None = None
    citizenships: tuple[str, ...] | None = None
    residencies: tuple[str, ...] | None = None
    us_person: tuple[tuple[str, UsPerson], ...] = ()
    organisation: OrganisationId | None = None
    role: str | None = None
    sector: Sector | None = None
    level: Level | None = None
    compartments: tuple[Compartment, ...] = ()
    caveats: tuple[str, ...] = ()
    age_over_18: bool | None = None
    deemed_export: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def us_person_for(self, regime: str) -> UsPerson:
        """The disclosed value for a regime; UNDECLARED when it was not disclosed."""
        for name, value in self.us_person:
            if name == regime:
                return value
        return UsPerson.UNDECLARED

    def deemed_export_under(self, regime: str) -> tuple[str, ...]:
        """The disclosed countries for a regime; empty when they were not disclosed."""
        for name, countries in self.deemed_export:
            if name == regime:
                return countries
        return ()
