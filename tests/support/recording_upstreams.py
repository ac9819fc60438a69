"""A provider on loopback that keeps, byte for byte, what reached it, and answers as a test says. Reads without any parser of ours."""

import contextlib
import socket
import threading

import msgspec
from tests.support.gateways import RunningGateway

from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.routes import route_of
from safeconduct.upstreams.pool import UpstreamLimits

ALLOWED = {
    b"host",
    b"content-type",
    b"accept-encoding",
    b"user-agent",
    b"content-length",
    b"authorization",
    b"x-api-key",
    b"accept",
    b"anthropic-version",
    b"anthropic-beta",
    b"openai-beta",
}


def answer_of(body=b'{"id":"x"}', *lines, status="200 OK", media="application/json"):
    """Bytes of a whole answer with a length."""
    head = [f"HTTP/1.1 {status}", f"Content-Type: {media}", f"Content-Length: {len(body)}", *lines]
    return "\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body


class Received:
    """One request as it arrived: its very bytes, and what a plain reader sees in them."""

    def __init__(self, head, body):
        self.raw = head + b"\r\n\r\n" + body
        self.body = body
        first, *lines = head.split(b"\r\n")
        self.line = first
        self.headers = [(name.lower(), value) for name, _, value in (line.partition(b": ") for line in lines)]

    @property
    def json(self):
        return msgspec.json.decode(self.body)


class RecordingUpstream:
    """Answers every request with `answer`: bytes, or a function of (request, socket) that returns bytes or writes itself.

    connections: per connection all bytes that came. requests: those that a plain reader finds in them, in order.
    serve: when given, a function of (socket, upstream) that does everything itself.
    """

    def __init__(self, answer=None, *, serve=None, close=False, receive_buffer=None):
        self.answer = answer_of() if answer is None else answer
        self.close = close
        self.connections = []
        self.requests = []
        self._serve = serve
        self._open = []
        self._socket = socket.socket()
        if receive_buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self._socket.bind(("127.0.0.1", 0))
        self._socket.listen(512)
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._socket.close()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    @property
    def base_url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def raw(self):
        """Everything that came, over all connections."""
        return b"".join(bytes(each) for each in self.connections)

    def clear(self):
        """Forget what came. Only between requests."""
        self.requests.clear()
        for each in self.connections:
            each.clear()

    def check(self, count):
        """`count` requests came, each exactly one, and no byte beside them."""
        assert len(self.requests) == count, [each.line for each in self.requests]
        assert self.raw == b"".join(each.raw for each in self.requests)
        for each in self.requests:
            assert each.line in (
                b"POST /v1/chat/completions HTTP/1.1",
                b"POST /v1/messages HTTP/1.1",
                b"POST /v1/messages?beta=true HTTP/1.1",
            )
            names = [name for name, _ in each.headers]
            assert ALLOWED.issuperset(names), names
            for single in (b"host", b"content-length", b"content-type"):
                assert names.count(single) == 1
            assert dict(each.headers)[b"host"] == f"127.0.0.1:{self.port}".encode()
            assert int(dict(each.headers)[b"content-length"]) == len(each.body)

    def _accept(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.append(connection)
            received = bytearray()
            self.connections.append(received)
            threading.Thread(target=self._run, args=(connection, received), daemon=True).start()

    def _run(self, connection, received):
        with contextlib.suppress(OSError, ValueError):
            if self._serve is not None:
                self._serve(connection, self)
            else:
                self._answer_all(connection, received)

    def _answer_all(self, connection, received):
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                data += self._receive(connection, received)
            head, _, data = data.partition(b"\r\n\r\n")
            length = next(
                int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")
            )
            while len(data) < length:
                data += self._receive(connection, received)
            request = Received(head, data[:length])
            data = data[length:]
            self.requests.append(request)
            answer = self.answer(request, connection) if callable(self.answer) else self.answer
            if answer:
                connection.sendall(answer)
            if self.close:
                connection.shutdown(socket.SHUT_RDWR)
                return

    @staticmethod
    def _receive(connection, received):
        piece = connection.recv(1 << 18)
        if not piece:
            raise OSError("closed")
        received += piece
        return piece


def gateway_before(directory, upstream, *, kind="openai", upstream_limits=None, **options):
    """A gateway whose deployments all lie at a recording upstream. upstream_limits: members that differ from short waits."""
    waits = {"connect_seconds": 2.0, "first_byte_seconds": 2.0, "between_seconds": 2.0}
    limits = UpstreamLimits(**{**waits, **(upstream_limits or {})})
    return RunningGateway(directory, kind=kind, base_url=upstream.base_url, upstream_limits=limits, **options)


def served(method, path):
    """Whether the gateway serves this route by now: then it has tests of its own, and is no sibling any more."""
    head = Head()
    head.method, head.path = method.encode(), path.partition("?")[0].encode("latin-1")
    return route_of(head) is not None


class Nobody:
    """A listener that nobody may call. `called`: who did, with what came first."""

    def __init__(self):
        self.called = []

    def __enter__(self):
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._socket.close()

    def _run(self):
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._socket.accept()
                connection.settimeout(1)
                with contextlib.suppress(OSError):
                    self.called.append(connection.recv(65536))
                connection.close()
