"""Reading a published log: checkpoint, tiles and bundles through any `fetch`, a directory's or an HTTP client's.

Owns the reader's side of C2SP tlog-tiles, proofs included. Trusts nothing it fetched: every hash it hands out was held against the
signed root. Writes nothing and knows nothing of the write-ahead log.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from safeconduct.audit.checkpoint import Checkpoint, LogVerifier
from safeconduct.audit.key_history import KEY_HISTORY, follow_key_history
from safeconduct.audit.merkle import (
    NodeReader,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from safeconduct.audit.proof import encode_proof
from safeconduct.audit.tile import (
    ENTRIES,
    TILE_WIDTH,
    decode_bundle,
    node_reader,
    split_tile,
    tile_path,
    tile_width,
)
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, NotFound, VerificationFailed

Fetch = Callable[[str], bytes]
"""`fetch(path)`: the bytes of a resource; FileNotFoundError or NotFound when there is none."""

_CACHED_TILES = 512


def follow_published(fetch: Fetch, pinned: LogVerifier) -> LogVerifier:
    """The verifier that a pinned key leads to by the key history that the log publishes, if it does. Raises VerificationFailed."""
    try:
        history = fetch(KEY_HISTORY)
    except (FileNotFoundError, NotFound):
        return pinned
    return follow_key_history(pinned, history)


class PublishedLog:
    """One log as anybody may read it. Keeps the verified checkpoint of its last `refresh`; not thread-safe."""

    def __init__(self, fetch: Fetch, verifier: LogVerifier) -> None:
        self._fetch = fetch
        self.verifier = verifier
        self._checkpoint: Checkpoint | None = None
        self._tiles: dict[str, list[bytes]] = {}

    @property
    def checkpoint(self) -> Checkpoint:
        """The last verified checkpoint, fetched on first use. Raises VerificationFailed, NotFound."""
        return self._checkpoint or self.refresh()

    def refresh(self, known: Checkpoint | None = None) -> Checkpoint:
        """Fetch and verify the checkpoint, and that it extends `known` (default: the one fetched last).

        Raises NotFound, VerificationFailed (a bad signature, a shorter or another tree), LogCorrupt.
        """
        try:
            text = self._fetch("checkpoint")
        except (FileNotFoundError, NotFound):
            raise NotFound("there is no published log here", field="checkpoint") from None
        if self._checkpoint is None:
            self.verifier = follow_published(self._fetch, self.verifier)
        try:
            fresh = self.verifier.verify(text)
        except VerificationFailed:
            later = follow_published(self._fetch, self.verifier)
            if later.key_id == self.verifier.key_id:
                raise
            fresh = later.verify(text)
            self.verifier = later
        before = known or self._checkpoint
        if before is not None:
            check_extends(self, before, fresh)
        self._checkpoint = fresh
        return fresh

    def hashes(self, level: int, number: int, width: int) -> Sequence[bytes]:
        """At least the first `width` hashes of a tile: the partial one, or the full one when it is there already."""
        path = tile_path(level, number, width)
        found = self._tiles.get(path)
        if found is None:
            data, path = self._fetch_either(level, number, width)
            found = split_tile(data, path)
            if len(self._tiles) >= _CACHED_TILES:
                self._tiles.pop(next(iter(self._tiles)))
            self._tiles[tile_path(level, number, width)] = found
        return found

    def bundle(self, number: int, size: int) -> list[bytes]:
        """Entries of a bundle in a tree of `size`, not verified yet. Raises LogCorrupt."""
        width = tile_width(ENTRIES, number, size)
        data, path = self._fetch_either(ENTRIES, number, width)
        return decode_bundle(data, path)[:width]

    def _fetch_either(self, level: int, number: int, width: int) -> tuple[bytes, str]:
        path = tile_path(level, number, width)
        try:
            return self._fetch(path), path
        except (FileNotFoundError, NotFound):
            # tlog-tiles: a log may delete partial tiles once the full one is there.
            full = tile_path(level, number)
            try:
                return self._fetch(full), full
            except (FileNotFoundError, NotFound):
                raise LogCorrupt("missing", field=path) from None

    def node(self, size: int) -> NodeReader:
        """Perfect subtrees of the tree of `size`, out of tiles; not verified."""
        return node_reader(self.hashes, size)

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """Proof that entry `index` is in the tree (of the checkpoint's size by default). Raises InvalidInput, LogCorrupt."""
        size = self._size(size)
        return inclusion_proof(self.node(size), index, size)

    def consistency_proof(self, old: int, new: int | None = None) -> list[bytes]:
        """Proof that the tree of size `new` (default: the checkpoint's) extends that of `old` > 0. Raises InvalidInput."""
        new = self._size(new)
        return consistency_proof(self.node(new), old, new)

    def _size(self, size: int | None) -> int:
        covered = self.checkpoint.size
        if size is None:
            return covered
        if size > covered:
            raise InvalidInput(f"the checkpoint covers {covered} entries, not {size}", field="size")
        return size

    def entries(self, start: int, end: int) -> Iterator[bytes]:
        """Entries [start, end), each held against its leaf hash and every leaf hash against the signed root.

        Raises InvalidInput beyond the checkpoint, LogCorrupt naming file and entry.
        """
        size = self.checkpoint.size
        if not 0 <= start <= end <= size:
            raise InvalidInput(f"the checkpoint covers {size} entries", field="end")
        while start < end:
            number, offset = divmod(start, TILE_WIDTH)
            bundle = self.bundle(number, size)
            self._check_tile(number, size)
            leaves = self.hashes(0, number, len(bundle))
            for entry in bundle[offset : offset + end - start]:
                if leaf_hash(entry) != leaves[start % TILE_WIDTH]:
                    path = tile_path(ENTRIES, number, tile_width(ENTRIES, number, size))
                    raise LogCorrupt(f"entry {start} is not the one that was logged", field=path)
                yield entry
                start += 1

    def _check_tile(self, number: int, size: int) -> None:
        # All hashes of a level-0 tile are covered by the proofs of its perfect subtrees; proving the first leaf of each suffices,
        # because that proof recomputes the subtree from all of its leaves in this tile.
        width = tile_width(0, number, size)
        offset = 0
        while offset < width:
            subtree = 1 << ((width - offset).bit_length() - 1)
            index = number * TILE_WIDTH + offset
            leaf = self.hashes(0, number, width)[offset]
            try:
                verify_inclusion(leaf, index, size, self.inclusion_proof(index, size), self.checkpoint.root)
            except VerificationFailed as error:
                path = tile_path(0, number, width)
                raise LogCorrupt(
                    f"the tile does not lead to the signed root: {error.message}", field=path
                ) from None
            offset += subtree

    def prove(self, index: int, *, extra: bytes | None = None) -> bytes:
        """The `.tlog-proof` text of an entry under the current checkpoint. Raises InvalidInput, LogCorrupt."""
        checkpoint = self.checkpoint
        size = checkpoint.size
        if not 0 <= index < size:
            raise InvalidInput(
                f"entry {index} is not covered by the checkpoint, which has {size}",
                field="index",
                remedy="wait for the next one",
            )
        hashes = self.inclusion_proof(index, size)
        number, offset = divmod(index, TILE_WIDTH)
        leaf = self.hashes(0, number, tile_width(0, number, size))[offset]
        try:
            verify_inclusion(leaf, index, size, hashes, checkpoint.root)
        except VerificationFailed as error:
            raise LogCorrupt(
                f"the tiles do not lead to the signed root: {error.message}",
                field=tile_path(0, number),
                remedy="run fsck",
            ) from None
        return encode_proof(index, hashes, checkpoint.text, extra=extra)


def check_extends(log: PublishedLog, known: Checkpoint, fresh: Checkpoint) -> None:
    """Check that `fresh` extends `known`. Raises VerificationFailed naming what contradicts what."""
    if known.origin != fresh.origin:
        raise VerificationFailed("the checkpoints are of two logs", step="consistency", code="")
    if fresh.size < known.size:
        raise VerificationFailed(
            f"the log shrank from {known.size} to {fresh.size} entries",
            step="consistency",
            code="",
            remedy="it was rolled back: keep both checkpoints as evidence",
        )
    if known.size == 0:
        return  # every tree extends the empty one
    proof = consistency_proof(log.node(fresh.size), known.size, fresh.size)
    verify_consistency(known.size, fresh.size, known.root, fresh.root, proof)
