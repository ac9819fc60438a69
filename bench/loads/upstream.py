"""The provider behind every gateway under test: event streams and late answers, as cheap as this machine allows.

`python upstream.py PORT`. Not a model: the same bytes for everybody. The first part of the path says how it answers, so that
one configured base URL is one behaviour:
  /stream/...   50 chunks of a chat stream, one every 10 ms (all open streams on one clock), then usage and [DONE]
  /hold/...     the head and one chunk, then silence until the client leaves
  /late/...     a JSON answer after 50 ms; it says itself how long it really waited, in `waited_us`
  anything else a JSON answer at once
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import deque

import uvloop

CHUNKS = 50
INTERVAL = 0.010
LATE = 0.050

_HEAD = b"HTTP/1.1 200 OK\r\nserver: upstream\r\ncontent-type: "
ANSWER = (
    b'{"id":"chatcmpl-0123456789abcdef","object":"chat.completion","created":1781265600,"model":"upstream-model",'
    b'"choices":[{"index":0,"message":{"role":"assistant","content":"The report describes an out-of-bounds read in the '
    b"parser; it needs a crafted file, so rank it below the two remote ones and ask for the file's hash before you try "
    b'to reproduce it.","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":42,'
    b'"completion_tokens":47,"total_tokens":89,"prompt_tokens_details":{"cached_tokens":0}},"service_tier":"default",'
    b'"waited_us":"%08d"}'
)
JSON = _HEAD + b"application/json\r\ncontent-length: %d\r\n\r\n" % len(ANSWER % 0) + ANSWER


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


_START = b'data: {"id":"chatcmpl-0123456789abcdef","object":"chat.completion.chunk","created":1781265600,"model":"upstream-model",'
STREAM_HEAD = _HEAD + b"text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = _chunk(
    _START
    + b'"service_tier":"default","choices":[{"index":0,"delta":{"content":" reproduce"},"logprobs":null,"finish_reason":null}]}\n\n'
)
LAST = (
    _chunk(
        _START
        + b'"choices":[],"usage":{"prompt_tokens":42,"completion_tokens":50,"total_tokens":92}}\n\ndata: [DONE]\n\n'
    )
    + b"0\r\n\r\n"
)


class _Client(asyncio.Protocol):
    def __init__(self, server: Server) -> None:
        self._server = server
        self._kept = b""
        self._missing = 0
        self._chunked = False
        self._kept_tail = b""
        self._path = b""
        self.left = 0
        self.gone = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, _exc: Exception | None) -> None:
        self.gone = True

    def data_received(self, data: bytes) -> None:
        if self._chunked:
            self._until_last_chunk(data)
            return
        while data:
            if self._missing:
                taken = min(self._missing, len(data))
                self._missing -= taken
                data = data[taken:]
                if not self._missing:
                    self._answer()
                continue
            data = self._kept + data
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self._kept = data
                return
            self._kept = b""
            head = data[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            self._path = head.split(b" ", 2)[1]
            data = data[end + 4 :]
            if b"transfer-encoding: chunked" in head:
                # Nobody here pipelines: the body ends where the bytes end.
                self._chunked = True
            if self._chunked:
                self._kept_tail = b""
                self._until_last_chunk(data)
                return
            if length:
                self._missing = length
            else:
                self._answer()

    def _until_last_chunk(self, data: bytes) -> None:
        self._kept_tail = (self._kept_tail + data)[-5:]
        if self._kept_tail == b"0\r\n\r\n":
            self._chunked = False
            self._answer()

    def _answer(self) -> None:
        path = self._path
        if path.startswith(b"/stream/"):
            self.transport.write(STREAM_HEAD)
            self.left = CHUNKS
            self._server.streams.append(self)
        elif path.startswith(b"/hold/"):
            self.transport.write(STREAM_HEAD + PIECE)
        elif path.startswith(b"/late/"):
            self._server.late.append((time.perf_counter(), self))
            self._server.arm()
        else:
            self.transport.write(JSON % 0)


class Server:
    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.streams: list[_Client] = []
        self.late: deque[tuple[float, _Client]] = deque()
        self._armed = False
        self._tick()

    def _tick(self) -> None:
        self._next = self.loop.call_later(INTERVAL, self._tick)
        kept = []
        for client in self.streams:
            if client.gone:
                continue
            client.left -= 1
            if client.left >= 0:
                client.transport.write(PIECE)
                kept.append(client)
            else:
                client.transport.write(LAST)
        self.streams = kept

    def arm(self) -> None:
        if not self._armed and self.late:
            self._armed = True
            wait = self.late[0][0] + LATE - time.perf_counter()
            # The loop's timers have whole milliseconds; the answer says what it really was.
            self.loop.call_later(max(0.0, wait), self._fire)

    def _fire(self) -> None:
        self._armed = False
        now = time.perf_counter()
        while self.late and self.late[0][0] + LATE <= now:
            at, client = self.late.popleft()
            if not client.gone:
                client.transport.write(JSON % round((time.perf_counter() - at) * 1e6))
        self.arm()


async def _serve(port: int) -> None:
    loop = asyncio.get_running_loop()
    server = Server(loop)
    await loop.create_server(lambda: _Client(server), "127.0.0.1", port, backlog=4096)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_serve(int(sys.argv[1])))
