"""Snapshots as files in `<data>/record/snapshots/`, mode 0600.

Owns the names and that a file is whole or absent: it is written beside, synced, and renamed. Refuses symbolic links.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

_NAME = re.compile(r"state-(\d{12,19})\.snapshot")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW


class _Writing:
    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append all of `data`. Raises OSError."""
        view = memoryview(data).cast("B") if data else memoryview(b"")
        while view:
            view = view[os.write(self._descriptor, view) :]


class FileSnapshots:
    """Implements `app.snapshots.SnapshotFiles`. The directory is made when the first one is written."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def names(self) -> list[str]:
        """Names of the snapshots, the one of most entries first."""
        try:
            found = [name for name in os.listdir(self._directory) if _NAME.fullmatch(name)]  # noqa: PTH208
        except FileNotFoundError:
            return []
        return sorted(found, key=lambda name: int(name[6:-9]), reverse=True)

    def read(self, name: str) -> bytes:
        """The whole file. Raises OSError."""
        descriptor = os.open(self._directory / name, os.O_RDONLY | _FLAGS)
        with os.fdopen(descriptor, "rb", buffering=0) as file:
            return file.read()

    @contextlib.contextmanager
    def replace(self, position: int) -> Iterator[_Writing]:
        """A file for the snapshot of `position`; it takes its name when the block ends, and is removed on an error."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self._directory / f"state-{position:012d}.snapshot"
        temporary = path.with_name(path.name + ".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _FLAGS, 0o600)
        try:
            try:
                yield _Writing(descriptor)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
        for directory in (self._directory, self._directory.parent):
            above = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(above)
            finally:
                os.close(above)
        for left in self._directory.glob("state-*.snapshot.tmp"):
            # Of a process that was stopped while it wrote.
            left.unlink(missing_ok=True)

    def remove(self, name: str) -> None:
        """Remove one; no error when it is not there."""
        (self._directory / name).unlink(missing_ok=True)
