"""Entries of a log straight from its directory, for work that must need nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from safeconduct.audit.checkpoint import parse_checkpoint
from safeconduct.audit.tile import ENTRIES, TILE_WIDTH, decode_bundle, tile_path, tile_width
from safeconduct.kernel.errors import LogCorrupt, NotFound
from safeconduct.storage.log_files import FileLogDirectory


def entries_of(directory: Path) -> tuple[Iterator[bytes], int]:
    """The published entries in order, and how many there are.

    They are not held against the checkpoint's root here (`audit verify` does that). Raises NotFound when there is no log;
    the iterator raises LogCorrupt when a bundle is missing or malformed.
    """
    files = FileLogDirectory(directory)
    try:
        size = parse_checkpoint(files.read("checkpoint")).size
    except OSError:
        raise NotFound(
            "there is no log here", field=str(directory), remedy="name the directory that holds `checkpoint`"
        ) from None
    return _entries(files, size), size


def _entries(files: FileLogDirectory, size: int) -> Iterator[bytes]:
    for number in range((size + TILE_WIDTH - 1) // TILE_WIDTH):
        width = tile_width(ENTRIES, number, size)
        path = tile_path(ENTRIES, number, width)
        try:
            yield from decode_bundle(files.read(path), path)
        except FileNotFoundError:
            full = tile_path(ENTRIES, number)
            try:
                yield from decode_bundle(files.read(full), full)[:width]
            except FileNotFoundError:
                raise LogCorrupt("a bundle is missing", field=path, remedy="restore the log") from None
