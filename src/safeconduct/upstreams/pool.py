"""A pooled HTTP/1.1 client on asyncio protocols, for requests that were already permitted and written.

Owns connections to upstreams: opening them (TLS verified against the system's trust store), keeping them, the timeouts.
Refuses to follow a redirect, to use a proxy from the environment, to try anything twice (its caller knows what may be) and
to interpret a body.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections import deque

from safeconduct.gateway.upstream import ResponseSink, Target
from safeconduct.upstreams.connection import UpstreamCall, UpstreamConnection
from safeconduct.upstreams.limits import UpstreamLimits


class Origin:
    """Connections to one upstream."""

    __slots__ = ("_connecting", "_connections", "_idle", "_limit", "_waiting", "pool", "target")

    def __init__(self, pool: UpstreamPool, target: Target) -> None:
        self.pool = pool
        self.target = target
        self._limit = target.concurrency or pool.limits.connections
        self._connections: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._idle: list[UpstreamConnection] = []
        self._waiting: deque[UpstreamCall] = deque()

    def send(self, call: UpstreamCall) -> None:
        """Send on a free connection, or as soon as there is one."""
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
        connection = UpstreamConnection(self)
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

    def gone(self, call: UpstreamCall) -> None:
        """A request waits no longer."""
        # At once, or those who leave would fill the queue for those who stay.
        with contextlib.suppress(ValueError):
            self._waiting.remove(call)

    def opened(self, connection: UpstreamConnection) -> None:
        """A connection is open."""
        self._connections.add(connection)
        self._next(connection)

    def finished(self, connection: UpstreamConnection, *, keep: bool) -> None:
        """A connection has read a whole answer."""
        if not keep or self.pool.closing:
            # Not closed in good order: what is not sent by now need not be, and an upstream that does not read would keep it.
            connection.abort()
            return
        self._next(connection)

    def _next(self, connection: UpstreamConnection) -> None:
        while self._waiting:
            call = self._waiting.popleft()
            if not call.over:
                connection.start(call)
                return
        connection.deadline = self.pool.now() + self.pool.limits.idle_seconds
        self._idle.append(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        with contextlib.suppress(ValueError):
            self._idle.remove(connection)
        if not self.pool.closing:
            self._connect_if_needed()

    def sweep(self, now: float) -> None:
        """A few times a second: what is late."""
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
        """End everything."""
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
        self._origins: dict[tuple[bool, str, int, str, int | None], Origin] = {}
        self._sweeper = loop.call_later(self.SWEEP_SECONDS, self._sweep)

    def send(self, target: Target, head: bytes, body: bytes, sink: ResponseSink) -> UpstreamCall:
        """Send one request; see `gateway.upstream.Upstreams`."""
        address = (target.tls, target.host, target.port, target.lane, target.concurrency)
        origin = self._origins.get(address)
        if origin is None:
            origin = self._origins[address] = Origin(self, target)
        call = UpstreamCall(origin, head, body, sink)
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
