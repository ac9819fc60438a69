"""Clients that take connections: no source takes those of others, and a TLS handshake that never ends holds little, and not for long.

Sources are addresses of 127.0.0.0/8: a client binds to one of them before it connects.
"""

import asyncio
import contextlib
import resource
import socket
import ssl
import time

import msgspec
import pytest
from tests.support.certificates import server_files
from tests.support.gateway_processes import gateway_process
from tests.support.gateways import RunningGateway, chat, read_answers, request
from tests.support.recording_upstreams import RecordingUpstream

from safeconduct.gateway.http_messages import Limits
from safeconduct.web.proxy.acceptor import TOLD_AT_ONCE
from safeconduct.web.tls import ListenerTls

PATH = "/v1/chat/completions"
STALLED = 3_000
HANDSHAKES = 300
# Measured: 65 KB, nearly all of it OpenSSL's.
BYTES_PER_HANDSHAKE = 100 * 1024

own_process = pytest.mark.xdist_group("own-process")


def connect(port, source="127.0.0.1", *, timeout=20):
    connection = socket.socket()
    connection.settimeout(timeout)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return server_files(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def trusting(files):
    return ssl.create_default_context(cafile=str(files[0]))


def over_tls(port, trusting, source="127.0.0.1", timeout=20):
    return trusting.wrap_socket(connect(port, source, timeout=timeout), server_hostname="localhost")


def served(connection):
    connection.sendall(request("GET", "/healthz"))
    return read_answers(connection)[0].status == 200


def many_files(count):
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < count + 500:
        pytest.skip(f"this machine lets a process open {hard} files only")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


# -- one source


def test_one_source_cannot_take_the_connections_of_others(tmp_path):
    limits = Limits(connections=20, source_connections=8)
    with RunningGateway(tmp_path, limits=limits) as gateway, contextlib.ExitStack() as held:
        for _ in range(8):
            assert served(held.enter_context(connect(gateway.port)))
        with connect(gateway.port) as ninth:
            answer = read_answers(ninth)[0]
        assert (answer.status, answer.code) == (503, "too_many_connections")
        assert "your address" in answer.json["error"]["message"]
        assert int(answer.headers["retry-after"]) <= 10
        with connect(gateway.port, "127.0.0.2") as other:
            assert served(other)
        assert gateway.node.measures.refused_connections == {"total": 0, "source": 1, "handshakes": 0}
        told = gateway.on_loop(gateway.server.metrics)
        assert 'safeconduct_connections_refused_total{cause="source"} 1' in told
    assert gateway.reported == []


def test_a_source_gets_its_places_back_when_its_connections_end(tmp_path):
    with RunningGateway(tmp_path, limits=Limits(source_connections=2)) as gateway:
        for _ in range(10):
            with connect(gateway.port) as one, connect(gateway.port) as another:
                assert served(one)
                assert served(another)
            gateway.until(lambda: gateway.server.places.taken == 0)
        assert gateway.server.places.sources == 0


def test_a_source_that_is_turned_away_again_and_again_is_not_counted_for_it(tmp_path):
    with (
        RunningGateway(tmp_path, limits=Limits(source_connections=1)) as gateway,
        connect(gateway.port) as kept,
    ):
        assert served(kept)
        for _ in range(50):
            with connect(gateway.port) as late:
                assert read_answers(late)[0].status == 503
        assert gateway.server.places.taken == 1
        assert served(kept)


def test_over_tls_a_source_beyond_its_share_is_told_so_too(tmp_path, files, trusting):
    limits = Limits(source_connections=3)
    with (
        RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway,
        contextlib.ExitStack() as held,
    ):
        for _ in range(3):
            assert served(held.enter_context(over_tls(gateway.port, trusting)))
        with over_tls(gateway.port, trusting) as fourth:
            answer = read_answers(fourth)[0]
        assert (answer.status, answer.code) == (503, "too_many_connections")
        with over_tls(gateway.port, trusting, "127.0.0.2") as other:
            assert served(other)
        held.close()
        gateway.until(lambda: gateway.server.places.taken == 0)
        with over_tls(gateway.port, trusting) as again:
            assert served(again)
    assert gateway.reported == []


# -- handshakes


def test_a_connection_counts_from_its_first_moment_and_not_from_its_handshakes_end(tmp_path, files, trusting):
    limits = Limits(source_connections=4)
    with (
        RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway,
        contextlib.ExitStack() as held,
    ):
        for _ in range(4):
            held.enter_context(connect(gateway.port))
        gateway.until(lambda: gateway.server.handshakes == 4)
        with over_tls(gateway.port, trusting) as fifth:
            assert read_answers(fifth)[0].status == 503
        with over_tls(gateway.port, trusting, "127.0.0.2") as other:
            assert served(other)
        held.close()
        gateway.until(lambda: gateway.server.places.taken == 0)
        assert gateway.node.measures.failed_handshakes == 4
    assert gateway.reported == []


def test_a_handshake_that_does_not_end_is_ended(tmp_path, files, trusting):
    limits = Limits(handshake_seconds=0.5)
    with RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway:
        for beginning in (b"", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/1.1\r\n\r\n"):
            with connect(gateway.port) as stalled:
                stalled.sendall(beginning)
                began = time.monotonic()
                with contextlib.suppress(ConnectionResetError):
                    while stalled.recv(4096):
                        pass
                assert time.monotonic() - began < 5
        gateway.until(lambda: gateway.server.places.taken == 0)
        assert gateway.server.handshakes == 0
        assert gateway.node.measures.failed_handshakes == 3
        with over_tls(gateway.port, trusting) as good:
            assert served(good)
    assert gateway.reported == []


def test_who_begins_handshakes_without_end_does_not_keep_others_from_theirs(tmp_path, files, trusting):
    """All places for handshakes are held by one source, for ten seconds each: the next source is served at once."""
    limits = Limits(handshakes=16, handshake_patience=5.0)
    with (
        RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway,
        contextlib.ExitStack() as held,
    ):
        stalled = [held.enter_context(connect(gateway.port)) for _ in range(16)]
        gateway.until(lambda: gateway.server.handshakes == 16)
        # One more of the same source gives nobody's place away.
        more = held.enter_context(connect(gateway.port))
        assert more.recv(7) == b"\x15\x03\x03\x00\x02\x02\x50"
        began = time.monotonic()
        with over_tls(gateway.port, trusting, "127.0.0.2") as other:
            assert served(other)
            assert time.monotonic() - began < 3
            # It was the oldest that gave way.
            with contextlib.suppress(ConnectionResetError):
                assert stalled[0].recv(16) == b""
            assert gateway.server.handshakes == 15
        assert gateway.node.measures.refused_connections["handshakes"] == 1
    assert gateway.reported == []


def test_a_handshake_that_is_given_up_before_it_began_leaves_nothing_behind(tmp_path, files):
    """Accepted and given up in the same turn of the loop: its task never runs."""
    limits = Limits(handshakes=1, handshake_patience=0.0)
    with RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway:
        ends = [socket.socketpair() for _ in range(10)]
        for _, client in ends:
            client.setblocking(False)

        def at_once():
            for number, (_, client) in enumerate(ends):
                gateway.server._acceptor._came(client, f"192.0.2.{number}")

        gateway.on_loop(at_once)
        gateway.until(lambda: gateway.server.places.taken == 1)
        for ours, _ in ends[:-1]:
            ours.settimeout(5)
            assert ours.recv(16) == b""
        for ours, _ in ends:
            ours.close()
        gateway.until(lambda: gateway.server.places.taken == 0)
        assert gateway.server.places.sources == 0
    assert gateway.reported == []


@own_process
def test_thousands_that_never_finish_their_handshake_are_bounded_in_number_memory_and_time(files, trusting):
    many_files(STALLED)
    limits = {"handshakes": HANDSHAKES, "handshake_seconds": 4.0}
    with (
        RecordingUpstream() as upstream,
        gateway_process(upstream.base_url, limits=limits, tls=files) as gateway,
        contextlib.ExitStack() as held,
    ):
        with over_tls(gateway.port, trusting, "127.0.0.9") as good:
            good.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            assert read_answers(good)[0].json == {"id": "x"}
            before = gateway.ask()
            hello = client_hello(trusting)
            for number in range(STALLED):
                # From two hundred addresses; half say nothing, half begin and leave off.
                stalled = held.enter_context(connect(gateway.port, f"127.1.0.{number % 200 + 1}"))
                if number % 2:
                    with contextlib.suppress(OSError):
                        stalled.sendall(hello)
            now = gateway.ask()
            end = time.monotonic() + 10
            while now["refused"]["handshakes"] + now["failed_handshakes"] < STALLED - HANDSHAKES:
                assert time.monotonic() < end, now
                now = gateway.ask()
            assert now["handshakes"] <= HANDSHAKES
            assert now["places"] <= HANDSHAKES + 1
            assert now["peak"] - before["rss"] < HANDSHAKES * BYTES_PER_HANDSHAKE
            # Whoever is served goes on, and whoever comes finds a place within moments.
            assert served(good)
            end = time.monotonic() + 10
            late = False
            while not late and time.monotonic() < end:
                with contextlib.suppress(OSError), over_tls(gateway.port, trusting, "127.0.0.8") as other:
                    late = served(other)
            assert late
        end = time.monotonic() + 15
        while gateway.ask()["places"]:
            assert time.monotonic() < end, "handshakes without end keep their places"
            time.sleep(0.1)
        assert gateway.ask()["reported"] == []


def client_hello(trusting):
    """The first flight of a client, after which it would have to answer."""
    outgoing = ssl.MemoryBIO()
    half = trusting.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        half.do_handshake()
    return outgoing.read()


def test_only_a_few_of_those_without_a_place_cost_a_handshake(tmp_path, files):
    """Whoever has their share and begins many more is told by an alert; the handshakes made for telling are few."""
    limits = Limits(source_connections=1)
    with (
        RunningGateway(tmp_path, limits=limits, listener_tls=ListenerTls(*files).context) as gateway,
        contextlib.ExitStack() as held,
    ):
        held.enter_context(connect(gateway.port))
        gateway.until(lambda: gateway.server.places.taken == 1)
        late = [held.enter_context(connect(gateway.port)) for _ in range(TOLD_AT_ONCE + 20)]
        gateway.until(lambda: gateway.node.measures.refused_connections["source"] == TOLD_AT_ONCE + 20)
        alerted = 0
        for each in late:
            each.settimeout(0.2)
            with contextlib.suppress(TimeoutError):
                alerted += each.recv(16) == b"\x15\x03\x03\x00\x02\x02\x50"
        assert alerted >= 20
        gateway.until(lambda: not gateway.server._acceptor._told)
    assert gateway.reported == []


def test_a_handshake_that_is_under_way_when_the_gateway_goes_is_finished_and_answered(
    tmp_path, files, trusting
):
    with RunningGateway(tmp_path, listener_tls=ListenerTls(*files).context) as gateway:
        raw = connect(gateway.port)
        gateway.until(lambda: gateway.server.handshakes == 1)
        closing = asyncio.run_coroutine_threadsafe(gateway.server.close(5.0), gateway.loop)
        gateway.until(lambda: gateway.node.draining)
        with trusting.wrap_socket(raw, server_hostname="localhost") as late:
            late.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            assert read_answers(late)[0].status == 200
        closing.result(10)
    assert gateway.reported == []
