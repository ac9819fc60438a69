"""The right edge of the tree in memory: appends entries, gives finished tiles, roots and subtrees.

Owns no file: finished tiles are handed to the caller, older ones are read through a function it is given.
Not thread-safe; its owner holds a lock around it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from safeconduct.audit.merkle import EMPTY_ROOT, NodeReader, leaf_hashes, node_hash, perfect_root
from safeconduct.audit.tile import (
    ENTRIES,
    TILE_WIDTH,
    encode_bundle,
    node_reader,
    split_tile,
    tile_path,
)


class Tree:
    """A tree whose full tiles are stored elsewhere. `size`: entries appended; `tail`: entries of the unfinished bundle."""

    def __init__(self, read: Callable[[str], bytes], size: int = 0) -> None:
        """Start at `size`, a multiple of 256, from the full tiles that `read(path)` gives. Raises LogCorrupt."""
        assert size % TILE_WIDTH == 0
        self._read = read
        self.size = size
        self.tail: list[bytes] = []
        # levels[l]: hashes of the unfinished tile of level l. Partial tiles are never relied upon: they are not synced.
        self._levels: list[list[bytes]] = [[]]
        level = 1
        while (count := size >> (8 * level)) > 0:
            start = count - count % TILE_WIDTH
            self._levels.append([self._full_root(level - 1, number) for number in range(start, count)])
            level += 1

    def _full_root(self, level: int, number: int) -> bytes:
        path = tile_path(level, number)
        return perfect_root(split_tile(self._read(path), path))

    def append(self, entries: Sequence[bytes]) -> list[tuple[str, bytes]]:
        """Add entries; returns path and bytes of every tile and bundle that became full, in the order to write them."""
        finished: list[tuple[str, bytes]] = []
        done = 0
        while done < len(entries):
            chunk = entries[done : done + TILE_WIDTH - len(self.tail)]
            done += len(chunk)
            self.tail += chunk
            leaves = self._levels[0]
            leaves += leaf_hashes(chunk)
            self.size += len(chunk)
            if len(leaves) == TILE_WIDTH:
                number = self.size // TILE_WIDTH - 1
                finished.append((tile_path(ENTRIES, number), encode_bundle(self.tail)))
                self.tail = []
                self._carry(finished)
        return finished

    def _carry(self, finished: list[tuple[str, bytes]]) -> None:
        level = 0
        while len(hashes := self._levels[level]) == TILE_WIDTH:
            number = (self.size >> (8 * (level + 1))) - 1
            finished.append((tile_path(level, number), b"".join(hashes)))
            self._levels[level] = []
            if level + 1 == len(self._levels):
                self._levels.append([])
            self._levels[level + 1].append(perfect_root(hashes))
            level += 1

    def partial_tiles(self) -> list[tuple[str, bytes]]:
        """Path and bytes of the partial tiles and bundle that a checkpoint at this size needs."""
        return [
            (tile_path(level, number, width), self.edge_tile(level, width))
            for level, number, width in self.edge_tiles()
            if width
        ]

    def edge_tiles(self) -> list[tuple[int, int, int]]:
        """(level, number, present width) of the unfinished bundle and of every unfinished tile, empty ones included."""
        levels = [ENTRIES, *range(len(self._levels))]
        return [
            (level, (self.size >> (8 * max(level, 0))) // TILE_WIDTH, self._width(level)) for level in levels
        ]

    def _width(self, level: int) -> int:
        return len(self.tail if level == ENTRIES else self._levels[level])

    def edge_tile(self, level: int, width: int) -> bytes:
        """The partial tile or bundle at the right edge as it was when it had this width."""
        if level == ENTRIES:
            return encode_bundle(self.tail[:width])
        return b"".join(self._levels[level][:width])

    def root(self) -> bytes:
        """Root hash at the present size: the perfect subtrees of the right edge, folded from the right."""
        if self.size == 0:
            return EMPTY_ROOT
        root: bytes | None = None
        for hashes in self._levels:
            end = len(hashes)
            while end:
                width = end & -end
                subtree = perfect_root(hashes[end - width : end])
                root = subtree if root is None else node_hash(subtree, root)
                end -= width
        assert root is not None
        return root

    def node(self, read: Callable[[str], bytes] | None = None) -> NodeReader:
        """Perfect subtrees of any tree of at most the present size; full tiles come from `read` (default: the tree's own)."""
        fetch = read or self._read

        def hashes(level: int, number: int, _width: int) -> Sequence[bytes]:
            if number == (self.size >> (8 * level)) // TILE_WIDTH:
                return self._levels[level]
            path = tile_path(level, number)
            return split_tile(fetch(path), path)

        return node_reader(hashes, self.size)
