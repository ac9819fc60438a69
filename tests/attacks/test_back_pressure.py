"""Slow readers before fast models, fast writers before slow upstreams: both wait, and memory stays bounded."""

import contextlib
import resource
import socket
import time

import msgspec
import pytest
from tests.support.gateway_processes import endless_model, gateway_process
from tests.support.gateways import chat, read_answers, request
from tests.support.recording_upstreams import RecordingUpstream

PATH = "/v1/chat/completions"
COUNT = 1_000
# One read of the event loop (256 KB) and the buffer's high-water mark (64 KB), whatever a client leaves unread.
BYTES_PER_SLOW_READER = 400 * 1024
LIMITS = {"write_seconds": 120.0, "body_seconds": 120.0}
UPSTREAM_LIMITS = {"connections": COUNT + 100, "first_byte_seconds": 120.0, "connect_seconds": 60.0}


@contextlib.contextmanager
def clients(port, count, receive_buffer):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4 * count + 500:
        pytest.skip(f"this machine lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        held = []
        for _ in range(count):
            connection = stack.enter_context(socket.socket())
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.settimeout(60)
            connection.connect(("127.0.0.1", port))
            held.append(connection)
        yield held


def settled(ask, name, seconds=240.0):
    """Wait until a figure stands still; returns what was said last."""
    end = time.monotonic() + seconds
    last, since = None, time.monotonic()
    while time.monotonic() - since < 0.5:
        said = ask()
        if said[name] != last:
            last, since = said[name], time.monotonic()
        assert time.monotonic() < end, f"{name} never stands still"
        time.sleep(0.05)
    return said


def until(holds, seconds=240.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)


@pytest.mark.xdist_group("back-pressure")
def test_a_thousand_slow_readers_hold_a_fast_model_back_in_bounded_memory():
    with (
        endless_model() as model,
        gateway_process(
            f"http://127.0.0.1:{model.port}/v1", limits=LIMITS, upstream_limits=UPSTREAM_LIMITS
        ) as gateway,
    ):
        before = gateway.ask()["rss"]
        asked = request("POST", PATH, msgspec.json.encode(chat(stream=True)))
        with clients(gateway.port, COUNT, 4096) as readers:
            for each in readers:
                each.sendall(asked)
            until(lambda: gateway.ask()["open"] == COUNT)
            # The model has no end: that it stands still is the back-pressure.
            held = settled(model.ask, "sent")["sent"]
            now = gateway.ask()
            assert now["open"] == COUNT
            assert (now["rss"] - before) / COUNT < BYTES_PER_SLOW_READER
            # Whoever reads gets more, and only on their account does the model go on.
            for each in readers[:20]:
                got = 0
                while got < 3_000_000:
                    piece = each.recv(1 << 18)
                    assert piece
                    got += len(piece)
            assert settled(model.ask, "sent")["sent"] > held
            assert (gateway.ask()["rss"] - before) / COUNT < BYTES_PER_SLOW_READER
        # All of them leave: so does every call upstream.
        until(lambda: gateway.ask()["open"] == 0)
        assert gateway.ask()["reported"] == []


@pytest.mark.xdist_group("back-pressure")
def test_a_thousand_writers_before_an_upstream_that_does_not_read_stay_within_bounds():
    def deaf(connection, upstream):
        connection.recv(100)
        upstream.requests.append(connection)
        time.sleep(120)

    size = 100_000
    body = msgspec.json.encode(chat(text="x" * size))
    with (
        RecordingUpstream(serve=deaf, receive_buffer=4096) as upstream,
        gateway_process(upstream.base_url, limits=LIMITS, upstream_limits=UPSTREAM_LIMITS) as gateway,
    ):
        before = gateway.ask()["rss"]
        with clients(gateway.port, COUNT, 65536) as writers:
            for each in writers:
                each.sendall(request("POST", PATH, body))
            until(lambda: gateway.ask()["open"] == COUNT)
            until(lambda: len(upstream.requests) == COUNT)
            now = gateway.ask()
            # At most the body that waits to be sent, in two copies, beside what each connection costs.
            assert (now["rss"] - before) / COUNT < 2 * size + 50_000
            assert now["held"] == 0
        until(lambda: gateway.ask()["open"] == 0)
        until(lambda: gateway.ask()["unsent"] == 0)


@pytest.mark.xdist_group("back-pressure")
def test_what_waits_for_slow_upstreams_has_one_limit_beyond_which_callers_are_told():
    def deaf(connection, _):
        connection.recv(100)
        time.sleep(120)

    body = msgspec.json.encode(chat(text="x" * 8_000_000))
    limit = 20_000_000
    with (
        RecordingUpstream(serve=deaf, receive_buffer=4096) as upstream,
        gateway_process(
            upstream.base_url,
            limits=LIMITS,
            upstream_limits={**UPSTREAM_LIMITS, "unsent_bytes": limit, "connections": 3},
        ) as gateway,
    ):
        before = gateway.ask()["rss"]
        with clients(gateway.port, 14, 65536) as writers:
            for each in writers[:-1]:
                each.sendall(request("POST", PATH, body))
            until(lambda: gateway.ask()["unsent"] > limit)
            until(lambda: gateway.ask()["held"] == 0)
            writers[-1].sendall(request("POST", PATH, msgspec.json.encode(chat())))
            answer = read_answers(writers[-1])[0]
            assert (answer.status, answer.code) == (503, "upstream_busy")
            now = gateway.ask()
            # The limit, and the one body that passed it.
            assert now["unsent"] < limit + 2 * len(body)
            assert now["rss"] - before < 2 * limit + 6 * len(body)
        until(lambda: gateway.ask()["open"] == 0)
        until(lambda: gateway.ask()["unsent"] == 0)
        assert gateway.ask()["reported"] == []
