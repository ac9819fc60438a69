"""`/device`: where a device sends its human (RFC 8628 3.3). It says how to approve; the approval itself needs the passport's key."""

from __future__ import annotations

from typing import Any

from litestar import Response, get

from safeconduct.web.api.access import PUBLIC
from safeconduct.web.page.decisions import CSP, templates


@get("/device", opt=PUBLIC, sync_to_thread=False, media_type="text/html")
def device_page() -> Response[str]:
    """How to approve a device. Shows nothing of what waits, whatever code is given."""
    headers: dict[str, Any] = {"content-security-policy": CSP, "cache-control": "no-store"}
    return Response(templates.get_template("device.html").render(), media_type="text/html", headers=headers)
