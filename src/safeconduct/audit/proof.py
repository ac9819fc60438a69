"""`.tlog-proof`: an inclusion proof with its checkpoint in one text (C2SP tlog-proof), verifiable offline.

Owns the text and its verification; refuses several spellings of one proof. `extra` is carried and never trusted.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence

import msgspec

from safeconduct.audit.checkpoint import (
    Checkpoint,
    LogVerifier,
    decode_base64,
    decode_decimal,
    parse_checkpoint,
)
from safeconduct.audit.merkle import HASH_SIZE, leaf_hash, verify_inclusion
from safeconduct.kernel.errors import VerificationFailed

HEADER = "c2sp.org/tlog-proof@v1"
MAX_EXTRA = 1 << 20


class TlogProof(msgspec.Struct, frozen=True):
    """index: position of the entry; hashes: 32 bytes each, from the leaf's sibling up; extra: unauthenticated, None when absent."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: Checkpoint
    extra: bytes | None = None


def encode_proof(
    index: int, hashes: Sequence[bytes], checkpoint: bytes, *, extra: bytes | None = None
) -> bytes:
    """The text of a proof. `checkpoint` is the signed note, verbatim."""
    lines = [HEADER]
    if extra is not None:
        lines.append(f"extra {base64.b64encode(extra).decode()}")
    lines.append(f"index {index}")
    lines.extend(base64.b64encode(value).decode() for value in hashes)
    return ("\n".join(lines) + "\n\n").encode() + checkpoint


def _refuse(message: str) -> VerificationFailed:
    return VerificationFailed(message, step="proof", code="", remedy="ask for the proof again")


def parse_proof(text: bytes) -> TlogProof:
    """Read a proof without trusting it. Raises VerificationFailed."""
    head, blank, note = text.partition(b"\n\n")
    if not blank or len(head) > 2 * MAX_EXTRA:
        raise _refuse("no checkpoint after an empty line")
    try:
        lines = head.decode("ascii").split("\n")
    except UnicodeDecodeError:
        raise _refuse("not ASCII before the checkpoint") from None
    if lines.pop(0) != HEADER:
        raise _refuse(f"the first line is not {HEADER}")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode_base64(lines.pop(0)[6:])
    if not lines or not lines[0].startswith("index "):
        raise _refuse("the index is missing")
    index = decode_decimal(lines.pop(0)[6:])
    if len(lines) > 63:
        raise _refuse("more hashes than a tree can be high")
    hashes = tuple(decode_base64(line) for line in lines)
    if any(len(value) != HASH_SIZE for value in hashes):
        raise _refuse(f"a hash is not {HASH_SIZE} bytes")
    return TlogProof(index, hashes, parse_checkpoint(note), extra)


def verify_proof(text: bytes, entry: bytes, verifier: LogVerifier) -> TlogProof:
    """Check that `entry` (bytes as logged) is in the log of `verifier`. Returns the proof; raises VerificationFailed.

    1. the text is well-formed; 2. the checkpoint is signed by the log; 3. the leaf hash leads to its root.
    """
    proof = parse_proof(text)
    checkpoint = verifier.verify(proof.checkpoint.text)
    verify_inclusion(leaf_hash(entry), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
    return proof
