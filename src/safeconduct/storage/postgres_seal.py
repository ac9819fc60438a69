"""What tells the control processes' rows from anybody else's who can write to the database.

Owns a key of 32 bytes that only they can open: it lies in the database wrapped under the root key, which never does. Without it
whoever holds the database could add an order or a grant, and the sequencer would sign it. Refuses no deletion: that is what
checkpoints are for.
"""

from __future__ import annotations

import hmac
from typing import Any

import asyncpg

from safeconduct.kernel.errors import InvalidInput, LogCorrupt, UnsafeConfiguration
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import KeyWrapper

_CONTEXT = b"safeconduct record home v1\x00"


class RowSeal:
    """HMAC-SHA-256 over a row's content and what it is for."""

    __slots__ = ("_key",)

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "<RowSeal>"

    @classmethod
    def make(cls, wrapper: KeyWrapper, origin: str, random: RandomBytes) -> tuple[RowSeal, bytes]:
        """A new seal for the record `origin`, and its key wrapped."""
        seal = cls(random(32))
        return seal, seal.wrapped(wrapper, origin)

    @classmethod
    def open(cls, wrapper: KeyWrapper, origin: str, wrapped: bytes) -> RowSeal:
        """The seal whose key lies wrapped in the database. Raises UnsafeConfiguration."""
        try:
            return cls(wrapper.unwrap(wrapped, _CONTEXT + origin.encode()))
        except InvalidInput:
            raise UnsafeConfiguration(
                "the record's sealing key does not unwrap",
                field="root.key",
                remedy="use the root key that this instance was made with, or was last rotated to",
            ) from None

    def wrapped(self, wrapper: KeyWrapper, origin: str) -> bytes:
        """The key as it lies in the database."""
        return wrapper.wrap(self._key, _CONTEXT + origin.encode())

    def of_entry(self, seq: int, entry: bytes) -> bytes:
        """Of an entry at its place."""
        return hmac.digest(self._key, b"entry\x00" + seq.to_bytes(8, "big") + entry, "sha256")

    def of_submission(self, uid: str, expect: int | None, drafts: bytes) -> bytes:
        """Of a submission."""
        name = uid.encode()
        wanted = b"\x00" if expect is None else b"\x01" + expect.to_bytes(8, "big")
        head = b"submission\x00" + len(name).to_bytes(2, "big") + name + wanted
        return hmac.digest(self._key, head + drafts, "sha256")

    @staticmethod
    def fits(given: bytes, expected: bytes) -> bool:
        """Compared in constant time."""
        return hmac.compare_digest(given, expected)


async def fetch_sealed(
    connection: asyncpg.Connection[Any], seal: RowSeal, start: int, end: int, *, where: str
) -> tuple[list[bytes], list[str]]:
    """Entries [start, end) and their uids, none missing and each as it was written. Raises LogCorrupt, one of OUTAGE."""
    rows = await connection.fetch(
        "SELECT seq, uid, entry, seal FROM record_entry WHERE seq >= $1 AND seq < $2 ORDER BY seq", start, end
    )
    if [row["seq"] for row in rows] != list(range(start, end)):
        raise LogCorrupt(
            f"entries between {start} and {end} are missing in the database",
            field=where,
            remedy="restore the database; nothing will be signed until then",
        )
    for row in rows:
        if not seal.fits(row["seal"], seal.of_entry(row["seq"], row["entry"])):
            raise LogCorrupt(
                f"entry {row['seq']} is not as a control process of this instance wrote it",
                field=where,
                remedy="somebody else wrote to the database: restore it; nothing will be signed until then",
            )
    return [row["entry"] for row in rows], [row["uid"] for row in rows]
