"""Log directories for tests: one in memory that forgets what was not synced, one that fails on demand, and builders."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterable
from pathlib import Path

from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.storage.log_files import FileLogDirectory

ORIGIN = "test.example/log"


class PowerCut(BaseException):
    """The machine is off: raised by every call from then on."""


class _Inode:
    def __init__(self) -> None:
        self.data = bytearray()
        self.synced = 0  # bytes that survive


class MemoryFile:
    def __init__(self, directory: MemoryLogDirectory, path: str, inode: _Inode) -> None:
        self._directory = directory
        self._path = path
        self._inode = inode

    def write(self, data: bytes) -> None:
        self._directory.operate("write", self._path)
        self._inode.data += data

    def sync(self) -> None:
        self._directory.operate("sync", self._path)
        self._inode.synced = len(self._inode.data)

    def write_through(self, data: bytes) -> None:
        # Two steps: power may go after the bytes were handed over and before they were durable.
        self.write(data)
        self.sync()

    def close(self) -> None:
        pass


class MemorySync:
    """A sync that is under way until it is asked about: power may go before, and then nothing is durable."""

    def __init__(self) -> None:
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK)
        self._file: MemoryFile | None = None

    def fileno(self) -> int:
        return self._descriptor

    def start(self, file: MemoryFile) -> None:
        assert self._file is None, "one at a time"
        self._file = file
        os.eventfd_write(self._descriptor, 1)

    def finished(self, *, wait: bool = False) -> bool:
        assert self._file is not None
        file, self._file = self._file, None
        os.eventfd_read(self._descriptor)
        file.sync()
        return True

    def close(self) -> None:
        os.close(self._descriptor)


class MemoryLogDirectory:
    """Keeps the contract of `audit.files` and nothing beyond it.

    `cut_after`: number of operations after which the power goes. `fail(kind, path)` may raise OSError.
    `after_power_cut` gives what a machine that starts again finds: unsynced writes are torn or gone, unsynced names are the old
    ones, each by the seed's choice (or all gone when no seed is given).
    """

    def __init__(self) -> None:
        self.names: dict[str, _Inode] = {}
        self.durable_names: dict[str, _Inode] = {}
        self.locked = False
        self.operations = 0
        self.cut_after: int | None = None
        self.fail: Callable[[str, str], None] = lambda kind, path: None
        self.syncs_behind = False

    def operate(self, kind: str, path: str) -> None:
        if self.cut_after is not None and self.operations >= self.cut_after:
            raise PowerCut
        self.operations += 1
        self.fail(kind, path)

    def read(self, path: str) -> bytes:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "absent", path)
        return bytes(self.names[path].data)

    def identity(self, path: str) -> object:
        if path not in self.names:
            raise FileNotFoundError(errno.ENOENT, "absent", path)
        return self.names[path]

    def list(self, prefix: str = "") -> list[str]:
        start = f"{prefix.rstrip('/')}/" if prefix else ""
        return sorted(path for path in self.names if path.startswith(start))

    def acquire(self) -> bool:
        if self.locked:
            return False
        self.locked = True
        return True

    def release(self) -> None:
        self.locked = False

    def background_sync(self, file: MemoryFile) -> MemorySync | None:
        return MemorySync() if self.syncs_behind else None

    def create(self, path: str) -> MemoryFile:
        self.operate("create", path)
        inode = self.names[path] = _Inode()
        return MemoryFile(self, path, inode)

    def rename(self, old: str, new: str) -> None:
        self.operate("rename", new)
        self.names[new] = self.names.pop(old)

    def remove(self, path: str) -> None:
        self.operate("remove", path)
        self.names.pop(path, None)

    def discard_directory(self, path: str) -> None:
        self.operate("remove", path)
        for name in self.list(path):
            del self.names[name]

    def sync_directory(self, path: str) -> None:
        self.operate("sync_directory", path)
        for name in {*self.names, *self.durable_names}:
            if name.rpartition("/")[0] == path:
                self._settle(name)

    def sync_all(self, paths: Iterable[str]) -> None:
        for path in paths:
            self.operate("sync", path)
            self.names[path].synced = len(self.names[path].data)
            self._settle(path)
            # The directory's own entry of a discarded subdirectory goes with it.
            around = path.rpartition("/")[0] + "/"
            for name in [
                name for name in self.durable_names if name.startswith(around) and name not in self.names
            ]:
                del self.durable_names[name]

    def _settle(self, name: str) -> None:
        if name in self.names:
            self.durable_names[name] = self.names[name]
        else:
            self.durable_names.pop(name, None)

    def after_power_cut(self, seed: int | None = None) -> MemoryLogDirectory:
        choose = random.Random(seed)
        found = MemoryLogDirectory()
        for name in sorted({*self.names, *self.durable_names}):
            inode = self.durable_names.get(name)
            if seed is not None and choose.random() < 0.5:
                inode = self.names.get(name)
            if inode is None:
                continue
            kept = inode.synced
            if seed is not None:
                kept = choose.randint(inode.synced, len(inode.data))
            copy = _Inode()
            copy.data = inode.data[:kept]
            copy.synced = kept
            found.names[name] = found.durable_names[name] = copy
        return found


class FailingFileDirectory(FileLogDirectory):
    """The real directory, whose write-ahead log starts to fail when `error` is set."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.error: OSError | None = None
        self.failures = 0

    def create(self, path: str):
        return _FailingFile(super().create(path), self)


class _FailingFile:
    def __init__(self, file, directory: FailingFileDirectory) -> None:
        self._file = file
        self._directory = directory

    def _check(self) -> None:
        if self._directory.error is not None:
            self._directory.failures += 1
            raise self._directory.error

    def write(self, data: bytes) -> None:
        self._check()
        self._file.write(data)

    def sync(self) -> None:
        self._check()
        self._file.sync()

    def write_through(self, data: bytes) -> None:
        self._check()
        self._file.write_through(data)

    def close(self) -> None:
        self._file.close()


def log_signer() -> FileSigner:
    return FileSigner.generate(EDDSA)


def open_log(directory, signer: FileSigner, *, create: bool = True, **options) -> Log:
    return Log.open(directory, origin=ORIGIN, signer=signer, clock=SystemClock(), create=create, **options)


def append(log: Log, entries: Iterable[bytes]) -> None:
    index = -1
    for entry in entries:
        index = log.submit(entry)
    if index >= 0:
        log.wait_durable_sync(index, 30)
