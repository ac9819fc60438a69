"""A floor, no gateway: what a relay costs in CPython on the stack that ours is made of, with nothing of the product in it.

uvloop, httptools on both sides, `asyncio.Protocol`, pooled keep-alive to the upstream, one key looked up in a dict. It has no
limits, no timeouts, no log, no decision, no back-pressure and no pipelining: it must never be used, only be measured.

`python bare.py '<json>'`: port, key, upstreams (first part of the path -> port); tls (certificate, key, clients) asks for a
client certificate instead of the key. JSON answers and streams are relayed as they come, framed as the upstream framed them.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
from typing import Any

import httptools
import uvloop

_CLIENTS_OWN = (b"host", b"connection", b"content-length", b"transfer-encoding")
_HOPS_OWN = (b"connection", b"keep-alive", b"transfer-encoding")
_UNAUTHORISED = b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"
_FAILED = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n"


class _Upstream(asyncio.Protocol):
    """One connection to an upstream: in its pool, or working for one client."""

    def __init__(self, pool: _Pool) -> None:
        self.pool = pool
        self.client: _Client | None = None
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self in self.pool.idle:
            self.pool.idle.remove(self)
        if self.client is not None:
            self.client.upstream = None
            self.client.transport.close()

    def send(self, client: _Client, message: bytes) -> None:
        self.client = client
        client.upstream = self
        self.out: list[bytes] = []
        self.lines: list[bytes] = []
        self.chunked = self.done = False
        self.transport.write(message)

    def data_received(self, data: bytes) -> None:
        client = self.client
        if client is None:
            self.transport.close()
            return
        self.parser.feed_data(data)
        client.transport.write(b"".join(self.out))
        self.out.clear()
        if self.done:
            self.client = client.upstream = None
            if self.kept:
                self.pool.idle.append(self)
            else:
                self.transport.close()

    def on_status(self, reason: bytes) -> None:
        self.lines.append(b"HTTP/1.1 %d %b\r\n" % (self.parser.get_status_code(), reason))

    def on_header(self, name: bytes, value: bytes) -> None:
        low = name.lower()
        if low not in _HOPS_OWN:
            self.lines.append(b"%b: %b\r\n" % (name, value))
        elif low == b"transfer-encoding":
            self.chunked = True
            self.lines.append(b"transfer-encoding: chunked\r\n")

    def on_headers_complete(self) -> None:
        self.out += self.lines
        self.out.append(b"\r\n")

    def on_body(self, data: bytes) -> None:
        self.out.append(b"%x\r\n%b\r\n" % (len(data), data) if self.chunked else data)

    def on_message_complete(self) -> None:
        if self.chunked:
            self.out.append(b"0\r\n\r\n")
        # Only here: after its last byte the parser stands before the next message and no longer knows.
        self.kept = self.parser.should_keep_alive()
        self.done = True


class _Pool:
    """Connections to one upstream, the last used first."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.idle: list[_Upstream] = []
        self.host = b"host: 127.0.0.1:%d\r\n" % port

    async def connect(self, client: _Client, message: bytes) -> None:
        try:
            _, made = await asyncio.get_running_loop().create_connection(
                lambda: _Upstream(self), "127.0.0.1", self.port
            )
        except OSError:
            client.transport.write(_FAILED)
            return
        made.send(client, message)


class _Client(asyncio.Protocol):
    """One client connection, one request after the other."""

    def __init__(self, keys: dict[bytes, str] | None, pools: dict[bytes, _Pool], tasks: set[Any]) -> None:
        self.keys = keys
        self.pools = pools
        self.tasks = tasks
        self.upstream: _Upstream | None = None
        self.parser = httptools.HttpRequestParser(self)

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        if self.upstream is not None:
            self.upstream.client = None
            self.upstream.transport.close()

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_begin(self) -> None:
        self.url = self.key = b""
        self.lines: list[bytes] = []
        self.body: list[bytes] = []

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        low = name.lower()
        if low not in _CLIENTS_OWN:
            self.lines.append(b"%b: %b\r\n" % (name, value))
            if low == b"authorization":
                self.key = value

    def on_body(self, data: bytes) -> None:
        self.body.append(data)

    def on_message_complete(self) -> None:
        # With TLS the handshake has refused whoever had no certificate.
        if self.keys is not None and self.key not in self.keys:
            self.transport.write(_UNAUTHORISED)
            return
        pool = self.pools[self.url.split(b"/", 2)[1]]
        body = b"".join(self.body)
        head = b"%b %b HTTP/1.1\r\n" % (self.parser.get_method(), self.url)
        message = b"".join((head, pool.host, *self.lines, b"content-length: %d\r\n\r\n" % len(body), body))
        if pool.idle:
            pool.idle.pop().send(self, message)
        else:
            task = asyncio.ensure_future(pool.connect(self, message))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)


async def _serve(asked: dict[str, Any]) -> None:
    pools = {name.encode(): _Pool(port) for name, port in asked["upstreams"].items()}
    tls = None
    keys: dict[bytes, str] | None = {f"Bearer {asked['key']}".encode(): "bench"}
    if asked.get("tls"):
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.minimum_version = ssl.TLSVersion.TLSv1_3
        tls.load_cert_chain(asked["tls"]["certificate"], asked["tls"]["key"])
        tls.load_verify_locations(asked["tls"]["clients"])
        tls.verify_mode = ssl.CERT_REQUIRED
        keys = None
    tasks: set[Any] = set()
    await asyncio.get_running_loop().create_server(
        lambda: _Client(keys, pools, tasks), "127.0.0.1", asked["port"], backlog=4096, ssl=tls
    )
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
