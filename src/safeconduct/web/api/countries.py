"""Routes about countries: the regulation's groups in, and whether the pack that reads them runs."""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.params import JSONBody

from safeconduct.app.import_country_groups import (
    ROLES,
    ImportCountryGroups,
    country_groups_now,
    import_country_groups,
)
from safeconduct.kernel.vocabulary import Role
from safeconduct.policy.country_groups import MAX_BYTES
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Node, Speaker
from safeconduct.web.api.showing import show


@post(
    "/countries/groups",
    opt=allow(Role.OPERATOR),
    sync_to_thread=True,
    request_max_body_size=MAX_BYTES + (MAX_BYTES >> 2),
)
def post_groups(node: Node, caller: Speaker, data: JSONBody[ImportCountryGroups]) -> dict[str, Any]:
    """Import the country groups of 15 CFR part 740, supplement no. 1, in the regulation's XML."""
    shown: dict[str, Any] = show(import_country_groups(node.instance, caller, data))
    return shown


@get("/countries/groups", opt=allow(*ROLES), sync_to_thread=True)
def get_groups(node: Node, caller: Speaker) -> dict[str, Any]:
    """What was imported last, and whether a pack reads it."""
    shown: dict[str, Any] = show(country_groups_now(node.instance, caller))
    return shown


countries = (post_groups, get_groups)
