"""The last answers, so that the same question costs a look-up.

Owns how long an answer may be given again: while the state is the very same object and the clock is within the moment it
was made and its `valid_until`. Refuses to outlive either, so a revocation or an order is never answered from here.
"""

from __future__ import annotations

from safeconduct.decision.evaluation import decide
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision
from safeconduct.record.state import State


class DecisionCache:
    """At most `limit` answers under one state. Not shared between threads."""

    __slots__ = ("_answers", "_limit", "_state", "hits", "misses")

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = max(1, limit)
        self._state: State | None = None
        self._answers: dict[DecisionRequest, tuple[int, int, Decision]] = {}
        self.hits = 0
        self.misses = 0

    def decide(self, request: DecisionRequest, state: State, now: int) -> Decision:
        """`decision.evaluation.decide`, from memory where that gives the same answer."""
        answers = self._answers
        if state is self._state:
            known = answers.get(request)
            if known is not None and known[0] <= now < known[1]:
                self.hits += 1
                return known[2]
        else:
            answers.clear()
            self._state = state
        self.misses += 1
        decision = decide(request, state, now)
        if len(answers) >= self._limit and request not in answers:
            # Oldest first: dicts keep the order of insertion.
            del answers[next(iter(answers))]
        answers[request] = (now, decision.valid_until, decision)
        return decision

    def __len__(self) -> int:
        return len(self._answers)
