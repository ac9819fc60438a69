"""Merkle roots by the recursive definition of RFC 6962 2.1, written apart from the product."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence


def naive_root(entries: Sequence[bytes]) -> bytes:
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return hashlib.sha256(b"\x01" + naive_root(entries[:k]) + naive_root(entries[k:])).digest()


def naive_node(entries: Sequence[bytes]):
    return lambda height, index: naive_root(entries[index << height : (index + 1) << height])
