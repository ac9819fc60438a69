"""Checkpoints: C2SP tlog-checkpoint as a C2SP signed note, signed with Ed25519.

Owns the text, its strict reading and the verifier-key text. Refuses extension lines, several spellings of one value, two
signatures of one key, and any signature of the known key that does not verify; signatures of unknown keys are ignored, as the
signed-note specification demands.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Sequence

import msgspec

from safeconduct.audit.merkle import EMPTY_ROOT, HASH_SIZE
from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import EDDSA, Signer, VerifyingKey

ED25519 = 0x01
"""Signature type byte of signed-note."""
MAX_NOTE = 64 * 1024
"""Bytes; room for well over the 16 signatures that a verifier must accept."""

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class NoteSignature(msgspec.Struct, frozen=True):
    """One signature line of a note. key_id: 4 bytes."""

    name: str
    key_id: bytes
    signature: bytes


class Checkpoint(msgspec.Struct, frozen=True):
    """A tree head. size: number of entries; root: 32 bytes; text: the whole signed note as read or made."""

    origin: str
    size: int
    root: bytes
    text: bytes
    signatures: tuple[NoteSignature, ...] = ()


def _refuse(message: str) -> VerificationFailed:
    return VerificationFailed(message, step="checkpoint", code="", remedy="fetch the checkpoint again")


def decode_base64(text: str) -> bytes:
    """RFC 4648 4 with padding, one spelling per value. Raises VerificationFailed."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refuse(f"not base64: {text[:60]!r}") from None
    if base64.b64encode(data).decode() != text:
        raise _refuse("base64 with stray bits")
    return data


def decode_decimal(text: str) -> int:
    """ASCII decimal without leading zeros. Raises VerificationFailed."""
    if not _DECIMAL.fullmatch(text):
        raise _refuse(f"not a plain decimal number: {text[:40]!r}")
    return int(text)


def check_origin(origin: str) -> str:
    """A log's name: not empty, no spaces, controls or `+` (signed-note: key names). Raises InvalidInput."""
    if not origin or "+" in origin or not origin.isprintable() or any(char.isspace() for char in origin):
        raise InvalidInput(
            f"{origin[:80]!r} cannot name a log",
            field="origin",
            remedy="use something like example.org/record",
        )
    return origin


class FormerKey(msgspec.Struct, frozen=True):
    """A key that was replaced: it vouches for trees of `first` to `last` entries."""

    key_id: bytes
    key: VerifyingKey
    last: int
    first: int = 0


class LogVerifier:
    """The public key of a log under its name; the name must be the checkpoint's origin."""

    __slots__ = ("key", "key_id", "name", "older", "since")

    def __init__(
        self, name: str, key: VerifyingKey, *, since: int = 0, older: tuple[FormerKey, ...] = ()
    ) -> None:
        """since: the smallest tree that `key` vouches for. older: keys before it (`key_history.follow_key_history`).

        Raises InvalidInput when the key is not Ed25519 or the name cannot name a log.
        """
        if key.alg != EDDSA:
            raise InvalidInput(f"a log is signed with Ed25519, not {key.alg}", field="key")
        self.name = check_origin(name)
        self.key = key
        # C2SP signed-note: SHA-256(name || 0x0A || type || public key)[:4]
        self.key_id = hashlib.sha256(name.encode() + b"\n" + bytes([ED25519]) + key.raw()).digest()[:4]
        self.since = since
        self.older = older

    def __repr__(self) -> str:
        return f"<LogVerifier {self.text()}>"

    def text(self) -> str:
        """`name+hash+base64(type || key)`, the verifier-key text that other note tools read."""
        encoded = base64.b64encode(bytes([ED25519]) + self.key.raw()).decode()
        return f"{self.name}+{self.key_id.hex()}+{encoded}"

    @classmethod
    def parse(cls, text: str) -> LogVerifier:
        """Read a verifier-key text. Raises InvalidInput when it is malformed or its hash is not that of name and key."""
        parts = text.strip().split("+", 2)
        remedy = "give name+hash+base64 as printed when the log was made"
        if len(parts) != 3:
            raise InvalidInput("not a verifier key", field="verifier", remedy=remedy)
        try:
            raw = decode_base64(parts[2])
        except VerificationFailed as error:
            raise InvalidInput(
                f"not a verifier key: {error.message}", field="verifier", remedy=remedy
            ) from None
        if len(raw) != 33 or raw[0] != ED25519:
            raise InvalidInput("only Ed25519 verifier keys are read", field="verifier", remedy=remedy)
        verifier = cls(parts[0], VerifyingKey({"kty": "OKP", "crv": "Ed25519", "x": b64u(raw[1:])}))
        if verifier.key_id.hex() != parts[1]:
            raise InvalidInput("the hash is not that of name and key", field="verifier", remedy=remedy)
        return verifier

    @classmethod
    def of(cls, name: str, signer: Signer) -> LogVerifier:
        """The verifier of what `signer` signs under `name`. Raises InvalidInput when it is not Ed25519."""
        return cls(name, VerifyingKey(signer.public_jwk()))

    def verify(self, text: bytes) -> Checkpoint:
        """Parse and verify a checkpoint of this log. Raises VerificationFailed."""
        checkpoint = parse_checkpoint(text)
        if checkpoint.origin != self.name:
            raise _refuse(f"the origin is {checkpoint.origin[:80]!r}, expected {self.name!r}")
        body = _body(checkpoint.origin, checkpoint.size, checkpoint.root)
        signed = {line.key_id: line.signature for line in checkpoint.signatures if line.name == self.name}
        own = signed.get(self.key_id)
        if own is not None:
            if not self.key.verify(own, body):
                raise _refuse(f"the signature of {self.name} does not verify")
            if checkpoint.size < self.since:
                raise _refuse(f"key {self.key_id.hex()} signs trees of {self.since} entries or more")
            return checkpoint
        for one in self.older:
            if one.key_id not in signed:
                continue
            if not one.key.verify(signed[one.key_id], body):
                raise _refuse(f"the signature of {self.name} does not verify")
            if not one.first <= checkpoint.size <= one.last:
                # Whoever got hold of a retired key must not be able to grow the log with it.
                raise _refuse(f"key {one.key_id.hex()} was replaced at {one.last} entries")
            return checkpoint
        raise _refuse(f"no signature of {self.name} with key {self.key_id.hex()}")


def _body(origin: str, size: int, root: bytes) -> bytes:
    return f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n".encode()


def note_of(body: bytes, signatures: Sequence[tuple[LogVerifier, bytes]]) -> bytes:
    """A C2SP signed note: the text (which ends with a line feed), an empty line, one line for each signature."""
    lines = [
        f"— {verifier.name} {base64.b64encode(verifier.key_id + signature).decode()}\n"
        for verifier, signature in signatures
    ]
    return body + b"\n" + "".join(lines).encode()


def sign_checkpoint(signer: Signer, verifier: LogVerifier, size: int, root: bytes) -> Checkpoint:
    """Sign a tree head under the verifier's name. `verifier` must be that of `signer`."""
    body = _body(verifier.name, size, root)
    signature = NoteSignature(verifier.name, verifier.key_id, signer.sign(body))
    text = note_of(body, [(verifier, signature.signature)])
    return Checkpoint(verifier.name, size, root, text, (signature,))


def parse_checkpoint(text: bytes) -> Checkpoint:
    """Read a checkpoint without trusting it: no signature is checked here. Raises VerificationFailed.

    Source: C2SP tlog-checkpoint, signed-note.
    """
    if len(text) > MAX_NOTE:
        raise _refuse(f"the note has over {MAX_NOTE} bytes")
    try:
        note = text.decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise _refuse(f"not UTF-8 (byte {error.start})") from None
    if any(char < " " and char != "\n" for char in note):
        raise _refuse("control characters in the note")
    # The text is parted from the signatures by the last empty line.
    split = note.rfind("\n\n")
    if split < 0 or not note.endswith("\n"):
        raise _refuse("not a signed note")
    lines = note[:split].split("\n")
    if len(lines) != 3 or not lines[0]:
        raise _refuse("the text must be origin, size and root without extension lines")
    size, root = decode_decimal(lines[1]), decode_base64(lines[2])
    if len(root) != HASH_SIZE:
        raise _refuse(f"the root has {len(root)} bytes instead of {HASH_SIZE}")
    if size == 0 and root != EMPTY_ROOT:
        raise _refuse("an empty tree has another root")
    signatures = [signature_line(line) for line in note[split + 2 : -1].split("\n")]
    keys = {(line.name, line.key_id) for line in signatures}
    if len(keys) != len(signatures):
        raise _refuse("two signatures of one key")
    return Checkpoint(lines[0], size, root, text, tuple(signatures))


def signature_line(line: str) -> NoteSignature:
    """Read one signature line. Raises VerificationFailed."""
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != "—" or not name or "+" in name or any(char.isspace() for char in name):
        raise _refuse(f"malformed signature line {line[:60]!r}")
    raw = decode_base64(encoded)
    if len(raw) < 5:
        raise _refuse("a signature is too short")
    return NoteSignature(name, raw[:4], raw[4:])
