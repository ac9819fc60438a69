"""Routes about the instance's own keys: which there are, and their rotation.

Holds no rule. Refuses to take a key or the place of one: what is to come waits in the key directory or is made there.
"""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.params import JSONBody

from safeconduct.app.rotate_key import KeyRotation, RotateKey
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import ApiNode, Node, PathText, Speaker
from safeconduct.web.api.showing import show


def _rotation(node: ApiNode) -> KeyRotation:
    if node.rotation is None:
        raise NotFound("this process does not hold the instance's keys", remedy="ask the one that does")
    return node.rotation


@get("/keys", opt=allow(Role.OPERATOR, Role.AUDITOR), sync_to_thread=True)
def list_keys(node: Node) -> dict[str, Any]:
    """The instance's own keys: present ones, then those before them and until when they verify. Public facts only."""
    return {"items": _rotation(node).describe()}


@post("/keys/{key:str}/rotate", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_rotation(node: Node, caller: Speaker, key: PathText, data: JSONBody[RotateKey]) -> dict[str, Any]:
    """Replace a key; what it signed stays verifiable until it expires, unless the key was compromised."""
    shown: dict[str, Any] = show(_rotation(node).rotate(caller, key, data))
    return shown


keeping = (list_keys, post_rotation)
