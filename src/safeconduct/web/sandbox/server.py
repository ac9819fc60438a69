"""The sandbox provider's server: HTTP/1.1, both wires, and the ways in which a provider can fail.

Owns sockets and timing; keeps the last requests it saw, so that a test can say what reached a provider. Every answer
carries `x-safeconduct-sandbox: true`. Refuses requests without the credential it was started with.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import msgspec

from safeconduct.gateway.http_messages import Head, Limits, Refusal, RequestReader
from safeconduct.gateway.wires import PHRASES
from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.vocabulary import Wire
from safeconduct.web.sandbox.answers import Answer, BadPrompt, Mode, error_of, mode_of, read_prompt
from safeconduct.web.sandbox.other_answers import (
    completion,
    count_tokens,
    embeddings,
    moderation,
    read_object,
)
from safeconduct.web.sandbox.responses import ResponseStore
from safeconduct.web.sandbox.responses import events as response_events

KEPT_REQUESTS = 64
_PATHS = {b"/v1/chat/completions": Wire.OPENAI, b"/v1/messages": Wire.ANTHROPIC}
_RESPONSES = b"/v1/responses"
_OTHER_PATHS = {
    b"/v1/completions": Wire.OPENAI,
    b"/v1/embeddings": Wire.OPENAI,
    b"/v1/moderations": Wire.OPENAI,
    _RESPONSES: Wire.OPENAI,
    b"/v1/messages/count_tokens": Wire.ANTHROPIC,
}
_encode = msgspec.json.Encoder().encode


class SeenRequest:
    """A request as it arrived. gone: the caller closed before the answer was complete; events: how many were sent."""

    __slots__ = ("body", "events", "gone", "headers", "method", "target")

    def __init__(self, head: Head, body: bytes) -> None:
        self.method = head.method.decode("ascii", "replace")
        self.target = head.target.decode("ascii", "replace")
        self.headers = {name: head.all(name) for name in head.headers}
        self.body = body
        self.gone = False
        self.events = 0


class _Client(asyncio.Protocol):
    def __init__(self, server: SandboxServer) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._reader = RequestReader(self, server.limits)
        self._seen: SeenRequest | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._server.clients.add(self)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._server.clients.discard(self)
        if self._timer is not None:
            self._timer.cancel()
        if self._seen is not None:
            self._seen.gone = True

    def data_received(self, data: bytes) -> None:
        try:
            self._reader.feed(data)
        except Refusal as refusal:
            self._write(refusal.status, error_of(Wire.OPENAI, refusal.status, refusal.message), close=True)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # -- the reader calls these

    def head_received(self, head: Head) -> bool:  # noqa: ARG002 - every body is read
        return True

    def request_received(self, head: Head, body: bytes) -> None:
        seen = SeenRequest(head, body)
        self._server.seen.append(seen)
        self._seen = seen
        wire = _wire_of(head)
        if wire is None:
            self._write(404, error_of(Wire.OPENAI, 404, "there is nothing here"))
            return
        credential = self._server.credential
        given = head.headers.get(b"x-api-key") or head.headers.get(b"authorization", b"").removeprefix(
            b"Bearer "
        )
        if credential is not None and given != credential:
            self._write(
                401, error_of(wire, 401, f"incorrect key provided: {given.decode('ascii', 'replace')}")
            )
            return
        if wire is Wire.ANTHROPIC and b"anthropic-version" not in head.headers:
            self._write(400, error_of(wire, 400, "anthropic-version: header is required"))
            return
        try:
            if head.path not in _PATHS:
                self._other(head, body)
                return
            prompt = read_prompt(wire, body)
        except BadPrompt as error:
            self._write(400, error_of(wire, 400, str(error)))
            return
        mode = mode_of(
            prompt.model, prompt.text, head.headers.get(b"x-sandbox-mode", b"").decode("ascii", "replace")
        )
        answer = Answer(prompt, int(self._server.clock.now()))
        if mode.name == "late":
            self._timer = self._server.loop.call_later(1.0, self._answer, wire, prompt.stream, answer, Mode())
        else:
            self._answer(wire, prompt.stream, answer, mode)

    # -- answers

    def _other(self, head: Head, body: bytes) -> None:
        """Everything but chat and messages. Raises BadPrompt."""
        path, now = head.path, int(self._server.clock.now())
        if path.startswith(_RESPONSES + b"/"):
            self._stored(head)
        elif path == _RESPONSES:
            stream, answer = self._server.responses.make(body, now)
            if stream:
                self._events(response_events(answer), _mode_in(answer))
            else:
                self._write(200, _encode(answer))
        elif path == b"/v1/embeddings":
            self._write(200, embeddings(read_object(body)))
        elif path == b"/v1/moderations":
            self._write(200, moderation(read_object(body)))
        elif path == b"/v1/messages/count_tokens":
            self._write(200, count_tokens(read_object(body)))
        else:
            asked = read_object(body)
            whole, events = completion(asked, now)
            if asked.get("stream") is True:
                self._events(events, Mode())
            else:
                self._write(200, whole)

    def _stored(self, head: Head) -> None:
        store = self._server.responses
        name, _, action = head.path[len(_RESPONSES) + 1 :].decode("ascii", "replace").partition("/")
        if head.method == b"POST":
            found = store.cancel(name) if action == "cancel" else None
        else:
            found = store.delete(name) if head.method == b"DELETE" else store.get(name)
        if found is None:
            self._write(404, error_of(Wire.OPENAI, 404, f"response {name[:80]} not found"))
        elif head.method == b"GET" and b"stream=true" in head.query:
            self._events(response_events(found), _mode_in(found))
        else:
            self._write(200, _encode(found))

    def _events(self, events: list[bytes], mode: Mode) -> None:
        if self._transport is None or self._seen is None:
            return
        self._transport.write(_EVENT_HEAD)
        if mode.name == "plain":
            self._seen.events = len(events)
            self._transport.write(b"".join(map(_chunk, events)) + b"0\r\n\r\n")
            self._done()
            return
        self._pace(deque(events), lambda: events[4], mode)

    def _answer(self, wire: Wire, stream: bool, answer: Answer, mode: Mode) -> None:
        transport = self._transport
        if transport is None or mode.name == "silent":
            return
        if mode.name == "error":
            status = mode.count if 400 <= mode.count < 600 else 500
            extra = b"retry-after: 600\r\n" if status == 429 else b""
            self._write(status, error_of(wire, status, f"error {status} as asked for"), extra=extra)
            return
        if mode.name == "garbage":
            transport.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nthis is no chunk\r\n")
            return
        if not stream:
            body = answer.whole()
            if mode.name in ("broken", "hangs"):
                transport.write(_head(200, b"content-length: %d\r\n" % len(body)) + body[: len(body) // 2])
                if mode.name == "broken":
                    transport.close()
                return
            if mode.name in ("slow", "endless"):
                self._timer = self._server.loop.call_later(2.0, self._write, 200, body)
                return
            self._write(200, body)
            return
        transport.write(_EVENT_HEAD)
        events = answer.events()
        if mode.name == "plain":
            if self._seen is not None:
                self._seen.events = len(events)
            transport.write(b"".join(map(_chunk, events)) + b"0\r\n\r\n")
            self._done()
            return
        self._pace(deque(events), answer.filler, mode)

    def _pace(self, events: deque[bytes], filler: Callable[[], bytes], mode: Mode) -> None:
        transport, seen = self._transport, self._seen
        if transport is None or transport.is_closing() or seen is None:
            return
        if mode.name in ("broken", "hangs") and seen.events >= mode.count:
            if mode.name == "broken":
                transport.close()
            return
        # A stream without end keeps its last three events for ever.
        event = filler() if mode.name == "endless" and len(events) <= 4 else events.popleft()
        transport.write(_chunk(event))
        seen.events += 1
        if not events:
            transport.write(b"0\r\n\r\n")
            self._done()
            return
        pause = {"slow": 0.1, "endless": 0.05}.get(mode.name, 0.005)
        self._timer = self._server.loop.call_later(pause, self._pace, events, filler, mode)

    def _write(self, status: int, body: bytes, *, extra: bytes = b"", close: bool = False) -> None:
        if self._transport is None:
            return
        self._transport.write(_head(status, b"content-length: %d\r\n%b" % (len(body), extra)) + body)
        self._done()
        if close:
            self._transport.close()

    def _done(self) -> None:
        self._seen = None


def _head(status: int, lines: bytes, content_type: bytes = b"application/json") -> bytes:
    return (
        b"HTTP/1.1 %d %b\r\nserver: sandbox\r\nx-safeconduct-sandbox: true\r\nx-request-id: req_sandbox\r\n"
        b"set-cookie: sandbox=1\r\ncontent-type: %b\r\n%b\r\n"
        % (status, PHRASES.get(status, b"Status"), content_type, lines)
    )


_EVENT_HEAD = _head(
    200, b"transfer-encoding: chunked\r\ncache-control: no-cache\r\n", b"text/event-stream; charset=utf-8"
)


def _wire_of(head: Head) -> Wire | None:
    if head.method == b"POST":
        wire = _PATHS.get(head.path) or _OTHER_PATHS.get(head.path)
        if wire is not None:
            return wire
    return Wire.OPENAI if head.path.startswith(_RESPONSES + b"/") else None


def _mode_in(answer: dict[str, Any]) -> Mode:
    return mode_of(str(answer["model"]), str(answer["output"][0]["content"][0]["text"]), "")


def _chunk(event: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(event), event)


class SandboxServer:
    """The sandbox provider on the running event loop.

    credential: the key callers must send, or None to accept anyone. seen: the last requests, oldest first.
    """

    def __init__(self, *, credential: bytes | None = None, clock: Clock | None = None) -> None:
        self.credential = credential
        self.clock = clock or SystemClock()
        self.loop = asyncio.get_running_loop()
        self.limits = Limits()
        self.responses = ResponseStore()
        self.seen: deque[SeenRequest] = deque(maxlen=KEPT_REQUESTS)
        self.clients: set[_Client] = set()
        self._server: asyncio.Server | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Bind and serve; port 0 picks a free one. Raises OSError when the address is taken."""
        self._server = await self.loop.create_server(lambda: _Client(self), host, port)

    @property
    def port(self) -> int:
        """The port that was bound."""
        assert self._server is not None, "start the server first"
        return int(self._server.sockets[0].getsockname()[1])

    @property
    def base_url(self) -> str:
        """What a deployment of kind `sandbox` is registered with."""
        return f"http://127.0.0.1:{self.port}/v1"

    async def close(self) -> None:
        """Stop serving and drop every connection. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for client in list(self.clients):
            client.abort()
        await asyncio.sleep(0)
