"""Tiles and entry bundles of C2SP tlog-tiles: their paths and their bytes.

Owns names and encodings; refuses a bundle with a byte too many or too few. Reads and writes no files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from safeconduct.audit.merkle import HASH_SIZE, NodeReader, perfect_root
from safeconduct.kernel.errors import InvalidInput, LogCorrupt

TILE_HEIGHT = 8
TILE_WIDTH = 256
ENTRIES = -1
"""Stands for the level of entry bundles, whose path says `entries` instead of a number."""
MAX_ENTRY = 65_535

TileSource = Callable[[int, int, int], Sequence[bytes]]
"""`read(level, number, width)`: at least the first `width` hashes of a tile."""

_PATH = re.compile(r"tile/(entries|0|[1-9]\d?)((?:/x\d{3})*/\d{3})(?:\.p/([1-9]\d{0,2}))?")


def tile_path(level: int, number: int, width: int = TILE_WIDTH) -> str:
    """`tile/<L>/<N>[.p/<W>]`; 1234067 is `x001/x234/067`."""
    groups = [f"{number % 1000:03d}"]
    rest = number // 1000
    while rest:
        groups.append(f"x{rest % 1000:03d}")
        rest //= 1000
    name = "entries" if level == ENTRIES else str(level)
    partial = f".p/{width}" if width != TILE_WIDTH else ""
    return f"tile/{name}/{'/'.join(reversed(groups))}{partial}"


def parse_tile_path(path: str) -> tuple[int, int, int]:
    """Inverse of `tile_path`: (level or ENTRIES, number, width). Raises InvalidInput for any other spelling."""
    match = _PATH.fullmatch(path)
    if match:
        level = ENTRIES if match[1] == "entries" else int(match[1])
        number = int(match[2].replace("/", "").replace("x", ""))
        width = int(match[3]) if match[3] else TILE_WIDTH
        if level < 64 and tile_path(level, number, width) == path and (not match[3] or width < TILE_WIDTH):
            return level, number, width
    raise InvalidInput(
        f"{path[:200]!r} is not a tile's path", field="path", remedy="use tile/<L>/<N>[.p/<W>]"
    )


def tile_width(level: int, number: int, size: int) -> int:
    """Hashes (or entries) of this tile in a tree of `size`: 256, fewer in the rightmost tile, 0 when it is empty."""
    height = 0 if level == ENTRIES else level
    return max(0, min(TILE_WIDTH, (size >> (TILE_HEIGHT * height)) - number * TILE_WIDTH))


def tiles_of(size: int) -> list[tuple[int, int, int]]:
    """(level, number, width) of the rightmost tile of every level of a tree of `size` that is partial."""
    found = []
    level = 0
    while (count := size >> (TILE_HEIGHT * level)) > 0:
        if width := count % TILE_WIDTH:
            found.append((level, count // TILE_WIDTH, width))
        level += 1
    return found


def split_tile(data: bytes, path: str) -> list[bytes]:
    """The hashes of a tile. Raises LogCorrupt naming `path` when the length does not fit its width."""
    width = parse_tile_path(path)[2]
    if len(data) != width * HASH_SIZE:
        raise LogCorrupt(f"{len(data)} bytes instead of {width * HASH_SIZE}", field=path)
    return [data[offset : offset + HASH_SIZE] for offset in range(0, len(data), HASH_SIZE)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Big-endian uint16 length and bytes of each entry."""
    pieces: list[bytes] = []
    for entry in entries:
        pieces.append(len(entry).to_bytes(2, "big"))
        pieces.append(entry)
    return b"".join(pieces)


def decode_bundle(data: bytes, path: str) -> list[bytes]:
    """Exactly as many entries as the path's width says. Raises LogCorrupt naming path and entry."""
    _, number, width = parse_tile_path(path)
    entries: list[bytes] = []
    offset = 0
    for position in range(width):
        length = int.from_bytes(data[offset : offset + 2], "big")
        end = offset + 2 + length
        if offset + 2 > len(data) or end > len(data):
            raise LogCorrupt(
                f"the bundle ends within entry {number * TILE_WIDTH + position} (byte {offset})", field=path
            )
        entries.append(data[offset + 2 : end])
        offset = end
    if offset != len(data):
        raise LogCorrupt(f"{len(data) - offset} bytes too many from byte {offset}", field=path)
    return entries


def node_reader(read_hashes: TileSource, size: int) -> NodeReader:
    """Perfect subtrees of a tree of `size` out of its tiles. Raises LogCorrupt when a tile is too short."""

    def node(height: int, index: int) -> bytes:
        level, inner = divmod(height, TILE_HEIGHT)
        first = index << inner
        number, offset = divmod(first, TILE_WIDTH)
        hashes = read_hashes(level, number, tile_width(level, number, size))
        wanted = hashes[offset : offset + (1 << inner)]
        if len(wanted) != 1 << inner:
            raise LogCorrupt("the tile is too short", field=tile_path(level, number))
        return perfect_root(wanted)

    return node
