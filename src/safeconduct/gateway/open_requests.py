"""Requests under way, and which of them a change of state ends.

Owns the rule of formats.md 7: a directive says itself what becomes of requests in flight (`cut | finish | drain`); whatever
else turns a permit into a denial (a revocation, a suspension, a grant that ended, a clock that ran out) cuts. Refuses to
decide: the decision is made again, on the very request that was permitted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Protocol

from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny
from safeconduct.kernel.vocabulary import InFlight
from safeconduct.record.state import State

Decide = Callable[[DecisionRequest, State, int], Decision]


class OpenRequest(Protocol):
    """A permitted request that has not ended.

    valid_until: seconds since the epoch; from then on its permit says nothing.
    """

    request: DecisionRequest
    valid_until: int

    def cut(self, deny: Deny) -> None:
        """End it now, telling the caller why."""
        ...


def ends_in_flight(deny: Deny, state: State) -> bool:
    """Whether a denial ends requests that were permitted before it."""
    for reason in deny.reasons:
        if reason.directive is not None:
            directive = state.directives.get(reason.directive)
            if directive is None or directive.imported.in_flight is InFlight.CUT:
                return True
        else:
            return True
    return False


class OpenRequests:
    """The set of them. Used from the event loop's thread only."""

    def __init__(self) -> None:
        self._open: set[OpenRequest] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, request: OpenRequest) -> None:
        """A request was permitted."""
        self._open.add(request)

    def remove(self, request: OpenRequest) -> None:
        """It ended, however."""
        self._open.discard(request)

    def snapshot(self) -> list[OpenRequest]:
        """Those open now."""
        return list(self._open)

    def expired(self, now: int) -> list[OpenRequest]:
        """Those whose permit has run out by the clock, for `recheck`."""
        return [each for each in self._open if each.valid_until <= now]

    def recheck(self, requests: Iterable[OpenRequest], state: State, now: int, decide: Decide) -> int:
        """Decide again; cut those that are denied and not let go by their directive. Returns how many were cut."""
        cut = 0
        failures: list[Exception] = []
        for each in requests:
            if each not in self._open:
                continue
            outcome = decide(each.request, state, now)
            each.valid_until = outcome.valid_until
            if isinstance(outcome, Deny) and ends_in_flight(outcome, state):
                self.remove(each)
                try:
                    each.cut(outcome)
                except Exception as error:  # noqa: BLE001 - one that fails must not keep the others open
                    failures.append(error)
                cut += 1
        if failures:
            raise failures[0]
        return cut
