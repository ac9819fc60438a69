"""Providers of models: what one must say of itself. Refuses to know what it offers; that is `model`."""

from __future__ import annotations

import re

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import ProviderId, check_name

_JURISDICTION = re.compile(r"[A-Z]{2}(?:-[A-Z0-9]{1,3})?")


def check_provider(provider: str) -> ProviderId:
    """A provider's chosen id. Raises InvalidInput."""
    return ProviderId(check_name(provider, "provider"))


def check_jurisdiction(value: str, field: str = "jurisdiction") -> str:
    """An ISO 3166-1 alpha-2 code (also `EU`), or an ISO 3166-2 subdivision. Raises InvalidInput."""
    if not _JURISDICTION.fullmatch(value):
        raise InvalidInput(
            f"{value[:20]!r} is not a jurisdiction",
            field=field,
            remedy="give an ISO 3166 code such as US, FR or EU, in capitals",
        )
    return value
