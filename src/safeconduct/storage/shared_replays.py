"""The memory of used DPoP proofs in a shared table: a proof counts once at all workers of a node, and across a restart.

Implements `passport.dpop.ProofReplays`. Refuses proofs when it cannot know whether they were used.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from safeconduct.kernel.errors import SafeconductError, VerificationFailed
from safeconduct.passport.dpop import LEEWAY_SECONDS, PROOF_SECONDS
from safeconduct.storage.shared_table import SharedTable

REPLAY_GROUPS = 16_384
"""Half a million proofs at a time in 32 MiB: 7,000 a second, each remembered for 70."""
SPAN = PROOF_SECONDS + 2 * LEEWAY_SECONDS
"""Seconds from the first use of a proof until it can no longer be accepted."""


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SharedReplays:
    """Proofs used, in `table`. uptime: seconds since the machine's start."""

    def __init__(self, table: SharedTable, uptime: Callable[[], float] = _uptime) -> None:
        self._table = table
        self._uptime = uptime
        # Whatever was accepted before the machine went down may be missing; once it is up for longer than a proof
        # lives, none of that could be accepted anyway.
        self._doubtful = table.lost_at_boot

    def first_use(self, key: bytes, now: float) -> bool:
        """True exactly once per key within the time a proof is accepted. Raises VerificationFailed when it cannot tell."""
        if self._doubtful:
            left = SPAN - self._uptime()
            if left > 0:
                raise VerificationFailed(
                    "the machine has just started and cannot know which proofs were used",
                    step="replay",
                    code="BINDING_MISSING",
                    remedy=f"try again in {int(left) + 1} s",
                )
            self._doubtful = False
        try:
            return self._table.insert(key, until=now + SPAN, now=now)
        except SafeconductError as error:
            raise VerificationFailed(
                "too many requests to tell a repeated proof from a new one",
                step="replay",
                code="BINDING_MISSING",
                remedy="try again in a minute",
            ) from error
