"""A pooled HTTP/1.1 client on asyncio protocols, for requests that were already permitted and written.

Owns connections to upstreams: opening them (TLS verified against the system's trust store), keeping them, the timeouts.
Refuses to follow a redirect, to use a proxy from the environment, to try anything twice (its caller knows what may be) and
to interpret a body.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections import deque
from typing import cast

import httptools
import msgspec

from safeconduct.gateway.upstream import ResponseSink, Target


class UpstreamLimits(msgspec.Struct, frozen=True):
    """Seconds and counts.

    first_byte_seconds: from the request to the head of the answer (a model may think for minutes).
    between_seconds: between two pieces of the answer. idle_seconds: how long an unused connection is kept; below the
    five seconds after which common servers close theirs. connections: per upstream, and so requests under way at once, where
    a deployment has no limit of its own; waiting: requests that may queue for one, and waiting_seconds: for how long.
    unsent_bytes: bodies of requests, of all upstreams together, that wait for a connection or for an upstream to read them;
    beyond that further requests fail with `busy`. interim: answers with a 1xx status before the real one. receive_buffer:
    bytes that the kernel may take in of an answer that is not read because its client reads slowly.
    """

    connect_seconds: float = 5.0
    first_byte_seconds: float = 600.0
    between_seconds: float = 120.0
    idle_seconds: float = 4.0
    connections: int = 2048
    waiting: int = 256
    waiting_seconds: float = 2.0
    header_bytes: int = 64 * 1024
    unsent_bytes: int = 256 * 1024 * 1024
    interim: int = 16
    receive_buffer: int = 128 * 1024


def bounded_socket(transport: asyncio.BaseTransport, which: int, size: int) -> None:
    """Fix one of the kernel's buffers (`SO_RCVBUF`, `SO_SNDBUF`) of a connection.

    By itself it grows to megabytes: a thousand slow readers would then exhaust what the kernel has for all connections.
    """
    found = transport.get_extra_info("socket")
    if found is not None:
        with contextlib.suppress(OSError):
            found.setsockopt(socket.SOL_SOCKET, which, size)


class _Call:
    """One request. States: waiting for a connection, on one, or over."""

    __slots__ = ("body", "connection", "deadline", "head", "over", "pool", "queued", "sent", "sink")

    def __init__(self, pool: _Origin, head: bytes, body: bytes, sink: ResponseSink) -> None:
        self.pool = pool
        self.head = head
        self.body = body
        self.sink = sink
        self.connection: _Connection | None = None
        self.deadline = 0.0
        self.over = False
        self.sent = False
        self.queued = 0

    def queue(self) -> None:
        """It waits for a connection: what it holds meanwhile is counted."""
        self.queued = len(self.body)
        self.pool.pool.unsent += self.queued

    def unqueue(self) -> None:
        self.pool.pool.unsent -= self.queued
        self.queued = 0

    def cancel(self) -> None:
        if self.over:
            return
        self.over = True
        self.unqueue()
        self.head = self.body = b""
        if self.connection is not None:
            self.connection.abort()
        else:
            self.pool.gone(self)

    def pause(self) -> None:
        if self.connection is not None and not self.over:
            self.connection.pause()

    def resume(self) -> None:
        if self.connection is not None and not self.over:
            self.connection.resume()

    def fail(self, failure: str) -> None:
        if not self.over:
            self.over = True
            self.unqueue()
            self.head = self.body = b""
            self.sink.upstream_failed(failure)


class _Broken(Exception):
    pass


class _Connection(asyncio.Protocol):
    __slots__ = (
        "_body_bytes",
        "_complete",
        "_finished",
        "_header_bytes",
        "_headers",
        "_interim",
        "_interims",
        "_keep",
        "_parser",
        "_paused",
        "_raw",
        "_seen_eof",
        "_unsent",
        "_until_close",
        "call",
        "deadline",
        "origin",
        "transport",
    )

    def __init__(self, origin: _Origin) -> None:
        self.origin = origin
        self.transport: asyncio.Transport | None = None
        self.call: _Call | None = None
        self.deadline = 0.0
        self._parser = httptools.HttpResponseParser(self)
        self._headers: list[tuple[bytes, bytes]] = []
        self._header_bytes = 0
        self._interim = False
        self._until_close = False
        self._seen_eof = False
        self._paused = False
        self._complete = True
        self._finished = False
        self._keep = False
        self._raw = 0
        self._body_bytes = 0
        self._interims = 0
        self._unsent = 0

    # -- used by the origin and the call

    def start(self, call: _Call) -> None:
        self.call = call
        call.connection = self
        call.sent = True
        call.unqueue()
        self._complete = False
        self._raw = self._body_bytes = self._interims = 0
        self.deadline = self.origin.pool.now() + self.origin.pool.limits.first_byte_seconds
        assert self.transport is not None
        if len(call.body) < 65536:
            self.transport.write(call.head + call.body)
        else:
            self.transport.write(call.head)
            self.transport.write(call.body)
        call.head = call.body = b""

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            # A client that reads slowly is its own connection's matter; the upstream is not late.
            self.deadline = float("inf")
            self.transport.pause_reading()

    def resume(self) -> None:
        if self._paused and self.transport is not None:
            self._paused = False
            self.deadline = self.origin.pool.now() + self.origin.pool.limits.between_seconds
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def timed_out(self) -> None:
        call = self.call
        self.abort()
        if call is not None:
            call.fail("timeout")

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        bounded_socket(transport, socket.SO_RCVBUF, self.origin.pool.limits.receive_buffer)
        self.origin.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.call is None:
            # Bytes nobody asked for would be taken for the answer to the next request.
            self.abort()
            return
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._break("protocol")
        except httptools.HttpParserCallbackError as error:
            cause = error.__context__
            if not isinstance(cause, _Broken):
                self.origin.pool.report(cause or error)
            self._break("protocol")
        except httptools.HttpParserError:
            self._break("protocol")
        else:
            if self._finished:
                # INVARIANT: only here, when every byte that came has been read, may the connection serve another call. What
                # follows an answer in the same read would otherwise be taken for the answer to somebody else's request.
                self._finished = False
                self.origin.finished(self, keep=self._keep)
            elif self._raw > 8 * self._body_bytes + self.origin.pool.limits.header_bytes + (1 << 20):
                # Headers, trailers, chunk extensions or interim answers without end.
                self._break("protocol")
            elif not (self._headers or self._body_bytes) and self._raw > self.origin.pool.limits.header_bytes:
                # A header line that never ends stays in the parser until it does.
                self._break("protocol")

    def pause_writing(self) -> None:
        # The upstream reads more slowly than requests are sent to it.
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self.origin.pool.unsent += self._unsent

    def resume_writing(self) -> None:
        self.origin.pool.unsent -= self._unsent
        self._unsent = 0

    def eof_received(self) -> bool:
        self._seen_eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        call, self.call = self.call, None
        self.resume_writing()
        self.origin.closed(self)
        if call is None or call.over:
            return
        if self._until_close and self._seen_eof and exc is None:
            # RFC 9112 6.3: without a length the body ends where the connection is closed in good order.
            call.over = True
            call.sink.upstream_end()
        else:
            call.fail("closed")

    def _break(self, failure: str) -> None:
        call = self.call
        self.abort()
        if call is not None:
            call.fail(failure)

    # -- httptools calls these

    def on_message_begin(self) -> None:
        if self.call is None or self._complete:
            raise _Broken
        self._headers = []
        self._header_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self.origin.pool.limits.header_bytes:
            raise _Broken
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        # RFC 9110 15.2: interim answers come before the real one; 101 was not asked for.
        self._interim = 100 <= status < 200
        if self._interim:
            self._interims += 1
            if status == 101 or self._interims > self.origin.pool.limits.interim:
                raise _Broken
            return
        length: int | None = None
        chunked = False
        for name, value in self._headers:
            if name == b"content-length" and value.isdigit():
                length = int(value)
            elif name == b"transfer-encoding":
                chunked = True
        if chunked:
            length = None
        elif status in (204, 304):
            length = 0
        self._until_close = not chunked and length is None
        call = self.call
        if call is None or call.over:
            return
        self._touch()
        call.sink.upstream_head(status, self._headers, length)

    def on_body(self, data: bytes) -> None:
        if self._interim:
            # RFC 9110 15.2: an interim answer has no content. What claims to be some would go out before the real head.
            raise _Broken
        self._body_bytes += len(data)
        call = self.call
        if call is None or call.over:
            return
        self._touch()
        call.sink.upstream_data(data)

    def on_message_complete(self) -> None:
        if self._interim:
            return
        self._complete = True
        call, self.call = self.call, None
        # An upstream that answered before it had read the request would read the rest as the next one's beginning.
        sent = self.transport is not None and self.transport.get_write_buffer_size() == 0
        self._finished = True
        self._keep = sent and self._parser.should_keep_alive() and not self._until_close
        if self._paused:
            self.resume()
        if call is None:
            return
        over, call.over = call.over, True
        call.connection = None
        self._keep = self._keep and not over
        if not over:
            call.sink.upstream_end()

    def _touch(self) -> None:
        if not self._paused:
            self.deadline = self.origin.pool.now() + self.origin.pool.limits.between_seconds


class _Origin:
    """Connections to one upstream."""

    __slots__ = ("_connecting", "_connections", "_idle", "_limit", "_waiting", "pool", "target")

    def __init__(self, pool: UpstreamPool, target: Target) -> None:
        self.pool = pool
        self.target = target
        self._limit = target.concurrency or pool.limits.connections
        self._connections: set[_Connection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._idle: list[_Connection] = []
        self._waiting: deque[_Call] = deque()

    def send(self, call: _Call) -> None:
        while self._idle:
            connection = self._idle.pop()
            if connection.transport is not None and not connection.transport.is_closing():
                connection.start(call)
                return
        # Those that a connection is being opened for do not queue: they are on their way.
        if len(self._waiting) - len(self._connecting) >= self.pool.limits.waiting:
            self.pool.loop.call_soon(call.fail, "busy")
            return
        call.deadline = self.pool.now() + self.pool.limits.waiting_seconds
        self._waiting.append(call)
        call.queue()
        self._connect_if_needed()

    def _connect_if_needed(self) -> None:
        wanted = sum(not call.over for call in self._waiting) - len(self._connecting)
        free = self._limit - len(self._connections) - len(self._connecting)
        for _ in range(min(wanted, free)):
            task = self.pool.loop.create_task(self._connect())
            self._connecting.add(task)
            task.add_done_callback(self._connected)

    def _connected(self, task: asyncio.Task[None]) -> None:
        # A connection takes a call before the task that opened it is over: until now it counted as one still to come,
        # and a request that arrived in between opened none of its own.
        self._connecting.discard(task)
        if not self.pool.closing:
            self._connect_if_needed()

    async def _connect(self) -> None:
        target, pool = self.target, self.pool
        connection = _Connection(self)
        failure = "connect"
        try:
            async with asyncio.timeout(pool.limits.connect_seconds):
                await pool.loop.create_connection(
                    lambda: connection,
                    target.host,
                    target.port,
                    ssl=pool.tls if target.tls else None,
                )
        except ssl.SSLError:
            failure = "tls"
        except TimeoutError:
            failure = "connect_timeout"
        except OSError:
            failure = "connect"
        else:
            return
        if connection.transport is not None:
            # It opened, and perhaps took a call, just before the time ran out: the loop has closed it without saying so.
            connection.connection_lost(None)
            return
        # One attempt failed for one request: the one that waited longest.
        while self._waiting:
            call = self._waiting.popleft()
            if not call.over:
                call.fail(failure)
                break

    def gone(self, call: _Call) -> None:
        # At once, or those who leave would fill the queue for those who stay.
        with contextlib.suppress(ValueError):
            self._waiting.remove(call)

    def opened(self, connection: _Connection) -> None:
        self._connections.add(connection)
        self._next(connection)

    def finished(self, connection: _Connection, *, keep: bool) -> None:
        if not keep or self.pool.closing:
            # Not closed in good order: what is not sent by now need not be, and an upstream that does not read would keep it.
            connection.abort()
            return
        self._next(connection)

    def _next(self, connection: _Connection) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.over:
                connection.start(call)
                return
        connection.deadline = self.pool.now() + self.pool.limits.idle_seconds
        self._idle.append(connection)

    def closed(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if not self.pool.closing:
            self._connect_if_needed()

    def sweep(self, now: float) -> None:
        for connection in [each for each in self._connections if each.deadline <= now]:
            if connection.call is None:
                with contextlib.suppress(ValueError):
                    self._idle.remove(connection)
                if connection.transport is not None:
                    connection.transport.close()
            else:
                connection.timed_out()
        if self._waiting and self._waiting[0].deadline <= now:
            self._drop_late(now)

    def _drop_late(self, now: float) -> None:
        # The first ones get the connections that are being opened, which have a time of their own.
        waiting = [call for call in self._waiting if not call.over]
        on_their_way = len(self._connecting)
        late = [call for call in waiting[on_their_way:] if call.deadline <= now]
        self._waiting = deque(
            [*waiting[:on_their_way], *(call for call in waiting[on_their_way:] if call.deadline > now)]
        )
        for call in late:
            call.fail("busy")

    def close(self) -> None:
        for task in list(self._connecting):
            task.cancel()
        while self._waiting:
            self._waiting.popleft().fail("shutdown")
        for connection in list(self._connections):
            call = connection.call
            connection.abort()
            if call is not None:
                call.fail("shutdown")


class UpstreamPool:
    """Implements `gateway.upstream.Upstreams`. Belongs to one event loop."""

    SWEEP_SECONDS = 0.25

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: UpstreamLimits | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.loop = loop
        self.now = loop.time
        self.limits = limits or UpstreamLimits()
        self.tls = tls or ssl.create_default_context()
        self.closing = False
        self.unsent = 0
        self._origins: dict[tuple[bool, str, int, str, int | None], _Origin] = {}
        self._sweeper = loop.call_later(self.SWEEP_SECONDS, self._sweep)

    def send(self, target: Target, head: bytes, body: bytes, sink: ResponseSink) -> _Call:
        """Send one request; see `gateway.upstream.Upstreams`."""
        address = (target.tls, target.host, target.port, target.lane, target.concurrency)
        origin = self._origins.get(address)
        if origin is None:
            origin = self._origins[address] = _Origin(self, target)
        call = _Call(origin, head, body, sink)
        if self.closing:
            self.loop.call_soon(call.fail, "shutdown")
        elif self.unsent > self.limits.unsent_bytes:
            self.loop.call_soon(call.fail, "busy")
        else:
            origin.send(call)
        return call

    def report(self, error: BaseException) -> None:
        """Hand a defect in a sink to the loop's exception handler."""
        self.loop.call_exception_handler({"message": "an answer could not be relayed", "exception": error})

    def _sweep(self) -> None:
        now = self.now()
        for origin in self._origins.values():
            origin.sweep(now)
        if not self.closing:
            self._sweeper = self.loop.call_later(self.SWEEP_SECONDS, self._sweep)

    def close(self) -> None:
        """Close every connection; calls under way fail with `shutdown`. Idempotent."""
        self.closing = True
        self._sweeper.cancel()
        for origin in self._origins.values():
            origin.close()
