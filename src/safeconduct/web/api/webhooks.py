"""Routes that providers of checks call: open to anybody, since the signature over the body says who it is.

Owns nothing but the raw body's way to the use case: what was signed is the bytes, so they are not read before.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from litestar import Request, post
from litestar.params import JSONBody

from safeconduct.app.check_liveness import receive_liveness_result, simulate_liveness_result
from safeconduct.identity.liveness import MAX_BODY
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import PUBLIC, allow
from safeconduct.web.api.node import Node, PathText


class SimulateLiveness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """nonce: of the session. liveness, match: `pass` or `fail`, which the development provider repeats."""

    nonce: str
    liveness: str = "pass"
    match: str = "pass"


@post("/webhooks/liveness/{vendor:str}", opt=PUBLIC, status_code=200, request_max_body_size=MAX_BODY)
async def post_liveness_result(
    node: Node, request: Request[Any, Any, Any], vendor: PathText
) -> dict[str, Any]:
    """A provider's signed result of a liveness check; good once."""
    desk = node.liveness
    signatures = request.headers.getall(desk.vendor(vendor).header, [])
    body = await request.body()
    await asyncio.to_thread(
        receive_liveness_result, desk, vendor, signatures[0] if len(signatures) == 1 else None, body
    )
    # No more than that: whoever calls knows its own result.
    return {"received": True}


@post("/liveness/development", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_development_liveness(node: Node, data: JSONBody[SimulateLiveness]) -> dict[str, Any]:
    """Have the development provider answer a session: nobody is looked at. Refused by production."""
    session = simulate_liveness_result(node.liveness, data.nonce, liveness=data.liveness, match=data.match)
    assert session.result is not None
    return {
        "case": session.case,
        "vendor": session.vendor,
        "outcome": session.result.outcome.value,
        "development": True,
    }


webhooks = (post_liveness_result, post_development_liveness)
