"""A transparency log's directory on a real file system (Linux, local disk).

Owns the system calls behind `audit.files`: modes 0600 and 0700, flock, fdatasync, syncfs. Refuses paths that leave the
directory and symbolic links. A network file system gives none of the guarantees that the log needs.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from safeconduct.audit.files import BackgroundSync, LogFile
from safeconduct.kernel.errors import InvalidInput
from safeconduct.storage.kernel_sync import open_kernel_sync

_PATH = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(?:/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW
LOCK = "lock"
SYNC_WHOLE_FROM = 32
"""Number of files from which one syncfs is cheaper than an fsync each."""


class AppendFile:
    """An open file that is only appended to."""

    __slots__ = ("_descriptor",)

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]

    def sync(self) -> None:
        """Make what was written durable. Raises OSError."""
        os.fdatasync(self._descriptor)

    def write_through(self, data: bytes) -> None:
        """Append all of `data`, durable on return (one system call, so one hand-over of the interpreter). Raises OSError."""
        view = memoryview(data)
        while view:
            # The descriptor appends (O_APPEND), whatever the offset says.
            view = view[os.pwritev(self._descriptor, (view,), 0, os.RWF_DSYNC) :]

    def fileno(self) -> int:
        """The descriptor."""
        return self._descriptor

    def detach(self) -> int:
        """Hand the descriptor over to another file object."""
        descriptor, self._descriptor = self._descriptor, -1
        return descriptor

    def close(self) -> None:
        """Close without syncing."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)


class FileLogDirectory:
    """The directory of one log. Reading needs no lock; writing belongs to the holder of `acquire`."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._prefix = f"{os.fspath(self.root)}/"
        self._lock: int | None = None
        self._unsynced_parents: set[str] = set()

    def __repr__(self) -> str:
        return f"<FileLogDirectory {self.root}>"

    def _path(self, path: str) -> str:
        if not _PATH.fullmatch(path):
            raise InvalidInput(f"{path[:200]!r} is not a path within a log", field="path")
        return self._prefix + path

    def read(self, path: str) -> bytes:
        """The whole file. Raises FileNotFoundError or another OSError."""
        descriptor = os.open(self._path(path), os.O_RDONLY | _FLAGS)
        try:
            size = os.fstat(descriptor).st_size
            pieces = []
            # One read takes a tile whole; the loop is for files that are long or grow while they are read.
            while piece := os.read(descriptor, max(size, 65_536) + 1):
                pieces.append(piece)
            return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        finally:
            os.close(descriptor)

    def list(self, prefix: str = "") -> list[str]:
        """Paths of all files below `prefix`, sorted."""
        top = self._path(prefix.rstrip("/")) if prefix else os.fspath(self.root)
        found = []
        for directory, _, names in os.walk(top):
            inside = os.path.relpath(directory, self.root)
            found += [name if inside == "." else f"{inside}/{name}" for name in names]
        return sorted(found)

    def acquire(self) -> bool:
        """Lock the directory for this process; False when another one holds it."""
        self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self._prefix + LOCK, os.O_RDWR | os.O_CREAT | _FLAGS, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except OSError:
            os.close(descriptor)
            raise
        self._lock = descriptor
        return True

    def release(self) -> None:
        """Unlock; no error when it is not locked."""
        if self._lock is not None:
            descriptor, self._lock = self._lock, None
            os.close(descriptor)

    def identity(self, path: str) -> object:
        """Device, inode and time of change. Raises FileNotFoundError."""
        status = os.stat(self._path(path))  # noqa: PTH116 - once per group commit
        return status.st_dev, status.st_ino, status.st_ctime_ns

    def background_sync(self, file: LogFile) -> BackgroundSync | None:
        """See `audit.files.LogDirectory`."""
        return open_kernel_sync(file) if type(file) is AppendFile else None

    def create(self, path: str) -> AppendFile:
        """A new empty file, mode 0600."""
        full = self._path(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND | _FLAGS
        try:
            return AppendFile(os.open(full, flags, 0o600))
        except FileNotFoundError:
            self._make_parents(path)
            return AppendFile(os.open(full, flags, 0o600))

    def _make_parents(self, path: str) -> None:
        parent = ""
        for name in path.split("/")[:-1]:
            child = f"{parent}/{name}" if parent else name
            try:
                Path(self._prefix + child).mkdir(0o700)
            except FileExistsError:
                pass
            else:
                self._unsynced_parents.add(parent)
            parent = child

    def rename(self, old: str, new: str) -> None:
        """Move atomically."""
        os.rename(self._path(old), self._path(new))  # noqa: PTH104 - twice per 256 entries

    def remove(self, path: str) -> None:
        """Remove a file; no error when it is absent."""
        Path(self._path(path)).unlink(missing_ok=True)

    def discard_directory(self, path: str) -> None:
        """Remove a directory and its files; no error when it is absent."""
        full = self._path(path)
        if os.path.isdir(full):  # noqa: PTH112 - twice per 256 entries
            shutil.rmtree(full)

    def sync_directory(self, path: str) -> None:
        """Make the directory durable, and its parents where a directory on the way is new."""
        self._sync_path(path)
        while path:
            path = path.rpartition("/")[0]
            if path in self._unsynced_parents:
                self._sync_path(path)
                self._unsynced_parents.discard(path)

    def _sync_path(self, path: str) -> None:
        descriptor = os.open(self._path(path) if path else os.fspath(self.root), os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def sync_all(self, paths: Iterable[str]) -> None:
        """Make files and their names durable: one syncfs for many (it reports write-back errors since Linux 5.8)."""
        files = sorted(set(paths))
        if len(files) >= SYNC_WHOLE_FROM and self._sync_file_system():
            self._unsynced_parents.clear()
            return
        for path in files:
            self._sync_path(path)
        for directory in sorted({path.rpartition("/")[0] for path in files}):
            self.sync_directory(directory)

    def _sync_file_system(self) -> bool:
        call = getattr(ctypes.CDLL(None, use_errno=True), "syncfs", None)
        if call is None or self._lock is None:
            return False
        # The lock's descriptor was open before the files were written, so no write-back error in between goes unseen.
        if call(self._lock) != 0:
            code = ctypes.get_errno()
            if code == errno.ENOSYS:
                return False
            raise OSError(code, os.strerror(code), os.fspath(self.root))
        return True
