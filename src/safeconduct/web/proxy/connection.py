"""One client connection: requests in order, each admitted, decided and answered before the next.

Owns the order of checks and what is written when a request is not let through; a permitted request is an `Exchange`. No
task, log line or executor hop per request. Refuses upgrades, and to answer anything before its entry is durable.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, cast

from safeconduct.app.decision_log import FAILURES_BEFORE_CLOSE
from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.reserve_use import reserve_use
from safeconduct.app.verdict import UNRECORDED, Verdict
from safeconduct.decision.response import Deny
from safeconduct.gateway.bodies import Ask, check_body_headers, read_body
from safeconduct.gateway.http_messages import Head, Refusal, RequestReader, too_much
from safeconduct.gateway.routes import (
    STORED,
    Route,
    models_in_query,
    response_in_path,
    stored_target,
)
from safeconduct.gateway.stored_responses import check_reach, previous_response
from safeconduct.gateway.wires import (
    models_body,
)
from safeconduct.kernel.errors import LogUnavailable, VerificationFailed
from safeconduct.kernel.vocabulary import Code
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.principal import Principal
from safeconduct.web.proxy.answering import Answering
from safeconduct.web.proxy.answers import turned_away
from safeconduct.web.proxy.exchange import Exchange
from safeconduct.web.proxy.plan import Plan, broken
from safeconduct.web.tls import peer_of

if TYPE_CHECKING:
    from safeconduct.web.proxy.server import ProxyServer

NEVER = float("inf")
_JSON_FACT = "json body"
# An answer that is known before the body has come is given at once when the body is longer than this.
DISCARDED_BODY = 1 << 20
LINGER_SECONDS = 2.0
SPARE_SECONDS = 1.0
THROTTLED_SECONDS = 5
# One read may hold many pipelined requests: what goes beyond this many times `Limits.pipelined` is refused unread.
PIPELINED_AT_MOST = 8
# While we shut down, a client that has connected and said nothing yet has this long to ask.
FIRST_REQUEST_SECONDS = 0.5


class ProxyConnection(Answering, asyncio.Protocol):
    """Serves one client. `deadline` (the loop's clock) is watched by the server's sweep.

    place: the source under which the connection is counted already, None when `connection_made` is to count it.
    """

    __slots__ = (
        "_exchange",
        "_plan",
        "_queue",
        "_queued_bytes",
        "_reader",
        "_served",
        "closing",
        "deadline",
        "node",
        "paused",
        "peer",
        "place",
        "server",
        "since",
        "source",
        "transport",
        "waiting",
    )

    def __init__(self, server: ProxyServer, place: str | None = None) -> None:
        self.server = server
        self.place = place
        self.node: GatewayNode = server.node
        self.transport: asyncio.Transport | None = None
        self.source = ""
        self.peer: PeerCertificate | None = None
        self.deadline = NEVER
        self.since = 0.0
        self.closing = False
        self.paused = False
        self.waiting = False
        self._reader = RequestReader(self, server.limits, server.known_heads, under_way=server.under_way)
        self._plan: Plan | None = None
        self._queue: deque[Plan] = deque()
        self._queued_bytes = 0
        self._exchange: Exchange | None = None
        self._served = False

    # -- asyncio calls these -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connected."""
        self.transport = cast("asyncio.Transport", transport)
        peer = transport.get_extra_info("peername")
        self.source = peer[0] if isinstance(peer, tuple) and peer else "local"
        self.peer = peer_of(transport)
        self.since = self.server.now()
        self.deadline = self.since + self.server.limits.header_seconds
        refused = self.server.connected(self)
        if refused is not None:
            self.transport.write(turned_away(self.node.new_request_id(), self.server.date_line, refused))
            self.shut()
        elif self.node.draining:
            # Its handshake was under way when we began to go.
            self.stop(now=False)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if self.closing:
            return
        reader = self._reader
        fresh = not reader.started and not self.busy
        try:
            reader.feed(data)
        except Refusal as refusal:
            self._refused_bytes(refusal)
            return
        if fresh and reader.started and not self.busy:
            self.deadline = self.server.now() + self.server.limits.header_seconds
        if self._queue and self._queue_full() and self.transport is not None:
            self.transport.pause_reading()

    def eof_received(self) -> bool:
        """The client is done sending: as with a closed connection, nobody waits for an answer."""
        return False

    def connection_lost(self, _exc: Exception | None) -> None:
        """The client is gone."""
        self.closing = True
        self._forget_queue()
        self._reader.close()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_gone()
        self.server.disconnected(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than answers come."""
        self.paused = True
        self.deadline = self.server.now() + self.server.limits.write_seconds
        if self._exchange is not None:
            self._exchange.pause()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.paused = False
        if not self.closing:
            # Otherwise the end is near whatever is still unread: what remains here may be nothing to the kernel's buffers.
            self.deadline = NEVER if self.busy else self.server.now() + self.server.limits.idle_seconds
        if self._exchange is not None:
            self._exchange.resume()

    # -- the server calls these ----------------------------------------------------------------------------------

    @property
    def busy(self) -> bool:
        """A request is being answered."""
        return self.waiting or self._exchange is not None

    def spare(self, now: float) -> bool:
        """No request has come for a second: closing it costs its client nothing but a new connection."""
        return not (self.busy or self.closing or self._reader.started) and now - self.since > SPARE_SECONDS

    def timed_out(self) -> None:
        """The deadline has passed."""
        if self.transport is None:
            return
        if self.closing or self.paused:
            self.transport.abort()
            return
        if self.busy or not self._reader.started:
            self.shut()
            return
        self._refused_bytes(
            Refusal(
                408,
                "request_timeout",
                "the request did not arrive in time",
                remedy="send it at once",
                close=True,
            )
        )

    def stop(self, *, now: bool) -> None:
        """Shut down: at once, or when what is being answered is over.

        A client that has just connected, or whose request is still arriving, is answered first: it does not know that we
        are going.
        """
        if self._exchange is not None and now:
            self._exchange.stop()
        arriving = self._reader.started or self._reader.reading_body or not self._served
        if now or not (self.busy or arriving):
            self.shut()
        elif not self.busy and not self._reader.started:
            self.deadline = min(self.deadline, self.server.now() + FIRST_REQUEST_SECONDS)

    def shut(self) -> None:
        """Close once what was written has gone out. A client that does not read it is cut off after a while."""
        self.closing = True
        if self.transport is None:
            return
        # INVARIANT: a closing connection has a deadline. The transport waits for its buffer for ever: without one, a client
        # that never reads a last answer would hold the connection and its memory as long as it likes.
        self.deadline = self.server.now() + self.server.limits.write_seconds
        self.transport.close()

    # -- the reader calls these ----------------------------------------------------------------------------------

    def head_received(self, head: Head) -> bool:
        """A head is complete; see `RequestSink`."""
        if len(self._queue) >= PIPELINED_AT_MOST * self.server.limits.pipelined:
            raise Refusal(
                400,
                "pipeline",
                "too many requests were sent without waiting for their answers",
                remedy="send those that were not answered again",
                close=True,
            )
        plan = self._plan = Plan(head)
        try:
            self._admit(plan)
        except Refusal as refusal:
            plan.refusal = refusal
        except Exception as error:  # noqa: BLE001 - a defect must deny, whatever it is
            self.server.report(error)
            plan.refusal = broken()
        limits = self.server.limits
        if plan.known:
            if head.length < 0 or head.length > DISCARDED_BODY or head.expects_continue:
                head.keep_alive = False
                if not self.busy and not self._queue:
                    self._begin(plan)
            return False
        if not self.busy:
            self.deadline = self.server.now() + limits.body_seconds
            if head.expects_continue and self.transport is not None:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def request_received(self, head: Head, body: bytes) -> None:
        """A request is complete; see `RequestSink`."""
        plan = self._plan
        if self.closing or plan is None or plan.head is not head:
            return
        plan.body = body
        plan.complete_at = perf_counter()
        self._plan = None
        if self.busy or self._queue:
            if body and not self.server.under_way.take(len(body)):
                plan.body = b""
                plan.refusal = too_much()
            self._queue.append(plan)
            self._queued_bytes += len(plan.body)
        else:
            self._begin(plan)

    def _forget_queue(self) -> None:
        self._queue.clear()
        self.server.under_way.give_back(self._queued_bytes)
        self._queued_bytes = 0

    def _queue_full(self) -> bool:
        limits = self.server.limits
        return len(self._queue) >= limits.pipelined or self._queued_bytes >= limits.pipelined_bytes

    # -- admission: from the head alone --------------------------------------------------------------------------

    def _admit(self, plan: Plan) -> None:
        route = plan.route
        if route is Route.HEALTH or route is Route.READY or route is Route.ROOT:
            return
        node, head = self.node, plan.head
        if node.decisions.failed is not None:
            raise Refusal(
                503,
                Code.AUDIT_UNAVAILABLE.value,
                "decisions cannot be recorded, so nothing is let through",
                remedy="the operator must free the log's disk and restart",
            )
        try:
            plan.principal = node.authenticate(head, self.source, self.peer)
        except VerificationFailed as failure:
            plan.failure = failure
            node.measures.failed_authentications += 1
            code = failure.code if route is not None else Code.ROUTE_UNKNOWN.value
            failed = node.decisions.failed_authentication(self.source, code, int(node.clock.now()))
            if failed > FAILURES_BEFORE_CLOSE:
                # Says less than a 401 would: somebody who tries credentials gets no word on them any more.
                raise Refusal(
                    429,
                    "too_many_failures",
                    "too many requests from this address failed to authenticate",
                    remedy="correct the credential, then try again in a minute",
                    close=True,
                    retry_after=THROTTLED_SECONDS,
                ) from None
            return
        if plan.inference is not None and (head.facts is None or _JSON_FACT not in head.facts):
            check_body_headers(head.get(b"content-type"), head.get(b"content-encoding"))
            head.keep_fact(_JSON_FACT, True)

    # -- the answer ----------------------------------------------------------------------------------------------

    def _begin(self, plan: Plan) -> None:
        self.deadline = NEVER
        self.waiting = True
        if self.closing:
            return
        self._guard(plan, self._serve, plan)

    def _guard(self, plan: Plan, step: Callable[..., None], *given: object) -> None:
        try:
            step(*given)
        except Refusal as refusal:
            self._refuse(plan, refusal)
        except LogUnavailable:
            self._audit_unavailable(plan)
        except Exception as error:  # noqa: BLE001 - a defect must deny, whatever it is
            self.server.report(error)
            self._refuse(plan, broken())

    def _serve(self, plan: Plan) -> None:
        route, node = plan.route, self.node
        if plan.refusal is not None:
            raise plan.refusal
        if route is Route.ROOT or route is Route.HEALTH:
            self.answer(plan, 200, b'{"status":"ok"}' if route is Route.HEALTH else b"")
        elif route is Route.READY:
            ready = node.ready
            self.answer(plan, 200 if ready else 503, b'{"ready":true}' if ready else b'{"ready":false}')
        elif route is None:
            self._unknown_route(plan)
        elif plan.failure is not None:
            self._unauthenticated(plan, plan.failure)
        elif plan.principal is None:
            raise RuntimeError("a request was neither authenticated nor refused")
        elif plan.inference is not None:
            self._infer(plan, plan.principal, route)
        elif route in STORED:
            self._stored(plan, plan.principal, route)
        elif route is Route.MODELS:
            models = node.models(plan.principal, plan.head, plan.wire, self.source)
            self.answer(plan, 200, models_body(plan.wire, models, 0))
        else:
            self._model(plan, plan.principal)

    def _infer(self, plan: Plan, principal: Principal, route: Route) -> None:
        ask = read_body(plan.body)
        plan.body = b""
        for named in models_in_query(plan.head) if plan.head.query else ():
            if named != ask.model:
                raise Refusal(
                    400,
                    "model_conflict",
                    "the query names another model than the body",
                    field="model",
                    remedy="name the model in the body only",
                )
        check_reach(ask, route)
        previous = previous_response(ask) if route is Route.RESPONSES else None
        # An answer can only be continued where it is kept, by whoever got it.
        only = self.node.stored_response(principal, previous).deployment if previous is not None else None
        verdict = self.node.decide(
            principal,
            plan.head,
            route=route,
            wire=plan.wire,
            asked=ask.model,
            source=self.source,
            only=only,
            ask=ask,
        )
        plan.pinned = only is not None
        self._count(plan, ask, verdict)

    def _stored(self, plan: Plan, principal: Principal, route: Route) -> None:
        """Fetch, delete or cancel an answer that a provider keeps: decided again, on what is known now."""
        response = response_in_path(plan.head)
        stored = self.node.stored_response(principal, response)
        plan.stored = stored
        plan.pinned = True
        plan.body = b""
        stored_target(plan.head, route, stored.response)
        verdict = self.node.decide(
            principal,
            plan.head,
            route=route,
            wire=plan.wire,
            asked=stored.variant,
            source=self.source,
            only=stored.deployment,
        )
        self._count(plan, None, verdict)

    def _count(self, plan: Plan, ask: Ask | None, verdict: Verdict) -> None:
        if verdict.index == UNRECORDED:
            # With a ledger on another machine the answer comes later, so it is followed with the same care as a request.
            reserve_use(
                self.node,
                verdict,
                plan.wire,
                lambda final: self._guard(plan, self._act, plan, ask, final),
            )
            return
        self._act(plan, ask, verdict)

    def _act(self, plan: Plan, ask: Ask | None, verdict: Verdict | Exception) -> None:
        if isinstance(verdict, Exception):
            raise verdict
        if self.closing:
            # Gone while its quotas were asked: nothing is sent, and the log says what became of the permit.
            if not isinstance(verdict.outcome, Deny):
                Exchange(self, plan, ask, verdict).client_gone()
            return
        if isinstance(verdict.outcome, Deny):
            self.node.when_durable(
                verdict.index,
                lambda durable: self._deny(plan, verdict) if durable else self._audit_unavailable(plan),
            )
            return
        self._exchange = exchange = Exchange(self, plan, ask, verdict)
        self.waiting = False
        try:
            exchange.start()
        except BaseException:
            exchange.abandon()
            raise

    def next(self, *, keep: bool) -> None:
        """An answer is complete: take the next request, or close."""
        self._exchange = None
        self._served = True
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        if not keep:
            self._linger()
            return
        if self._queue:
            self.waiting = True
            self.server.loop.call_soon(self._next_queued)
            return
        self.waiting = False
        limits = self.server.limits
        now = self.since = self.server.now()
        if self._reader.reading_body:
            self.deadline = now + limits.body_seconds
            plan = self._plan
            if plan is not None and plan.head.expects_continue and not plan.known:
                transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        else:
            self.deadline = now + (limits.header_seconds if self._reader.started else limits.idle_seconds)

    def _next_queued(self) -> None:
        if self.closing or not self._queue:
            return
        plan = self._queue.popleft()
        self._queued_bytes -= len(plan.body)
        self.server.under_way.give_back(len(plan.body))
        if not self._queue_full() and self.transport is not None:
            self.transport.resume_reading()
        principal = plan.principal
        if principal is not None and principal.expires <= self.node.clock.now():
            # It was verified when it came, and has waited behind a long answer since.
            plan.principal, plan.body = None, b""
            plan.failure = VerificationFailed(
                "the credential has expired while the request waited", step="times", remedy="get a new token"
            )
        self._begin(plan)

    def _linger(self) -> None:
        # Closing while bytes of the client are unread would reset the connection and could destroy the answer
        # (RFC 9112 9.6): say that we are done, read on for a moment, then close.
        self.closing = True
        self.waiting = False
        self._forget_queue()
        transport = self.transport
        if transport is None:
            return
        if self._reader.started and transport.can_write_eof():
            transport.resume_reading()
            unread = transport.get_write_buffer_size()
            transport.write_eof()
            self.deadline = self.server.now() + (
                self.server.limits.write_seconds if unread else LINGER_SECONDS
            )
        else:
            self.shut()
