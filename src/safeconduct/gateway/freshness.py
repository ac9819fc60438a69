"""How old the state of a gateway may be, by the level of what is asked for (formats.md 3).

Owns the budgets and the reckoning, on a steady clock. Refuses to know how the state got here. A gateway in one process with
the record is never stale and has none of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from safeconduct.kernel.vocabulary import Level

BUDGETS: Final[Mapping[Level, float]] = {
    Level.C0: 300.0,
    Level.C1: 300.0,
    Level.C2: 10.0,
    Level.C3: 1.0,
    Level.C4: 1.0,
}
"""Seconds for which a state that was current may be acted upon, by the level that a variant requires."""

NEVER_CURRENT: Final = float("-inf")


class Freshness:
    """When the state was last known to be current. Instants are seconds of one steady clock (`Clock.monotonic`)."""

    __slots__ = ("as_of", "withdrawn")

    def __init__(self) -> None:
        self.as_of = NEVER_CURRENT
        # The gateway's own key was revoked: nothing it holds may be acted upon any more.
        self.withdrawn = False

    def confirm(self, as_of: float, now: float) -> None:
        """At `as_of` the state we hold was the newest. An instant that lies ahead counts as now; none takes it back."""
        if as_of > self.as_of:
            self.as_of = min(as_of, now)

    def age(self, now: float) -> float:
        """Seconds since the state was known to be current; infinite when it never was."""
        return max(0.0, now - self.as_of)

    def stale(self, level: Level, now: float) -> bool:
        """Whether the state is too old for what asks for this level."""
        return self.withdrawn or now - self.as_of > BUDGETS[level]

    def ends_at(self, level: Level) -> float:
        """The last instant at which the state may be acted upon for this level, as things stand."""
        return self.as_of + BUDGETS[level]
