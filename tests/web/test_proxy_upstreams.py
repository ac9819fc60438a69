"""What an upstream can do to us, and what it never gets to see."""

import socket
import ssl
import time

import msgspec
import pytest
from tests.support.gateways import UPSTREAM_KEY, RunningGateway, chat, request
from tests.support.upstreams import ScriptedUpstream, answer_of, certificate

from safeconduct.upstreams.pool import UpstreamLimits

LIMITS = UpstreamLimits(connect_seconds=0.5, first_byte_seconds=0.5, between_seconds=0.5)


def gateway_to(tmp_path, port, *, scheme="http", kind="openai", **options):
    return RunningGateway(
        tmp_path, kind=kind, base_url=f"{scheme}://127.0.0.1:{port}/v1", upstream_limits=LIMITS, **options
    )


@pytest.mark.parametrize(
    ("answer", "status", "code"),
    [
        (
            answer_of(b'{"error":{"message":"Incorrect key: sk-canary"}}', status="401 Unauthorized"),
            502,
            "upstream_refused",
        ),
        (answer_of(b"sk-canary", status="403 Forbidden"), 502, "upstream_refused"),
        (
            answer_of(b"sk-canary", "Location: http://evil.example/", status="307 Temporary Redirect"),
            502,
            "upstream_refused",
        ),
        (
            answer_of(b"sk-canary", "Location: /other", status="301 Moved Permanently"),
            502,
            "upstream_refused",
        ),
        (b"sk-canary this is not HTTP\r\n\r\n", 502, "upstream_protocol"),
        (
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            502,
            "upstream_protocol",
        ),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            502,
            "upstream_protocol",
        ),
        (b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000, 502, "upstream_protocol"),
        (b"", 502, "upstream_closed"),
    ],
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_an_unusable_answer_is_one_clear_error_without_its_text(tmp_path, answer, status, code, path):
    with ScriptedUpstream(answer) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post(path)
        assert (got.status, got.code) == (status, code)
        assert b"sk-canary" not in got.body
        assert len(upstream.requests) == 1
        completion = gateway.completion()
        assert completion["ended"] == "upstream_error"
        assert gateway.reported == []


def test_a_provider_that_never_answers_times_out(tmp_path):
    with ScriptedUpstream(b"", close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post()
        assert (got.status, got.code) == (504, "upstream_timeout")


def test_a_stream_that_stops_midway_ends_with_an_error_event(tmp_path):
    answer = (
        b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {"choices":[{}]}\n\ndata: {"par'
    )
    with ScriptedUpstream(answer, close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post(stream=True)
        events = got.body.split(b"\n\n")
        assert events[0] == b'data: {"choices":[{}]}'
        assert b"upstream_timeout" in events[1]
        assert b'{"par' not in got.body
        assert got.headers["content-type"] == "text/event-stream"


def test_a_port_nobody_listens_on_is_a_502(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with gateway_to(tmp_path, port) as gateway:
        got = gateway.post()
        assert (got.status, got.code) == (502, "upstream_unreachable")


def test_an_interim_answer_is_skipped(tmp_path):
    answer = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" + answer_of(b'{"id":"x"}')
    with ScriptedUpstream(answer, close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        assert gateway.post().json == {"id": "x"}


def test_an_answer_without_a_length_ends_with_the_connection(tmp_path):
    answer = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{"usage":{"prompt_tokens":3,"completion_tokens":4}}'
    with ScriptedUpstream(answer) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post()
        assert got.complete
        assert gateway.completion()["output_tokens"] == 4


def test_connections_are_used_again_and_bytes_nobody_asked_for_end_one(tmp_path):
    good = answer_of(b'{"id":"x"}')
    with ScriptedUpstream(good, close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        for _ in range(5):
            assert gateway.post().status == 200
        assert upstream.connections == 1
    poisoned = good + answer_of(b'{"id":"poison"}')
    (tmp_path / "2").mkdir()
    with (
        ScriptedUpstream(poisoned, close=False) as upstream,
        gateway_to(tmp_path / "2", upstream.port) as gateway,
    ):
        for _ in range(3):
            got = gateway.post()
            assert got.body == b'{"id":"x"}' or got.status == 502
        assert upstream.connections == 3


def test_an_answer_is_passed_on_filtered(tmp_path):
    answer = answer_of(
        b"{}",
        "Set-Cookie: a=b",
        "Server: lab",
        "X-Request-Id: req-upstream",
        "X-RateLimit-Remaining-Requests: 3",
        "Retry-After: 600",
        "Connection: keep-alive, x-hop",
        "X-Safeconduct-Sandbox: true",
        "Alt-Svc: h3=evil",
        status="429 Too Many Requests",
    )
    with ScriptedUpstream(answer) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post()
        assert got.status == 429
        assert set(got.headers) == {
            "date",
            "content-type",
            "content-length",
            "retry-after",
            "x-request-id",
            "x-safeconduct-upstream-request-id",
            "server-timing",
        }
        assert got.headers["retry-after"] == "30"
        assert got.headers["x-request-id"].startswith("dec_")
        assert got.headers["x-safeconduct-upstream-request-id"] == "req-upstream"
        assert gateway.completion()["upstream_request_id"] == "req-upstream"


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_nothing_is_sent_when_the_deployments_credential_is_missing(tmp_path, kind):
    with (
        ScriptedUpstream(answer_of(b"{}")) as upstream,
        gateway_to(tmp_path, upstream.port, kind=kind, credential=None) as gateway,
    ):
        got = gateway.post()
        assert (got.status, got.code) == (503, "upstream_credential")
        assert upstream.requests == []


def test_a_local_server_needs_no_credential_and_gets_none(tmp_path):
    with (
        ScriptedUpstream(answer_of(b"{}")) as upstream,
        gateway_to(tmp_path, upstream.port, kind="openai-compatible", credential=None) as gateway,
    ):
        assert gateway.post().status == 200
        head, body = upstream.requests[0]
        assert b"authorization" not in head.lower()
        assert b"safety_identifier" not in body


def test_a_credential_that_could_not_stand_in_a_header_is_none(tmp_path):
    with (
        ScriptedUpstream(answer_of(b"{}")) as upstream,
        gateway_to(tmp_path, upstream.port, credential=b"key\r\nx-evil: 1") as gateway,
    ):
        assert gateway.post().code == "upstream_credential"
        assert upstream.requests == []


def test_sandbox_deployments_are_unknown_where_they_are_not_allowed(tmp_path):
    with RunningGateway(tmp_path, sandbox_allowed=False) as gateway:
        got = gateway.post()
        assert (got.status, got.code) == (404, "MODEL_UNKNOWN")
        assert gateway.seen == []


def test_tls_is_verified_name_and_issuer(tmp_path):
    right, trusted = certificate(tmp_path, "localhost")
    for name, tls, expected in (
        ("trusted", ssl.create_default_context(cadata=trusted), 200),
        ("default", None, 502),
    ):
        (tmp_path / name).mkdir()
        with ScriptedUpstream(answer_of(b"{}"), tls=right) as upstream:
            base = f"https://localhost:{upstream.port}"
            with RunningGateway(
                tmp_path / name, kind="openai", base_url=base, upstream_limits=LIMITS, tls=tls
            ) as gateway:
                got = gateway.post()
                assert got.status == expected, got.body
                if expected == 502:
                    assert got.code == "upstream_tls"
                    assert upstream.requests == []
    wrong, other = certificate(tmp_path, "other.example")
    (tmp_path / "name").mkdir()
    with ScriptedUpstream(answer_of(b"{}"), tls=wrong) as upstream:
        with RunningGateway(
            tmp_path / "name",
            kind="openai",
            base_url=f"https://localhost:{upstream.port}",
            upstream_limits=LIMITS,
            tls=ssl.create_default_context(cadata=other),
        ) as gateway:
            assert gateway.post().code == "upstream_tls"
            assert upstream.requests == []


def test_a_client_that_reads_slowly_holds_the_provider_back_and_gets_everything(tmp_path):
    event = b'data: {"choices":[{"delta":{"content":"' + b"x" * 4000 + b'"}}]}\n\n'
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    count = 4000
    with (
        ScriptedUpstream(b"", pieces=[head + event * count]) as upstream,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        body = msgspec.json.encode(chat(stream=True, stream_options={"include_usage": True}))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=10) as connection:
            connection.sendall(request("POST", "/v1/chat/completions", body))
            time.sleep(1.2)
            held = gateway.on_loop(
                lambda: sum(each.transport.get_write_buffer_size() for each in gateway.server._connections)
            )
            assert held < 2_000_000
            received = b""
            while not received.endswith(b"\r\n0\r\n\r\n"):
                received += connection.recv(1 << 20)
        assert received.count(b'data: {"choices"') == count
        assert UPSTREAM_KEY not in received
