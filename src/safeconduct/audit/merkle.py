"""Merkle tree of RFC 9162 2.1: hashes, proofs and their verification.

Owns the arithmetic only: no files, no signatures. Refuses hashes that are not 32 bytes and an older tree of size 0.
Perfect subtrees are read through a `NodeReader`, so proofs come from tiles, from memory or from a test's recursion alike.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

from safeconduct.kernel.errors import InvalidInput, VerificationFailed

HASH_SIZE = 32
EMPTY_ROOT = hashlib.sha256(b"").digest()

NodeReader = Callable[[int, int], bytes]
"""`node(height, index)`: hash of the perfect subtree over leaves [index << height, (index + 1) << height)."""

_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return _sha256(b"\x01" + left + right).digest()


def leaf_hashes(entries: Sequence[bytes]) -> list[bytes]:
    """Leaf hashes of many entries, in order."""
    sha256 = _sha256
    return [sha256(b"\x00" + entry).digest() for entry in entries]


def perfect_root(hashes: Sequence[bytes]) -> bytes:
    """Root over a power of two of sibling hashes."""
    sha256 = _sha256
    row = hashes
    while len(row) > 1:
        row = [
            sha256(b"\x01" + left + right).digest() for left, right in zip(row[::2], row[1::2], strict=True)
        ]
    return row[0]


def _split(count: int) -> int:
    """The largest power of two smaller than `count` (RFC 9162 2.1.1); `count` is at least 2."""
    return 1 << ((count - 1).bit_length() - 1)


def range_hash(node: NodeReader, start: int, end: int) -> bytes:
    """MTH(D[start:end]) where start is a multiple of the smallest power of two that is at least end - start."""
    count = end - start
    if count == 0:
        return EMPTY_ROOT
    if count & (count - 1) == 0:
        height = count.bit_length() - 1
        return node(height, start >> height)
    middle = start + _split(count)
    return node_hash(range_hash(node, start, middle), range_hash(node, middle, end))


def inclusion_proof(node: NodeReader, index: int, size: int) -> list[bytes]:
    """PATH(index, D[0:size]), from the leaf's sibling up (RFC 9162 2.1.3.1). Raises InvalidInput when index >= size."""
    if not 0 <= index < size:
        raise InvalidInput(f"entry {index} is not in a tree of size {size}", field="index")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start = middle
    path.reverse()
    return path


def consistency_proof(node: NodeReader, old: int, new: int) -> list[bytes]:
    """PROOF(old, D[0:new]) (RFC 9162 2.1.4.1). Raises InvalidInput unless 0 < old <= new."""
    if not 0 < old <= new:
        raise InvalidInput(
            f"no consistency proof from size {old} to {new}", field="old", remedy="need 0 < old <= new"
        )
    path: list[bytes] = []
    start, end = 0, new
    while True:
        if end == old:
            # The old tree ends with this subtree; when it is the whole old tree the verifier knows its hash already.
            if start:
                path.append(range_hash(node, start, end))
            break
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start = middle
    path.reverse()
    return path


def _failed(step: str, message: str) -> VerificationFailed:
    return VerificationFailed(
        message, step=step, code="", remedy="the proof does not belong to this tree: ask for another"
    )


def _check_hashes(step: str, *hashes: bytes) -> None:
    for value in hashes:
        if len(value) != HASH_SIZE:
            raise _failed(step, f"a hash has {len(value)} bytes instead of {HASH_SIZE}")


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Check that the leaf hash stands at `index` in the tree (RFC 9162 2.1.3.2). Raises VerificationFailed."""
    step = "inclusion"
    _check_hashes(step, leaf, root, *proof)
    if not 0 <= index < size:  # step 1
        raise _failed(step, f"index {index} is outside the tree of size {size}")
    fn, sn, computed = index, size - 1, leaf  # steps 2, 3
    for sibling in proof:  # step 4
        if sn == 0:
            raise _failed(step, "the proof is too long")
        if fn & 1 or fn == sn:
            computed = node_hash(sibling, computed)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            computed = node_hash(computed, sibling)
        fn >>= 1
        sn >>= 1
    if sn != 0:  # step 5
        raise _failed(step, "the proof is too short")
    if computed != root:
        raise _failed(step, "the proof leads to another root")


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Check that the tree of size `new` extends the one of size `old` (RFC 9162 2.1.4.2). Raises VerificationFailed.

    Size 0 as the older tree is refused: every tree extends it, so a proof from it shows nothing.
    """
    step = "consistency"
    _check_hashes(step, old_root, new_root, *proof)
    if not 0 < old <= new:
        raise _failed(step, f"sizes {old} and {new} cannot be compared")
    if old == new:
        if proof:
            raise _failed(step, "two equal sizes need no proof")
        if old_root != new_root:
            raise _failed(step, "two trees of one size have different roots")
        return
    path = list(proof)
    if not path:  # step 1
        raise _failed(step, "the proof is empty")
    if old & (old - 1) == 0:  # step 2
        path.insert(0, old_root)
    fn, sn = old - 1, new - 1  # step 3
    while fn & 1:  # step 4
        fn >>= 1
        sn >>= 1
    first = second = path[0]  # step 5
    for value in path[1:]:  # step 6
        if sn == 0:
            raise _failed(step, "the proof is too long")
        if fn & 1 or fn == sn:
            first = node_hash(value, first)
            second = node_hash(value, second)
            while not fn & 1 and fn:
                fn >>= 1
                sn >>= 1
        else:
            second = node_hash(second, value)
        fn >>= 1
        sn >>= 1
    if sn != 0:  # step 7
        raise _failed(step, "the proof is too short")
    if first != old_root:
        raise _failed(step, "the proof leads to another older root")
    if second != new_root:
        raise _failed(step, "the proof leads to another newer root")
