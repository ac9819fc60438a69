"""Answers of our own on a client connection: denials, refusals, models, and that nothing can be recorded.

Owns which status and body each gets. Refuses to decide; a permitted request's answer is `exchange`'s.
"""

from __future__ import annotations

import abc
import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.verdict import Verdict
from safeconduct.decision.response import Reason
from safeconduct.gateway.http_messages import Refusal, RequestReader
from safeconduct.gateway.routes import (
    model_in_path,
)
from safeconduct.gateway.wires import (
    denial_members,
    error_body,
    message_of,
    model_body,
    request_id_line,
    status_of,
)
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.ids import VariantId
from safeconduct.kernel.vocabulary import Code
from safeconduct.passport.principal import Principal
from safeconduct.web.proxy.answers import CHALLENGE, NO_RETRY, answer_bytes
from safeconduct.web.proxy.plan import Plan, hopeless

if TYPE_CHECKING:
    from safeconduct.web.proxy.server import ProxyServer


class Answering(abc.ABC):
    """The answering half of `connection.ProxyConnection`, which sets up what it uses."""

    __slots__ = ()

    server: ProxyServer
    node: GatewayNode
    transport: asyncio.Transport | None
    source: str
    closing: bool
    _plan: Plan | None
    _queue: deque[Plan]
    _reader: RequestReader

    @property
    @abc.abstractmethod
    def busy(self) -> bool:
        """A request is being answered."""

    @abc.abstractmethod
    def next(self, *, keep: bool) -> None:
        """An answer is complete: take the next request, or close."""

    def _model(self, plan: Plan, principal: Principal) -> None:
        name = model_in_path(plan.head)
        variant = VariantId(name)
        state = self.node.state
        known = state.variants.get(variant)
        if known is not None and self.node.may_use(principal, plan.head, variant, plan.wire, self.source):
            self.answer(plan, 200, model_body(plan.wire, name, known.provider, 0))
            return
        # One answer whether the model is unknown or closed to this caller: the list shows no more either.
        self._fail(
            plan,
            404,
            Code.MODEL_UNKNOWN.value,
            "there is no model of this name that you may use",
            self.node.new_request_id(),
            param="model",
            extra={"remedy": "list the models open to you with GET /v1/models"},
        )

    def _unknown_route(self, plan: Plan) -> None:
        if plan.principal is None:
            self._route_unknown(plan, self.node.new_request_id())
            return
        head = plan.head
        asked = f"{head.method.decode('ascii', 'replace')} {head.path.decode('ascii', 'replace')}"
        refusal, index = self.node.refuse_route(plan.principal, asked, int(self.node.clock.now()))
        self.node.when_durable(
            index,
            lambda durable: self._route_unknown(plan, refusal) if durable else self._audit_unavailable(plan),
        )

    def _route_unknown(self, plan: Plan, request_id: str) -> None:
        self._fail(
            plan,
            404,
            Code.ROUTE_UNKNOWN.value,
            "this route is not served here",
            request_id,
            extra={"remedy": "use /v1/chat/completions, /v1/responses, /v1/messages or /v1/models"},
        )

    def _unauthenticated(self, plan: Plan, failure: VerificationFailed) -> None:
        self._fail(
            plan,
            401,
            failure.code,
            failure.message[:300],
            self.node.new_request_id(),
            extra={"remedy": failure.remedy} if failure.remedy else None,
            lines=CHALLENGE,
        )

    def _deny(self, plan: Plan, verdict: Verdict) -> None:
        self.deny(plan, verdict.id, verdict.reasons, verdict.lines)

    def deny(self, plan: Plan, request_id: str, reasons: tuple[Reason, ...], lines: bytes = b"") -> None:
        """Answer with a denial: status by the first code, every reason the caller may know. lines: further headers."""
        self.node.measures.denied(dict.fromkeys(reason.code.value for reason in reasons))
        first = reasons[0].code
        self._fail(
            plan,
            status_of(first),
            first.value,
            message_of(reasons),
            request_id,
            param="model" if first is Code.MODEL_UNKNOWN else None,
            extra=denial_members(reasons, request_id, self.node.settings.remedy_base),
            lines=lines,
        )

    def _audit_unavailable(self, plan: Plan) -> None:
        self._fail(
            plan,
            503,
            Code.AUDIT_UNAVAILABLE.value,
            "the decision could not be recorded, so nothing is let through",
            self.node.new_request_id(),
            extra={"remedy": "the operator must free the log's disk and restart"},
        )

    def audit_unavailable(self, plan: Plan) -> None:
        """Answer that nothing is let through because nothing can be recorded."""
        self._audit_unavailable(plan)

    def _refuse(self, plan: Plan, refusal: Refusal) -> None:
        if refusal.close:
            plan.head.keep_alive = False
        self._fail(
            plan,
            refusal.status,
            refusal.code,
            refusal.message,
            self.node.new_request_id(),
            param=refusal.field,
            extra={"remedy": refusal.remedy} if refusal.remedy else None,
            lines=b"retry-after: %d\r\n" % refusal.retry_after if refusal.retry_after else b"",
        )

    def _refused_bytes(self, refusal: Refusal) -> None:
        """What came is not HTTP that can be followed: answer when nothing is being answered, and close."""
        self._reader.close()
        if self.transport is None or self.closing:
            return
        plan = self._plan
        if self.busy or self._queue:
            # The answers before it go out first; then the connection ends.
            self._queue.append(hopeless(plan, refusal))
            self.transport.pause_reading()
            return
        self._refuse(hopeless(plan, refusal), refusal)

    def upstream_error(
        self, plan: Plan, status: int, code: str, message: str, request_id: str, *, retry_after: int | None
    ) -> None:
        """Answer that the provider gave no usable answer. retry_after: seconds after which it may be asked again."""
        lines = b"" if retry_after is None else b"retry-after: %d\r\n" % retry_after
        self._fail(plan, status, code, message, request_id, lines=lines, retry=retry_after is not None)

    def _fail(
        self,
        plan: Plan,
        status: int,
        code: str,
        message: str,
        request_id: str,
        *,
        param: str | None = None,
        extra: dict[str, Any] | None = None,
        lines: bytes = b"",
        retry: bool = False,
    ) -> None:
        self.node.measures.refused(status)
        body = error_body(plan.wire, status, code, message, request_id=request_id, param=param, extra=extra)
        lines += request_id_line(plan.wire, request_id)
        self.answer(plan, status, body, lines if retry else lines + NO_RETRY)

    def answer(self, plan: Plan, status: int, body: bytes, lines: bytes = b"") -> None:
        """Write a whole answer of our own and go on to the next request."""
        transport = self.transport
        if transport is None or transport.is_closing():
            return
        head = plan.head
        keep = head.keep_alive and not self.node.draining
        transport.write(
            answer_bytes(head, status, body, keep=keep, date_line=self.server.date_line, lines=lines)
        )
        self.next(keep=keep)
