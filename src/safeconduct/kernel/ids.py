"""Typed identifiers. Every id is text with a prefix that says what it names and 80 random bits, or a chosen name.

Ids are pseudonyms: none is derived from a person's data.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import NewType

from safeconduct.kernel.errors import InvalidInput

SubjectId = NewType("SubjectId", str)
OrganisationId = NewType("OrganisationId", str)
ProviderId = NewType("ProviderId", str)
ModelId = NewType("ModelId", str)
VariantId = NewType("VariantId", str)
DeploymentId = NewType("DeploymentId", str)
ProjectId = NewType("ProjectId", str)
GrantId = NewType("GrantId", str)
LicenceId = NewType("LicenceId", str)
DirectiveId = NewType("DirectiveId", str)
PassportId = NewType("PassportId", str)
MandateId = NewType("MandateId", str)
KeyId = NewType("KeyId", str)
DecisionId = NewType("DecisionId", str)
QuotaId = NewType("QuotaId", str)
CaseId = NewType("CaseId", str)

RandomBytes = Callable[[int], bytes]

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9._:-]{0,94}[a-z0-9])?")


# Five bits of each byte choose a character: as many random bits as base32 of ten bytes, in one call.
_CHARACTERS = b"abcdefghijklmnopqrstuvwxyz234567" * 8


def new_id(prefix: str, random: RandomBytes = secrets.token_bytes) -> str:
    """`prefix_` and 16 base32 characters (80 bits)."""
    return f"{prefix}_{random(16).translate(_CHARACTERS).decode()}"


def check_name(value: str, field: str) -> str:
    """Return `value` when it may serve as a chosen id (lower case, digits, `. _ : -`, 1-96 characters).

    Raises InvalidInput naming `field` otherwise.
    """
    # Uppercase prefix ids from base32 are lower-cased on creation, so one pattern covers both.
    if not _NAME.fullmatch(value):
        raise InvalidInput(
            f"{value[:100]!r} is not a valid id",
            field=field,
            remedy="use 1-96 of a-z 0-9 . _ : - and start and end with a letter or digit",
        )
    return value
