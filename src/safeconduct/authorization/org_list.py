"""OrgLists: one signed list of organisations to which stages, directives and packs refer (`org_list+jwt`).

The document gives id, version, digest and dates; the entries are a file beside it, bound by digest like an annex.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from safeconduct.authorization.document import Members
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer

TYP = "org_list+jwt"


class OrgList(msgspec.Struct, frozen=True):
    """A list as read. sha256: of the entries' file, in hex; times are seconds since the epoch."""

    authority: str
    list: str
    version: int
    media_type: str
    sha256: str
    valid_from: int
    valid_until: int | None


def sign_org_list(claims: Mapping[str, Any], signer: Signer) -> str:
    """Sign a list at the authority's desk, having read it first. Raises InvalidInput."""
    read_org_list(dict(claims))
    return sign_jwt(dict(claims), typ=TYP, signer=signer)


def read_org_list(claims: Mapping[str, Any]) -> OrgList:
    """Read `iss iat list version media_type sha256 valid_from valid_until?`. Raises InvalidInput naming the member."""
    members = Members(claims)
    authority = members.text("iss", limit=100)
    members.instant("iat")
    name = check_name(members.text("list", limit=96), "list")
    version = members.number("version")
    media_type = members.text("media_type", limit=100)
    sha256 = members.digest("sha256")
    valid_from = members.instant("valid_from")
    valid_until = members.instant_or_none("valid_until")
    members.finish()
    if valid_until is not None and valid_until <= valid_from:
        raise InvalidInput("it ends before it begins", field="valid_until")
    return OrgList(
        authority=authority,
        list=name,
        version=version,
        media_type=media_type,
        sha256=sha256,
        valid_from=valid_from,
        valid_until=valid_until,
    )
