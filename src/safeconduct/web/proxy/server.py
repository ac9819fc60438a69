"""The listener: accepts connections, watches their deadlines, shuts down in good order."""

from __future__ import annotations

import asyncio
import logging
import resource
import socket
import ssl
from collections.abc import Sequence
from email.utils import formatdate

from safeconduct.app.enforce_request import GatewayNode
from safeconduct.gateway.admission import Places, source_of
from safeconduct.gateway.http_messages import BytesUnderWay, Limits
from safeconduct.gateway.known_heads import KnownHeads
from safeconduct.gateway.retrying import RetryLimits
from safeconduct.gateway.upstream import Upstreams
from safeconduct.web.proxy.acceptor import BACKLOG, TlsAcceptor, listen
from safeconduct.web.proxy.connection import ProxyConnection

SWEEP_SECONDS = 0.25
# Files, listeners, databases and logs of the process itself.
FILES_KEPT_BACK = 256

_logger = logging.getLogger(__name__)


def connections_possible(limit: int) -> int:
    """How many clients may be connected: `limit`, or fewer where the process may not open that many files.

    Raises the process's soft limit to its hard one. A quarter of what is allowed is left to connections upstream.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if hard == resource.RLIM_INFINITY:
        return limit
    return max(16, min(limit, hard * 3 // 4 - FILES_KEPT_BACK))


class ProxyServer:
    """The data plane's listener on one event loop.

    Give it a node and the upstreams; `start` binds, `close` drains. kept: bytes of bodies that may have to be sent again.
    swept: the loop's time at the last sweep, for what need not know it better.
    """

    def __init__(
        self,
        node: GatewayNode,
        upstreams: Upstreams,
        *,
        limits: Limits | None = None,
        retries: RetryLimits | None = None,
    ) -> None:
        self.node = node
        self.upstreams = upstreams
        self.limits = limits or Limits()
        self.retries = retries or RetryLimits()
        self.kept = 0
        self.under_way = BytesUnderWay(self.limits.under_way_bytes)
        self.places = Places(connections_possible(self.limits.connections), self.limits.source_connections)
        self.loop: asyncio.AbstractEventLoop = asyncio.get_running_loop()
        self.now = self.loop.time
        self.swept = self.now()
        self.date_line = b""
        self.known_heads = KnownHeads()
        self._connections: set[ProxyConnection] = set()
        self._server: asyncio.Server | None = None
        self._acceptor: TlsAcceptor | None = None
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(
        self, host: str, port: int, *, reuse_port: bool = False, tls: ssl.SSLContext | None = None
    ) -> None:
        """Bind and serve. port 0 picks a free one. tls: None for plain HTTP. Raises OSError when the address is taken."""
        self.node.attach(self.loop)
        self._sweep()
        if tls is not None:
            self._accept_tls(listen(host, port, reuse_port=reuse_port), tls)
            return
        self._server = await self.loop.create_server(
            lambda: ProxyConnection(self), host, port, reuse_port=reuse_port or None, backlog=BACKLOG
        )
        self._bound_buffers(self._server.sockets)

    async def start_on(self, listener: socket.socket, *, tls: ssl.SSLContext | None = None) -> None:
        """Serve a socket that listens already; it may be shared with a parent that keeps it open when we end."""
        self.node.attach(self.loop)
        self._sweep()
        if tls is not None:
            self._accept_tls([listener], tls)
            return
        self._server = await self.loop.create_server(
            lambda: ProxyConnection(self), sock=listener, backlog=BACKLOG
        )
        self._bound_buffers(self._server.sockets)

    def _accept_tls(self, listeners: list[socket.socket], tls: ssl.SSLContext) -> None:
        self._bound_buffers(listeners)
        self._acceptor = TlsAcceptor(self, listeners, tls)

    def _bound_buffers(self, listeners: Sequence[socket.socket]) -> None:
        # Accepted connections inherit it. By itself the kernel takes in megabytes for each client that does not read, and a
        # thousand of those would exhaust what it has for all.
        for listener in listeners:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.limits.send_buffer)

    @property
    def port(self) -> int:
        """The port that was bound."""
        accepting = self._acceptor or self._server
        assert accepting is not None, "start the server first"
        return int(accepting.sockets[0].getsockname()[1])

    @property
    def most(self) -> int:
        """Connections that may be open, TLS handshakes among them."""
        return self.places.most

    @property
    def connections(self) -> int:
        """Connections open now."""
        return len(self._connections)

    @property
    def handshakes(self) -> int:
        """TLS handshakes under way now."""
        return self._acceptor.handshakes if self._acceptor is not None else 0

    def gauges(self) -> dict[str, float]:
        """How the node stands."""
        return self.node.gauges(self.connections, self.handshakes)

    def metrics(self) -> str:
        """What the node counted, and how it stands, as Prometheus text."""
        return self.node.metrics(self.connections, self.handshakes)

    async def close(self, drain_seconds: float = 10.0) -> None:
        """Stop accepting, let what is under way finish for up to `drain_seconds`, then end it. Idempotent.

        Writes the outstanding counts of failed authentication; the log and the upstream pool are closed by who made them.
        """
        server, self._server = self._server, None
        acceptor, self._acceptor = self._acceptor, None
        if server is None and acceptor is None:
            return
        self.node.draining = True
        for accepting in (server, acceptor):
            if accepting is not None:
                accepting.close()
        for connection in list(self._connections):
            connection.stop(now=False)
        end = self.now() + drain_seconds
        # A handshake that was under way becomes a connection, and is answered like the others.
        while (self._connections or (acceptor is not None and acceptor.busy)) and self.now() < end:  # noqa: ASYNC110 - shutting down is not worth an event
            await asyncio.sleep(0.02)
        if acceptor is not None:
            acceptor.abort()
        for connection in list(self._connections):
            connection.stop(now=True)
        for _ in range(50):
            if not self._connections:
                break
            await asyncio.sleep(0.02)
        for connection in list(self._connections):
            if connection.transport is not None:
                connection.transport.abort()
        if self._sweeper is not None:
            self._sweeper.cancel()
        if self.node.decisions.failed is None:
            self.node.decisions.flush(int(self.node.clock.now()), force=True)
        self.node.detach()

    # -- connections call these

    def connected(self, connection: ProxyConnection) -> str | None:
        """A client connected. Says why it is refused when there are too many: a file left for nobody else would stop the log."""
        if connection.place is None:
            source = source_of(connection.source)
            refused = self.places.take(source)
            if refused is not None:
                self.node.measures.refused_connections[refused] += 1
                return refused
            connection.place = source
        self._connections.add(connection)
        return None

    def disconnected(self, connection: ProxyConnection) -> None:
        """A client is gone."""
        self._connections.discard(connection)
        if connection.place is not None:
            self.places.give_back(connection.place)
            connection.place = None

    def report(self, error: BaseException) -> None:
        """A defect of ours: never expected, so it is worth its log line. Only its type and place are written."""
        trace = error.__traceback__
        while trace is not None and trace.tb_next is not None:
            trace = trace.tb_next
        place = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}" if trace is not None else "?"
        # The message could quote a body or a credential.
        _logger.error("the gateway failed on a request: %s at %s", type(error).__name__, place)

    def _sweep(self) -> None:
        now = self.swept = self.now()
        self.node.circuits.tick(now)
        self.date_line = b"date: " + formatdate(self.node.clock.now(), usegmt=True).encode("ascii") + b"\r\n"
        # First: whatever fails below, deadlines are watched on.
        self._sweeper = self.loop.call_later(SWEEP_SECONDS, self._sweep)
        for connection in [each for each in self._connections if each.deadline <= now]:
            connection.timed_out()
        if self.places.taken * 4 > self.places.most * 3:
            # Nearly full: whoever only holds a connection makes room for those who send requests.
            for connection in [each for each in self._connections if each.spare(now)]:
                connection.shut()
        try:
            self.node.tick()
        except Exception as error:  # noqa: BLE001 - the sweep must go on
            self.report(error)
