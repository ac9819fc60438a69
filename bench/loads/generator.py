"""What wrk cannot do: requests at a given rate with their added waiting time, and many streams held open.

`python generator.py '<json>'`, prints one JSON object. Modes:
  paced   rate requests a second for `seconds` over `connections` connections, evenly spaced, whether answers come or not
          (a late answer does not delay the next request); waits in microseconds without the time the upstream says it took
  hold    opens `count` streams, waits for the first chunk of each, prints `held`, reads one line, leaves
`heads` is a file of request heads, one per line with \\r\\n written as \\\\r\\\\n, used in turn; `body` follows each.
"""

from __future__ import annotations

import json
import os
import select
import socket
import sys
import time
from pathlib import Path
from typing import Any

WAITED = b'"waited_us":"'


class _Connection:
    __slots__ = ("got", "sent_at", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=20)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.got = b""
        self.sent_at = 0.0


def _messages(asked: dict[str, Any]) -> list[bytes]:
    body = asked["body"].encode()
    heads = Path(asked["heads"]).read_text().splitlines()
    return [head.replace("\\r\\n", "\r\n").encode() + body for head in heads]


def paced(asked: dict[str, Any]) -> dict[str, Any]:
    messages = _messages(asked)
    interval = 1.0 / asked["rate"]
    end_after = asked["seconds"]
    idle = [_Connection(asked["port"]) for _ in range(asked["connections"])]
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
            data = connection.socket.recv(65536)
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
    print(json.dumps({"paced": paced, "hold": hold}[given["mode"]](given)), flush=True)
    os._exit(0)
