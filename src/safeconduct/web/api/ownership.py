"""Routes about ownership: files of edges and designations in, explanations out, and what holds of the regimes.

Holds no rule: role at the route, everything else in the use case. Nobody but staff reads any of it.
"""

from __future__ import annotations

from typing import Any

from litestar import Response, get, post
from litestar.params import JSONBody

from safeconduct.app.confirm_regime import ConfirmRegime, confirm_regime
from safeconduct.app.explain_ownership import (
    ROLES,
    ExplainOwnership,
    draw_ownership,
    explain_ownership,
    list_regimes,
)
from safeconduct.app.import_ownership import (
    ImportOwnership,
    OwnershipImportResult,
    import_designations,
    import_edges,
)
from safeconduct.identity.ownership.document import MAX_BYTES
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Flag, Node, PathText, Speaker
from safeconduct.web.api.screening import designated
from safeconduct.web.api.showing import show

# A file's text as JSON: line ends and quotes take two bytes each.
_MOST_BYTES = MAX_BYTES + (MAX_BYTES >> 2)


@post("/ownership/edges", opt=allow(Role.OPERATOR), sync_to_thread=True, request_max_body_size=_MOST_BYTES)
def post_edges(node: Node, caller: Speaker, data: JSONBody[ImportOwnership]) -> dict[str, Any]:
    """Import a file of ownership edges; everybody whom it reaches is assessed in the same commit."""
    shown = _imported(import_edges(node.instance, caller, data))
    shown["listed"] = designated(node, caller)
    return shown


@post(
    "/ownership/designations",
    opt=allow(Role.OPERATOR),
    sync_to_thread=True,
    request_max_body_size=_MOST_BYTES,
)
def post_designations(node: Node, caller: Speaker, data: JSONBody[ImportOwnership]) -> dict[str, Any]:
    """Import a file that says which nodes are entries of which lists; it replaces the lists that it names."""
    return _imported(import_designations(node.instance, caller, data))


@get("/ownership/regimes", opt=allow(*ROLES), sync_to_thread=True)
def get_regimes(node: Node, caller: Speaker) -> dict[str, Any]:
    """The ownership regimes that run, with their status today and their legal sources."""
    return {"regimes": [show(one) for one in list_regimes(node.instance, caller)]}


@post("/ownership/regimes/confirm", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_confirmation(node: Node, caller: Speaker, data: JSONBody[ConfirmRegime]) -> dict[str, Any]:
    """Confirm what holds of a regime from a day on, with its source; a new version of its pack."""
    shown: dict[str, Any] = show(confirm_regime(node.instance, caller, data))
    return shown


@get("/ownership/explanations/{organisation:str}", opt=allow(*ROLES), sync_to_thread=True)
def get_explanation(
    node: Node, caller: Speaker, organisation: PathText, *, on: Flag = "", known: Flag = "", regime: Flag = ""
) -> dict[str, Any]:
    """Why the regimes say what they say of an organisation: sums, paths, sources."""
    ask = ExplainOwnership(organisation, on, known, regime)
    return {"explanations": [show(one) for one in explain_ownership(node.instance, caller, ask)]}


@get(
    "/ownership/explanations/{organisation:str}/{regime:str}/picture",
    opt=allow(*ROLES),
    sync_to_thread=True,
    media_type="image/svg+xml",
)
def get_picture(
    node: Node, caller: Speaker, organisation: PathText, regime: PathText, *, on: Flag = "", known: Flag = ""
) -> Response[bytes]:
    """The explanation under one regime as a picture."""
    drawn = draw_ownership(node.instance, caller, ExplainOwnership(organisation, on, known, regime))
    return Response(
        drawn.encode(),
        media_type="image/svg+xml",
        # A picture carries its own style and nothing else.
        headers={"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox"},
    )


def _imported(result: OwnershipImportResult) -> dict[str, Any]:
    return {
        "imported": show(result.imported),
        "assessed": {name: dict(outcomes) for name, outcomes in result.assessed},
    }


ownership = (
    post_edges,
    post_designations,
    get_regimes,
    post_confirmation,
    get_explanation,
    get_picture,
)
