"""Liveness and readiness. Says nothing that an outsider could use."""

from __future__ import annotations

from litestar import Response, Router, get

from safeconduct.web.api.access import PUBLIC
from safeconduct.web.api.node import Node


@get("/healthz", opt=PUBLIC, sync_to_thread=False)
def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@get("/readyz", opt=PUBLIC, sync_to_thread=False)
def readyz(node: Node) -> Response[dict[str, str]]:
    """The process can decide and record; 503 when it cannot. What is wrong stands in /api/status."""
    if node.faults():
        return Response({"status": "not ready"}, status_code=503)
    return Response({"status": "ready"})


health = Router(path="/", route_handlers=[healthz, readyz])
