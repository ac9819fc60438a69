"""Upstreams that answer early, twice, never, with garbage, without end: one clear error, and never another caller's answer."""

import socket
import threading
import time

import msgspec
import pytest
from tests.support.gateways import chat, read_answers, request
from tests.support.recording_upstreams import Nobody, RecordingUpstream, answer_of, gateway_before

GOOD = answer_of(b'{"id":"good"}')
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"x"}}]}\n\n'
PATH = "/v1/chat/completions"


def chunk(data):
    return b"%x\r\n%b\r\n" % (len(data), data)


def read_request(connection):
    """Read one request off a connection, plainly."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65536) or exit_of("closed")
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"content-length: "))
    while len(body) < length:
        body += connection.recv(1 << 18) or exit_of("closed")
    return body


def exit_of(why):
    raise OSError(why)


def assert_never_whole(got):
    """Broken off, or (when nothing of it had gone out yet) an error of ours."""
    assert (
        not got.complete
        or (got.status, got.code) == (502, "upstream_protocol")
        or got.code == "upstream_closed"
    )


# -- an answer that cannot be read in one way only

UNUSABLE = {
    "length and chunks": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "chunks and length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 5\r\n\r\n{}abc",
    "comma in a length": b"HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\n{}",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\n{}",
    "folded header": b"HTTP/1.1 200 OK\r\nX: a\r\n Content-Length: 2\r\n\r\n{}",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "bare carriage return": b"HTTP/1.1 200 OK\r\nX: a\rContent-Length: 9\r\nContent-Length: 2\r\n\r\n{}",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nContent-Type: a\0b\r\nContent-Length: 2\r\n\r\n{}",
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhello",
    "101 without a word": b"HTTP/1.1 101 Switching\r\n\r\nhello",
    "status of two digits": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n",
    "a request": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "a header without end": b"HTTP/1.1 200 OK\r\nX: " + b"a" * 300_000,
    "headers without end": b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 60_000,
    "interim answers without end": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 100,
    "interim answer with a body": b"HTTP/1.1 100 Continue\r\nContent-Length: 3\r\n\r\nabc" + GOOD,
}


@pytest.mark.parametrize("answer", UNUSABLE.values(), ids=UNUSABLE)
def test_an_answer_that_cannot_be_read_in_one_way_is_a_502_and_its_connection_is_not_used_again(
    tmp_path, answer
):
    answers = [answer, GOOD]
    with (
        RecordingUpstream(lambda *_: answers.pop(0)) as upstream,
        gateway_before(tmp_path, upstream) as gateway,
    ):
        got = gateway.post()
        assert (got.status, got.code) == (502, "upstream_protocol")
        assert got.complete
        assert gateway.post().json == {"id": "good"}
        assert len(upstream.connections) == 2
        upstream.check(2)
        assert gateway.reported == []


@pytest.mark.parametrize("status", ["000", "199", "600", "999"])
def test_a_status_outside_http_is_not_passed_on(tmp_path, status):
    answer = answer_of(b"{}", status=f"{status} X")
    with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
        assert gateway.post().status in (502, 504)


def test_a_few_interim_answers_are_skipped(tmp_path):
    answer = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        + b"HTTP/1.1 103 Early Hints\r\nContent-Type: text/event-stream\r\n\r\n" * 5
    )
    with RecordingUpstream(answer + GOOD) as upstream, gateway_before(tmp_path, upstream) as gateway:
        got = gateway.post()
        assert got.json == {"id": "good"}
        assert got.headers["content-type"] == "application/json"


def test_an_answer_without_content_takes_no_body_along(tmp_path):
    poison = answer_of(b'{"id":"poison"}')
    answer = b"HTTP/1.1 204 No Content\r\nContent-Length: %d\r\n\r\n" % len(poison) + poison
    with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                request("POST", PATH, msgspec.json.encode(chat()), headers=["Connection: close"])
            )
            data = b""
            while piece := connection.recv(65536):
                data += piece
        assert data.startswith(b"HTTP/1.1 204 ")
        assert b"poison" not in data
        assert gateway.post().status == 204
        assert len(upstream.connections) == 2


def test_two_content_types_are_one(tmp_path):
    answer = answer_of(b'{"id":"x"}', "Content-Type: text/html", "X-Should-Retry: true")
    with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(
                request("POST", PATH, msgspec.json.encode(chat()), headers=["Connection: close"])
            )
            data = b""
            while piece := connection.recv(65536):
                data += piece
        assert data.lower().count(b"content-type:") == 1
        assert b"text/html" not in data


# -- early


def test_an_answer_before_the_request_is_read_is_relayed_and_its_connection_ends(tmp_path):
    """The rest of a body that the upstream never read must not become the beginning of the next request."""
    served = []

    def early(connection, _):
        served.append(connection)
        if len(served) > 1:
            read_request(connection)
            connection.sendall(GOOD)
            return
        connection.recv(100)
        connection.sendall(answer_of(b'{"id":"early"}'))
        threading.Event().wait(5)  # reads nothing further and keeps the connection open

    with (
        RecordingUpstream(serve=early, receive_buffer=4096) as upstream,
        gateway_before(tmp_path, upstream) as gateway,
    ):
        got = gateway.post(text="x" * 8_000_000)
        assert got.json == {"id": "early"}
        assert gateway.post().json == {"id": "good"}
        assert len(served) == 2
        gateway.until(lambda: gateway.on_loop(lambda: gateway.upstreams.unsent) == 0)


def test_a_refusal_before_the_request_is_read_reaches_the_caller(tmp_path):
    def refuse(connection, _):
        connection.recv(100)
        connection.sendall(
            answer_of(b'{"error":{"message":"too long"}}', "Connection: close", status="413 Too Large")
        )
        threading.Event().wait(2)

    with (
        RecordingUpstream(serve=refuse, receive_buffer=4096) as upstream,
        gateway_before(tmp_path, upstream) as gateway,
    ):
        assert gateway.post(text="x" * 4_000_000).status == 413


# -- twice


def test_an_answer_that_came_twice_is_never_somebody_elses(tmp_path):
    """One connection, two callers: what follows the first caller's answer is not the second caller's."""
    first = threading.Event()
    served = []

    def twice(connection, _):
        served.append(connection)
        asked = msgspec.json.decode(read_request(connection))["messages"][0]["content"]
        if len(served) == 1:
            first.set()
            time.sleep(0.3)  # the second caller waits for this very connection
        connection.sendall(answer_of(b'{"id":"%b"}' % asked.encode()) + answer_of(b'{"id":"poison"}'))
        connection.recv(65536)

    with (
        RecordingUpstream(serve=twice) as upstream,
        gateway_before(tmp_path, upstream, upstream_limits={"connections": 1}) as gateway,
    ):
        got = {}

        def ask(name):
            got[name] = gateway.post(text=name)

        threads = [threading.Thread(target=ask, args=(name,)) for name in ("one", "two", "three")]
        threads[0].start()
        assert first.wait(5)
        for thread in threads[1:]:
            thread.start()
        for thread in threads:
            thread.join(15)
        assert {name: answer.json["id"] for name, answer in got.items()} == {name: name for name in got}
        assert len(got) == len(served) == 3


def test_bytes_that_come_while_nothing_was_asked_end_the_connection(tmp_path):
    late = threading.Event()

    def poisoned(connection, _):
        read_request(connection)
        connection.sendall(GOOD)
        time.sleep(0.1)
        connection.sendall(answer_of(b'{"id":"poison"}'))
        late.set()
        connection.recv(65536)

    with RecordingUpstream(serve=poisoned) as upstream, gateway_before(tmp_path, upstream) as gateway:
        assert gateway.post().json == {"id": "good"}
        assert late.wait(5)
        time.sleep(0.05)
        assert gateway.post().json == {"id": "good"}
        assert len(upstream.connections) == 2


# -- never, late, broken off


def test_a_head_that_comes_byte_by_byte_without_end_times_out(tmp_path):
    def drip(connection, _):
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
        for _ in range(200):
            connection.sendall(b"a")
            time.sleep(0.05)

    limits = {"first_byte_seconds": 0.5}
    with (
        RecordingUpstream(serve=drip) as upstream,
        gateway_before(tmp_path, upstream, upstream_limits=limits) as gateway,
    ):
        got = gateway.post()
        assert (got.status, got.code) == (504, "upstream_timeout")


@pytest.mark.parametrize("stream", [False, True])
def test_framing_without_content_times_out_or_is_refused(tmp_path, stream):
    """Chunk extensions are bytes, but no answer: they do not keep a connection alive for ever, and never fill the memory."""

    def extensions(connection, _):
        read_request(connection)
        connection.sendall(STREAM + chunk(EVENT) + b"5;")
        for _ in range(1000):
            connection.sendall(b"a" * 100_000)

    limits = {"between_seconds": 0.5}
    with (
        RecordingUpstream(serve=extensions) as upstream,
        gateway_before(tmp_path, upstream, upstream_limits=limits) as gateway,
    ):
        got = gateway.post(stream=stream)
        # 502 when it is refused before the decision is durable: then nothing of the answer has gone out.
        assert got.status in (200, 502)
        assert b"upstream_protocol" in got.body or b"upstream_timeout" in got.body
        assert not got.body.endswith(b"[DONE]\n\n")
        assert gateway.completion()["ended"] == "upstream_error"


def test_a_trailer_without_end_is_refused(tmp_path):
    answer = STREAM + chunk(EVENT) + b"0\r\nX: " + b"a" * 3_000_000
    with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
        assert b"upstream_protocol" in gateway.post(stream=True).body


GARBAGE = {
    "no chunk": b"this is no chunk\r\n",
    "a chunk and then none": chunk(EVENT) + b"zz\r\n",
    "a size beyond 64 bits": chunk(EVENT) + b"f" * 17 + b"\r\n",
    "an answer inside": chunk(EVENT) + GOOD,
    "a chunk longer than its size": chunk(EVENT) + b"1\r\nabcdef\r\n",
    "bare line feeds": b"5\nabcde\n0\n\n",
}


@pytest.mark.parametrize("garbage", GARBAGE.values(), ids=GARBAGE)
def test_200_and_then_garbage_is_an_error_and_never_looks_whole(tmp_path, garbage):
    with RecordingUpstream(STREAM + garbage) as upstream, gateway_before(tmp_path, upstream) as gateway:
        got = gateway.post(stream=True)
        assert b"upstream_protocol" in got.body
        assert b"good" not in got.body
        assert gateway.completion()["ended"] == "upstream_error"
    plain = (
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        + chunk(b'{"id":')
    )
    (tmp_path / "2").mkdir()
    with RecordingUpstream(plain + garbage) as upstream, gateway_before(tmp_path / "2", upstream) as gateway:
        got = gateway.post()
        assert_never_whole(got)
        assert gateway.completion()["ended"] == "upstream_error"


def test_an_answer_shorter_than_its_length_never_looks_whole(tmp_path):
    answer = answer_of(b'{"id":"x"}').replace(b"Content-Length: 10", b"Content-Length: 100")
    with RecordingUpstream(answer, close=True) as upstream, gateway_before(tmp_path, upstream) as gateway:
        got = gateway.post()
        assert_never_whole(got)
        assert gateway.completion()["ended"] == "upstream_error"


def test_an_answer_in_a_coding_we_do_not_read_never_looks_whole(tmp_path):
    answer = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: gzip\r\n\r\nabcde"
    with RecordingUpstream(answer, close=True) as upstream, gateway_before(tmp_path, upstream) as gateway:
        got = gateway.post()
        assert_never_whole(got)
        assert gateway.completion()["ended"] == "upstream_error"


# -- elsewhere


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", [PATH, "/v1/messages"])
def test_a_redirect_is_not_followed_and_carries_no_key_anywhere(tmp_path, status, path):
    with Nobody() as elsewhere:
        answer = answer_of(b"{}", f"Location: http://127.0.0.1:{elsewhere.port}{path}", status=f"{status} Go")
        with RecordingUpstream(answer) as upstream, gateway_before(tmp_path, upstream) as gateway:
            got = gateway.post(path)
            assert (got.status, got.code) == (502, "upstream_refused")
            assert "location" not in got.headers
            assert str(elsewhere.port).encode() not in got.body
            assert len(upstream.requests) == 1
            assert elsewhere.called == []


def test_a_client_that_pipelines_gets_no_mixed_answers_from_a_slow_upstream(tmp_path):
    def slow(received, _):
        time.sleep(0.05)
        return answer_of(b'{"id":"%b"}' % received.json["messages"][0]["content"].encode())

    with RecordingUpstream(slow) as upstream, gateway_before(tmp_path, upstream) as gateway:
        data = b"".join(
            request("POST", PATH, msgspec.json.encode(chat(text=f"n{number}"))) for number in range(12)
        )
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(data)
            answers = read_answers(connection, count=12)
        assert [each.json["id"] for each in answers] == [f"n{number}" for number in range(12)]
        upstream.check(12)
