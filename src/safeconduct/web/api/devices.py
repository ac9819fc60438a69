"""Routes for the human who approves a device (RFC 8628 3.3): what it asks, yes, no. All need the passport.

The user code travels in the body, so that it stands in no access log.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import post
from litestar.params import JSONBody

from safeconduct.app.authorize_device import DeviceRequest
from safeconduct.web.api.access import present
from safeconduct.web.api.node import Node, Presentation
from safeconduct.web.api.showing import show


class DeviceCode(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The code that the device shows."""

    user_code: str


class ApproveDevice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """mandate: signed with the passport's key, for the key that the device asked with."""

    user_code: str
    mandate: str


def _shown(asked: DeviceRequest) -> dict[str, Any]:
    shown: dict[str, Any] = show(asked)
    return shown


@post("/devices/describe", opt=present(), status_code=200, sync_to_thread=True)
def describe_device(node: Node, presentation: Presentation, data: JSONBody[DeviceCode]) -> dict[str, Any]:
    """What the device behind a code asks for."""
    return _shown(node.devices.describe(presentation, data.user_code))


@post("/devices/approve", opt=present(), status_code=200, sync_to_thread=True)
def approve_device(node: Node, presentation: Presentation, data: JSONBody[ApproveDevice]) -> dict[str, Any]:
    """Register the mandate for the device; it collects it with its code."""
    shown: dict[str, Any] = show(node.devices.approve(presentation, data.user_code, data.mandate))
    return shown


@post("/devices/deny", opt=present(), status_code=200, sync_to_thread=True)
def deny_device(node: Node, presentation: Presentation, data: JSONBody[DeviceCode]) -> dict[str, Any]:
    """Refuse the device."""
    return _shown(node.devices.deny(presentation, data.user_code))


devices = (describe_device, approve_device, deny_device)
