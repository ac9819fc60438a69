"""Random bytes from the kernel, fetched in blocks.

Each call to the kernel lets go of the interpreter and may lose it to another thread for milliseconds, so a path that
needs many small random values per request fetches them together. Refuses to give any byte out twice.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable

BLOCK = 32_768
_LONGEST = 4096


class BufferedRandom:
    """`secrets.token_bytes` in blocks. Thread-safe; a forked child never repeats what its parent holds."""

    __slots__ = ("__weakref__", "_block", "_lock", "_used")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._block = b""
        self._used = 0
        # A bound method would keep this object for ever: fork handlers cannot be taken back.
        this = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _forget(this()))

    def __call__(self, size: int) -> bytes:
        """`size` random bytes."""
        if size > _LONGEST:
            return os.urandom(size)
        with self._lock:
            if self._used + size > len(self._block):
                self._block = os.urandom(BLOCK)
                self._used = 0
            start = self._used
            self._used = start + size
            return self._block[start : self._used]

    def forget(self) -> None:
        """Throw away what was fetched and not given out."""
        self._lock = threading.Lock()  # the parent's may have been held at the fork
        self._block = b""
        self._used = 0


def uniform_from(random: Callable[[int], bytes]) -> Callable[[float, float], float]:
    """Numbers spread evenly from `low` to below `high`, out of random bytes."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * int.from_bytes(random(6), "big") / (1 << 48)

    return uniform


def _forget(random: BufferedRandom | None) -> None:
    if random is not None:
        random.forget()
