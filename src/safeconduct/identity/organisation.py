"""Organisations: what identifies one, and what its verification amounts to."""

from __future__ import annotations

import enum
import re

import msgspec

from safeconduct.identity.evidence import Outcome
from safeconduct.identity.screening.result import ScreeningResult
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId, ProviderId
from safeconduct.kernel.vocabulary import Sector

# domain.md 1: refresh at the latest after five years.
LONGEST_VERIFICATION = 5 * 365 * 86_400
_LEI = re.compile(r"[0-9A-Z]{18}[0-9]{2}")


class VerificationSource(enum.StrEnum):
    """Where an organisation's existence was looked up."""

    COMMERCIAL_REGISTER = "commercial_register"
    LEI_RECORD = "lei_record"
    DOCUMENTS = "documents"


class Registration(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry in a commercial register."""

    authority: str
    number: str


class OrganisationVerification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One look-up. until: when it has to be done again, None for the longest time allowed."""

    source: VerificationSource
    reference: str
    outcome: Outcome
    at: int
    until: int | None = None


class OrganisationEvidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an import says about one organisation. organisation: the id it goes by here."""

    organisation: OrganisationId
    legal_name: str
    country: str
    sector: Sector
    verifications: tuple[OrganisationVerification, ...] = ()
    screening: ScreeningResult | None = None
    lei: str | None = None
    registry: Registration | None = None
    provider: ProviderId | None = None
    parent: OrganisationId | None = None


def check_lei(lei: str, field: str) -> str:
    """Return a well-formed LEI (ISO 17442; check digits ISO 7064 MOD 97-10). Raises InvalidInput."""
    if not _LEI.fullmatch(lei):
        raise InvalidInput("an LEI is 18 letters or digits and two check digits", field=field)
    if int("".join(str(int(character, 36)) for character in lei)) % 97 != 1:
        raise InvalidInput(
            "the LEI's check digits are wrong", field=field, remedy="compare it with the register"
        )
    return lei


def verified_until(evidence: OrganisationEvidence) -> int:
    """Until when the organisation counts as verified (seconds), or 0 when it does not.

    Documents alone do not verify: an organisation counts when a register or the LEI's record confirmed the very number
    that it is matched by. The latest look-up of each source counts; a later failure undoes an earlier success.
    """
    latest: dict[VerificationSource, OrganisationVerification] = {}
    for verification in evidence.verifications:
        known = latest.get(verification.source)
        # At the same instant the failure wins.
        if (
            known is None
            or verification.at > known.at
            or (verification.at == known.at and verification.outcome is Outcome.FAIL)
        ):
            latest[verification.source] = verification
    if any(verification.outcome is Outcome.FAIL for verification in latest.values()):
        return 0
    ends = []
    for source, verification in latest.items():
        confirmed = (
            source is VerificationSource.COMMERCIAL_REGISTER
            and evidence.registry is not None
            and verification.reference == evidence.registry.number
        ) or (source is VerificationSource.LEI_RECORD and verification.reference == evidence.lei)
        if confirmed:
            longest = verification.at + LONGEST_VERIFICATION
            ends.append(longest if verification.until is None else min(longest, verification.until))
    return max(ends, default=0)
