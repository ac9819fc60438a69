"""One record of the Global LEI Index as far as an organisation is matched with it (LEI-CDF 3.1), and what its status means."""

from __future__ import annotations

import enum
import re
import unicodedata
from collections.abc import Callable
from typing import Any

import msgspec

from safeconduct.identity.organisation import Registration, check_lei
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput


class LeiStatus(enum.StrEnum):
    """Registration status (LEI-CDF 3.1, RegistrationStatusEnum)."""

    PENDING_VALIDATION = "PENDING_VALIDATION"
    ISSUED = "ISSUED"
    DUPLICATE = "DUPLICATE"
    LAPSED = "LAPSED"
    MERGED = "MERGED"
    RETIRED = "RETIRED"
    ANNULLED = "ANNULLED"
    CANCELLED = "CANCELLED"
    TRANSFERRED = "TRANSFERRED"
    PENDING_TRANSFER = "PENDING_TRANSFER"
    PENDING_ARCHIVAL = "PENDING_ARCHIVAL"


class EntityStatus(enum.StrEnum):
    """Whether the organisation itself still exists (LEI-CDF 3.1, EntityStatusEnum)."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    NULL = "NULL"


class LeiStanding(enum.StrEnum):
    """What the two statuses come to here."""

    GOOD = "good"
    LAPSED = "lapsed"
    ENDED = "ended"
    UNSETTLED = "unsettled"


# A number under transfer between issuers, or about to be archived, is maintained until that is done.
_GOOD = frozenset({LeiStatus.ISSUED, LeiStatus.PENDING_TRANSFER, LeiStatus.PENDING_ARCHIVAL})
_UNSETTLED = frozenset({LeiStatus.PENDING_VALIDATION, LeiStatus.TRANSFERRED})


class LeiRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record. country: ISO 3166-1 of the legal address. updated, renewal: seconds; renewal 0 when it says none."""

    lei: str
    legal_name: str
    country: str
    status: LeiStatus
    entity: EntityStatus
    updated: int
    renewal: int = 0
    registry: Registration | None = None

    @property
    def standing(self) -> LeiStanding:
        """Good, lapsed (nobody confirmed it in time), ended, or unsettled."""
        if self.entity is not EntityStatus.ACTIVE:
            return LeiStanding.ENDED
        if self.status in _GOOD:
            return LeiStanding.GOOD
        if self.status is LeiStatus.LAPSED:
            return LeiStanding.LAPSED
        return LeiStanding.UNSETTLED if self.status in _UNSETTLED else LeiStanding.ENDED


COLUMNS: dict[str, str] = {
    "lei": "LEI",
    "legal_name": "Entity.LegalName",
    "country": "Entity.LegalAddress.Country",
    "authority": "Entity.RegistrationAuthority.RegistrationAuthorityID",
    "number": "Entity.RegistrationAuthority.RegistrationAuthorityEntityID",
    "entity": "Entity.EntityStatus",
    "updated": "Registration.LastUpdateDate",
    "status": "Registration.RegistrationStatus",
    "renewal": "Registration.NextRenewalDate",
}
"""Our members and the paths of LEI-CDF 3.1: the columns of the CSV, and with `$` at their end the members of the JSON."""
_OPTIONAL = frozenset({"authority", "number", "renewal"})
_MAX_TEXT = 500
# Registration authorities of the index that mean "none" (RA999999) and "not known" (RA888888): no number to match by.
_NO_AUTHORITY = frozenset({"RA999999", "RA888888", ""})
_COUNTRY = re.compile(r"[A-Z]{2}")


def record_from(read: Callable[[str], Any], where: str) -> LeiRecord:
    """A record out of its columns. read: the value under a column's name, None or "" when empty. Raises InvalidInput."""
    text: dict[str, str] = {}
    for name, column in COLUMNS.items():
        value = read(column)
        if value in (None, "") and name in _OPTIONAL:
            text[name] = ""
        elif not isinstance(value, str) or not value or len(value) > _MAX_TEXT:
            raise InvalidInput(f"not text of 1 to {_MAX_TEXT} characters", field=f"{where}: {column}")
        else:
            text[name] = value
    check_lei(text["lei"], f"{where}: LEI")
    if not _COUNTRY.fullmatch(text["country"]):
        raise InvalidInput("not a country code", field=f"{where}: {COLUMNS['country']}")
    if any(unicodedata.category(character) in {"Cc", "Cs"} for character in text["legal_name"]):
        raise InvalidInput("control characters are not accepted", field=f"{where}: {COLUMNS['legal_name']}")
    known = text["authority"] not in _NO_AUTHORITY and bool(text["number"])
    return LeiRecord(
        lei=text["lei"],
        legal_name=text["legal_name"],
        country=text["country"],
        status=_one_of(LeiStatus, text["status"], f"{where}: {COLUMNS['status']}"),
        entity=_one_of(EntityStatus, text["entity"], f"{where}: {COLUMNS['entity']}"),
        updated=_instant(text["updated"], f"{where}: {COLUMNS['updated']}"),
        renewal=_instant(text["renewal"], f"{where}: {COLUMNS['renewal']}") if text["renewal"] else 0,
        registry=Registration(text["authority"], text["number"]) if known else None,
    )


def _one_of(kind: type[Any], text: str, where: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        raise InvalidInput(
            f"{text[:40]!r} is no status of LEI-CDF 3.1",
            field=where,
            remedy="import a golden copy in the format LEI-CDF 3.1",
        ) from None


def _instant(text: str, where: str) -> int:
    try:
        return parse_instant(text)
    except (ValueError, OverflowError):
        raise InvalidInput("not an instant with an offset (RFC 3339)", field=where) from None


def same_name(one: str, other: str) -> bool:
    """True when two legal names differ by case, spacing, width, accents' form or punctuation only."""
    return _letters(one) == _letters(other)


def _letters(name: str) -> str:
    folded = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in folded if character.isalnum())
