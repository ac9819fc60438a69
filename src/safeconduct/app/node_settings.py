"""What a gateway node is told at start."""

from __future__ import annotations

import msgspec


class NodeSettings(msgspec.Struct, frozen=True):
    """What a gateway node is told at start.

    name: names the node in entries. base_url: what clients call, without a trailing slash; DPoP proofs are made for it.
    pseudonym_key: 32 bytes from which end users' names at providers are made. sandbox: whether sandbox providers may be
    used. loopback: the listener can be reached from this machine only. remedy_base: page whose fragments explain codes.
    """

    name: str
    base_url: str
    pseudonym_key: bytes
    sandbox: bool
    loopback: bool = True
    remedy_base: str | None = None
