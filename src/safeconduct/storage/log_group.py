"""One key for the decision logs of several processes, and its change while some of them write and others sleep.

Owns the order to change (`<data>/decisions/key-order.json`) and when it is carried out: a process that has its log open takes the
new key up by itself; a log that nobody has open is changed here. Refuses to put the new key in the old one's place, and so to destroy
the old one, before every log has its handover signed by both: a log that was left out could never be opened again.

    group.change_key(after, by=..., cause=...)     # whoever was told to rotate; returns when all have the new key
    with group.opening(): Log.open(..., signer=group.signer_for("worker-2"))   # a process that begins
    group.wanted()                                  # the key that every log of the group should have, asked now and then
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from safeconduct.audit.key_history import KEY_HISTORY, read_key_history
from safeconduct.audit.recovery import CHECKPOINT
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict, LogCorrupt, LogUnavailable, VerificationFailed
from safeconduct.kernel.signing import Signer, thumbprint
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory

ORDER = "key-order.json"
LOCK = "key-order.lock"
CHANGE_SECONDS = 20.0
_PAUSE = 0.05


class KeyOrder(msgspec.Struct, frozen=True):
    """That the logs are to change to the key of this thumbprint, which waits in the key directory. by, cause: for the record."""

    thumbprint: str
    by: str
    cause: str


def newest_log_key(path: Path, origin: str) -> str | None:
    """Thumbprint of the newest key in a log's key history, None while it has its first. Raises LogCorrupt."""
    try:
        changes = read_key_history(FileLogDirectory(path).read(KEY_HISTORY), origin)
    except FileNotFoundError:
        return None
    except VerificationFailed as error:
        raise LogCorrupt(error.message, field=str(path / KEY_HISTORY), remedy="restore the file") from None
    return changes[-1].new.key.thumbprint if changes else None


class LogGroup:
    """The logs `<directory>/<process>/log`, all signed by the key `name`. origin_of: a log's origin by its process."""

    def __init__(
        self,
        directory: Path,
        keys: KeyDirectory,
        name: str,
        *,
        origin_of: Callable[[str], str],
        clock: Clock,
        patience: float = CHANGE_SECONDS,
    ) -> None:
        self.name = name
        self._directory = directory
        self._keys = keys
        self._origin_of = origin_of
        self._clock = clock
        self._patience = patience

    # -- processes that have a log open --------------------------------------------------------------------------

    @contextlib.contextmanager
    def opening(self) -> Iterator[None]:
        """While a process chooses its key and opens its log, the old key is not destroyed."""
        with self._locked(fcntl.LOCK_SH):
            yield

    def signer_for(self, process: str) -> Signer:
        """The key under which the log of a process is now."""
        newest = newest_log_key(self._directory / process / "log", self._origin_of(process))
        waiting = self._keys.pending(self.name)
        if waiting is not None and newest == _thumbprint(waiting):
            return waiting
        return self._keys.signer(self.name)

    def wanted(self, present: str) -> Signer | None:
        """The key to change to, for a log whose key has the thumbprint `present`; None when it has the right one."""
        order = self.order()
        if order is not None and order.thumbprint != present:
            waiting = self._keys.pending(self.name)
            if waiting is not None and _thumbprint(waiting) == order.thumbprint:
                return waiting
        if order is not None:
            return None
        signer = self._keys.signer(self.name)
        return signer if _thumbprint(signer) != present else None

    # -- whoever rotates -----------------------------------------------------------------------------------------

    def has_key(self) -> bool:
        """Whether there ever was a log of this group."""
        return self._keys.has(self.name)

    def awake(self) -> list[str]:
        """Processes that have their log open."""
        found = []
        with self._locked(fcntl.LOCK_EX):
            for process in self._logs():
                directory = FileLogDirectory(self._directory / process / "log")
                if directory.acquire():
                    directory.release()
                else:
                    found.append(process)
        return found

    def order(self) -> KeyOrder | None:
        """The order that is being carried out. Raises LogCorrupt."""
        try:
            return msgspec.json.decode((self._directory / ORDER).read_bytes(), type=KeyOrder)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise LogCorrupt(str(error), field=str(self._directory / ORDER)) from None

    def settle(self) -> None:
        """At a start: drop a key that waits though nobody was ordered to take it up, and an order that was carried out.

        A key that was ordered goes on waiting: some logs may be under it already.
        """
        if self.order() is None:
            self._keys.settle(self.name, None)
        elif self._keys.pending(self.name) is None:
            (self._directory / ORDER).unlink()

    def change_key(self, after: Signer, *, by: str, cause: str) -> None:
        """Change every log of the group to `after`, which waits in the key directory, and put it in its place.

        Can be repeated, and goes on where it was left. Raises Conflict (a process has not taken it up yet; it will, and the
        order stands), LogUnavailable, LogCorrupt.
        """
        aim = _thumbprint(after)
        order = self.order()
        if order is not None and order.thumbprint != aim:
            raise Conflict(
                "another change of this key is under way", field=self.name, remedy="finish that one"
            )
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if order is None:
            _write_durably(self._directory / ORDER, msgspec.json.encode(KeyOrder(aim, by, cause)))
        end = self._clock.monotonic() + self._patience
        while True:
            left = [process for process in self._logs() if not self._has(process, aim)]
            left = [process for process in left if not self._change_sleeping(process, after)]
            if not left:
                with self._locked(fcntl.LOCK_EX):
                    # Looked at again: a process may have begun a log meanwhile. None can as long as this lock is held.
                    if all(self._has(process, aim) for process in self._logs()):
                        self._keys.activate(self.name)
                        (self._directory / ORDER).unlink()
                        return
            elif self._clock.monotonic() > end:
                raise Conflict(
                    f"{', '.join(left)} did not take up the new key yet",
                    field=self.name,
                    remedy="the old key is kept until they have; see their service log, then repeat the command",
                )
            time.sleep(_PAUSE)

    def _logs(self) -> list[str]:
        """Processes whose log has a checkpoint: without one nothing of it was ever signed."""
        return sorted(path.parent.parent.name for path in self._directory.glob(f"*/log/{CHECKPOINT}"))

    def _has(self, process: str, aim: str) -> bool:
        return newest_log_key(self._directory / process / "log", self._origin_of(process)) == aim

    def _change_sleeping(self, process: str, after: Signer) -> bool:
        """Change a log that nobody has open; False when somebody has."""
        # The process whose log it is may begin at this moment: it waits, instead of meeting a second writer.
        with self._locked(fcntl.LOCK_EX):
            try:
                log = Log.open(
                    FileLogDirectory(self._directory / process / "log"),
                    origin=self._origin_of(process),
                    signer=self.signer_for(process),
                    clock=self._clock,
                )
            except LogUnavailable as error:
                if error.field == "lock":
                    return False
                raise
            try:
                if log.verifier.key.thumbprint != _thumbprint(after):
                    log.change_key(after)
            finally:
                log.close()
        return True

    @contextlib.contextmanager
    def _locked(self, how: int) -> Iterator[None]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(
            self._directory / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600
        )
        try:
            fcntl.flock(descriptor, how)
            yield
        finally:
            os.close(descriptor)


def _thumbprint(signer: Signer) -> str:
    return thumbprint(signer.public_jwk())


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(path.name + ".tmp")
    descriptor = os.open(temporary, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
