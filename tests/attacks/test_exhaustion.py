"""Clients that take time, connections or memory: each has a limit, and whoever behaves is served meanwhile."""

import contextlib
import resource
import socket
import struct
import threading
import time

import msgspec
import pytest
from tests.support.gateway_processes import gateway_process
from tests.support.gateways import KEY, RunningGateway, chat, principal_of, read_answers, request
from tests.support.recording_upstreams import RecordingUpstream, answer_of, gateway_before

from safeconduct.app.decision_log import FAILURES_BEFORE_CLOSE
from safeconduct.gateway.http_messages import Limits
from safeconduct.record.events import GatewayKeyRevoked
from safeconduct.web.proxy.connection import PIPELINED_AT_MOST

PATH = "/v1/chat/completions"
IDLE = 10_000
# Measured: 4.5 KB. What a connection holds beyond its kernel's buffers.
BYTES_PER_IDLE_CONNECTION = 12 * 1024


def connect(port, *, receive_buffer=None, timeout=20):
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(timeout)
    connection.connect(("127.0.0.1", port))
    return connection


@contextlib.contextmanager
def many(port, count):
    """That many connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 500:
        pytest.skip(f"this machine lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    held = []
    try:
        for _ in range(count):
            held.append(connect(port))
        yield held
    finally:
        for each in held:
            each.close()


def until(holds, seconds=20.0):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


own_process = pytest.mark.xdist_group("own-process")


@pytest.fixture(scope="module")
def process(upstream):
    """A gateway whose memory is its own."""
    limits = {"under_way_bytes": 16_000_000, "idle_seconds": 30.0}
    with gateway_process(upstream.base_url, limits=limits) as running:
        yield running
        assert running.ask()["reported"] == []


# -- connections


@own_process
def test_ten_thousand_idle_connections_cost_little_and_others_are_served(process):
    before = process.ask()
    if before["most"] <= IDLE:
        pytest.skip(f"this machine lets the gateway hold {before['most']} connections only")
    with many(process.port, IDLE) as held:
        for each in held:
            each.sendall(request("GET", "/v1/models"))
        for each in held:
            assert each.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
        # Idle after a request, and with a further one begun.
        for each in held[::2]:
            each.sendall(b"POST /v1/messages HTTP/1.1\r\nHost: a\r\nX-Slow: ")
        with connect(process.port) as other:
            other.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            assert read_answers(other)[0].json == {"id": "x"}
        now = process.ask()
        assert now["connections"] in (IDLE, IDLE + 1)
        assert (now["rss"] - before["rss"]) / IDLE < BYTES_PER_IDLE_CONNECTION
    until(lambda: process.ask()["connections"] == 0)


def test_more_connections_than_files_stop_neither_the_log_nor_the_gateway():
    """The log ends for good when it cannot open a file: nobody without a credential may bring that about."""
    with (
        RecordingUpstream() as upstream,
        gateway_process(upstream.base_url, files=1024) as gateway,
        many(gateway.port, 1500) as held,
    ):
        assert gateway.ask()["connections"] <= gateway.ask()["most"] < 1024
        assert len(held) > gateway.ask()["most"]
        # Those that send nothing make room for those that do.
        end = time.monotonic() + 20
        status = 0
        while status != 200 and time.monotonic() < end:
            with contextlib.suppress(OSError, IndexError), connect(gateway.port) as other:
                other.sendall(request("POST", PATH, msgspec.json.encode(chat())))
                status = read_answers(other, until_close=False)[0].status
        assert status == 200
        now = gateway.ask()
        assert not now["failed"]
        assert now["reported"] == []


def test_whoever_comes_when_all_connections_are_taken_is_told_so_and_room_is_made(tmp_path):
    with RunningGateway(tmp_path, limits=Limits(connections=16)) as gateway, many(gateway.port, 16):
        gateway.until(lambda: gateway.server.connections == 16)
        with connect(gateway.port) as late:
            answer = read_answers(late)[0]
        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert int(answer.headers["retry-after"]) <= 10
        # Nobody of the sixteen sends anything: a second later there is room.
        gateway.until(lambda: gateway.server.connections < 16)
        assert gateway.send(request("GET", "/healthz"))[0].status == 200


@pytest.fixture(scope="module")
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    limits = Limits(
        header_seconds=1.0, body_seconds=1.0, idle_seconds=2.0, write_seconds=1.0, body_bytes=12_000_000
    )
    with gateway_before(tmp_path_factory.mktemp("gateway"), upstream, limits=limits) as running:
        yield running
        assert running.reported == []


# -- time


def test_a_request_that_drips_is_cut_off_at_its_deadline_though_bytes_keep_coming(gateway):
    begun = {}
    for credential in (KEY, "wrong"):
        head = request("POST", PATH, key=credential, headers=["Content-Type: application/json"])[:-2]
        begun[credential, "head"] = (head + b"X: ", b"a")
        begun[credential, "body"] = (head + b"Content-Length: 1000\r\n\r\n", b"a")
        begun[credential, "chunks"] = (head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\na\r\n")
        begun[credential, "second head"] = (request("GET", "/healthz") + head + b"X: ", b"a")
    with contextlib.ExitStack() as stack:
        open_still = {}
        for name, (first, drop) in begun.items():
            connection = stack.enter_context(connect(gateway.port))
            connection.sendall(first)
            open_still[name] = (connection, drop)
        end = time.monotonic() + 20
        while open_still:
            assert time.monotonic() < end, open_still.keys()
            for name, (connection, drop) in list(open_still.items()):
                try:
                    connection.sendall(drop)
                except OSError:
                    del open_still[name]
            time.sleep(0.05)


def test_empty_lines_are_no_request(gateway):
    answer = gateway.send(b"\r\n" * 3 + request("GET", "/healthz"))[0]
    assert answer.status == 200
    answers = gateway.send(b"\r\n" * 5_000, until_close=True)
    assert [each.status for each in answers] == [400]


def test_a_client_that_never_reads_its_last_answer_is_let_go(tmp_path):
    """A few kilobytes are left in the gateway's own buffer: too few to count as a slow reader, enough to hold a connection."""
    limits = Limits(write_seconds=1.0, idle_seconds=1.0)
    big = answer_of(b'{"x":"' + b"a" * 9_000_000 + b'"}')
    with RecordingUpstream(big) as upstream, gateway_before(tmp_path, upstream, limits=limits) as gateway:
        with contextlib.ExitStack() as stack:
            for lines in (["Connection: close"], []):
                connection = stack.enter_context(connect(gateway.port, receive_buffer=2048))
                connection.sendall(request("POST", PATH, msgspec.json.encode(chat()), headers=lines))
            gateway.until(lambda: len(upstream.requests) == 2)
            gateway.until(lambda: gateway.server.connections == 0)
        assert gateway.reported == []


@pytest.mark.parametrize("left", [1_000, 30_000])
def test_a_closing_connection_with_a_little_left_unread_has_a_deadline(tmp_path, left):
    with RunningGateway(tmp_path, limits=Limits(write_seconds=0.5)) as gateway:
        with connect(gateway.port, receive_buffer=2048) as connection:
            connection.sendall(b"GET /he")

            def fill():
                server_side = next(iter(gateway.server._connections))
                transport = server_side.transport
                transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
                while transport.get_write_buffer_size() < left:
                    transport.write(b"a" * 1_000)
                server_side.shut()

            gateway.until(lambda: gateway.server.connections == 1)
            gateway.on_loop(fill)
            gateway.until(lambda: gateway.server.connections == 0)


# -- memory


def test_a_prompt_of_ten_megabytes_is_accepted_up_to_the_limit_and_reaches_the_provider_whole(
    gateway, upstream
):
    upstream.clear()
    text = "a prompt as long as a shelf of books. " * 270_000
    assert len(text) > 10_000_000
    assert gateway.post(text=text).status == 200
    assert upstream.requests[0].json["messages"][0]["content"] == text
    answer = gateway.post(body=b'{"model":"model-x","messages":[],"x":"' + b"a" * 12_000_000 + b'"}')
    assert (answer.status, answer.code) == (413, "body_too_large")
    upstream.check(1)
    upstream.clear()


@own_process
def test_a_body_in_tiny_chunks_costs_its_bytes_and_not_an_object_for_each_chunk(process):
    size = 1_000_000
    before = process.ask()["rss"]
    head = request("POST", PATH, headers=["Transfer-Encoding: chunked", "Content-Type: application/json"])
    with connect(process.port, timeout=60) as connection:
        connection.sendall(head + b"2\r\n  \r\n" * (size // 2))
        until(lambda: process.ask()["held"] >= size)
        # As pieces in a list it would be 25 times its size.
        assert process.ask()["rss"] - before < 10 * size
    until(lambda: process.ask()["held"] == 0)


@own_process
def test_long_bodies_of_many_clients_share_one_limit_and_give_it_back(process, upstream):
    upstream.clear()
    body = msgspec.json.encode(chat(text="x" * 4_000_000))
    head = request("POST", PATH, headers=[f"Content-Length: {len(body)}", "Content-Type: application/json"])
    before = process.ask()["rss"]
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(connect(process.port, timeout=60)) for _ in range(12)]
        for each in held:
            # One that is refused may be closed before everything is written.
            with contextlib.suppress(OSError):
                each.sendall(head + body[:-10])
        until(lambda: 12_000_000 < process.ask()["held"] <= 16_000_000)
        assert process.ask()["rss"] - before < 60_000_000
        statuses = []
        for each in held:
            with contextlib.suppress(OSError):
                each.sendall(body[-10:])
            answers = []
            with contextlib.suppress(OSError):
                answers = read_answers(each)
            statuses += [(one.status, one.headers.get("retry-after")) for one in answers]
        assert set(statuses) <= {(200, None), (503, "2")}
        assert 1 <= statuses.count((200, None)) <= 4
        assert process.ask()["held"] == 0
        with connect(process.port, timeout=60) as other:
            other.sendall(head + body)
            assert read_answers(other)[0].status == 200
    upstream.clear()


def test_a_client_that_resets_in_the_middle_of_a_body_gives_back_what_it_held(gateway, upstream):
    upstream.clear()
    for _ in range(5):
        connection = connect(gateway.port)
        connection.sendall(
            request("POST", PATH, headers=["Content-Length: 9000000", "Content-Type: application/json"])
            + b" " * 3_000_000
        )
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()
    gateway.until(lambda: gateway.server.connections == 0)
    assert gateway.server.under_way.held == 0
    assert upstream.raw == b""


@own_process
def test_unfinished_headers_of_many_clients_cost_their_limit_at_most(process):
    count, size = 200, 60_000
    before = process.ask()["rss"]
    with many(process.port, count) as held:
        for each in held:
            each.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * size)
        until(lambda: process.ask()["connections"] == count)
        time.sleep(0.2)
        assert process.ask()["rss"] - before < count * size * 3
    until(lambda: process.ask()["connections"] == 0)


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "x-gzip", "GZIP", "gzip, identity"])
def test_a_compressed_body_is_never_unpacked(gateway, upstream, coding):
    upstream.clear()
    body = b"\x1f\x8b\x08\x00" + b"\0" * 1000
    answer = gateway.post(body=body, headers=[f"Content-Encoding: {coding}"])
    assert (answer.status, answer.code) == (415, "content_encoding")
    assert gateway.post(body=body).code == "malformed_json"
    assert upstream.raw == b""


# -- pipelining


def test_a_flood_of_pipelined_requests_is_bounded_ordered_and_ends_the_connection(tmp_path):
    release = threading.Event()

    def slow(_, __):
        release.wait(20)
        return answer_of()

    with (
        RecordingUpstream(slow) as upstream,
        gateway_before(tmp_path, upstream, upstream_limits={"first_byte_seconds": 30.0}) as gateway,
    ):
        first = request("POST", PATH, msgspec.json.encode(chat()))
        with connect(gateway.port) as connection:
            asked = gateway.credentials.asked
            connection.sendall(first + request("GET", "/healthz") * 5_000)
            gateway.until(lambda: upstream.requests)
            most = PIPELINED_AT_MOST * gateway.server.limits.pipelined
            queued = gateway.on_loop(lambda: [len(each._queue) for each in gateway.server._connections])
            assert max(queued) <= most + 1
            release.set()
            answers = read_answers(connection, until_close=True)
        assert answers[0].json == {"id": "x"}
        assert {each.status for each in answers[1:-1]} <= {200}
        assert len(answers) <= most + 3
        assert gateway.credentials.asked - asked <= 2
        assert gateway.reported == []


def test_long_bodies_do_not_pile_up_behind_an_answer(tmp_path):
    release = threading.Event()

    def slow(_, __):
        release.wait(20)
        return answer_of()

    limits = Limits(pipelined_bytes=100_000)
    with (
        RecordingUpstream(slow) as upstream,
        gateway_before(
            tmp_path, upstream, limits=limits, upstream_limits={"first_byte_seconds": 30.0}
        ) as gateway,
    ):
        one = request("POST", PATH, msgspec.json.encode(chat(text="x" * 60_000)))
        with connect(gateway.port, timeout=30) as connection:
            sender = threading.Thread(target=connection.sendall, args=(one * 40,), daemon=True)
            sender.start()
            gateway.until(lambda: upstream.requests)
            time.sleep(0.3)
            queued = gateway.on_loop(lambda: sum(each._queued_bytes for each in gateway.server._connections))
            # What one read brought, beyond the limit.
            assert queued < 100_000 + 300_000 + 60_000
            assert gateway.server.under_way.held >= queued > 0
            release.set()
            assert [each.status for each in read_answers(connection, count=40)] == [200] * 40
            sender.join(10)
        upstream.check(40)
        gateway.until(lambda: gateway.server.under_way.held == 0)


def test_a_client_that_says_it_is_done_is_taken_to_be_gone(tmp_path):
    """Half a connection could wait for ever for an answer that nobody reads."""
    gone = threading.Event()

    def watch(connection, _):
        connection.recv(65536)
        connection.settimeout(20)
        while connection.recv(65536):
            pass
        gone.set()

    with RecordingUpstream(serve=watch) as upstream, gateway_before(tmp_path, upstream) as gateway:
        with connect(gateway.port) as connection:
            connection.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            gateway.until(lambda: upstream.raw or upstream.connections)
            time.sleep(0.1)
            connection.shutdown(socket.SHUT_WR)
            assert gone.wait(10)
        assert gateway.completion()["ended"] == "client_gone"


def test_a_credential_that_ends_while_its_request_waits_is_not_used(tmp_path):
    release = threading.Event()

    def slow(_, __):
        release.wait(20)
        return answer_of()

    with (
        RecordingUpstream(slow) as upstream,
        gateway_before(tmp_path, upstream, upstream_limits={"first_byte_seconds": 30.0}) as gateway,
    ):
        now = int(gateway.clock.now())
        gateway.world.key("key-1", "ann")
        gateway.change()
        people = gateway.credentials.principals
        people["short"] = principal_of(gateway.world, "ann", expires=now + 60)
        people["revoked"] = principal_of(gateway.world, "ann", gateway_key="key-1", binding="key", aal=2)
        body = msgspec.json.encode(chat())
        with connect(gateway.port) as connection:
            connection.sendall(
                request("POST", PATH, body)
                + request("POST", PATH, body, key="short")
                + request("POST", PATH, body, key="revoked")
            )
            gateway.until(lambda: upstream.requests)
            gateway.clock.move_to(now + 120)
            gateway.change(GatewayKeyRevoked(key="key-1", by="ann", at=now))
            release.set()
            answers = read_answers(connection, count=3)
        assert [each.status for each in answers] == [200, 401, answers[2].status]
        assert answers[1].code == "PASSPORT_INVALID"
        assert answers[2].status in (401, 403)
        upstream.check(1)


def test_the_second_of_two_pipelined_requests_may_expect_100_continue(gateway, upstream):
    upstream.clear()
    body = msgspec.json.encode(chat())
    head = request(
        "POST",
        PATH,
        headers=["Expect: 100-continue", f"Content-Length: {len(body)}", "Content-Type: application/json"],
    )
    with connect(gateway.port) as connection:
        connection.sendall(request("POST", PATH, body) + head)
        data = b""
        while b"100 Continue" not in data:
            data += connection.recv(65536)
        connection.sendall(body)
        assert read_answers(connection)[0].status == 200
    upstream.check(2)


# -- failed authentication


def test_whoever_keeps_failing_is_told_to_wait_and_others_at_the_address_are_served(tmp_path):
    with RecordingUpstream() as upstream, gateway_before(tmp_path, upstream) as gateway:
        with connect(gateway.port) as connection:
            wrong = request("GET", "/v1/models", key="wrong")
            for _ in range(FAILURES_BEFORE_CLOSE // 20):
                connection.sendall(wrong * 20)
                assert {each.status for each in read_answers(connection, count=20)} == {401}
        for path in (PATH, "/v1/messages", "/nowhere"):
            answer = gateway.post(path, key="wrong")
            assert (answer.status, answer.code) == (429, "too_many_failures")
            assert 0 < int(answer.headers["retry-after"]) <= 10
            assert answer.headers["x-should-retry"] == "false"
            assert answer.headers["connection"] == "close"
        assert gateway.post("/v1/messages", key="wrong").json["error"]["type"] == "rate_limit_error"
        assert gateway.post().status == 200
        upstream.check(1)
        # A minute later the count begins anew.
        gateway.on_loop(gateway.decisions.flush, int(gateway.clock.now()) + 61)
        assert gateway.post(key="wrong").status == 401
