"""Who waits for entries to become durable, and how they are told.

Owns the bookkeeping of one group commit's waiters; decides nothing about durability. One wake-up per event loop and group, not
one per waiter.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable

from safeconduct.kernel.errors import LogUnavailable

_logger = logging.getLogger(__name__)

DurableCallback = Callable[[BaseException | None], None]


class Waiters:
    """Who waits for one group: futures by event loop (one wake-up per loop), and plain callbacks."""

    __slots__ = ("callbacks", "futures")

    def __init__(self) -> None:
        self.futures: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        self.callbacks: list[DurableCallback] = []

    def notify(self, failure: Callable[[], LogUnavailable] | None) -> None:
        """Tell everyone; `failure` makes one error for each who waited in vain. Called from the writer thread."""
        for loop, futures in self.futures.items():
            try:
                loop.call_soon_threadsafe(_settle, futures, failure)
            except RuntimeError:  # the loop was closed: nobody waits there any more
                continue
        for callback in self.callbacks:
            call_back(callback, failure() if failure else None)


def _settle(futures: list[asyncio.Future[None]], failure: Callable[[], LogUnavailable] | None) -> None:
    if failure is None:
        for future in futures:
            if not future.done():
                future.set_result(None)
    else:
        for future in futures:
            if not future.done():
                future.set_exception(failure())


def call_back(callback: DurableCallback, outcome: BaseException | None) -> None:
    """Tell one caller; its mistake is logged and goes no further."""
    try:
        callback(outcome)
    except Exception:  # a caller's mistake must not end the log
        _logger.exception("a callback for a durable entry failed")


def block_until_durable(
    on_durable: Callable[[int, DurableCallback], None], index: int, timeout: float | None
) -> None:
    """Block until the entry is durable. timeout: seconds. Raises its outcome (LogUnavailable), InvalidInput, TimeoutError."""
    done = threading.Event()
    outcomes: list[BaseException | None] = []

    def finish(outcome: BaseException | None) -> None:
        outcomes.append(outcome)
        done.set()

    on_durable(index, finish)
    if not done.wait(timeout):
        raise TimeoutError(f"entry {index} is not durable after {timeout} s")
    if outcomes[0] is not None:
        raise outcomes[0]
