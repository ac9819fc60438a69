"""A permitted request's answer, passed on as it comes; the way out is `Pursuit`'s.

Owns the promise that no byte of an answer goes out before the decision is durable, that a cut ends the answer in the
caller's wire format, that a client that leaves cancels the upstream, and that every exchange ends in one completion entry.
"""

from __future__ import annotations

from time import perf_counter
from typing import TYPE_CHECKING

from safeconduct.app.verdict import Verdict
from safeconduct.decision.explanation import told
from safeconduct.decision.response import Deny
from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.metering import UsageMeter, is_event_stream
from safeconduct.gateway.retrying import DECLINED, asked_wait
from safeconduct.gateway.routes import Route
from safeconduct.gateway.stored_responses import StoredResponse
from safeconduct.gateway.upstream import relayed_headers
from safeconduct.gateway.wires import (
    PHRASES,
    denial_members,
    message_of,
    request_id_line,
    response_stream_error,
    stream_error,
)
from safeconduct.web.proxy.answers import connection_line
from safeconduct.web.proxy.pursuit import FAILURES, Pursuit

if TYPE_CHECKING:
    from safeconduct.web.proxy.connection import ProxyConnection
    from safeconduct.web.proxy.plan import Plan

_RESPONSES = frozenset({Route.RESPONSES, Route.RESPONSE})

HELD_BYTES = 256 * 1024
"""An answer that comes before its decision is durable is held up to this; then the upstream waits."""


class Exchange(Pursuit):
    """One permitted request. Implements `gateway.upstream.ResponseSink` and `gateway.open_requests.OpenRequest`."""

    __slots__ = (
        "_chunked",
        "_ended_early",
        "_held",
        "_held_bytes",
        "_keep",
        "_stream",
        "_written",
    )

    def __init__(self, connection: ProxyConnection, plan: Plan, ask: Ask | None, verdict: Verdict) -> None:
        super().__init__(connection, plan, ask, verdict)
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._written = False
        self._chunked = False
        self._keep = True
        self._stream = False
        self._ended_early = False

    def _decision_durable(self, durable: bool, verdict: Verdict) -> None:
        if self._over or verdict is not self._verdict:
            return
        if not durable:
            self._log_failed()
            return
        self._durable = True
        if self._to_send is not None:
            self._send()
        elif self._held:
            transport = self._connection.transport
            held, self._held = self._held, []
            if transport is not None:
                self._first_byte()
                transport.writelines(held)
            if self._held_bytes > HELD_BYTES and not self._connection.paused and self._call is not None:
                self._call.resume()
            self._held_bytes = 0
            if self._ended_early:
                self._finish()

    def _log_failed(self) -> None:
        if self._call is not None:
            self._call.cancel()
        self._end("log_failed")
        self._connection.audit_unavailable(self._plan)

    # -- on the way back: the upstream calls these ---------------------------------------------------------------

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """See `ResponseSink`."""
        if self._over:
            return
        connection, head, verdict = self._connection, self._plan.head, self._verdict
        deployment, meter = verdict.deployment, self._meter
        assert deployment is not None
        assert meter is not None
        if status >= 429 and status in DECLINED and self._repeatable:
            call, self._call = self._call, None
            self._learned(status)
            if self._again("declined", asked_wait(headers)):
                if call is not None:
                    call.cancel()
                return
            self._call = call
        self._status = status
        self._answered_at = perf_counter()
        self._learned(status)
        self._forget_ask()
        if status in (401, 403) or not 200 <= status < 600 or 300 <= status < 400:
            # Our credential was refused, or we are sent elsewhere: neither is the caller's business, and the text of
            # such an answer may quote the credential.
            if self._call is not None:
                self._call.cancel()
            self._refused_by_upstream(status)
            return
        lines, self._upstream_request_id = relayed_headers(headers, deployment.kind)
        content_type: bytes | None = None
        encoded = False
        for name, value in headers:
            if name == b"content-type":
                content_type = content_type or value
            elif name == b"content-encoding" and value.lower() != b"identity":
                encoded = True
        self._stream = is_event_stream(content_type)
        meter.answer_is(stream=self._stream and not encoded, readable=not encoded)
        if self._upstream_request_id is not None:
            lines += b"x-safeconduct-upstream-request-id: " + _printable(self._upstream_request_id) + b"\r\n"
        if verdict.lines:
            lines += verdict.lines
        if self._tries is not None and self._tries.moved:
            lines += b"x-safeconduct-model: " + verdict.request.variant.encode("ascii", "replace") + b"\r\n"
        if connection.paused and self._call is not None:
            self._call.pause()
        self._keep = head.keep_alive and not connection.node.draining
        if self._stream and not encoded:
            length = None  # an event may be left out or an error added
        if length is not None:
            framing = b"content-length: %d\r\n" % length
        elif head.http_1_0:
            framing = b""
            self._keep = False
        else:
            framing = b"transfer-encoding: chunked\r\n"
            self._chunked = True
        self._out(
            b"HTTP/1.1 %d %b\r\n%b%b%b%b%bserver-timing: safeconduct;dur=%.3f\r\n\r\n"
            % (
                status,
                PHRASES.get(status, b"Status"),
                connection.server.date_line,
                request_id_line(self._plan.wire, verdict.id),
                lines,
                framing,
                connection_line(head, keep=self._keep),
                # Milliseconds that the request spent here so far, the upstream's time left out.
                (self._sent_at - self._plan.complete_at + perf_counter() - self._answered_at) * 1e3,
            )
        )

    def upstream_data(self, data: bytes) -> None:
        """See `ResponseSink`."""
        if self._over or self._meter is None:
            return
        data = self._meter.feed(data)
        if self._keeps:
            self._keep_answer(self._meter)
        self._relay(data)

    def upstream_end(self) -> None:
        """See `ResponseSink`."""
        if self._over or self._meter is None:
            return
        rest = self._meter.finish()
        if self._keeps:
            self._keep_answer(self._meter)
        elif (
            self._plan.route is Route.RESPONSE_DELETE
            and self._plan.stored is not None
            and self._status == 200
        ):
            self._connection.node.stored.forget(self._plan.stored.response)
        self._relay(rest)
        if self._chunked:
            self._out(b"0\r\n\r\n")
        if self._durable:
            self._finish()
        else:
            self._ended_early = True

    def upstream_failed(self, failure: str) -> None:
        """See `ResponseSink`."""
        if self._over:
            return
        circuit, self._circuit = self._circuit, None
        if circuit is not None:
            if failure in ("busy", "shutdown"):
                self._leave(circuit)
            else:
                circuit.failed(self._connection.server.swept)
        if not self._status:
            self._failed(failure)
            return
        status, code, message = FAILURES[failure]
        if not self._written:
            self._held.clear()
            self._give_up(status, code, message)
            return
        self._end("upstream_error")
        self._break_off(code, message, None)

    def _keep_answer(self, meter: UsageMeter) -> None:
        """Remember whose the answer is, before the client can know its id."""
        deployment = self._verdict.deployment
        if meter.answer_id is None or deployment is None or not 200 <= self._status < 300:
            return
        self._keeps = False
        node = self._connection.node
        node.stored.keep(
            StoredResponse(
                response=meter.answer_id,
                subject=self.request.subject,
                variant=deployment.variant,
                deployment=deployment.deployment,
                created=int(node.clock.now()),
            )
        )

    def _relay(self, data: bytes) -> None:
        if not data:
            return
        self._answer_bytes += len(data)
        if self._interaction is not None:
            self._interaction.answered(data)
        self._out(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _out(self, data: bytes) -> None:
        if self._durable:
            transport = self._connection.transport
            if transport is not None:
                if not self._written:
                    self._first_byte()
                transport.write(data)
            return
        if not self._held:
            self._connection.node.hurry()
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > HELD_BYTES and self._call is not None:
            self._call.pause()

    def _first_byte(self) -> None:
        self._written = True
        overhead = self._sent_at - self._plan.complete_at + perf_counter() - self._answered_at
        self._connection.node.measures.overhead.add(overhead)

    def _refused_by_upstream(self, status: int) -> None:
        self._give_up(
            502,
            "upstream_refused",
            "the provider did not accept the gateway's credential"
            if status in (401, 403)
            else "the provider answered with a redirect, which is not followed",
        )

    # -- how it ends ---------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        meter = self._meter
        self._end(
            "upstream_error" if self._status >= 500 or (meter is not None and meter.failed) else "complete"
        )
        self._connection.next(keep=self._keep)

    def pause(self) -> None:
        """The client reads slowly."""
        if self._call is not None:
            self._call.pause()

    def resume(self) -> None:
        """The client has caught up."""
        if self._call is not None:
            self._call.resume()

    def client_gone(self) -> None:
        """The client closed: so does the upstream's connection."""
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        self._to_send = None
        self._end("client_gone")

    def cut(self, deny: Deny) -> None:
        """The permit is gone: end the answer now, in the caller's wire format."""
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        self._to_send = None
        reasons = told(deny)
        codes = tuple(dict.fromkeys(reason.code.value for reason in reasons))
        self._end("cut", codes)
        if not self._written:
            self._connection.deny(self._plan, self._verdict.id, reasons)
            return
        extra = denial_members(reasons, self._verdict.id, self._connection.node.settings.remedy_base)
        self._break_off(reasons[0].code.value, message_of(reasons), extra)

    def stop(self) -> None:
        """The gateway shuts down and waits no longer."""
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        self._end("cut", ("shutting_down",))
        _, code, message = FAILURES["shutdown"]
        if self._written:
            self._break_off(code, message, None)

    def abandon(self) -> None:
        """The gateway itself failed on it: nothing more is sent in either direction."""
        if self._over:
            return
        if self._call is not None:
            self._call.cancel()
        self._to_send = None
        self._end("upstream_error")

    def _break_off(self, code: str, message: str, extra: dict[str, object] | None) -> None:
        """End an answer that has begun: a stream with an error event, anything else by closing before its end."""
        transport = self._connection.transport
        if transport is None or transport.is_closing():
            return
        if self._stream and self._plan.route in _RESPONSES:
            event = response_stream_error(code, message, request_id=self._verdict.id, extra=extra)
            transport.write(b"%x\r\n%b\r\n" % (len(event), event) if self._chunked else event)
            self._connection.shut()
        elif self._stream:
            event = stream_error(self._plan.wire, code, message, request_id=self._verdict.id, extra=extra)
            transport.write(b"%x\r\n%b\r\n0\r\n\r\n" % (len(event), event) if self._chunked else event)
            self._connection.next(keep=False)
        else:
            # Without its announced end no client takes it for whole.
            self._connection.shut()


def _printable(text: str) -> bytes:
    return bytes(mark for mark in text.encode("ascii", "replace") if 32 < mark < 127)
