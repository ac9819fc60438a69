"""Counters that several processes share: a fixed table in a mapped file, exact across processes and across a restart.

Owns the layout, the locks and what happens when a process dies in the middle. Refuses to forget: a table with no room for
a key says so (`TableFull`) instead of dropping another, and its caller denies. Knows nothing of what is counted.

    table = SharedTable.open(path, groups=4096)            # every worker opens the same file with the same size
    table.insert(key, until=now + 70, now=now)             # True exactly once: "was this proof used before?"
    table.add(key, 1, limit=100, until=window_end, now=now)  # the new count, or None when it would pass 100
    table.add(key, -3, until=window_end, now=now)          # give back what was reserved and not used
    table.get(key, now)                                    # the count; 0 when it is absent or its time is over

Layout: a header page, then groups of 64 slots; a slot is a 16-byte key, a signed 64-bit count and the millisecond until
which it counts. A key lives in the group that its hash names and nowhere else, so one lock covers everything that is done
to it. The lock is an open-file-description byte-range lock (fcntl(2), F_OFD_SETLK), which the kernel releases when the
process that holds it dies however it dies. A slot counts only while its `until` lies ahead, and `until` is written last:
a process killed at any moment leaves a slot that is either as it was, or as it was to be, or free.

After the machine itself went down the file may hold less than was acknowledged (nothing here waits for a disk). `open`
notices by the kernel's boot id, empties the table and says so (`lost_at_boot`): what the caller makes of it is its own rule.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from safeconduct.kernel.errors import InvalidInput, SafeconductError

SLOTS: Final = 64
_KEY: Final = 16
_KEYS: Final = SLOTS * _KEY
_COUNTS: Final = _KEYS
_UNTILS: Final = _KEYS + SLOTS * 8
_GROUP: Final = _KEYS + SLOTS * 16
_HEADER: Final = 4096
_MAGIC: Final = b"SCTABLE1"
_WORDS: Final = struct.Struct(f"<{SLOTS}q")
_WORD: Final = struct.Struct("<q")
_HEAD: Final = struct.Struct("<8sQ16s")
# struct flock of 64-bit Linux: type, whence, (padding,) start, length, pid (0, as an open file description lock asks).
_FLOCK: Final = struct.Struct("hhqqi4x")
# Looked up once: a request counts up to twenty times.
_flock, _set_lock, _sha256, _from_bytes = _FLOCK.pack, fcntl.fcntl, hashlib.sha256, int.from_bytes
_SETLK, _WRLCK, _UNLCK, _SET = fcntl.F_OFD_SETLK, fcntl.F_WRLCK, fcntl.F_UNLCK, os.SEEK_SET
_TRIES: Final = 2_000
_PAUSE: Final = 0.000_1
"""Seconds between two tries for a lock: a quarter of a second in all, where microseconds are usual."""
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")
_LARGEST: Final = (1 << 62) - 1


class TableFull(SafeconductError):
    """No slot is free where this key belongs: the caller must deny, or it would count wrongly."""

    kind = "table_full"


class TableBusy(SafeconductError):
    """Another process held the lock for longer than any does that runs."""

    kind = "table_busy"


def machine_boot() -> bytes:
    """16 bytes that are others after each start of the machine's kernel."""
    return hashlib.sha256(_BOOT_ID.read_bytes()).digest()[:16]


class SharedTable:
    """One table. Thread-safe; any number of processes may have it open. Not for a network file system."""

    def __init__(self, descriptor: int, groups: int, *, lost_at_boot: bool) -> None:
        """Use `open`."""
        self._descriptor = descriptor
        self._groups = groups
        self._map = mmap.mmap(descriptor, _HEADER + groups * _GROUP)
        # Open-file-description locks do not part threads that share the descriptor: this does.
        self._threads = threading.Lock()
        self.lost_at_boot = lost_at_boot

    @classmethod
    def open(cls, path: Path, *, groups: int = 4096, boot: bytes | None = None) -> SharedTable:
        """Open, or create with mode 0600. groups: of 64 slots, 2 KiB each, allocated at once.

        boot: the machine's boot (`machine_boot`), given by tests. A table that another boot left is emptied.
        Raises InvalidInput when the file is no table or has another size, OSError.
        """
        if groups < 1:
            raise InvalidInput("a table has at least one group", field="groups")
        boot = boot if boot is not None else machine_boot()
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            with _locked(descriptor, 0, 1):
                lost = _prepare(descriptor, groups, boot, path)
            return cls(descriptor, groups, lost_at_boot=lost)
        except BaseException:
            os.close(descriptor)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def capacity(self) -> int:
        """Slots in all. Plan for half of them to be taken: then no group fills up in practice (Poisson, 32 of 64)."""
        return self._groups * SLOTS

    def insert(self, key: bytes, *, until: float, now: float) -> bool:
        """True exactly once per key until `until` (seconds), whichever process asks. Raises TableFull, TableBusy."""
        return self.add(key, 1, until=until, now=now, limit=1) is not None

    def add(
        self, key: bytes, amount: int, *, until: float, now: float, limit: int | None = None
    ) -> int | None:
        """Add `amount` (it may be negative) to the key's count in one step; the new count.

        None when the new count would be above `limit`: then nothing has changed. A key that is absent, or whose time is
        over, counts from 0 and gets `until` (seconds on the caller's clock); a live key keeps the `until` it has.
        A count never falls below 0. Raises TableFull, TableBusy.
        """
        with self._threads:
            return self._add(key, amount, int(until * 1000), int(now * 1000), limit)

    def add_each(
        self,
        steps: Iterable[tuple[bytes, int]],
        amount: int,
        *,
        now: int,
        done: list[int],
        limit: int | None = None,
    ) -> bool:
        """`add` for one key after the other, each until its own moment (milliseconds, as `now`); False when one would pass
        `limit`: that one and those after it are as they were. done: the new counts are added to it, so that whoever gets
        an error knows how far it came. Raises TableFull, TableBusy.
        """
        with self._threads:
            for key, until in steps:
                total = self._add(key, amount, until, now, limit)
                if total is None:
                    return False
                done.append(total)
        return True

    def _add(self, key: bytes, amount: int, until: int, present: int, limit: int | None) -> int | None:
        """`add`, by a thread that is alone here."""
        name = _sha256(key).digest()
        base = _HEADER + _from_bytes(name[16:24], "little") % self._groups * _GROUP
        name = name[:_KEY]
        view, descriptor = self._map, self._descriptor
        _lock(descriptor, base, _GROUP)
        try:
            slot = _find(view, base, name)
            if slot >= 0:
                at = base + _UNTILS + slot * 8
                live = _WORD.unpack_from(view, at)[0] > present
                count = _WORD.unpack_from(view, base + _COUNTS + slot * 8)[0] if live else 0
            else:
                live, count = False, 0
            total = max(0, min(count + amount, _LARGEST))
            if limit is not None and total > limit:
                return None
            if live:
                # Eight aligned bytes: written whole or not at all, even by a process that is killed.
                _WORD.pack_into(view, base + _COUNTS + slot * 8, total)
                return total
            if slot < 0:
                slot = _free(view, base, present)
                if slot < 0:
                    raise TableFull("the shared table has no room for this key", remedy="use a larger table")
            at = base + _UNTILS + slot * 8
            # INVARIANT: free, then key and count, then `until`: a writer killed in between leaves a free slot.
            _WORD.pack_into(view, at, 0)
            view[base + slot * _KEY : base + (slot + 1) * _KEY] = name
            _WORD.pack_into(view, base + _COUNTS + slot * 8, total)
            _WORD.pack_into(view, at, until)
            return total
        finally:
            _set_lock(descriptor, _SETLK, _flock(_UNLCK, _SET, base, _GROUP, 0))

    def get(self, key: bytes, now: float) -> int:
        """The key's count; 0 when it is absent or its time is over. Raises TableBusy."""
        name = hashlib.sha256(key).digest()
        base = _HEADER + int.from_bytes(name[16:24], "little") % self._groups * _GROUP
        with self._threads, _locked(self._descriptor, base, _GROUP):
            slot = _find(self._map, base, name[:_KEY])
            if slot < 0 or _WORD.unpack_from(self._map, base + _UNTILS + slot * 8)[0] <= int(now * 1000):
                return 0
            count: int = _WORD.unpack_from(self._map, base + _COUNTS + slot * 8)[0]
            return count

    def live(self, now: float) -> int:
        """Keys whose time is not over; reads the whole table, so it is for tests and metrics. Takes no lock."""
        present = int(now * 1000)
        return sum(
            sum(until > present for until in _WORDS.unpack_from(self._map, base + _UNTILS))
            for base in range(_HEADER, _HEADER + self._groups * _GROUP, _GROUP)
        )

    def close(self) -> None:
        """Unmap and close; what was counted stays in the file."""
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            self._map.close()
            os.close(descriptor)


def _prepare(descriptor: int, groups: int, boot: bytes, path: Path) -> bool:
    """Make the file a table of this size and boot; True when an earlier boot's counts were dropped."""
    size = _HEADER + groups * _GROUP
    head = os.pread(descriptor, _HEAD.size, 0)
    fresh = os.fstat(descriptor).st_size == 0 or not any(head)
    if not fresh:
        magic, slots, made = _HEAD.unpack(head.ljust(_HEAD.size, b"\0"))
        if magic != _MAGIC or slots != groups * SLOTS:
            raise InvalidInput(
                "not a table of this size", field=str(path), remedy="remove it while no worker runs"
            )
        if made == boot:
            return False
    # Emptied first and named after: a process killed in between leaves a file without a header, which is emptied again.
    os.ftruncate(descriptor, 0)
    # Allocated, not sparse: a write into a hole of a mapped file on a full disk kills the process (SIGBUS).
    os.posix_fallocate(descriptor, 0, size)
    os.pwrite(descriptor, _HEAD.pack(_MAGIC, groups * SLOTS, boot), 0)
    return not fresh


def _find(view: mmap.mmap, base: int, name: bytes) -> int:
    start = base
    end = base + _KEYS
    while True:
        at = view.find(name, start, end)
        if at < 0:
            return -1
        slot, off = divmod(at - base, _KEY)
        if off == 0:
            return slot
        start = at + 1


def _free(view: mmap.mmap, base: int, present: int) -> int:
    for slot, until in enumerate(_WORDS.unpack_from(view, base + _UNTILS)):
        if until <= present:
            return slot
    return -1


def _lock(descriptor: int, start: int, length: int) -> None:
    """Take an exclusive lock on a range of the file. Raises TableBusy instead of waiting for a process that was stopped."""
    taking = _flock(_WRLCK, _SET, start, length, 0)
    tries = 0
    while True:
        try:
            _set_lock(descriptor, _SETLK, taking)
        except (BlockingIOError, PermissionError):
            tries += 1
            if tries > _TRIES:
                raise TableBusy(
                    "another process does not release the shared table",
                    remedy="look for a worker that was stopped, and end it",
                ) from None
            time.sleep(_PAUSE)
        else:
            return


@contextlib.contextmanager
def _locked(descriptor: int, start: int, length: int) -> Iterator[None]:
    """Hold an exclusive lock on a range of the file. Raises TableBusy."""
    _lock(descriptor, start, length)
    try:
        yield
    finally:
        _set_lock(descriptor, _SETLK, _flock(_UNLCK, _SET, start, length, 0))
