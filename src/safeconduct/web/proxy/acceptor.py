"""Accepting connections that begin with a TLS handshake: each is counted, and has its place or none, before the handshake begins.

asyncio's own server makes a protocol only once the handshake is over, so that clients who never finish one would be seen and
bounded by nobody. Owns the listening sockets and the handshakes under way. Refuses to spend a handshake on whoever finds no place,
but for a few at a time, who are told why.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

import msgspec

from safeconduct.gateway.admission import HANDSHAKES, HandshakePlaces, source_of
from safeconduct.web.proxy.answers import turned_away
from safeconduct.web.proxy.connection import ProxyConnection
from safeconduct.web.tls import SHUTDOWN_SECONDS

if TYPE_CHECKING:
    from safeconduct.web.proxy.server import ProxyServer

BACKLOG = 2048
ACCEPTED_AT_ONCE = 64
"""From one listener before others of the loop have their turn."""
TOLD_AT_ONCE = 32
"""Clients without a place whose handshake is made so that they can read why."""
TOLD_SECONDS = 2.0
PAUSE_SECONDS = 0.2
# The fatal alert internal_error (RFC 8446 6), in clear: whoever finds no place sees an end, not a network that failed.
_ALERT = b"\x15\x03\x03\x00\x02\x02\x50"

_logger = logging.getLogger(__name__)


def listen(host: str, port: int, *, reuse_port: bool = False) -> list[socket.socket]:
    """Listening sockets on every address of `host`. port 0 picks a free one for each. Raises OSError."""
    found = dict.fromkeys(
        (family, address)
        for family, _, _, _, address in socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    )
    made: list[socket.socket] = []
    try:
        for family, address in found:
            one = socket.socket(family, socket.SOCK_STREAM)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if reuse_port:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(BACKLOG)
    except BaseException:
        for one in made:
            one.close()
        raise
    return made


class _Told(asyncio.Protocol):
    """A client without a place: one answer, and the end. Reads nothing."""

    def __init__(self, answer: bytes, over: asyncio.Future[None]) -> None:
        self._answer = answer
        self._over = over

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        connection = cast("asyncio.Transport", transport)
        connection.write(self._answer)
        connection.close()

    def connection_lost(self, _exc: Exception | None) -> None:
        if not self._over.done():
            self._over.set_result(None)


class _Handshake(msgspec.Struct, frozen=True):
    """One under way. client: the accepted socket; connection: what it becomes, None for a client that is only told."""

    client: socket.socket
    source: str
    connection: ProxyConnection | None = None


class TlsAcceptor:
    """Accepts for a server until it is closed. listeners: they are listening, and are closed by this."""

    def __init__(self, server: ProxyServer, listeners: list[socket.socket], context: ssl.SSLContext) -> None:
        self._server = server
        self._loop = server.loop
        self._context = context
        self._listeners = listeners
        self._paused: dict[int, asyncio.TimerHandle] = {}
        self._under_way: HandshakePlaces[asyncio.Task[None]] = HandshakePlaces(
            server.limits.handshakes, server.limits.handshake_patience
        )
        self._tasks: dict[asyncio.Task[None], _Handshake] = {}
        self._told = 0
        for listener in listeners:
            listener.setblocking(False)
            self._loop.add_reader(listener.fileno(), self._acceptable, listener)

    @property
    def sockets(self) -> list[socket.socket]:
        """The listening sockets."""
        return self._listeners

    @property
    def handshakes(self) -> int:
        """Under way now."""
        return self._under_way.taken

    @property
    def busy(self) -> bool:
        """Whether any handshake is under way, or anybody is still being told."""
        return bool(self._tasks)

    def close(self) -> None:
        """Accept no more. Handshakes that are under way go on."""
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            pause = self._paused.pop(listener.fileno(), None)
            if pause is not None:
                pause.cancel()
            else:
                self._loop.remove_reader(listener.fileno())
            listener.close()

    def abort(self) -> None:
        """End what is under way."""
        for task in list(self._tasks):
            task.cancel()

    # -- accepting -----------------------------------------------------------------------------------------------

    def _acceptable(self, listener: socket.socket) -> None:
        for _ in range(ACCEPTED_AT_ONCE):
            try:
                client, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                # Out of files or memory: the kernel keeps whoever waits; trying again at once would only burn the processor.
                _logger.error("the gateway cannot accept: %s", error.strerror)  # noqa: TRY400 - no defect, so no trace
                self._loop.remove_reader(listener.fileno())
                self._paused[listener.fileno()] = self._loop.call_later(PAUSE_SECONDS, self._resume, listener)
                return
            client.setblocking(False)
            self._came(client, source_of(address[0]) if isinstance(address, tuple) else "local")

    def _resume(self, listener: socket.socket) -> None:
        if self._paused.pop(listener.fileno(), None) is not None:
            self._loop.add_reader(listener.fileno(), self._acceptable, listener)

    def _came(self, client: socket.socket, source: str) -> None:
        server = self._server
        refused = server.places.take(source)
        if refused is None:
            now = server.now()
            free, loser = self._under_way.make_room(source, now)
            if loser is not None:
                self._give_up(loser)
            if free:
                connection = ProxyConnection(server, source)
                task = self._begin(self._shake_hands(client, connection), client, source, connection)
                self._under_way.begin(task, source, now)
                return
            server.places.give_back(source)
            refused = HANDSHAKES
        server.node.measures.refused_connections[refused] += 1
        if refused != HANDSHAKES and self._told < TOLD_AT_ONCE:
            self._told += 1
            self._begin(self._tell(client, refused), client, source)
            return
        with contextlib.suppress(OSError):
            client.send(_ALERT)
        client.close()

    def _give_up(self, task: asyncio.Task[None]) -> None:
        connection = self._tasks[task].connection
        if connection is not None and connection.transport is None:
            task.cancel()
        # Otherwise its handshake is over, and only its task does not know it yet.

    def _begin(
        self,
        work: Coroutine[Any, Any, None],
        client: socket.socket,
        source: str,
        connection: ProxyConnection | None = None,
    ) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks[task] = _Handshake(client, source, connection)
        # Not in the coroutine's `finally`: one that is cancelled before its first step never gets there.
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        handshake = self._tasks.pop(task)
        if handshake.connection is None:
            self._told -= 1
            handshake.client.close()
        else:
            self._under_way.end(task)
            if handshake.connection.transport is None:
                # It never became a connection, which would give its place back itself.
                handshake.client.close()
                self._server.places.give_back(handshake.source)
                self._server.node.measures.failed_handshakes += 1
        if not task.cancelled() and (error := task.exception()) is not None:
            self._server.report(error)

    # -- handshakes ----------------------------------------------------------------------------------------------

    async def _shake_hands(self, client: socket.socket, connection: ProxyConnection) -> None:
        # Broken off, wrong or too slow: that it became no connection says it all.
        with contextlib.suppress(OSError, EOFError):
            await self._loop.connect_accepted_socket(
                lambda: connection,
                client,
                ssl=self._context,
                ssl_handshake_timeout=self._server.limits.handshake_seconds,
                ssl_shutdown_timeout=SHUTDOWN_SECONDS,
            )

    async def _tell(self, client: socket.socket, cause: str) -> None:
        over: asyncio.Future[None] = self._loop.create_future()
        answer = turned_away(self._server.node.new_request_id(), self._server.date_line, cause)
        with contextlib.suppress(OSError, EOFError):
            await self._loop.connect_accepted_socket(
                lambda: _Told(answer, over),
                client,
                ssl=self._context,
                ssl_handshake_timeout=TOLD_SECONDS,
                ssl_shutdown_timeout=TOLD_SECONDS,
            )
            await over
