"""The bench's floor: it relays unharmed, checks its key, and keeps its connections; a floor that opens one per request lies."""

import http.client
import json
import os
import socket
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

BARE = Path(__file__).parents[3] / "bench/peers/bare.py"
PIECES = [b"data: one\n\n", b"data: two\n\n", b"data: [DONE]\n\n"]


class _Upstream(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self):
        self.connections = 0
        self.heads = []
        super().__init__(("127.0.0.1", 0), _Answer)

    def process_request(self, request, client_address):
        self.connections += 1
        super().process_request(request, client_address)


class _Answer(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.heads.append(self.headers)
        self.send_response(200)
        if self.path.startswith("/stream/"):
            self.send_header("transfer-encoding", "chunked")
            self.end_headers()
            for piece in PIECES:
                self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                self.wfile.flush()
                time.sleep(0.02)
            self.wfile.write(b"0\r\n\r\n")
            return
        if self.path.startswith("/close/"):
            self.send_header("connection", "close")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def upstream():
    with _Upstream() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def port(upstream):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    kinds = dict.fromkeys(("json", "stream", "close"), upstream.server_port)
    asked = json.dumps({"port": port, "key": "right", "upstreams": kinds})
    process = subprocess.Popen([sys.executable, str(BARE), asked], env={**os.environ, "PYTHONPATH": ""})
    end = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            break
        except OSError:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.02)
    yield port
    process.terminate()
    process.wait(10)


def ask(connection, path, body=b"{}", key="right"):
    connection.request("POST", path, body, {"Authorization": f"Bearer {key}", "X-Kept": "as it was"})
    return connection.getresponse()


def test_answers_are_relayed_over_one_kept_connection(port, upstream):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for size in (0, 2, 200_000):
        answer = ask(connection, "/json/v1", b"x" * size)
        assert (answer.status, answer.read()) == (200, b"x" * size)
    assert upstream.connections == 1
    assert {head["host"] for head in upstream.heads} == {f"127.0.0.1:{upstream.server_port}"}
    assert {head["x-kept"] for head in upstream.heads} == {"as it was"}


def test_a_stream_is_relayed_piece_by_piece(port, upstream):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        answer = ask(connection, "/stream/v1")
        assert answer.headers["transfer-encoding"] == "chunked"
        assert [answer.read1() for _ in PIECES] == PIECES
        assert answer.read() == b""
    assert upstream.connections == 1


def test_an_upstream_that_closes_is_not_asked_again_on_that_connection(port, upstream):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for _ in range(2):
        assert ask(connection, "/close/v1", b"y").read() == b"y"
    assert upstream.connections == 2


def test_another_key_goes_nowhere(port, upstream):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    for key in ("wrong", "right2", "righ", ""):
        answer = ask(connection, "/json/v1", key=key)
        assert (answer.status, answer.read()) == (401, b"")
    assert upstream.heads == []
