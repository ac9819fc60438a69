"""Request heads that were read before: a client sends the same one again and again, but for its Content-Length.

Owns which bytes count as the same head. The grammar stays llhttp's alone: a head is known only when llhttp has read the very
same bytes, apart from the digits of the length, as the start of one whole message. Refuses everything else: it is read anew.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

MAX_HEADS = 4096
MAX_HEAD_BYTES = 8192
MAX_FACTS = 64

_LENGTH = re.compile(rb"\r\n[Cc]ontent-[Ll]ength: (0|[1-9][0-9]{0,7})(?=\r\n)")

Facts = dict[Any, Any]


class KnownHead:
    """headers: shared by every request that had this head, never changed. facts: what was found out from the head alone."""

    __slots__ = ("facts", "headers", "method", "path", "query", "target")

    def __init__(
        self, method: bytes, target: bytes, path: bytes, query: bytes, headers: dict[bytes, bytes]
    ) -> None:
        self.method = method
        self.target = target
        self.path = path
        self.query = query
        self.headers = headers
        self.facts: Facts = {}


class KnownHeads:
    """At most MAX_HEADS of them, by SHA-256: credentials stand in them. Belongs to one event loop."""

    __slots__ = ("_heads",)

    def __init__(self) -> None:
        self._heads: dict[bytes, KnownHead] = {}

    def split(self, data: bytes) -> tuple[bytes, int, int] | None:
        """(the head's name here, where its body begins, length of the body) when `data` is one whole message, else None."""
        end = data.find(b"\r\n\r\n", 0, MAX_HEAD_BYTES)
        if end < 0:
            return None
        match = _LENGTH.search(data, 0, end + 2)
        if match is None:
            return None
        first, last = match.span(1)
        body, length = end + 4, int(data[first:last])
        if body + length != len(data):
            return None
        name = hashlib.sha256(data[:first])
        name.update(data[last:body])
        # Where the digits stood is part of the name: two texts must not become one by moving them.
        return name.digest() + first.to_bytes(2, "big"), body, length

    def find(self, name: bytes) -> KnownHead | None:
        """The head of that name, when it was read before."""
        return self._heads.get(name)

    def keep(self, name: bytes, head: KnownHead) -> None:
        """Remember a head that llhttp has read."""
        if len(self._heads) >= MAX_HEADS:
            # Oldest first: dicts keep the order of insertion.
            del self._heads[next(iter(self._heads))]
        self._heads[name] = head
