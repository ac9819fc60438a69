"""Every field an applicant is asked for: why, on what legal ground, and for how long it is kept. Data, shown before anything is entered.

Owns the reading of `kyc_fields.json`. Refuses a field without a reason, and one that is kept without a source for it.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

import msgspec

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Level

DAY = 86_400


class KycField(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A field. asked_from: the level from which it is asked. erasable: goes when the person is erased.

    kept_days: days it is kept after the case has ended although the person asked for erasure; kept_source: the law.
    shown_by: the country (ISO 3166-1 alpha-2) whose documents show it, where only one's do.
    """

    field: str
    asked_from: str
    reason: str
    source: str | None
    erasable: bool
    kept_days: int
    kept_source: str | None
    shown_by: str | None = None


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    fields: tuple[KycField, ...]


def read_fields(data: bytes) -> tuple[KycField, ...]:
    """The fields of a file. Raises InvalidInput that names the field which lacks something."""
    try:
        read = msgspec.json.decode(data, type=_File)
    except msgspec.MsgspecError as error:
        raise InvalidInput(str(error), field="kyc_fields") from None
    seen: set[str] = set()
    for one in read.fields:
        if one.field in seen:
            raise InvalidInput("stands twice", field=one.field)
        seen.add(one.field)
        if not one.reason.strip() or one.asked_from not in Level.__members__:
            raise InvalidInput("has no reason, or no level from which it is asked", field=one.field)
        if one.erasable == (one.kept_days > 0) or (one.kept_days > 0) != bool(one.kept_source):
            raise InvalidInput(
                "what is kept says for how long and under which law; what is erasable is not kept",
                field=one.field,
            )
    return read.fields


@cache
def kyc_fields() -> tuple[KycField, ...]:
    """The fields of this release, in the order in which they are asked."""
    return read_fields(resources.files("safeconduct.identity").joinpath("kyc_fields.json").read_bytes())


def documents_of(field: str) -> str | None:
    """The country whose documents show a field. Raises KeyError."""
    found = {one.field: one.shown_by for one in kyc_fields()}
    return found[field]


def kept_until(field: str, ended: int) -> int | None:
    """Until when the law keeps a field of a case that ended then (seconds); None when it goes at once. Raises KeyError."""
    found = next((one for one in kyc_fields() if one.field == field), None)
    if found is None:
        raise KeyError(field)
    return ended + found.kept_days * DAY if found.kept_days else None
