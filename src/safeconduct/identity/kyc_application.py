"""What an applicant states about themselves, and how it is read: plain text only, real dates, nothing that hides.

Values and checks. A statement is not evidence: what of it counts is worked out from documents (`kyc_evidence`).
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata

import msgspec

from safeconduct.identity.documents.nationality_codes import ALPHA_2
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.vocabulary import UsStatus

MAX_NAME = 300
MAX_LINE = 500
MAX_PURPOSE = 4_000
MAX_COUNTRIES = 16
MAX_TERMS = 32
_EMAIL = re.compile(r"[^@\s]{1,64}@[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?\.[a-z]{2,63}", re.IGNORECASE)
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Joiners are spelling in Persian and in Indian scripts; every other invisible character only hides.
_JOINERS = frozenset("\u200c\u200d")
_OLDEST = 1900


class StatedResidency(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """country: ISO 3166-1 alpha-2; permanent: a right to stay for good."""

    country: str
    permanent: bool = False


class StatedTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Terms agreed to: their id and the SHA-256 (hex) of the text that was read."""

    terms: str
    sha256: str


class Application(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the applicant states. birth_date: ISO 8601. None for citizenships, residencies: declined to say."""

    legal_name: str
    email: str
    purpose: str
    birth_date: str | None = None
    other_names: tuple[str, ...] = ()
    address: str = ""
    citizenships: tuple[str, ...] | None = None
    residencies: tuple[StatedResidency, ...] | None = None
    us_status: UsStatus = UsStatus.UNDECLARED
    role: str | None = None
    terms: tuple[StatedTerms, ...] = ()


def check_application(stated: Application, *, today: dt.date) -> Application:
    """The application with its texts in one normal form (NFC). Raises InvalidInput that names the field and the remedy."""
    for name, most in (("other_names", 20), ("terms", MAX_TERMS)):
        if len(getattr(stated, name)) > most:
            raise InvalidInput(f"more than {most} entries", field=name, remedy="leave some out")
    if not _EMAIL.fullmatch(stated.email):
        raise InvalidInput("not an e-mail address", field="email", remedy="write name@example.org")
    if stated.birth_date is not None:
        birth_date(stated.birth_date, today=today)
    for name in ("citizenships", "residencies"):
        held = getattr(stated, name) or ()
        if len(held) > MAX_COUNTRIES:
            raise InvalidInput(f"more than {MAX_COUNTRIES} entries", field=name)
        for place, one in enumerate(held):
            _country(one if isinstance(one, str) else one.country, f"{name}[{place}]")
    for place, terms in enumerate(stated.terms):
        check_name(terms.terms, f"terms[{place}].terms")
        if not _SHA256.fullmatch(terms.sha256):
            raise InvalidInput("not a SHA-256 in lower-case hexadecimal", field=f"terms[{place}].sha256")
    return msgspec.structs.replace(
        stated,
        legal_name=plain_text(stated.legal_name, "legal_name", MAX_NAME),
        other_names=tuple(
            plain_text(name, f"other_names[{place}]", MAX_NAME)
            for place, name in enumerate(stated.other_names)
        ),
        address=plain_text(stated.address, "address", MAX_LINE) if stated.address else "",
        purpose=plain_text(stated.purpose, "purpose", MAX_PURPOSE, lines=True),
        role=plain_text(stated.role, "role", MAX_NAME) if stated.role is not None else None,
    )


def plain_text(value: str, field: str, most: int, *, lines: bool = False) -> str:
    """Text without control characters, direction overrides or anything invisible, in NFC. Raises InvalidInput."""
    if len(value) > most:
        raise InvalidInput(f"longer than {most} characters", field=field, remedy="shorten it")
    text = unicodedata.normalize("NFC", value).strip()
    if not text or not any(char.isalnum() for char in text):
        raise InvalidInput("is empty", field=field, remedy="fill it in")
    for char in text:
        category = unicodedata.category(char)
        if (lines and char == "\n") or char in _JOINERS:
            continue
        if category[0] == "C" or category in ("Zl", "Zp"):
            raise InvalidInput(
                f"holds the invisible character U+{ord(char):04X}",
                field=field,
                remedy="type the text anew, without control or direction characters",
            )
    return text


def birth_date(text: str, *, today: dt.date) -> dt.date:
    """A date of birth. Raises InvalidInput for what nobody alive has."""
    try:
        found = dt.date.fromisoformat(text) if len(text) == 10 else None
    except ValueError:
        found = None
    if found is None:
        raise InvalidInput(
            f"{text[:20]!r} is not a date", field="birth_date", remedy="write it as 1990-02-28"
        )
    if not found.year >= _OLDEST or found > today:
        raise InvalidInput(
            f"lies before {_OLDEST} or in the future", field="birth_date", remedy="check the year"
        )
    return found


def _country(code: str, field: str) -> None:
    if code not in ALPHA_2:
        raise InvalidInput(
            f"{code[:10]!r} is not a country's code", field=field, remedy="use ISO 3166-1 alpha-2, e.g. FR"
        )
