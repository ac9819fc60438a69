"""A small endpoint on the user's own machine, for tools that can only send an API key.

The tool gets a key that is good on this machine only; the endpoint holds the passport's (or mandate's) key, gets and renews
bound tokens, signs each request and passes it on. Listens on loopback only. Refuses requests of web pages (an `Origin`
header, or a `Host` that is not loopback: DNS rebinding), and every path outside `/v1/`.
"""

from __future__ import annotations

import asyncio
import hmac
import json
from collections.abc import Iterable

import h11
import httpx2

from safeconduct.sdk.auth import BoundAuth
from safeconduct.sdk.refusal import AccessRefused

MAX_BODY = 32 << 20
MAX_CONNECTIONS = 256
BODY_SECONDS = 60.0
_PIECE = 64 * 1024

# What is passed on, in either direction: the same as the gateway takes and gives.
_TO_GATEWAY = frozenset(
    {
        b"accept",
        b"anthropic-version",
        b"anthropic-beta",
        b"openai-beta",
        b"content-type",
        b"x-safeconduct-project",
        b"x-safeconduct-purpose",
    }
)
_NOT_TO_TOOL = frozenset(
    {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
)


class _Refused(Exception):
    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


def environment(port: int, key: str) -> dict[str, str]:
    """The variables that make the usual tools use the endpoint."""
    base = f"http://127.0.0.1:{port}"
    return {
        "OPENAI_BASE_URL": f"{base}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": base,
        "ANTHROPIC_API_KEY": key,
    }


class LocalEndpoint:
    """Serves tools of this machine in the name of `auth.holder`. key: what tools must send (ASCII, at least 32 characters)."""

    def __init__(self, auth: BoundAuth, key: str, *, client: httpx2.AsyncClient | None = None) -> None:
        self._auth = auth
        self._gateway = auth.holder.gateway
        self._key = key.encode("ascii")
        self._client = client or httpx2.AsyncClient(
            follow_redirects=False, trust_env=False, timeout=httpx2.Timeout(600, connect=10)
        )
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self, port: int = 0) -> int:
        """Listen on 127.0.0.1; returns the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", port)
        return int(self._server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Stop listening and drop what is under way. Idempotent."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._client.aclose()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            await self._converse(reader, writer)
        except (ConnectionError, h11.ProtocolError, TimeoutError, asyncio.IncompleteReadError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        wire = h11.Connection(h11.SERVER)
        while True:
            request = await self._next(wire, reader)
            if not isinstance(request, h11.Request):
                return
            anthropic = request.target.startswith(b"/v1/messages") or any(
                name == b"anthropic-version" for name, _ in request.headers
            )
            try:
                self._check(request)
                body = await asyncio.wait_for(self._body(wire, reader), BODY_SECONDS)
                await self._pass_on(wire, reader, writer, request, body)
            except _Refused as refused:
                self._refuse(wire, writer, refused, anthropic=anthropic)
            except AccessRefused as refused:
                told = _Refused(403, refused.code, f"{refused}. Remedy: {refused.remedy}")
                self._refuse(wire, writer, told, anthropic=anthropic)
            except httpx2.HTTPError as error:
                if wire.our_state is not h11.SEND_RESPONSE and wire.our_state is not h11.IDLE:
                    return  # the answer has begun: without its end no tool takes it for whole
                told = _Refused(502, "gateway_unreachable", f"the gateway gave no answer: {error}")
                self._refuse(wire, writer, told, anthropic=anthropic)
            await writer.drain()
            if wire.our_state is not h11.DONE or wire.their_state is not h11.DONE:
                return
            wire.start_next_cycle()

    def _check(self, request: h11.Request) -> None:
        given: dict[bytes, bytes] = {}
        for name, value in request.headers:
            if name in (b"host", b"authorization", b"x-api-key", b"origin") and name in given:
                raise _Refused(400, "duplicate_header", "a header stands twice")
            given[name] = value
        host = given.get(b"host", b"").rsplit(b":", 1)[0]
        if b"origin" in given or host not in (b"127.0.0.1", b"localhost"):
            raise _Refused(403, "browser_refused", "requests of web pages are not served")
        key = given.get(b"x-api-key") or given.get(b"authorization", b"").removeprefix(b"Bearer ")
        if not hmac.compare_digest(key, self._key):
            raise _Refused(401, "key_unknown", "send the key that `safeconduct connect --print-env` prints")
        path = request.target.split(b"?", 1)[0]
        if not path.startswith(b"/v1/") or b".." in path or b"//" in path:
            raise _Refused(404, "ROUTE_UNKNOWN", "only /v1/ is passed on")

    async def _next(self, wire: h11.Connection, reader: asyncio.StreamReader) -> object:
        while True:
            event = wire.next_event()
            if event is not h11.NEED_DATA:
                return event
            wire.receive_data(await reader.read(_PIECE))

    async def _body(self, wire: h11.Connection, reader: asyncio.StreamReader) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            event = await self._next(wire, reader)
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > MAX_BODY:
                    raise _Refused(413, "body_too_large", f"the body is larger than {MAX_BODY} bytes")
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return b"".join(pieces)
            else:
                raise ConnectionResetError

    async def _pass_on(
        self,
        wire: h11.Connection,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        request: h11.Request,
        body: bytes,
    ) -> None:
        headers = [(name, value) for name, value in request.headers if name in _TO_GATEWAY]
        url = self._gateway + request.target.decode("ascii")
        method = request.method.decode("ascii")
        sent = self._client.build_request(method, url, headers=headers, content=body)
        answering = asyncio.ensure_future(self._relay(wire, writer, sent))
        # Read on meanwhile: only so is it seen that the tool has left. What it sends early is for the next turn.
        early = asyncio.ensure_future(reader.read(_PIECE))
        try:
            await asyncio.wait({early, answering}, return_when=asyncio.FIRST_COMPLETED)
            if early.done() and not early.result():
                raise ConnectionResetError
            await answering
        finally:
            for task in (answering, early):
                task.cancel()
            await asyncio.wait({answering, early})
            if not early.cancelled() and early.exception() is None and early.result():
                wire.receive_data(early.result())

    async def _relay(self, wire: h11.Connection, writer: asyncio.StreamWriter, sent: httpx2.Request) -> None:
        answer = await self._client.send(sent, auth=self._auth, stream=True)
        try:
            lines = [
                (name, value)
                for name, value in answer.headers.items()
                if name not in _NOT_TO_TOOL and name != "content-encoding"
            ]
            self._send(wire, writer, h11.Response(status_code=answer.status_code, headers=_framed(lines)))
            async for piece in answer.aiter_bytes():
                self._send(wire, writer, h11.Data(data=piece))
                await writer.drain()
            self._send(wire, writer, h11.EndOfMessage())
        finally:
            await answer.aclose()

    @staticmethod
    def _send(wire: h11.Connection, writer: asyncio.StreamWriter, event: h11.Event) -> None:
        data = wire.send(event)
        if data:
            writer.write(data)

    def _refuse(
        self, wire: h11.Connection, writer: asyncio.StreamWriter, refused: _Refused, *, anthropic: bool
    ) -> None:
        error: dict[str, object] = {"type": "invalid_request_error", "message": str(refused)}
        error |= (
            {"details": {"error_code": refused.code}} if anthropic else {"code": refused.code, "param": None}
        )
        body = json.dumps({"type": "error", "error": error} if anthropic else {"error": error}).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("x-should-retry", "false" if refused.status != 502 else "true"),
            ("connection", "close"),
        ]
        self._send(wire, writer, h11.Response(status_code=refused.status, headers=headers))
        self._send(wire, writer, h11.Data(data=body))
        self._send(wire, writer, h11.EndOfMessage())


def _framed(lines: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    return [*lines, ("transfer-encoding", "chunked")]
