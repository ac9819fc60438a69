"""Callbacks on the event loop once entries of the decision log are durable, in order, one wake-up for a whole group."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable

from safeconduct.app.decision_log import EntryLog


class Durability:
    """Calls back on the event loop when entries are durable, in order, with one wake-up for a whole group.

    A callback gets True, or False when the entry never will be durable. Used from the loop's thread only.
    """

    __slots__ = ("_armed", "_log", "_loop", "_thread", "_waiting")

    def __init__(self, log: EntryLog, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self._loop = loop
        self._thread = threading.get_ident()
        self._waiting: deque[tuple[int, Callable[[bool], None]]] = deque()
        self._armed = False

    def when_durable(self, index: int, callback: Callable[[bool], None]) -> None:
        """Call back once entry `index` is durable: at once when it is already."""
        if index < self._log.durable_size and not self._waiting:
            callback(True)
            return
        self._waiting.append((index, callback))
        if not self._armed:
            self._arm()

    def _arm(self) -> None:
        self._armed = True
        self._log.on_durable(self._waiting[0][0], self._notified)

    def _notified(self, _outcome: BaseException | None) -> None:
        try:
            if threading.get_ident() == self._thread:
                self._loop.call_soon(self._settle)
            else:
                self._loop.call_soon_threadsafe(self._settle)
        except RuntimeError:  # the loop is closed: nobody waits any more
            return

    def _settle(self) -> None:
        self._armed = False
        waiting = self._waiting
        while waiting and waiting[0][0] < self._log.durable_size:
            self._call(waiting.popleft()[1], True)
        if self._log.failed is not None:
            while waiting:
                self._call(waiting.popleft()[1], False)
        if waiting and not self._armed:
            self._arm()

    def _call(self, callback: Callable[[bool], None], durable: bool) -> None:
        try:
            callback(durable)
        except Exception as error:  # noqa: BLE001 - one waiter that fails must not keep the others waiting
            self._loop.call_exception_handler({"message": "a waiter for the log failed", "exception": error})
