"""What wrk cannot do: client certificates, requests at a given rate with their added waiting time, many streams held open.

`python generator.py '<json>'`, prints one JSON object. Modes:
  paced   rate requests a second for `seconds` over `connections` connections, evenly spaced, whether answers come or not
          (a late answer does not delay the next request); waits in microseconds without the time the upstream says it took
  full    as many requests as get through on `connections` connections, one under way on each; `warm` seconds of them first,
          then prints `ready`, reads one line, and does it for `seconds`
  hold    opens `count` streams, waits for the first chunk of each, prints `held`, reads one line, leaves
`heads` is a file of request heads, one per line with \\r\\n written as \\\\r\\\\n, used in turn; `body` follows each.
`tls` (ca, certificate, key: files) makes every connection TLS 1.3 with a client certificate; handshakes are over before anything
is counted.
"""

from __future__ import annotations

import json
import os
import select
import socket
import ssl
import sys
import time
from pathlib import Path
from typing import Any

WAITED = b'"waited_us":"'
_NOTHING_YET = (BlockingIOError, ssl.SSLWantReadError)


class _Connection:
    __slots__ = ("got", "sent_at", "socket")

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if tls is not None:
            self.socket = tls.wrap_socket(self.socket, server_hostname="127.0.0.1")
        self.socket.setblocking(False)
        self.got = b""
        self.sent_at = 0.0

    def read(self) -> bytes | None:
        """All that has come, b"" when the other end is gone, None when nothing that counts has come yet."""
        pieces = []
        try:
            while piece := self.socket.recv(65536):
                pieces.append(piece)
                # TLS hands over one record at a time; without it a short read was the last one.
                if len(piece) < 65536 and not (
                    isinstance(self.socket, ssl.SSLSocket) and self.socket.pending()
                ):
                    break
        except _NOTHING_YET:
            return b"".join(pieces) or None
        return b"".join(pieces)


def _tls(asked: dict[str, Any]) -> ssl.SSLContext | None:
    files = asked.get("tls")
    if not files:
        return None
    context = ssl.create_default_context(cafile=files["ca"])
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(files["certificate"], files["key"])
    return context


def _messages(asked: dict[str, Any]) -> list[bytes]:
    body = asked["body"].encode()
    heads = Path(asked["heads"]).read_text().splitlines()
    return [head.replace("\\r\\n", "\r\n").encode() + body for head in heads]


def paced(asked: dict[str, Any]) -> dict[str, Any]:
    messages = _messages(asked)
    interval = 1.0 / asked["rate"]
    end_after = asked["seconds"]
    tls = _tls(asked)
    idle = [_Connection(asked["port"], tls) for _ in range(asked["connections"])]
    by_descriptor = {each.socket.fileno(): each for each in idle}
    poll = select.epoll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    poll_descriptor = poll.fileno()
    clock = time.perf_counter
    waits: list[float] = []
    failed = late = sent = busy = 0
    start = due = clock()
    last = start + end_after
    while True:
        now = clock()
        while due <= now and due < last:
            if not idle:
                late += 1
            else:
                connection = idle.pop()
                connection.sent_at = clock()
                connection.got = b""
                connection.socket.send(messages[sent % len(messages)])
                sent += 1
                busy += 1
            due += interval
            now = clock()
        if due >= last and (not busy or now > last + 2.0):
            break
        # select() takes microseconds where epoll takes milliseconds.
        wait = max(0.0, due - now) if due < last else 0.2
        if not select.select([poll_descriptor], [], [], wait)[0]:
            continue
        for descriptor, _ in poll.poll(0):
            connection = by_descriptor[descriptor]
            data = connection.read()
            if data is None:
                continue
            connection.got += data
            at = connection.got.find(WAITED)
            if data and (at < 0 or len(connection.got) < at + len(WAITED) + 9):
                if not connection.got.startswith(b"HTTP/1.1 200"):
                    raise RuntimeError(connection.got[:600])
                continue
            if not data:
                failed += 1
                poll.unregister(descriptor)
            else:
                told = int(connection.got[at + len(WAITED) : at + len(WAITED) + 8])
                waits.append((clock() - connection.sent_at) * 1e6 - told)
                idle.append(connection)
            busy -= 1
    waits.sort()
    count = len(waits)
    return {
        "sent": sent,
        "answered": count,
        "not_sent_in_time": late,
        "failed": failed,
        "p50_us": waits[count // 2] if count else None,
        "p99_us": waits[min(count - 1, count * 99 // 100)] if count else None,
    }


def full(asked: dict[str, Any]) -> dict[str, Any]:
    messages = _messages(asked)
    tls = _tls(asked)
    connections = {}
    poll = select.epoll()
    for _ in range(asked["connections"]):
        connection = _Connection(asked["port"], tls)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket.fileno(), select.EPOLLIN)
    _rounds(poll, connections, messages, asked["warm"])
    sys.stdout.write(json.dumps({"ready": len(connections)}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    waits = sorted(_rounds(poll, connections, messages, asked["seconds"]))
    return {
        "requests": len(waits),
        "p50_ms": waits[len(waits) // 2] * 1e3,
        "p99_ms": waits[len(waits) * 99 // 100] * 1e3,
    }


def _rounds(
    poll: select.epoll, connections: dict[int, _Connection], messages: list[bytes], seconds: float
) -> list[float]:
    """One request under way on each connection until the time is over and all are answered; how long each took."""
    clock = time.perf_counter
    waits: list[float] = []
    end, sent = clock() + seconds, 0
    for connection in connections.values():
        connection.got = b""
        connection.sent_at = clock()
        connection.socket.sendall(messages[sent % len(messages)])
        sent += 1
    while len(waits) < sent:
        for descriptor, _ in poll.poll(20):
            connection = connections[descriptor]
            data = connection.read()
            if data is None:
                continue
            connection.got += data
            head, gap, body = connection.got.partition(b"\r\n\r\n")
            if not data or not head.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(connection.got[:600] or "the connection was closed")
            if not gap or len(body) < _length(head):
                continue
            now = clock()
            waits.append(now - connection.sent_at)
            if now < end:
                connection.got = b""
                connection.sent_at = now
                connection.socket.sendall(messages[sent % len(messages)])
                sent += 1
        if clock() > end + 20:
            raise RuntimeError(f"{sent - len(waits)} requests were not answered")
    return waits


def _length(head: bytes) -> int:
    low = head.lower()
    at = low.index(b"content-length:")
    return int(low[at + 15 :].split(b"\r\n", 1)[0])


def hold(asked: dict[str, Any]) -> dict[str, Any]:
    message = _messages(asked)[0]
    connections = []
    for _ in range(asked["count"]):
        connection = _Connection(asked["port"])
        connection.socket.setblocking(True)
        connection.socket.settimeout(20)
        connection.socket.sendall(message)
        connections.append(connection)
    held = 0
    for connection in connections:
        got = b""
        while b"data: " not in got:
            data = connection.socket.recv(65536)
            if not data:
                raise RuntimeError(got[:600])
            got += data
        held += 1
    sys.stdout.write(json.dumps({"held": held}) + "\n")
    sys.stdout.flush()
    sys.stdin.readline()
    return {"held": held}


if __name__ == "__main__":
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65536), hard))
    given = json.loads(sys.argv[1])
    print(json.dumps({"paced": paced, "full": full, "hold": hold}[given["mode"]](given)), flush=True)
    os._exit(0)
