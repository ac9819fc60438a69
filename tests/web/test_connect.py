"""`connect`'s local endpoint: tools that only know an API key work unchanged, and nobody else gets in."""

import asyncio
import socket
import threading

import anthropic
import openai
import pytest
from tests.support.gateways import RunningGateway, read_answers
from tests.support.worlds import order
from tests.web.test_sdks_credentials import proof_for, token_of

from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.dpop import ReplayMemory
from safeconduct.sdk.auth import BoundAuth
from safeconduct.sdk.connect import LocalEndpoint, environment
from safeconduct.sdk.holder import Holder
from safeconduct.sdk.refusal import AccessRefused

KEY = "local_" + "k" * 43
ASK = [{"role": "user", "content": "hello there"}]


class HeldToken(BoundAuth):
    """Signs with a token made by the test; the exchange with the issuer has tests of its own."""

    def __init__(self, gateway):
        super().__init__(
            Holder(
                issuer="https://issuer.example",
                gateway=gateway.url,
                signer=gateway.holder_key,
                passport="e30.e30.e30~",
            )
        )
        self.gateway = gateway
        self.refusal = None

    async def async_auth_flow(self, request):
        if self.refusal is not None:
            raise self.refusal
        self._prepare(request)
        token = token_of(self.gateway)
        path = request.url.path
        request.headers["Authorization"] = f"DPoP {token}"
        request.headers["DPoP"] = proof_for(
            self.gateway, token, url=f"http://gateway.test{path}", method=request.method
        )
        yield request


@pytest.fixture
def gateway(tmp_path):
    with RunningGateway(tmp_path) as running:
        running.token_key = FileSigner.generate()
        running.holder_key = FileSigner.generate()
        running.node._verifier = CredentialVerifier(
            running.node,
            running.vault,
            issuer="https://issuer.example",
            audience="http://gateway.test",
            token_keys=lambda kid: (
                running.token_key.verifying_key() if kid == running.token_key.kid else None
            ),
            replays=ReplayMemory(),
            profile="development",
            loopback=True,
        )
        yield running
        assert running.reported == []


class Local:
    """The endpoint on a loop of its own, as `safeconduct connect` runs it."""

    def __init__(self, gateway):
        self.loop = asyncio.new_event_loop()
        threading.Thread(target=self.loop.run_forever, daemon=True).start()
        self.auth = HeldToken(gateway)

        async def start():
            self.endpoint = LocalEndpoint(self.auth, KEY)
            return await self.endpoint.start()

        self.port = asyncio.run_coroutine_threadsafe(start(), self.loop).result(20)
        self.environment = environment(self.port, KEY)

    def send(self, data):
        with socket.create_connection(("127.0.0.1", self.port), timeout=20) as connection:
            connection.sendall(data)
            return read_answers(connection, until_close=False)[0]

    def close(self):
        asyncio.run_coroutine_threadsafe(self.endpoint.close(), self.loop).result(20)
        self.loop.call_soon_threadsafe(self.loop.stop)


@pytest.fixture
def local(gateway):
    made = Local(gateway)
    yield made
    made.close()


def test_tools_that_read_the_environment_work_unchanged(gateway, local, monkeypatch):
    for name, value in local.environment.items():
        monkeypatch.setenv(name, value)
    with openai.OpenAI() as client:
        answer = client.chat.completions.create(model="model-x", messages=ASK)
        pieces = list(client.chat.completions.create(model="model-x", messages=ASK, stream=True))
        assert client.models.list().data[0].id == "model-x"
        response = client.responses.create(model="model-x", input="hello")
        assert client.responses.retrieve(response.id).output_text == response.output_text
    assert "sandbox provider" in answer.choices[0].message.content
    assert len(pieces) > 5
    with (
        anthropic.Anthropic() as client,
        client.messages.stream(model="model-x", max_tokens=100, messages=ASK) as stream,
    ):
        assert "sandbox" in "".join(stream.text_stream)
    sent = b"".join(value for each in gateway.seen for values in each.headers.values() for value in values)
    assert KEY.encode() not in sent


def test_a_denial_reaches_the_tool_with_its_reasons(gateway, local):
    gateway.change(order("7", "suspend", ["model-x"], gateway.world.now - 1))
    with openai.OpenAI(base_url=local.environment["OPENAI_BASE_URL"], api_key=KEY) as client:
        with pytest.raises(openai.PermissionDeniedError) as caught:
            client.chat.completions.create(model="model-x", messages=ASK)
    assert caught.value.code == "DIRECTIVE"


def test_a_refused_token_reaches_the_tool_in_its_own_wire_format(local):
    local.auth.refusal = AccessRefused("PASSPORT_REVOKED", (), "appeal", "the passport is revoked")
    with anthropic.Anthropic(base_url=local.environment["ANTHROPIC_BASE_URL"], api_key=KEY) as client:
        with pytest.raises(anthropic.PermissionDeniedError) as caught:
            client.messages.create(model="model-x", max_tokens=9, messages=ASK)
    assert caught.value.body["error"]["details"]["error_code"] == "PASSPORT_REVOKED"
    assert "appeal" in caught.value.body["error"]["message"]


def test_an_endless_answer_stops_when_the_tool_leaves(gateway, local):
    body = b'{"model":"model-x","stream":true,"messages":[{"role":"user","content":"[[sandbox:endless]]"}]}'
    with socket.create_connection(("127.0.0.1", local.port), timeout=20) as connection:
        connection.sendall(head_of("POST", "/v1/chat/completions", len(body), local.port) + body)
        assert connection.recv(1000).startswith(b"HTTP/1.1 200")
    gateway.until(lambda: gateway.seen[-1].gone)


def head_of(method, path, length, port, key=KEY, extra=""):
    return (
        f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()


def test_without_the_local_key_nothing_is_passed_on(gateway, local):
    for key in ("", "wrong", KEY[:-1], KEY + "x"):
        answer = local.send(head_of("POST", "/v1/chat/completions", 0, local.port, key))
        assert answer.status == 401
    assert gateway.seen == []


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["Origin: https://evil.example"], 403),
        (["Origin: http://127.0.0.1"], 403),
        (["Authorization: Bearer other"], 400),
    ],
)
def test_a_web_page_cannot_use_it(gateway, local, headers, status):
    answer = local.send(
        head_of("GET", "/v1/models", 0, local.port, extra="".join(f"{line}\r\n" for line in headers))
    )
    assert answer.status == status


def test_a_name_rebound_to_loopback_is_refused(local):
    raw = f"GET /v1/models HTTP/1.1\r\nHost: evil.example:{local.port}\r\nAuthorization: Bearer {KEY}\r\n\r\n"
    assert local.send(raw.encode()).status == 403


@pytest.mark.parametrize("path", ["/", "/healthz", "/v1/../oauth/token", "//evil.example/v1/", "/v2/x"])
def test_only_the_data_planes_paths_are_passed_on(gateway, local, path):
    assert local.send(head_of("GET", path, 0, local.port)).status == 404


def test_what_a_tool_adds_does_not_reach_the_gateway(gateway, local):
    body = b'{"model":"model-x","messages":[{"role":"user","content":"x"}]}'
    extra = "X-Forwarded-For: 1.2.3.4\r\nCookie: a=b\r\nDPoP: x\r\nAnthropic-Beta: one\r\n"
    answer = local.send(head_of("POST", "/v1/chat/completions", len(body), local.port, extra=extra) + body)
    assert answer.status == 200
    assert gateway.seen[-1].headers[b"anthropic-beta"] == [b"one"]


def test_requests_on_one_connection_are_answered_in_order(local):
    body = b'{"model":"model-x","messages":[{"role":"user","content":"x"}]}'
    one = head_of("POST", "/v1/chat/completions", len(body), local.port) + body
    last = head_of("GET", "/v1/models", 0, local.port, extra="Connection: close\r\n")
    with socket.create_connection(("127.0.0.1", local.port), timeout=20) as connection:
        connection.sendall(one + one + last)
        answers = read_answers(connection, until_close=True)
    assert [each.status for each in answers] == [200, 200, 200]
