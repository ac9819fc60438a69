"""The write-ahead log's files as the writer handles them: starting, appending to and removing segments.

Owns which segments there are; knows nothing of tiles, so its caller says when a segment may go. Refuses nothing: an OSError passes
through and ends the log.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from safeconduct.audit.files import LogDirectory, LogFile
from safeconduct.audit.wal import (
    DIRECTORY,
    SALT_SIZE,
    SegmentHeader,
    encode_frame,
    encode_segment_header,
    segment_path,
)
from safeconduct.kernel.ids import RandomBytes


class SegmentWriter:
    """Segments of one writer. `start`, `append` and `append_behind` belong to one thread at a time, `covered_by` and `remove` to another."""

    def __init__(
        self, directory: LogDirectory, *, origin: str, epoch: int, segment_bytes: int, random: RandomBytes
    ) -> None:
        self._directory = directory
        self._origin = origin
        self._epoch = epoch
        self._limit = segment_bytes
        self._random = random
        self._lock = threading.Lock()
        self._segments: list[tuple[str, int]] = []  # (path, first index), oldest first
        self._file: LogFile | None = None
        self._salt = b""
        self._written = 0

    def start(self, first: int, entries: Sequence[bytes], *, durable: int) -> None:
        """Start a segment; it appears under its name only when its header and `entries` (from `first` on) are durable."""
        path = segment_path(self._epoch, first)
        salt = self._random(SALT_SIZE)
        data = encode_segment_header(SegmentHeader(self._origin, salt, self._epoch, first, durable))
        if entries:
            data += encode_frame(salt, first, entries)
        self.close()
        self._file = file = self._directory.create(path + ".tmp")
        file.write(data)
        file.sync()
        self._directory.rename(path + ".tmp", path)
        self._directory.sync_directory(DIRECTORY)
        self._salt = salt
        self._written = len(data)
        with self._lock:
            self._segments.append((path, first))

    def append(self, entries: Sequence[bytes], first: int) -> None:
        """Write one group as one frame, durable on return; in a new segment when this one is long enough."""
        if self.full:
            self.start(first, [], durable=first)
        frame = encode_frame(self._salt, first, entries)
        assert self._file is not None
        self._file.write_through(frame)
        self._written += len(frame)

    @property
    def full(self) -> bool:
        """The next group belongs in a new segment."""
        return self._written > self._limit

    @property
    def file(self) -> LogFile:
        """The present segment's file."""
        assert self._file is not None
        return self._file

    def append_behind(self, entries: Sequence[bytes], first: int) -> None:
        """Write one group as one frame into the present segment; durable once `file` was synced."""
        frame = encode_frame(self._salt, first, entries)
        self.file.write(frame)
        self._written += len(frame)

    def covered_by(self, size: int) -> list[str]:
        """Paths of the segments that hold entries below `size` only, oldest first; never the present one."""
        with self._lock:
            pairs = zip(self._segments, self._segments[1:], strict=False)
            return [path for (path, _), (_, following) in pairs if following <= size]

    def remove(self, paths: Sequence[str]) -> None:
        """Remove these oldest segments, one by one: a crash in between must leave no gap."""
        for path in paths:
            self._directory.remove(path)
            self._directory.sync_directory(DIRECTORY)
        with self._lock:
            del self._segments[: len(paths)]

    def close(self) -> None:
        """Close the present segment's file."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
