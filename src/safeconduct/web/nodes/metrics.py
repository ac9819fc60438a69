"""Metrics of a node of several processes: each publishes what it counted, and who is asked tells the sum.

Owns how often that is, what a process that died leaves in the sum, and the listener for nodes that have no API. Costs a request
nothing: counters are published on a timer, from a thread. Refuses to answer beyond loopback, and to web pages.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from safeconduct.gateway.measures import GatewayMeasures, gauges_together
from safeconduct.kernel.clock import Clock
from safeconduct.storage.measure_files import MeasureFiles, Published
from safeconduct.web.nodes.shared import shared_directory

if TYPE_CHECKING:
    from safeconduct.web.proxy.server import ProxyServer

PUBLISH_SECONDS = 1.0
SILENT_SECONDS = 5.0
"""A process that published nothing for this long stands nowhere; its counts stay."""
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
LISTENER_HOST = "127.0.0.1"
_MAX_HEAD = 8192
_HEAD_SECONDS = 5.0
_MAX_CONNECTIONS = 16

_logger = logging.getLogger(__name__)


def measure_files(data: Path) -> MeasureFiles:
    """The files of the node whose data these are."""
    return MeasureFiles(shared_directory(data) / "metrics")


class Publisher:
    """Publishes what one process counts. name: of the process. It goes on where the process before it of that name ended."""

    def __init__(self, server: ProxyServer, files: MeasureFiles, name: str, clock: Clock) -> None:
        self._server = server
        self._files = files
        self._name = name
        self._clock = clock
        self._failed = False
        before = files.read(name)
        if before is not None:
            server.node.measures.take_in(before.counts)

    def _present(self, *, ended: bool = False) -> Published:
        return Published(
            at=self._clock.monotonic(),
            counts=self._server.node.measures.snapshot(),
            gauges=self._server.gauges(),
            ended=ended,
        )

    async def run(self, every: float = PUBLISH_SECONDS) -> None:
        """Publish until cancelled. every: seconds."""
        while True:
            published = self._present()
            try:
                await asyncio.to_thread(self._files.write, self._name, published)
                self._failed = False
            except OSError as error:
                if not self._failed:  # once, and not every second of a full disk
                    self._failed = True
                    _logger.error("metrics are not published: %s", error.strerror)  # noqa: TRY400 - no defect, so no trace
            await asyncio.sleep(every)

    def end(self) -> None:
        """Publish for the last time."""
        with contextlib.suppress(OSError):
            self._files.write(self._name, self._present(ended=True))


def node_metrics(files: MeasureFiles, clock: Clock) -> str:
    """The sum over all processes of a node, the dead ones' counts included, as Prometheus text."""
    measures = GatewayMeasures()
    stands = []
    now = clock.monotonic()
    for published in files.all().values():
        measures.take_in(published.counts)
        if not published.ended and now - published.at <= SILENT_SECONDS:
            stands.append(published.gauges)
    return measures.exposition(gauges_together(stands))


class MetricsListener:
    """Answers `GET /metrics` on loopback, to whoever is on this machine."""

    def __init__(self, metrics: Callable[[], str]) -> None:
        self._metrics = metrics
        self._server: asyncio.Server | None = None
        self._connected = 0

    async def start(self, port: int) -> int:
        """Listen; the port. Raises OSError when it is taken."""
        self._server = await asyncio.start_server(self._answer, LISTENER_HOST, port, limit=_MAX_HEAD)
        return int(self._server.sockets[0].getsockname()[1])

    def close(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connected += 1
        try:
            if self._connected > _MAX_CONNECTIONS:
                return
            async with asyncio.timeout(_HEAD_SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                status, text = self._told(head)
                body = text.encode()
                writer.write(
                    b"HTTP/1.1 %b\r\ncontent-type: %b\r\ncontent-length: %d\r\nconnection: close\r\n\r\n%b"
                    % (status, CONTENT_TYPE.encode(), len(body), b"" if head.startswith(b"HEAD ") else body)
                )
                await writer.drain()
        except (TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass
        finally:
            self._connected -= 1
            writer.close()

    def _told(self, head: bytes) -> tuple[bytes, str]:
        request, *lines = head.split(b"\r\n")
        names = [line.partition(b":")[0].lower() for line in lines]
        hosts = [line.partition(b":")[2].strip() for line in lines if line[:5].lower() == b"host:"]
        # A page of the web can reach loopback through the browser; it names itself, or another host.
        if b"origin" in names or [host.partition(b":")[0] for host in hosts] not in (
            [LISTENER_HOST.encode()],
            [b"localhost"],
        ):
            return b"403 Forbidden", "requests of web pages are not served\n"
        words = request.split(b" ")
        if len(words) != 3 or not words[2].startswith(b"HTTP/1."):
            return b"400 Bad Request", "not HTTP/1.1\n"
        if words[1] != b"/metrics":
            return b"404 Not Found", "there is /metrics here\n"
        if words[0] not in (b"GET", b"HEAD"):
            return b"405 Method Not Allowed", "use GET\n"
        return b"200 OK", self._metrics()
