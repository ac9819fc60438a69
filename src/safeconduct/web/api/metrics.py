"""The gateway's metrics for Prometheus. Says nothing of who asked or what; still for staff only, since load is told too."""

from __future__ import annotations

from litestar import MediaType, Response, get

from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Node

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@get("/metrics", opt=allow(Role.OPERATOR, Role.AUDITOR), media_type=MediaType.TEXT, sync_to_thread=False)
def metrics(node: Node) -> Response[str]:
    """Counters of the gateway in Prometheus text format: of this process, or of all workers beside it."""
    return Response(node.metrics(), headers={"content-type": CONTENT_TYPE})
