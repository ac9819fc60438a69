"""Writes a log's groups from an event loop, with no thread in between.

A thread that writes must take the interpreter from the loop for each group and give it back: at a thousand groups a second that
costs a gateway more than the writing. Here the loop appends a frame, which only fills the page cache, has the kernel sync it
in the background and reads from a descriptor that it is done. Owns when a group is written; what a group is, and what
becomes of it, is `Log`'s. Refuses to have two syncs under way: a frame is written after the one before is durable.
"""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from safeconduct.audit.files import BackgroundSync

if TYPE_CHECKING:
    from safeconduct.audit.group_commit import Group, GroupCommit


class LoopWriter:
    """The writer of one log while an event loop drives it. Made by `Log.drive`, on the loop's thread."""

    def __init__(self, log: GroupCommit, loop: asyncio.AbstractEventLoop, sync: BackgroundSync) -> None:
        self._log = log
        self._loop = loop
        self._sync = sync
        self._thread = threading.get_ident()
        # Held while a group is written or found durable; `stop` may come from another thread.
        self._turning = threading.RLock()
        self._flying: Group | None = None
        self._soon = False
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False
        loop.add_reader(sync.fileno(), self._synced)

    @property
    def here(self) -> bool:
        """The caller is on the loop's thread."""
        return threading.get_ident() == self._thread and not self._loop.is_closed()

    @property
    def ended(self) -> bool:
        """The loop was closed: nothing is written here any more."""
        return self._loop.is_closed()

    def due_in(self, seconds: float) -> bool:
        """What is pending is to be written in so many seconds, 0 for now. From any thread; does not block.

        False when the loop is closed.
        """
        if not self.here:
            try:
                self._loop.call_soon_threadsafe(self._turn)
            except RuntimeError:
                return False
        elif self._flying is not None or self._soon:
            pass  # looked at again when the sync has finished, or in a moment
        elif seconds <= 0.0:
            self._soon = True
            self._loop.call_soon(self._turn)
        else:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_later(seconds, self._turn)
        return True

    def _turn(self) -> None:
        self._soon = False
        with self._turning:
            if self._flying is None and not self._stopped:
                self._write()

    def _write(self) -> None:
        log = self._log
        group = log.take_group()
        if not isinstance(group, float):
            try:
                log.segments.append_behind(group.entries, group.first)
                self._sync.start(log.segments.file)
            except BaseException as error:  # noqa: BLE001 - any surprise in here must deny, never hang those who wait
                log.fail(error)
                return
            self._flying = group
        elif group > 0.0:
            self.due_in(group)

    def _synced(self) -> None:
        with self._turning:
            if self._settle(wait=False) and not self._stopped:
                self._write()

    def _settle(self, *, wait: bool) -> bool:
        """Whether nothing is under way any more."""
        group = self._flying
        if group is None:
            return True
        log = self._log
        try:
            if not self._sync.finished(wait=wait):
                return False
            log.check_epoch()
        except BaseException as error:  # noqa: BLE001 - as above
            self._flying = None
            log.fail(error)
            return True
        self._flying = None
        log.group_durable(group)
        return True

    def finish(self) -> None:
        """Block until everything submitted so far is durable or never will be. On the loop's thread."""
        with self._turning:
            log = self._log
            end = log.size
            while log.failed is None and log.durable_size < end:
                if self._flying is None:
                    log.hurry(at_once=True)
                    self._write()
                self._settle(wait=True)

    def stop(self) -> None:
        """Leave the log to its thread. From any thread."""
        with self._turning:
            if self._stopped:
                return
            self._stopped = True
            self._settle(wait=True)
        if self.here:
            self._release()
            return
        try:
            self._loop.call_soon_threadsafe(self._release)
        except RuntimeError:  # the loop is closed: nobody reads the descriptor any more
            self._sync.close()

    def _release(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if not self._loop.is_closed():
            self._loop.remove_reader(self._sync.fileno())
        self._sync.close()
