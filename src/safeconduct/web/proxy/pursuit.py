"""The way out of a permitted request: sent to a deployment, again where that is safe, then to the next target.

Owns which target is asked, and that whatever became of a verdict is written and its quotas settled. A target is asked only
on a permit of its own. Refuses to repeat anything once an answer has begun.
"""

from __future__ import annotations

import abc
import asyncio
import math
from time import perf_counter
from typing import TYPE_CHECKING

from safeconduct.app.decision_entries import Interaction
from safeconduct.app.fall_back import fall_back
from safeconduct.app.reserve_use import release_use, reserve_use
from safeconduct.app.verdict import UNRECORDED, Verdict
from safeconduct.decision.entry import Completion
from safeconduct.decision.response import Deny, Permit
from safeconduct.gateway.bodies import Ask, upstream_body
from safeconduct.gateway.circuit import Circuit
from safeconduct.gateway.metering import UsageMeter
from safeconduct.gateway.retrying import SAME_TARGET, TROUBLE, may_repeat, wait_before
from safeconduct.gateway.routes import Route, stored_target, upstream_query
from safeconduct.gateway.stored_responses import keeps_answer
from safeconduct.gateway.upstream import MAX_RETRY_AFTER, NEEDS_CREDENTIAL, Call, Target, request_head
from safeconduct.kernel.errors import InvalidInput, LogUnavailable
from safeconduct.kernel.ids import DecisionId, DeploymentId
from safeconduct.record.events.registrations import DeploymentRegistered

if TYPE_CHECKING:
    from safeconduct.web.proxy.connection import ProxyConnection
    from safeconduct.web.proxy.plan import Plan

FAILURES = {
    "connect": (502, "upstream_unreachable", "the provider could not be reached"),
    "tls": (502, "upstream_tls", "the provider's certificate was not accepted"),
    "timeout": (504, "upstream_timeout", "the provider did not answer in time"),
    "closed": (502, "upstream_closed", "the provider closed the connection before the answer was complete"),
    "protocol": (502, "upstream_protocol", "the provider's answer was not well-formed HTTP"),
    "busy": (503, "upstream_busy", "too many requests wait for this provider"),
    "shutdown": (503, "shutting_down", "the gateway is shutting down"),
    "connect_timeout": (504, "upstream_timeout", "the provider could not be reached in time"),
    "open": (503, "upstream_unavailable", "the provider has failed too often just now"),
    "declined": (503, "upstream_unavailable", "the provider is overloaded or away"),
    "address": (503, "upstream_address", "this deployment's base URL is unusable; the operator must mend it"),
    "credential": (
        503,
        "upstream_credential",
        "this deployment has no credential; the operator must add one",
    ),
}
_BROKEN = (500, "internal_error", "the gateway failed on this request")
_BUSY_SECONDS = 1


class Tries:
    """What was tried for one exchange; made at the first failure."""

    __slots__ = ("hide_usage", "moved", "retries", "timer", "tried")

    def __init__(self, *, hide_usage: bool) -> None:
        self.hide_usage = hide_usage
        self.retries = 0
        self.tried: set[DeploymentId] = set()
        self.timer: asyncio.TimerHandle | None = None
        self.moved = False


class Pursuit(abc.ABC):
    """One permitted request until a target answers it. What follows is the subclass's: it takes the answer."""

    __slots__ = (
        "_answer_bytes",
        "_answered_at",
        "_ask",
        "_call",
        "_circuit",
        "_connection",
        "_counted",
        "_durable",
        "_interaction",
        "_keeps",
        "_kept",
        "_meter",
        "_over",
        "_plan",
        "_probe",
        "_repeatable",
        "_request_bytes",
        "_sent_at",
        "_status",
        "_to_send",
        "_tries",
        "_upstream_request_id",
        "_verdict",
        "request",
        "valid_until",
    )

    def __init__(self, connection: ProxyConnection, plan: Plan, ask: Ask | None, verdict: Verdict) -> None:
        self._connection = connection
        self._plan = plan
        self._ask = ask
        self._verdict = verdict
        self.request = verdict.request
        self.valid_until = verdict.outcome.valid_until
        self._call: Call | None = None
        self._durable = False
        self._over = False
        self._kept = 0
        self._repeatable = True
        self._counted = True
        self._keeps = False
        self._status = 0
        self._answer_bytes = 0
        self._request_bytes = 0
        self._upstream_request_id: str | None = None
        self._interaction: Interaction | None = None
        self._meter: UsageMeter | None = None
        self._to_send: tuple[Target, bytes, bytes] | None = None
        self._circuit: Circuit | None = None
        self._probe = False
        self._sent_at = 0.0
        self._answered_at = 0.0
        self._tries: Tries | None = None

    @abc.abstractmethod
    def _decision_durable(self, durable: bool, verdict: Verdict) -> None:
        """The decision on the present target stands in the log, or never will."""

    @abc.abstractmethod
    def cut(self, deny: Deny) -> None:
        """See `OpenRequest`."""

    @abc.abstractmethod
    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """See `ResponseSink`."""

    @abc.abstractmethod
    def upstream_data(self, data: bytes) -> None:
        """See `ResponseSink`."""

    @abc.abstractmethod
    def upstream_end(self) -> None:
        """See `ResponseSink`."""

    @abc.abstractmethod
    def upstream_failed(self, failure: str) -> None:
        """See `ResponseSink`."""

    @abc.abstractmethod
    def _log_failed(self) -> None:
        """Nothing can be recorded any more."""

    # -- on the way out ------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Write the upstream's request; send it now, or once the decision is durable."""
        self._connection.node.open.add(self)
        self._set_out()

    def _set_out(self) -> None:
        """Begin with the present verdict's deployment."""
        verdict = self._verdict
        failure = self._write()
        if failure is not None:
            self._failed(failure)
            return
        if not verdict.before_forwarding:
            self._send()
        if self._verdict is verdict:
            # Nobody waits yet, unless nothing may leave before: then it was submitted to be written at once.
            self._connection.node.when_durable(
                verdict.index, lambda durable: self._decision_durable(durable, verdict), hurry=False
            )

    def _write(self) -> str | None:
        """Write the request for the present deployment; what makes that impossible, if anything."""
        node, plan, verdict = self._connection.node, self._plan, self._verdict
        deployment, route = verdict.deployment, plan.route
        assert deployment is not None
        assert route is not None
        method, path, body = self._upcall(route, deployment)
        self._interaction = Interaction(body, node.random)
        self._request_bytes = len(body)
        credential = node.upstream_credential(deployment.deployment)
        try:
            target = node.targets.of(deployment)
        except InvalidInput:
            return "address"
        if credential is None and deployment.kind in NEEDS_CREDENTIAL:
            return "credential"
        head = request_head(
            plan.head,
            wire=plan.wire,
            target=target,
            path=path,
            credential=credential,
            body_length=len(body),
            method=method,
        )
        self._to_send = (target, head, body)
        if not self._kept:
            # Kept until an answer begins, for another try; all of them together within bounds.
            server, size = self._connection.server, len(body)
            if size > server.retries.kept_bytes or server.kept + size > server.retries.kept_in_all:
                self._forget_ask()
            else:
                self._kept = size
                server.kept += size
        return None

    def _upcall(self, route: Route, deployment: DeploymentRegistered) -> tuple[bytes, bytes, bytes]:
        """Method, path and body of the request to the upstream."""
        node, plan, ask = self._connection.node, self._plan, self._ask
        if ask is None:
            assert plan.stored is not None
            # What a stored answer used was counted when it was made.
            self._counted = False
            self._meter = UsageMeter(stream=False)
            return plan.head.method, stored_target(plan.head, route, plan.stored.response), b""
        inference = plan.inference
        assert inference is not None
        self._keeps = route is Route.RESPONSES and keeps_answer(ask)
        body, injected = upstream_body(
            ask,
            inference=inference,
            kind=deployment.kind,
            upstream_model=deployment.upstream_model,
            pseudonym=node.pseudonyms.of(self._verdict.provider, self.request.holder),
        )
        if self._tries is not None:
            # Written before, so the body asks for usage already; who asked for it has not changed.
            injected = self._tries.hide_usage
        self._meter = UsageMeter(stream=ask.stream, hide_usage_event=injected, wants_id=self._keeps)
        return b"POST", inference.path + upstream_query(plan.head, plan.wire), body

    def _forget_ask(self) -> None:
        self._ask = None
        self._repeatable = False
        self._connection.server.kept -= self._kept
        self._kept = 0

    def _give_up(self, status: int, code: str, message: str, retry_after: int | None = None) -> None:
        # The decision stands in the log, so even this answer waits for it.
        self._connection.node.when_durable(
            self._verdict.index, lambda durable: self._gave_up(durable, status, code, message, retry_after)
        )

    def _gave_up(self, durable: bool, status: int, code: str, message: str, retry_after: int | None) -> None:
        if self._over:
            return
        if not durable:
            self._log_failed()
            return
        self._end("upstream_error")
        self._connection.upstream_error(
            self._plan, status, code, message, self._verdict.id, retry_after=retry_after
        )

    def _send(self) -> None:
        to_send, self._to_send = self._to_send, None
        deployment = self._verdict.deployment
        if to_send is None or deployment is None:
            return
        connection = self._connection
        circuit = connection.node.circuits.of(deployment.deployment)
        if not circuit.enter(connection.server.swept):
            self._failed("open")
            return
        self._circuit = circuit
        self._probe = circuit.is_open
        self._call = connection.server.upstreams.send(*to_send, self)
        self._sent_at = perf_counter()

    # -- when a target does not answer ---------------------------------------------------------------------------

    def _failed(self, failure: str, asked: float | None = 0.0) -> None:
        """No answer has begun: try again where that is safe, else say so."""
        if self._again(failure, asked):
            return
        status, code, message = FAILURES[failure]
        retry_after = None
        if failure == "busy":
            retry_after = _BUSY_SECONDS
        elif failure == "open" and self._verdict.deployment is not None:
            circuit = self._connection.node.circuits.of(self._verdict.deployment.deployment)
            left = circuit.open_until - self._connection.server.swept
            retry_after = min(MAX_RETRY_AFTER, max(1, math.ceil(left)))
        self._give_up(status, code, message, retry_after)

    def _again(self, failure: str, asked: float | None) -> bool:
        """Whether it is tried once more, here or at the next target. asked: seconds the provider wants to be left alone."""
        server = self._connection.server
        if not self._repeatable or not (
            failure == "declined" or may_repeat(failure, idempotent=self._plan.head.method == b"GET")
        ):
            return False
        tries = self._tries
        if tries is None:
            tries = self._tries = Tries(hide_usage=self._meter is not None and self._meter.hides_usage)
        deployment = self._verdict.deployment
        assert deployment is not None
        if (
            failure in SAME_TARGET
            and tries.retries < server.retries.retries
            and asked is not None
            and asked <= server.retries.longest_wait
            and self._connection.node.circuits.of(deployment.deployment).may_retry()
        ):
            wait = wait_before(tries.retries, asked, server.retries, self._connection.node.uniform)
            tries.retries += 1
            tries.timer = server.loop.call_later(wait, self._once_more)
            return True
        return self._move_on(failure, tries)

    def _once_more(self) -> None:
        tries = self._tries
        if tries is not None:
            tries.timer = None
        if self._over:
            return
        try:
            failure = self._write()
            if failure is not None:
                self._failed(failure)
            elif self._durable or not self._verdict.before_forwarding:
                self._send()
        except Exception as error:  # noqa: BLE001 - a timer has nobody above it
            self._broke(error)

    def _move_on(self, failure: str, tries: Tries) -> bool:
        """Turn to the next target that is permitted, if there is one."""
        server, ask, last = self._connection.server, self._ask, self._verdict
        assert last.deployment is not None
        if ask is None or self._plan.pinned:
            return False
        tries.tried.add(last.deployment.deployment)
        if len(tries.tried) >= server.retries.targets:
            return False
        node, plan = self._connection.node, self._plan
        try:
            verdict = fall_back(
                node,
                last,
                head=plan.head,
                wire=plan.wire,
                source=self._connection.source,
                ask=ask,
                tried=tries.tried,
            )
        except LogUnavailable:
            # What cannot be recorded is not done; the first failure stands.
            return False
        if verdict is None:
            return False
        if verdict.index != UNRECORDED:
            self._turn_to(verdict, failure)
            return True
        reserve_use(node, verdict, plan.wire, lambda final: self._turned(final, failure, tries))
        return True

    def _turned(self, verdict: Verdict | Exception, failure: str, tries: Tries) -> None:
        if isinstance(verdict, Exception):
            if not self._over:
                self._broke(verdict)
        elif self._over:
            release_use(self._connection.node, verdict)
        elif isinstance(verdict.outcome, Permit):
            self._turn_to(verdict, failure)
        elif not self._move_on(failure, tries):
            self._give_up(*FAILURES[failure])

    def _turn_to(self, verdict: Verdict, failure: str) -> None:
        tries = self._tries
        assert tries is not None
        self._complete("upstream_error", ("fallback", failure), served=False)
        self._verdict = verdict
        self.request = verdict.request
        self.valid_until = verdict.outcome.valid_until
        self._durable = False
        self._status = 0
        self._call = None
        tries.retries = 0
        tries.moved = True
        self._set_out()

    def _broke(self, error: Exception) -> None:
        self._connection.server.report(error)
        self._give_up(*_BROKEN)

    def _learned(self, status: int) -> None:
        """Tell the circuit what the head of an answer says."""
        circuit, self._circuit = self._circuit, None
        if circuit is None:
            return
        if status in TROUBLE:
            circuit.failed(self._connection.server.swept)
        elif status in (401, 403, 429):
            self._leave(circuit)
        else:
            circuit.succeeded(self._connection.server.swept)

    def _leave(self, circuit: Circuit) -> None:
        if self._probe:
            circuit.left()

    # -- what became of it ---------------------------------------------------------------------------------------

    def _end(self, ended: str, cause: tuple[str, ...] = ()) -> None:
        self._over = True
        self._connection.node.open.remove(self)
        if self._repeatable:
            self._forget_ask()
        circuit, self._circuit = self._circuit, None
        if circuit is not None:
            self._leave(circuit)
        tries = self._tries
        if tries is not None and tries.timer is not None:
            tries.timer.cancel()
        self._complete(ended, cause)

    def _complete(self, ended: str, cause: tuple[str, ...], *, served: bool = True) -> None:
        """Write what became of the present verdict, and settle its quotas. served: it was not handed to another target."""
        node, verdict, meter = self._connection.node, self._verdict, self._meter
        counted = meter is not None and self._counted
        tokens_in = meter.input_tokens if meter is not None and counted else None
        tokens_out = meter.output_tokens if meter is not None and counted else None
        node.measures.ended(
            (self._plan.operation, verdict.provider, self.request.variant),
            ended,
            perf_counter() - self._plan.complete_at,
            tokens_in,
            tokens_out,
        )
        charged = None
        if verdict.bill is not None:
            charged = node.quotas.settle(
                verdict.bill,
                sent=served and self._call is not None and self._call.sent,
                whole=ended == "complete" or (ended == "upstream_error" and self._status >= 300),
                failed=self._status >= 300,
                tokens_in=tokens_in,
                tokens_out=tokens_out,
            )
        answer_hmac, sealed = self._interaction.digests() if self._interaction is not None else ("", b"{}")
        completion = Completion(
            decision=DecisionId(verdict.id),
            ended=ended,
            status=self._status,
            input_tokens=tokens_in,
            output_tokens=tokens_out,
            answer_hmac=answer_hmac or None,
            request_bytes=self._request_bytes,
            answer_bytes=self._answer_bytes,
            upstream_request_id=self._upstream_request_id,
            cause=cause,
            retries=self._tries.retries if self._tries is not None else 0,
            charged=charged,
        )
        try:
            node.decisions.completion(
                completion,
                sealed,
                holder=self.request.holder,
                organisation=self.request.organisation,
                jurisdiction=verdict.deployment.jurisdiction if verdict.deployment is not None else "",
            )
        except LogUnavailable:
            # The log has ended for good: it is reported there, and the missing completion is what an auditor will see.
            return
