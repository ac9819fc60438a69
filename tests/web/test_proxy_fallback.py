"""When an upstream does not answer: what is tried again, where, and what never is."""

import socket
import ssl
import time

import msgspec
import pytest
from tests.support.gateways import KEY, UPSTREAM_KEY, RunningGateway, chat, principal_of, request
from tests.support.upstreams import ScriptedUpstream, answer_of, certificate
from tests.support.worlds import World, instant, plain_world

from safeconduct.gateway.circuit import CircuitLimits
from safeconduct.gateway.retrying import RetryLimits
from safeconduct.kernel.vocabulary import Level, Standing
from safeconduct.record.events.registrations import StandingChanged
from safeconduct.upstreams.pool import UpstreamLimits

LIMITS = UpstreamLimits(
    connect_seconds=2, first_byte_seconds=0.5, between_seconds=0.5, waiting_seconds=0.2, connections=8
)
QUICK = RetryLimits(first_seconds=0.01)
GOOD = answer_of(b'{"id":"x","usage":{"prompt_tokens":3,"completion_tokens":4}}')
BUSY = answer_of(b'{"error":{}}', status="503 Service Unavailable")
PATH = "/v1/chat/completions"


def dead_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def url(port):
    return f"http://127.0.0.1:{port}/v1"


def gateway_to(tmp_path, port, **options):
    options.setdefault("retries", QUICK)
    options.setdefault("upstream_limits", LIMITS)
    return RunningGateway(tmp_path, kind="openai", base_url=url(port), **options)


def two_variants(**second):
    """`model-x` and `model-y`, both granted to ann."""
    world = plain_world()
    world.variant("model-y", "lab", **second)
    world.admit("lab", "org-a", ["ann"], ["model-y"])
    return world


def decisions(gateway):
    return [
        (one["outcome"], one["variant"], one["deployment"], tuple(one["codes"]))
        for one in gateway.entries("decision")
    ]


@pytest.mark.parametrize("status", ["503 Service Unavailable", "502 Bad Gateway", "529 Overloaded"])
def test_a_provider_that_declines_is_asked_again_and_the_client_sees_only_the_answer(tmp_path, status):
    declined = answer_of(b'{"error":{}}', status=status)
    with (
        ScriptedUpstream(GOOD, first=[declined, declined], close=False) as upstream,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        got = gateway.post()
        assert (got.status, got.json["id"]) == (200, "x")
        assert "x-safeconduct-model" not in got.headers
        assert len(upstream.requests) == 3
        assert len({body for _, body in upstream.requests}) == 1
        completion = gateway.completion()
        assert (completion["retries"], completion["output_tokens"]) == (2, 4)
        assert len(decisions(gateway)) == 1


def test_when_retries_are_used_up_the_last_answer_is_passed_on(tmp_path):
    with ScriptedUpstream(BUSY, close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        got = gateway.post()
        assert (got.status, got.body) == (503, b'{"error":{}}')
        assert len(upstream.requests) == 3


@pytest.mark.parametrize("wanted", ["600", "Wed, 21 Oct 2026 07:28:00 GMT"])
def test_a_provider_that_wants_to_be_left_alone_for_long_is(tmp_path, wanted):
    answer = answer_of(b"{}", f"Retry-After: {wanted}", status="429 Too Many Requests")
    with ScriptedUpstream(answer, close=False) as upstream, gateway_to(tmp_path, upstream.port) as gateway:
        assert gateway.post().status == 429
        assert len(upstream.requests) == 1


@pytest.mark.parametrize(
    ("answer", "close", "code"),
    [
        (b"", True, "upstream_closed"),
        (b"", False, "upstream_timeout"),
        (b"nonsense\r\n\r\n", True, "upstream_protocol"),
    ],
)
def test_a_request_that_may_have_been_worked_on_is_never_sent_twice(tmp_path, answer, close, code):
    with (
        ScriptedUpstream(answer, close=close) as upstream,
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        gateway.deploy("model-x-2", "model-x", url(other.port))
        assert gateway.post().code == code
        assert (len(upstream.requests), len(other.requests)) == (1, 0)


def test_once_an_answer_has_begun_nothing_is_tried_again(tmp_path):
    head = b'HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: {"choices":[{}]}\n\n'
    with (
        ScriptedUpstream(head) as upstream,
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        gateway.deploy("model-x-2", "model-x", url(other.port))
        gateway.post(stream=True)
        assert (len(upstream.requests), len(other.requests)) == (1, 0)


def test_the_next_deployment_answers_on_a_decision_of_its_own_and_the_answer_says_so(tmp_path):
    with ScriptedUpstream(GOOD, close=False) as other, gateway_to(tmp_path, dead_port()) as gateway:
        gateway.deploy("model-x-2", "model-x", url(other.port))
        got = gateway.post()
        assert (got.status, got.headers["x-safeconduct-model"]) == (200, "model-x")
        assert decisions(gateway) == [
            ("permit", "model-x", "model-x-1", ()),
            ("permit", "model-x", "model-x-2", ()),
        ]
        first, second = gateway.entries("completion")
        assert (first["ended"], first["cause"]) == ("upstream_error", ["fallback", "connect"])
        assert (second["ended"], second["output_tokens"]) == ("complete", 4)
        # The id of the answer is that of the decision it rests on.
        assert got.headers["x-request-id"] == second["decision"] != first["decision"]


def test_a_fallback_variant_answers_when_no_deployment_of_the_variant_does(tmp_path):
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, dead_port(), world=two_variants()) as gateway,
    ):
        gateway.deploy("model-x-1", "model-x", url(dead_port()), fallback="model-y")
        gateway.deploy("model-y-1", "model-y", url(other.port))
        got = gateway.post()
        assert (got.status, got.headers["x-safeconduct-model"]) == (200, "model-y")
        sent = msgspec.json.decode(other.requests[0][1])
        assert sent["model"] == "model-y-1-upstream"
        # What the log says was asked for is what the caller wrote.
        assert {one["asked"] for one in gateway.sealed("decision")} == {"model-x"}


def test_a_grant_can_name_the_fallback(tmp_path):
    world = World()
    world.provider("lab").organisation("org-a")
    world.variant("model-x", "lab").variant("model-y", "lab").person("ann", "org-a")
    world.admit("lab", "org-a", ["ann"], ["model-x"], fallback="model-y")
    world.admit("lab", "org-a", ["ann"], ["model-y"])
    world.now = instant("2026-06-01")
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, dead_port(), world=world) as gateway,
    ):
        gateway.deploy("model-y-1", "model-y", url(other.port))
        assert gateway.post().headers["x-safeconduct-model"] == "model-y"


def test_a_fallback_that_the_caller_may_not_use_is_skipped_and_its_reasons_recorded(tmp_path):
    world = plain_world()
    world.variant("model-y", "lab")
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, dead_port(), world=world) as gateway,
    ):
        gateway.deploy("model-x-1", "model-x", url(dead_port()), fallback="model-y")
        gateway.deploy("model-y-1", "model-y", url(other.port))
        got = gateway.post()
        assert (got.status, got.code) == (502, "upstream_unreachable")
        assert b"GRANT_MISSING" not in got.body
        assert b"model-y" not in got.body
        assert other.requests == []
        assert decisions(gateway)[1] == ("deny", "model-y", "model-y-1", ("GRANT_MISSING",))


def test_a_credential_for_one_model_is_not_carried_to_its_fallback(tmp_path):
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, dead_port(), world=two_variants()) as gateway,
    ):
        gateway.credentials.principals[KEY] = principal_of(gateway.world, "ann", variants=("model-x",))
        gateway.deploy("model-x-1", "model-x", url(dead_port()), fallback="model-y")
        gateway.deploy("model-y-1", "model-y", url(other.port))
        assert gateway.post().status == 502
        assert other.requests == []
        assert gateway.entries("refusal")[0]["codes"] == ["GRANT_MISSING"]


def test_a_change_of_state_cuts_the_fallback_that_answers_not_only_what_was_asked_for(tmp_path):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    event = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
    limits = UpstreamLimits(between_seconds=20)
    with (
        ScriptedUpstream(b"", pieces=[head + event], close=False) as other,
        gateway_to(tmp_path, dead_port(), world=two_variants(), upstream_limits=limits) as gateway,
    ):
        gateway.deploy("model-x-1", "model-x", url(dead_port()), fallback="model-y")
        gateway.deploy("model-y-1", "model-y", url(other.port))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", PATH, msgspec.json.encode(chat(stream=True))))
            received = b""
            while event not in received:
                received += connection.recv(65536)
            gateway.change(
                StandingChanged(
                    variant="model-y",
                    standing=Standing.SUSPENDED,
                    cohort=None,
                    cause="test",
                    by="lab",
                    at=gateway.world.now,
                )
            )
            while piece := connection.recv(65536):
                received += piece
        assert b"STAGE" in received
        assert other.gone.wait(10)


def test_a_fallback_of_a_higher_level_waits_for_its_own_decision_to_be_durable(tmp_path, monkeypatch):
    world = two_variants(level=Level.C3, compartments=())
    world.project("proj-y", "org-a")
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, dead_port(), world=world) as gateway,
    ):
        gateway.credentials.principals[KEY] = principal_of(gateway.world, "ann", project="proj-y")
        gateway.deploy("model-x-1", "model-x", url(dead_port()), fallback="model-y")
        gateway.deploy("model-y-1", "model-y", url(other.port))
        sent = []
        send = gateway.upstreams.send

        def watched(target, head, body, sink):
            sent.append((sink.request.variant, sink._verdict.index < gateway.log.durable_size))
            return send(target, head, body, sink)

        monkeypatch.setattr(gateway.upstreams, "send", watched)
        assert gateway.post().status == 200
        assert sent[-1] == ("model-y", True)


def test_a_stream_of_a_fallback_hides_the_usage_that_the_client_did_not_ask_for(tmp_path):
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":6}}\n\n'
    stream = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        b'data: {"choices":[{}]}\n\n' + usage + b"data: [DONE]\n\n"
    )
    with (
        ScriptedUpstream(stream, first=[BUSY]) as upstream,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        got = gateway.post(stream=True)
        assert b"[DONE]" in got.body
        assert b"usage" not in got.body
        assert gateway.completion()["output_tokens"] == 6


def test_a_client_that_leaves_while_a_retry_waits_ends_it(tmp_path):
    slow = RetryLimits(first_seconds=30.0)
    with (
        ScriptedUpstream(GOOD, first=[BUSY], close=False) as upstream,
        gateway_to(tmp_path, upstream.port, retries=slow) as gateway,
    ):
        gateway.node.uniform = lambda low, high: high
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            gateway.until(lambda: len(upstream.requests) == 1)
            gateway.until(lambda: len(gateway.node.open) == 1)
            time.sleep(0.05)
        assert gateway.completion()["ended"] == "client_gone"
        assert gateway.on_loop(lambda: len(gateway.node.open)) == 0
        assert gateway.server.kept == 0
        assert len(upstream.requests) == 1


def test_a_client_that_leaves_cancels_the_upstream_at_once(tmp_path):
    with (
        ScriptedUpstream(b"", close=False) as upstream,
        gateway_to(tmp_path, upstream.port, upstream_limits=UpstreamLimits()) as gateway,
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            gateway.until(lambda: len(upstream.requests) == 1)
        assert upstream.gone.wait(10)
        assert gateway.completion()["ended"] == "client_gone"


def test_a_deployment_that_keeps_failing_is_left_alone_and_asked_again_later(tmp_path):
    broken = CircuitLimits(least=3, open_seconds=0.4, probes=1, retry_burst=0)
    answer = answer_of(b"{}", status="500 Internal Server Error")
    with (
        ScriptedUpstream(GOOD, first=[answer] * 3, close=False) as upstream,
        gateway_to(tmp_path, upstream.port, circuit_limits=broken) as gateway,
    ):
        for _ in range(3):
            assert gateway.post().status == 500
        got = gateway.post()
        assert (got.status, got.code) == (503, "upstream_unavailable")
        assert got.headers["retry-after"] == "1"
        assert "x-should-retry" not in got.headers
        assert len(upstream.requests) == 3
        gateway.until(lambda: gateway.post().status == 200)
        assert gateway.node.circuits.open == set()


def test_while_a_deployment_is_away_the_others_are_asked_first(tmp_path):
    broken = CircuitLimits(least=2, open_seconds=60, retry_burst=0)
    failing = answer_of(b"{}", status="500 Internal Server Error")
    with (
        ScriptedUpstream(failing, close=False) as upstream,
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, upstream.port, circuit_limits=broken) as gateway,
    ):
        for _ in range(2):
            assert gateway.post().status == 500
        gateway.deploy("model-x-2", "model-x", url(other.port))
        before = len(decisions(gateway))
        assert gateway.post().status == 200
        assert decisions(gateway)[before:] == [("permit", "model-x", "model-x-2", ())]


def test_a_deployment_has_no_more_requests_under_way_than_it_is_said_to_bear(tmp_path):
    with ScriptedUpstream(b"", close=False) as upstream, gateway_to(tmp_path, dead_port()) as gateway:
        gateway.deploy("model-x-1", "model-x", url(upstream.port), concurrency=1)
        body = msgspec.json.encode(chat())
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as first:
            first.sendall(request("POST", PATH, body))
            gateway.until(lambda: len(upstream.requests) == 1)
            got = gateway.post()
            assert (got.status, got.code) == (503, "upstream_busy")
            assert got.headers["retry-after"] == "1"
            assert "x-should-retry" not in got.headers
            assert (upstream.connections, len(upstream.requests)) == (1, 1)


def test_no_byte_but_a_handshake_reaches_a_server_whose_certificate_is_wrong(tmp_path):
    """Expired, another name, an unknown authority: a clear error, never in clear, and never the credential."""
    right, trusted = certificate(tmp_path, "localhost")
    expired, expired_root = certificate(tmp_path, "localhost", days=-1)
    named, named_root = certificate(tmp_path, "other.example")
    cases = [
        (right, None),
        (expired, expired_root),
        (named, named_root),
    ]
    for number, (server, root) in enumerate(cases):
        (tmp_path / str(number)).mkdir()
        tls = ssl.create_default_context(cadata=root) if root else ssl.create_default_context()
        with (
            ScriptedUpstream(GOOD, tls=server) as upstream,
            ScriptedUpstream(GOOD, close=False) as other,
            RunningGateway(
                tmp_path / str(number),
                kind="openai",
                base_url=f"https://localhost:{upstream.port}",
                upstream_limits=LIMITS,
                retries=QUICK,
                tls=tls,
            ) as gateway,
        ):
            got = gateway.post()
            assert (got.status, got.code) == (502, "upstream_tls")
            assert upstream.requests == []
            assert upstream.connections == 1
            # Nothing was sent, so another deployment may be asked.
            gateway.deploy("model-x-2", "model-x", url(other.port))
            assert gateway.post().status == 200
    with socket.create_server(("127.0.0.1", 0)) as listening:
        (tmp_path / "raw").mkdir()
        port = listening.getsockname()[1]
        with RunningGateway(
            tmp_path / "raw", kind="openai", base_url=f"https://localhost:{port}", upstream_limits=LIMITS
        ) as gateway:
            with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as client:
                client.sendall(request("POST", PATH, msgspec.json.encode(chat())))
                connection, _ = listening.accept()
                with connection:
                    hello = connection.recv(65536)
                    assert hello[0] == 0x16  # RFC 8446 5.1: a handshake record
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    rest = b""
                    while piece := connection.recv(65536):
                        rest += piece
                    assert UPSTREAM_KEY not in hello + rest
                    assert b"POST" not in hello + rest
                assert b"upstream_tls" in client.recv(65536)


STORED = answer_of(b'{"id":"resp_1","usage":{"input_tokens":3,"output_tokens":4}}')


def test_an_answer_that_one_provider_keeps_is_asked_for_there_and_nowhere_else(tmp_path):
    with (
        ScriptedUpstream(BUSY, first=[STORED], close=False) as upstream,
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        gateway.deploy("model-x-2", "model-x", url(other.port))
        assert gateway.post("/v1/responses", {"model": "model-x", "input": "a"}).status == 200
        got = gateway.send(request("GET", "/v1/responses/resp_1"))[0]
        assert got.status == 503
        # Fetching may be repeated, but only where the answer is.
        assert [head.split(b" ")[0] for head, _ in upstream.requests] == [b"POST", b"GET", b"GET", b"GET"]
        body = {"model": "model-x", "input": "b", "previous_response_id": "resp_1"}
        assert gateway.post("/v1/responses", body).status == 503
        assert other.requests == []


def test_fetching_is_repeated_even_when_it_may_have_been_worked_on(tmp_path):
    with (
        ScriptedUpstream(GOOD, first=[STORED, b""], close=False) as upstream,
        gateway_to(tmp_path, upstream.port) as gateway,
    ):
        gateway.post("/v1/responses", {"model": "model-x", "input": "a"})
        assert gateway.send(request("GET", "/v1/responses/resp_1"))[0].status == 200
        assert len(upstream.requests) == 3


def test_a_deployment_that_is_mended_is_asked_again_while_another_serves(tmp_path):
    broken = CircuitLimits(least=2, open_seconds=0.3, probes=1, retry_burst=0)
    failing = answer_of(b"{}", status="500 Internal Server Error")
    with (
        ScriptedUpstream(GOOD, first=[failing] * 2, close=False) as upstream,
        ScriptedUpstream(GOOD, close=False) as other,
        gateway_to(tmp_path, upstream.port, circuit_limits=broken) as gateway,
    ):
        gateway.deploy("model-x-2", "model-x", url(other.port))
        assert [gateway.post().status for _ in range(2)] == [500, 500]
        assert gateway.post().status == 200
        assert (len(upstream.requests), len(other.requests)) == (2, 1)
        gateway.until(lambda: gateway.post().status == 200 and len(upstream.requests) > 2)
        assert gateway.node.circuits.open == set()
