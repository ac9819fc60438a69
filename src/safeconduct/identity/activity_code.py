"""What an organisation does, as a code of a statistical classification *with its revision*: the same digits differ by revision.

Owns the shape of each revision and which divisions it has. Refuses to say that a class exists inside a division: that is the
classification's own table, which is not kept here. Sources: UN ISIC Rev. 4 and Rev. 5; Regulation (EC) 1893/2006 (NACE Rev. 2);
Delegated Regulation (EU) 2023/137 (NACE Rev. 2.1).
"""

from __future__ import annotations

import enum
import re

import msgspec

from safeconduct.kernel.errors import InvalidInput


class ActivityRevision(enum.StrEnum):
    """The classification and its revision."""

    ISIC_4 = "isic-4"
    ISIC_5 = "isic-5"
    NACE_2 = "nace-2"
    NACE_2_1 = "nace-2.1"


class ActivityCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A division, group or class. ISIC is written without dots (`6201`), NACE with them (`62.01`)."""

    revision: ActivityRevision
    code: str


_ISIC = re.compile(r"[0-9]{2,4}")
_NACE = re.compile(r"[0-9]{2}(?:\.[0-9]{1,2})?")
_GAPS_4 = frozenset({0, 4, 34, 40, 44, 48, 54, 57, 67, 76, 83, 89})
# Rev. 5 and NACE 2.1 have no division 45: the motor trade went into 46, 47 and 95.
_GAPS_5 = _GAPS_4 | {45}
_MISSING: dict[ActivityRevision, frozenset[int]] = {
    ActivityRevision.ISIC_4: _GAPS_4,
    ActivityRevision.ISIC_5: _GAPS_5,
    ActivityRevision.NACE_2: _GAPS_4,
    ActivityRevision.NACE_2_1: _GAPS_5,
}


def check_activity(activity: ActivityCode, field: str) -> ActivityCode:
    """Return a code that has its revision's shape and a division that the revision has. Raises InvalidInput."""
    european = activity.revision in {ActivityRevision.NACE_2, ActivityRevision.NACE_2_1}
    if not (_NACE if european else _ISIC).fullmatch(activity.code):
        raise InvalidInput(
            f"{activity.code[:20]!r} has not the form of {activity.revision}",
            field=f"{field}.code",
            remedy="write NACE as 62, 62.0 or 62.01" if european else "write ISIC as 62, 620 or 6201",
        )
    division = int(activity.code[:2])
    if division in _MISSING[activity.revision]:
        raise InvalidInput(
            f"{activity.revision} has no division {division:02}",
            field=f"{field}.code",
            remedy="name the revision that the code was taken from",
        )
    return activity
