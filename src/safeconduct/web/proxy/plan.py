"""What is to be done with a request, as far as its head tells."""

from __future__ import annotations

from safeconduct.gateway.http_messages import Head, Refusal
from safeconduct.gateway.routes import INFERENCE, Inference, Route, route_of, wire_of
from safeconduct.gateway.stored_responses import StoredResponse
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.vocabulary import Wire
from safeconduct.passport.principal import Principal

_FACT = "plan"


# gen_ai.operation.name of the OpenTelemetry conventions, where it has one.
_OPERATIONS = {
    Route.CHAT: "chat",
    Route.MESSAGES: "chat",
    Route.RESPONSES: "chat",
    Route.COMPLETIONS: "text_completion",
    Route.EMBEDDINGS: "embeddings",
}


class Plan:
    """One request: who sent it and where it goes, or why it goes nowhere.

    pinned: one deployment only can serve it.
    complete_at: when its last byte had come, seconds on the clock of `time.perf_counter`.
    """

    __slots__ = (
        "body",
        "complete_at",
        "failure",
        "head",
        "inference",
        "pinned",
        "principal",
        "refusal",
        "route",
        "stored",
        "wire",
    )

    def __init__(self, head: Head) -> None:
        self.head = head
        facts = head.facts
        known = facts.get(_FACT) if facts is not None else None
        if known is None:
            route = route_of(head)
            known = wire_of(head), route, INFERENCE.get(route) if route is not None else None
            head.keep_fact(_FACT, known)
        self.wire: Wire
        self.route: Route | None
        self.inference: Inference | None
        self.wire, self.route, self.inference = known
        self.principal: Principal | None = None
        self.refusal: Refusal | None = None
        self.failure: VerificationFailed | None = None
        self.stored: StoredResponse | None = None
        self.pinned = False
        self.body = b""
        self.complete_at = 0.0

    @property
    def operation(self) -> str:
        """What kind of request it is, for metrics."""
        route = self.route
        return "unknown" if route is None else _OPERATIONS.get(route) or route.name.lower()

    @property
    def known(self) -> bool:
        """The answer is known without the body."""
        return self.refusal is not None or self.failure is not None or self.route is None


def broken() -> Refusal:
    """The refusal of a request on which the gateway itself failed."""
    return Refusal(500, "internal_error", "the gateway failed on this request; nothing was sent", close=True)


def hopeless(plan: Plan | None, refusal: Refusal) -> Plan:
    """The plan for bytes after which nothing more can be read; `plan` is what was known until then."""
    if plan is None:
        plan = Plan(Head())
        plan.wire = Wire.OPENAI
    plan.head.keep_alive = False
    plan.refusal = refusal
    return plan
