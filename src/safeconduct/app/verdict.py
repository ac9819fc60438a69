"""A decision on a request, as it goes from the node that made it to the listener that acts on it."""

from __future__ import annotations

from typing import Protocol

from safeconduct.app.decision_entries import PreparedDecision
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny, Reason
from safeconduct.gateway.quotas import Bill
from safeconduct.gateway.routes import Route
from safeconduct.passport.principal import Principal
from safeconduct.record.events.registrations import DeploymentRegistered

UNRECORDED = -1
"""Index of a verdict that waits for its quotas: nothing may be done on it yet."""


class Decided(Protocol):
    """What a verdict is made of."""

    outcome: Decision
    question: DecisionRequest
    reasons: tuple[Reason, ...]
    deployment: DeploymentRegistered | None
    provider: str
    before_forwarding: bool
    principal: Principal
    route: Route
    asked: str
    prepared: PreparedDecision


class Verdict:
    """A decision on a request, as the listener needs it.

    id: decision (or refusal) id. index: its entry; nothing is answered before it is durable. reasons: as the caller may
    know them, empty for a permit. before_forwarding: durable before anything goes upstream (C3 and above).
    bill: what is charged to quotas; while index is `UNRECORDED`, hand it to `app.reserve_use` first.
    lines: header lines of the answer. principal, route, asked: as they came. prepared: the entry, as long as the outcome stands.
    """

    __slots__ = (
        "asked",
        "before_forwarding",
        "bill",
        "deployment",
        "id",
        "index",
        "lines",
        "outcome",
        "prepared",
        "principal",
        "provider",
        "reasons",
        "request",
        "route",
    )

    def __init__(self, decided: Decided, bill: Bill | None) -> None:
        """One that is not recorded yet."""
        self.id = ""
        self.index = UNRECORDED
        self.outcome = decided.outcome
        self.request = decided.question
        self.reasons = decided.reasons
        self.deployment = decided.deployment
        self.provider = decided.provider
        self.before_forwarding = decided.before_forwarding
        self.principal = decided.principal
        self.route = decided.route
        self.asked = decided.asked
        self.prepared: PreparedDecision | None = decided.prepared
        self.bill = bill
        self.lines = b""

    @classmethod
    def refused(
        cls,
        id: str,
        index: int,
        deny: Deny,
        request: DecisionRequest,
        *,
        principal: Principal,
        route: Route,
        asked: str,
        lines: bytes,
    ) -> Verdict:
        """A refusal that was recorded."""
        verdict = cls.__new__(cls)
        verdict.id = id
        verdict.index = index
        verdict.outcome = deny
        verdict.request = request
        verdict.reasons = deny.reasons
        verdict.deployment = None
        verdict.provider = ""
        verdict.before_forwarding = True
        verdict.principal = principal
        verdict.route = route
        verdict.asked = asked
        verdict.prepared = None
        verdict.bill = None
        verdict.lines = lines
        return verdict
