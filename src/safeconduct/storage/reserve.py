"""Disk space that only the record can use: a preallocated file beside it, given back piece by piece when the disk is full.

Owns the reserve and the directory that draws on it. A write that the disk refused for want of space wrote nothing, so it may be
repeated once room was made; a sync is never repeated.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from safeconduct.storage.log_files import AppendFile, FileLogDirectory

RESERVE_BYTES = 4 * 1024 * 1024
PIECE = 128 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT)
_T = TypeVar("_T")


def free_bytes(path: Path) -> int:
    """Bytes that an ordinary process may still write on the file system of `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize


def used_bytes(path: Path) -> int:
    """Bytes of all files below `path`."""
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += os.lstat(f"{directory}/{name}").st_size
            except FileNotFoundError:
                continue
    return total


class Reserve:
    """The preallocated file. Not thread-safe beyond single calls; the record's writer and publisher may both draw."""

    def __init__(self, path: Path, size: int = RESERVE_BYTES) -> None:
        self.path = path
        self.size = size

    def fill(self) -> bool:
        """Allocate what is missing, where the disk has room for twice as much. Returns whether all of it is there."""
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            present = os.fstat(descriptor).st_size
            if present < self.size and free_bytes(self.path.parent) > 2 * (self.size - present):
                # From the beginning: a hole that a copy of the directory made is filled as well.
                os.posix_fallocate(descriptor, 0, self.size)
                os.fsync(descriptor)
            return os.fstat(descriptor).st_size >= self.size
        except OSError as error:
            if error.errno in _FULL:
                return False
            raise
        finally:
            os.close(descriptor)

    def give(self) -> bool:
        """Give a piece back to the disk; False when nothing is left."""
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return False
        try:
            present = os.fstat(descriptor).st_size
            if present == 0:
                return False
            os.ftruncate(descriptor, max(0, present - PIECE))
        finally:
            os.close(descriptor)
        return True


class ReservedLogDirectory(FileLogDirectory):
    """The record's directory: whatever the full disk refuses is tried again with a piece of the reserve."""

    def __init__(self, root: Path | str, reserve: Reserve) -> None:
        super().__init__(root)
        self._reserve = reserve

    def create(self, path: str) -> AppendFile:
        """A new empty file, mode 0600."""
        file = self._with_room(lambda: super(ReservedLogDirectory, self).create(path))
        return ReservedFile(file.detach(), self._reserve)

    def rename(self, old: str, new: str) -> None:
        """Move atomically."""
        self._with_room(lambda: super(ReservedLogDirectory, self).rename(old, new))

    def _with_room(self, work: Callable[[], _T]) -> _T:
        while True:
            try:
                return work()
            except OSError as error:
                if error.errno not in _FULL or not self._reserve.give():
                    raise


class ReservedFile(AppendFile):
    """A file of the record."""

    __slots__ = ("_reserve",)

    def __init__(self, descriptor: int, reserve: Reserve) -> None:
        super().__init__(descriptor)
        self._reserve = reserve

    def write(self, data: bytes) -> None:
        """Append all of `data`. Raises OSError when the disk is full and the reserve used up."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._descriptor, view) :]
            except OSError as error:
                if error.errno not in _FULL or not self._reserve.give():
                    raise

    def write_through(self, data: bytes) -> None:
        """`write`, then `sync`: apart, since only the write may be repeated."""
        self.write(data)
        self.sync()
