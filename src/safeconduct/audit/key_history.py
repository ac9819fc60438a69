"""The key history of a log: each change of its key, signed by the old key and by the new one.

Owns the text of a change and the way from one pinned key to another. Refuses a chain with a gap, a change that one of the two
keys did not sign, and a second change away from the same key: those would let two keys speak for one log.

A change is a C2SP signed note whose text is five lines: `safeconduct/key-change/v1`, the old and the new verifier key, the size
of the tree at the change, its root. From then on the old key vouches for trees of at most that size, the new one for trees of
at least that size. The file `key-history` beside `checkpoint` holds the changes in order, an empty line between them.
"""

from __future__ import annotations

import base64

import msgspec

from safeconduct.audit.checkpoint import (
    FormerKey,
    LogVerifier,
    NoteSignature,
    decode_base64,
    decode_decimal,
    note_of,
    signature_line,
)
from safeconduct.audit.merkle import HASH_SIZE
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import Signer

KEY_HISTORY = "key-history"
MAX_HISTORY = 1 << 20
"""Bytes; about two thousand changes."""
_PREFIX = "safeconduct/key-change/v1"


class KeyChange(msgspec.Struct, frozen=True):
    """A verified change. size, root: of the tree at which the old key ended; text: the whole signed note."""

    old: LogVerifier
    new: LogVerifier
    size: int
    root: bytes
    text: bytes


def _refuse(message: str) -> VerificationFailed:
    return VerificationFailed(
        message, step="key_history", code="", field=KEY_HISTORY, remedy="fetch the key history again"
    )


def sign_key_change(origin: str, old: Signer, new: Signer, *, size: int, root: bytes) -> KeyChange:
    """Hand a log over from one key to another. Raises InvalidInput when they are the same or not Ed25519."""
    before, after = LogVerifier.of(origin, old), LogVerifier.of(origin, new)
    if before.key.thumbprint == after.key.thumbprint:
        raise InvalidInput("the new key is the old one", field="key", remedy="make another key")
    encoded = base64.b64encode(root).decode()
    body = f"{_PREFIX}\n{before.text()}\n{after.text()}\n{size}\n{encoded}\n".encode()
    text = note_of(body, [(before, old.sign(body)), (after, new.sign(body))])
    return KeyChange(before, after, size, root, text)


def read_key_history(text: bytes, origin: str) -> tuple[KeyChange, ...]:
    """The changes, oldest first, each verified. Raises VerificationFailed (step `key_history`)."""
    if len(text) > MAX_HISTORY:
        raise _refuse(f"longer than {MAX_HISTORY} bytes")
    try:
        note = text.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise _refuse(f"not UTF-8 (byte {error.start})") from None
    if not note:
        return ()
    if not note.endswith("\n"):
        raise _refuse("it ends in the middle of a line")
    parts = note[:-1].split("\n\n")
    if len(parts) % 2:
        raise _refuse("a change without its signatures")
    changes: list[KeyChange] = []
    for body, signatures in zip(parts[::2], parts[1::2], strict=True):
        change = _read_change(body, signatures, origin)
        if changes and change.old.key_id != changes[-1].new.key_id:
            raise _refuse("a change that does not follow from the one before")
        if changes and change.size < changes[-1].size:
            raise _refuse("a change at a smaller tree than the one before")
        changes.append(change)
    keys = [change.old.key.thumbprint for change in changes] + [
        change.new.key.thumbprint for change in changes[-1:]
    ]
    if len(set(keys)) != len(keys):
        raise _refuse("a key comes back")
    return tuple(changes)


def _read_change(body: str, signatures: str, origin: str) -> KeyChange:
    lines = body.split("\n")
    if len(lines) != 5 or lines[0] != _PREFIX:
        raise _refuse("not a change of a log's key")
    try:
        old, new = LogVerifier.parse(lines[1]), LogVerifier.parse(lines[2])
    except InvalidInput as error:
        raise _refuse(error.message) from None
    if (old.text(), new.text()) != (lines[1], lines[2]):
        raise _refuse("another spelling of a verifier key")
    if old.name != origin or new.name != origin:
        raise _refuse(f"a change of another log's key: {old.name[:80]!r}")
    root = decode_base64(lines[4])
    if len(root) != HASH_SIZE:
        raise _refuse(f"the root has {len(root)} bytes instead of {HASH_SIZE}")
    signed = f"{body}\n".encode()
    found: list[NoteSignature] = [signature_line(line) for line in signatures.split("\n")]
    for verifier in (old, new):
        ours = [line for line in found if (line.name, line.key_id) == (verifier.name, verifier.key_id)]
        if len(ours) != 1 or not verifier.key.verify(ours[0].signature, signed):
            raise _refuse(f"not signed by key {verifier.key_id.hex()}")
    return KeyChange(old, new, decode_decimal(lines[3]), root, f"{body}\n\n{signatures}\n".encode())


def write_key_history(changes: tuple[KeyChange, ...]) -> bytes:
    """The file's bytes."""
    return b"\n".join(change.text for change in changes)


def follow_key_history(pinned: LogVerifier, text: bytes) -> LogVerifier:
    """The verifier that a pinned key leads to: it accepts the newest key, and each older one for the trees it may vouch for.

    The pinned key may be any of the history. Raises VerificationFailed, also when the history does not know the pinned key.
    """
    changes = read_key_history(text, pinned.name)
    if not changes:
        return pinned
    known = {change.old.key.thumbprint for change in changes} | {changes[-1].new.key.thumbprint}
    if pinned.key.thumbprint not in known:
        raise _refuse(f"the history does not lead from or to key {pinned.key_id.hex()}")
    newest = changes[-1].new
    older = tuple(
        FormerKey(change.old.key_id, change.old.key, change.size, first)
        for change, first in zip(changes, (0, *(one.size for one in changes)), strict=False)
    )
    return LogVerifier(newest.name, newest.key, since=changes[-1].size, older=older)
