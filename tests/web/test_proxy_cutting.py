"""Streams in flight: cut at once by a directive or a revocation, let go when the directive says so."""

import socket
import time

import anthropic
import msgspec
import openai
import pytest
from tests.support.gateways import KEY, RunningGateway, chat, read_answers, request
from tests.support.worlds import order, plain_world

from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.vocabulary import InFlight, Level
from safeconduct.record.events import GrantEnded

# The product's own bound is a second; a machine under load may add to what the test sees, and an end that never comes
# is still told from a late one.
BOUND = 10
ENDLESS = [{"role": "user", "content": "[[sandbox:endless]]"}]


@pytest.fixture
def gateway(tmp_path):
    with RunningGateway(tmp_path) as running:
        yield running
        assert running.reported == []


def revocation(gateway):
    gateway.world.passport_status("ann", at=gateway.world.now)
    gateway.change()


def suspension(gateway, in_flight=InFlight.CUT, number="7"):
    gateway.change(order(number, "suspend", ["model-x"], gateway.world.now - 1, in_flight=in_flight))


def owners(gateway):
    """What an import of edges commits: the outcome of everybody whom they reach."""
    gateway.world.owned("org-a", Outcome.BLOCKED)
    gateway.change()


def test_a_stream_is_cut_when_an_import_blocks_the_organisation_and_nobody_learns_why(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(model="model-x", messages=ENDLESS, stream=True)
        for _ in range(3):
            next(stream)
        owners(gateway)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
    assert caught.value.code == "ACCESS_RESTRICTED"
    assert "own" not in str(caught.value.body).lower().replace("unknown", "")
    assert gateway.completion()["ended"] == "cut"


@pytest.mark.parametrize(("change", "code"), [(revocation, "PASSPORT_REVOKED"), (suspension, "DIRECTIVE")])
def test_an_openai_stream_is_cut(gateway, change, code):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(model="model-x", messages=ENDLESS, stream=True)
        for _ in range(3):
            next(stream)
        began = time.monotonic()
        change(gateway)
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
    assert time.monotonic() - began < BOUND
    assert caught.value.code == code
    completion = gateway.completion()
    assert (completion["ended"], completion["cause"]) == ("cut", [code])
    assert gateway.seen[0].gone


@pytest.mark.parametrize(("change", "code"), [(revocation, "PASSPORT_REVOKED"), (suspension, "DIRECTIVE")])
def test_an_anthropic_stream_is_cut(gateway, change, code):
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY, timeout=20) as client:
        stream = client.messages.create(model="model-x", max_tokens=9, messages=ENDLESS, stream=True)
        for _ in range(3):
            next(stream)
        began = time.monotonic()
        change(gateway)
        with pytest.raises(anthropic.APIError) as caught:
            for _ in stream:
                pass
    assert time.monotonic() - began < BOUND
    assert caught.value.body["error"]["details"]["error_code"] == code
    assert gateway.completion()["cause"] == [code]


@pytest.mark.parametrize("in_flight", [InFlight.FINISH, InFlight.DRAIN])
def test_a_directive_that_lets_requests_finish_does(gateway, in_flight):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(
            model="model-x", messages=[{"role": "user", "content": "[[sandbox:slow]]"}], stream=True
        )
        next(stream)
        suspension(gateway, in_flight)
        assert len(list(stream)) > 5
        with pytest.raises(openai.PermissionDeniedError):
            client.chat.completions.create(model="model-x", messages=ENDLESS)
    assert gateway.completion()["ended"] == "complete"


def test_a_revocation_cuts_what_a_directive_let_finish(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(model="model-x", messages=ENDLESS, stream=True)
        next(stream)
        suspension(gateway, InFlight.FINISH)
        next(stream)
        revocation(gateway)
        with pytest.raises(openai.APIError):
            for _ in stream:
                pass
    assert gateway.completion()["ended"] == "cut"


def test_a_directive_effective_later_cuts_when_its_moment_comes(gateway):
    gateway.change(order("8", "suspend", ["model-x"], gateway.world.now + 60))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(model="model-x", messages=ENDLESS, stream=True)
        next(stream)
        gateway.clock.move_to(gateway.world.now + 61)
        began = time.monotonic()
        with pytest.raises(openai.APIError):
            for _ in stream:
                pass
    assert time.monotonic() - began < BOUND


def test_an_order_on_another_model_cuts_nothing(gateway):
    gateway.world.variant("model-y", "lab")
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(
            model="model-x", messages=[{"role": "user", "content": "[[sandbox:slow]]"}], stream=True
        )
        next(stream)
        gateway.change(order("9", "suspend", ["model-y"], gateway.world.now - 1))
        assert len(list(stream)) > 5


def test_a_whole_answer_is_never_given_after_its_permit_is_gone(gateway):
    body = msgspec.json.encode(chat(text="[[sandbox:slow]]"))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request("POST", "/v1/chat/completions", body))
        gateway.until(lambda: gateway.seen)
        revocation(gateway)
        answer = read_answers(connection)[0]
    assert (answer.status, answer.code) == (403, "PASSPORT_REVOKED")
    assert b"sandbox provider" not in answer.body


def test_a_half_given_answer_never_looks_whole(gateway):
    body = msgspec.json.encode(chat(text="[[sandbox:hangs]]"))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request("POST", "/v1/chat/completions", body))
        gateway.until(lambda: gateway.on_loop(lambda: len(gateway.node.open)))
        time.sleep(0.1)
        revocation(gateway)
        answer = read_answers(connection, until_close=True)[0]
    assert not answer.complete


def test_a_grant_that_ends_cuts(gateway):
    grant = next(iter(gateway.world.state.grants))
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=20) as client:
        stream = client.chat.completions.create(model="model-x", messages=ENDLESS, stream=True)
        next(stream)
        gateway.change(GrantEnded(grant=grant, by="lab", at=gateway.world.now))
        with pytest.raises(openai.APIError) as caught:
            for _ in stream:
                pass
    assert caught.value.code == "GRANT_MISSING"


def test_a_client_that_leaves_cancels_the_upstream(gateway):
    body = msgspec.json.encode(chat(text="[[sandbox:endless]]", stream=True))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(request("POST", "/v1/chat/completions", body))
        connection.recv(1000)
    assert gateway.completion()["ended"] == "client_gone"
    gateway.until(lambda: gateway.seen[0].gone)


def test_many_open_streams_are_all_cut(tmp_path):
    with RunningGateway(tmp_path, plain_world(level=Level.C3)) as gateway:
        body = msgspec.json.encode(chat(text="[[sandbox:hangs-after-3]]", stream=True))
        connections = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(60)]
        for connection in connections:
            connection.sendall(
                request("POST", "/v1/chat/completions", body, headers=["X-Safeconduct-Project: proj"])
            )
        for connection in connections:
            assert connection.recv(1000).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        suspension(gateway)
        for connection in connections:
            while connection.recv(65536):
                pass
            connection.close()
        assert time.monotonic() - began < BOUND
        assert len([each for each in gateway.entries("completion") if each["ended"] == "cut"]) == 60
