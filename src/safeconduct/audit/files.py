"""The narrow file ports of the log. Every byte the writer makes durable goes through them.

Owns the contract that durability rests on; refuses nothing itself. `storage.log_files` implements it on a real file
system; crash tests implement it on one that forgets whatever was not synced.

Contract that an implementation keeps:
- paths are relative, `/`-separated, made of names of `A-Za-z0-9._-` that do not start with a dot;
- a write is durable once `LogFile.sync` (or its own `write_through`) returned; a rename, creation or removal once `sync_directory` returned for the directory;
- a failed call raises OSError and may have done part of its work.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol


class LogFile(Protocol):
    """A file that is only appended to."""

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raises OSError (ENOSPC, EIO, EFBIG ...), after which part of it may be there."""
        ...

    def sync(self) -> None:
        """Make what was written durable (fdatasync). Never called again after it raised: the kernel may have dropped the dirty pages."""
        ...

    def write_through(self, data: bytes) -> None:
        """`write` and `sync` in one: durable on return. Never called again after it raised."""
        ...

    def close(self) -> None:
        """Close without syncing."""
        ...


class BackgroundSync(Protocol):
    """Makes what was written to a file durable while its caller does something else. One sync at a time."""

    def fileno(self) -> int:
        """A descriptor that is readable when what was started has finished."""
        ...

    def start(self, file: LogFile) -> None:
        """Begin to make what was written to `file` durable. Raises OSError."""
        ...

    def finished(self, *, wait: bool = False) -> bool:
        """True once it is durable. wait: block until then. Raises OSError when it never will be; never called again after that."""
        ...

    def close(self) -> None:
        """Wait for what is under way, and end."""
        ...


class LogReader(Protocol):
    """Reading half of a log's directory; all that verification needs."""

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError when there is none, another OSError when it cannot be read."""
        ...

    def list(self, prefix: str = "") -> list[str]:
        """Paths of all files below the directory `prefix`, sorted; empty when there is no such directory."""
        ...


class LogDirectory(LogReader, Protocol):
    """Everything the writer does to its directory."""

    def acquire(self) -> bool:
        """Take the directory's exclusive lock, making the directory when it is absent. False: another process holds it."""
        ...

    def release(self) -> None:
        """Give the lock back; no error when it is not held."""
        ...

    def identity(self, path: str) -> object:
        """A cheap value that differs once the file was replaced. Raises FileNotFoundError when there is none."""
        ...

    def create(self, path: str) -> LogFile:
        """A new empty file (an existing one is emptied), its parent directories made as needed."""
        ...

    def background_sync(self, file: LogFile) -> BackgroundSync | None:
        """For files like this one; None where a sync needs a thread that waits for it. Raises OSError when `file` cannot be synced."""
        ...

    def rename(self, old: str, new: str) -> None:
        """Move atomically, replacing `new`."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file; no error when it is absent."""
        ...

    def discard_directory(self, path: str) -> None:
        """Remove a directory and the files in it; no error when it is absent."""
        ...

    def sync_directory(self, path: str) -> None:
        """Make names in this directory durable, and the directory itself in its parents. `""` is the root."""
        ...

    def sync_all(self, paths: Iterable[str]) -> None:
        """Make the contents and names of these existing files durable; one call for many derived files."""
        ...
