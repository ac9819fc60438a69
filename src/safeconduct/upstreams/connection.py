"""One connection to an upstream and one request on it.

Owns reading an answer's framing and noticing when it is late, too long or not HTTP. Refuses bytes that nobody asked for.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, cast

import httptools

from safeconduct.gateway.upstream import ResponseSink
from safeconduct.upstreams.limits import bounded_socket

if TYPE_CHECKING:
    from safeconduct.upstreams.pool import Origin


class UpstreamCall:
    """One request. States: waiting for a connection, on one, or over."""

    __slots__ = ("body", "connection", "deadline", "head", "over", "pool", "queued", "sent", "sink")

    def __init__(self, pool: Origin, head: bytes, body: bytes, sink: ResponseSink) -> None:
        self.pool = pool
        self.head = head
        self.body = body
        self.sink = sink
        self.connection: UpstreamConnection | None = None
        self.deadline = 0.0
        self.over = False
        self.sent = False
        self.queued = 0

    def queue(self) -> None:
        """It waits for a connection: what it holds meanwhile is counted."""
        self.queued = len(self.body)
        self.pool.pool.unsent += self.queued

    def unqueue(self) -> None:
        """It waits no longer."""
        self.pool.pool.unsent -= self.queued
        self.queued = 0

    def cancel(self) -> None:
        """Nobody wants the answer any more."""
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
        """Read no further for now."""
        if self.connection is not None and not self.over:
            self.connection.pause()

    def resume(self) -> None:
        """Read on."""
        if self.connection is not None and not self.over:
            self.connection.resume()

    def fail(self, failure: str) -> None:
        """Say that there will be no (whole) answer; see `ResponseSink.upstream_failed`."""
        if not self.over:
            self.over = True
            self.unqueue()
            self.head = self.body = b""
            self.sink.upstream_failed(failure)


class _Broken(Exception):
    pass


class UpstreamConnection(asyncio.Protocol):
    """Serves one request at a time. `deadline` (the loop's clock) is watched by the pool's sweep."""

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

    def __init__(self, origin: Origin) -> None:
        self.origin = origin
        self.transport: asyncio.Transport | None = None
        self.call: UpstreamCall | None = None
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

    def start(self, call: UpstreamCall) -> None:
        """Send this request."""
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
        """Close at once."""
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Read no further for now."""
        if not self._paused and self.transport is not None and not self.transport.is_closing():
            self._paused = True
            # A client that reads slowly is its own connection's matter; the upstream is not late.
            self.deadline = float("inf")
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused and self.transport is not None:
            self._paused = False
            self.deadline = self.origin.pool.now() + self.origin.pool.limits.between_seconds
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def timed_out(self) -> None:
        """The deadline has passed."""
        call = self.call
        self.abort()
        if call is not None:
            call.fail("timeout")

    # -- asyncio calls these

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The upstream accepted."""
        self.transport = cast("asyncio.Transport", transport)
        bounded_socket(transport, socket.SO_RCVBUF, self.origin.pool.limits.receive_buffer)
        self.origin.opened(self)

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
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
        """The upstream reads more slowly than it is sent to."""
        # The upstream reads more slowly than requests are sent to it.
        if self.transport is not None:
            self._unsent = self.transport.get_write_buffer_size()
            self.origin.pool.unsent += self._unsent

    def resume_writing(self) -> None:
        """The upstream has caught up."""
        self.origin.pool.unsent -= self._unsent
        self._unsent = 0

    def eof_received(self) -> bool:
        """The upstream is done sending."""
        self._seen_eof = True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
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
        """An answer begins."""
        if self.call is None or self._complete:
            raise _Broken
        self._headers = []
        self._header_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header of it."""
        self._header_bytes += len(name) + len(value) + 4
        if self._header_bytes > self.origin.pool.limits.header_bytes:
            raise _Broken
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """Its head is complete."""
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
        """A piece of its body."""
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
        """It is complete."""
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
