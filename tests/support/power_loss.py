"""A recorded run of the log on real files, and what a machine finds that loses its power at any operation of it.

`Recorder` notes every system call of `storage.log_files` below one directory. `survivors` plays the notes back onto a model of
a file system that keeps only what was promised: bytes covered by a completed fdatasync, fsync, syncfs or RWF_DSYNC write, and
names covered by an fsync of their directory. All else may be there or not, whole or torn; a seed chooses.
"""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import sys
import threading
from pathlib import Path
from typing import Any

from tests.support.log_directories import MemoryLogDirectory, _Inode

from safeconduct.storage import log_files

SOURCE = os.sep + "safeconduct" + os.sep
STORAGE = "log_files.py"


class Operation:
    """kind: create write sync_file sync_directory sync_all rename remove remove_tree make_directory, or mark (of the test)."""

    __slots__ = ("data", "inode", "kind", "path", "site")

    def __init__(self, kind: str, path: str = "", inode: int = -1, data: Any = None, site: str = "") -> None:
        self.kind = kind
        self.path = path
        self.inode = inode
        self.data = data
        self.site = site

    def __repr__(self) -> str:
        return f"{self.kind} {self.path} {self.site}"


def call_site(path: str) -> str:
    """Where the product asked for this sync: the statement outside of `log_files`, and what kind of file it was for."""
    frame = sys._getframe(2)
    inner = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if SOURCE in name and "tests" not in name:
            if not name.endswith(STORAGE):
                kind = path.split("/", maxsplit=1)[0].split(".", maxsplit=1)[0] or "root"
                return f"{Path(name).name}:{frame.f_code.co_name}:{frame.f_lineno} {inner} of {kind}"
            inner = frame.f_code.co_name
        frame = frame.f_back
    raise AssertionError("a sync that nobody of ours asked for")


class Recorder:
    """Notes what happens below `root`, in the order in which it happened, from all threads."""

    def __init__(self, root: Path, monkeypatch) -> None:
        self.root = os.fspath(root)
        self.operations: list[Operation] = []
        self._lock = threading.RLock()
        self._files: dict[int, int] = {}  # descriptor -> inode
        self._directories: dict[int, str] = {}
        self._inodes = 0
        self._by_path: dict[str, int] = {}
        self._removing = threading.local()
        for name in ("open", "write", "pwritev", "fdatasync", "fsync", "rename", "unlink", "mkdir", "close"):
            self._wrap(monkeypatch, name)
        tree = shutil.rmtree

        def rmtree(path, *given, **more):
            inside = self._inside(path)
            self._removing.now = True
            try:
                tree(path, *given, **more)
            finally:
                self._removing.now = False
            if inside is not None:
                self._note(Operation("remove_tree", inside))

        monkeypatch.setattr(shutil, "rmtree", rmtree)
        library = ctypes.CDLL

        def cdll(*given, **more):
            found = library(*given, **more)

            class Calls:
                @staticmethod
                def syncfs(descriptor):
                    done = found.syncfs(descriptor)
                    self._note(Operation("sync_all", site=call_site("tile/")))
                    return done

            return Calls

        monkeypatch.setattr(log_files.ctypes, "CDLL", cdll)

    def mark(self, value: Any) -> None:
        """What the test saw at this moment: an acknowledgement, a checkpoint."""
        self._note(Operation("mark", data=value))

    def _note(self, operation: Operation) -> None:
        with self._lock:
            self.operations.append(operation)

    def _inside(self, path: Any) -> str | None:
        text = os.fspath(path) if not isinstance(path, int) else ""
        if text == self.root:
            return ""
        return text[len(self.root) + 1 :] if text.startswith(self.root + "/") else None

    def _wrap(self, monkeypatch, name: str) -> None:
        real = getattr(os, name)
        note = getattr(self, f"_after_{name}")

        def call(*given, **more):
            if more.get("dir_fd") is not None or getattr(self._removing, "now", False):
                return real(*given, **more)
            with self._lock:
                found = real(*given, **more)
                note(found, *given)
            return found

        monkeypatch.setattr(os, name, call)

    def _after_open(self, descriptor, path, flags, *_):
        inside = self._inside(path)
        if inside is None:
            return
        if flags & os.O_DIRECTORY or os.path.isdir(path):
            self._directories[descriptor] = inside
        elif flags & (os.O_WRONLY | os.O_RDWR) and inside != "lock":
            self._inodes += 1
            self._files[descriptor] = self._inodes
            self._by_path[inside] = self._inodes
            self.operations.append(Operation("create", inside, self._inodes))
        elif inside in self._by_path:
            self._files[descriptor] = self._by_path[inside]

    def _path_of(self, inode: int) -> str:
        return next((path for path, one in self._by_path.items() if one == inode), "")

    def _after_write(self, count, descriptor, data, *_):
        if descriptor in self._files:
            self.operations.append(Operation("write", "", self._files[descriptor], bytes(data[:count])))

    def _after_pwritev(self, count, descriptor, buffers, _offset, flags=0):
        if descriptor in self._files:
            inode = self._files[descriptor]
            self.operations.append(Operation("write", "", inode, b"".join(map(bytes, buffers))[:count]))
            if flags & os.RWF_DSYNC:
                self.operations.append(
                    Operation("sync_file", "", inode, site=call_site(self._path_of(inode)))
                )

    def _after_fdatasync(self, _none, descriptor):
        self._synced(descriptor)

    def _after_fsync(self, _none, descriptor):
        self._synced(descriptor)

    def _synced(self, descriptor):
        if descriptor in self._files:
            inode = self._files[descriptor]
            path = self._path_of(inode)
            self.operations.append(Operation("sync_file", path, inode, site=call_site(path)))
        elif descriptor in self._directories:
            path = self._directories[descriptor]
            self.operations.append(Operation("sync_directory", path, site=call_site(path)))

    def _after_rename(self, _none, old, new):
        before, after = self._inside(old), self._inside(new)
        if before is not None and after is not None:
            self._by_path[after] = self._by_path.pop(before)
            self.operations.append(Operation("rename", before, data=after))

    def _after_unlink(self, _none, path):
        inside = self._inside(path)
        if inside is not None:
            self._by_path.pop(inside, None)
            self.operations.append(Operation("remove", inside))

    def _after_mkdir(self, _none, path, *_):
        inside = self._inside(path)
        if inside:
            self.operations.append(Operation("make_directory", inside))

    def _after_close(self, _none, descriptor):
        self._files.pop(descriptor, None)
        self._directories.pop(descriptor, None)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]


class Disk:
    """The model: what was written, and what of it is promised. `ignored`: a call site whose syncs do nothing."""

    def __init__(self, ignored: str = "") -> None:
        self.ignored = ignored
        self.data: dict[int, bytearray] = {}
        self.synced: dict[int, int] = {}
        self.names: dict[str, int] = {}
        self.durable: dict[str, int] = {}
        self.folders: set[str] = {""}
        self.durable_folders: set[str] = {""}

    def apply(self, operation: Operation) -> None:
        kind, path, inode = operation.kind, operation.path, operation.inode
        if kind == "create":
            self.data[inode] = bytearray()
            self.synced[inode] = 0
            self.names[path] = inode
        elif kind == "write":
            self.data[inode] += operation.data
        elif kind == "rename":
            self.names[operation.data] = self.names.pop(path)
        elif kind == "remove":
            self.names.pop(path, None)
        elif kind == "make_directory":
            self.folders.add(path)
        elif kind == "remove_tree":
            for name in [name for name in self.names if name.startswith(path + "/")]:
                del self.names[name]
            self.folders = {one for one in self.folders if one != path and not one.startswith(path + "/")}
        elif kind == "mark" or operation.site == self.ignored:
            return
        elif kind == "sync_file":
            self.synced[inode] = len(self.data[inode])
        elif kind == "sync_directory":
            self._settle(path)
        elif kind == "sync_all":
            self.synced = {one: len(data) for one, data in self.data.items()}
            self.durable = dict(self.names)
            self.durable_folders = set(self.folders)

    def _settle(self, folder: str) -> None:
        for name in {*self.names, *self.durable}:
            if _parent(name) == folder:
                if name in self.names:
                    self.durable[name] = self.names[name]
                else:
                    self.durable.pop(name, None)
        for one in {*self.folders, *self.durable_folders}:
            if one and _parent(one) == folder:
                (self.durable_folders.add if one in self.folders else self.durable_folders.discard)(one)

    def after_power_cut(self, seed: int) -> dict[str, bytes]:
        """Names and contents that are found. Seed 0: nothing unpromised; 1: every name, no unpromised byte; else by chance."""
        choose = random.Random(seed)
        found = {}
        folders = {
            one
            for one in sorted(self.folders | self.durable_folders)
            if one in self.durable_folders or seed == 1 or (seed > 1 and choose.random() < 0.5)
        }
        for name in sorted({*self.names, *self.durable}):
            inode = self.durable.get(name)
            if seed == 1 or (seed > 1 and choose.random() < 0.5):
                inode = self.names.get(name)
            folder = _parent(name)
            reachable = True
            while folder:
                reachable &= folder in folders
                folder = _parent(folder)
            if inode is None or not reachable:
                continue
            kept = self.synced[inode]
            if seed > 1:
                kept = choose.randint(kept, len(self.data[inode]))
            found[name] = bytes(self.data[inode][:kept])
        return found


def found_directory(files: dict[str, bytes]) -> MemoryLogDirectory:
    """A directory to recover from, with these files in it."""
    directory = MemoryLogDirectory()
    for name, data in files.items():
        inode = _Inode()
        inode.data = bytearray(data)
        inode.synced = len(data)
        directory.names[name] = directory.durable_names[name] = inode
    return directory
