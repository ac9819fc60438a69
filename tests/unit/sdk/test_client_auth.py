"""The vendors' clients, unchanged, signed by our auth, against the real exchange and the gateway's real credential check.

Only the wire between them is replaced: requests are answered in process.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import anthropic
import httpx2
import openai
import pytest
from tests.support.credentials import HUMAN, VARIANT, Credentials
from tests.support.holders import CLAIMS, HOLDER_KEY, NamedSigner
from tests.support.instances import adjudicator

from safeconduct.app.change_passport_status import change_passport_status
from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.app.exchange_token import TokenRequest
from safeconduct.app.register_mandate import register_mandate
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration, VerificationFailed
from safeconduct.kernel.ids import MandateId, SubjectId
from safeconduct.kernel.vocabulary import PassportStatus, Purpose, Surface
from safeconduct.passport.mandate import Mandate, Scope
from safeconduct.passport.principal import Principal
from safeconduct.sdk import (
    AccessRefused,
    AgentAuth,
    BoundAuth,
    Holder,
    PassportAuth,
    anthropic_client,
    openai_client,
)

CHAT = {
    "id": "c", "object": "chat.completion", "created": 1, "model": "m",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Yes"}}],
}  # fmt: skip
MESSAGE = {
    "id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn", "stop_sequence": None,
    "content": [{"type": "text", "text": "Yes"}], "usage": {"input_tokens": 1, "output_tokens": 1},
}  # fmt: skip
CHUNK = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
STREAM = "".join(
    f"data: {json.dumps({**CHUNK, 'choices': [{'index': 0, 'delta': {'content': part}, 'finish_reason': None}]})}\n\n"
    for part in ("Y", "es")
)


class Wire:
    """Answers what a client sends: the issuer by the exchange, the gateway by the credential check."""

    def __init__(self, at: Credentials) -> None:
        self.at = at
        self.verifier = at.verifier()
        self.principals: list[Principal] = []
        self.tokens = 0
        self.gateway_requests: list[httpx2.Request] = []
        self.failures: list[httpx2.Response] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        url = str(request.url)
        if url == f"{self.at.instance.issuer}/oauth/nonce":
            nonce, seconds = self.at.nonces.give()
            return httpx2.Response(200, json={"nonce": nonce, "expires_in": seconds})
        if url == f"{self.at.instance.issuer}/oauth/token":
            return self.token(request)
        self.gateway_requests.append(request)
        if self.failures:
            return self.failures.pop(0)
        authorization, key = request.headers.get("authorization"), request.headers.get("x-api-key")
        try:
            principal = self.verifier.verify(
                authorization=None if authorization is None else authorization.encode(),
                dpop=[each.encode() for each in request.headers.get_list("dpop")],
                x_api_key=None if key is None else key.encode(),
                method=request.method,
                url=url,
                source="127.0.0.1",
                now=self.at.embedded.now,
            )
        except VerificationFailed as failure:
            return httpx2.Response(401, json={"error": {"message": failure.message, "code": failure.code}})
        self.principals.append(principal)
        body = json.loads(request.content or b"{}")
        if body.get("stream"):
            return httpx2.Response(
                200, headers={"content-type": "text/event-stream"}, text=STREAM + "data: [DONE]\n\n"
            )
        return httpx2.Response(200, json=MESSAGE if request.url.path == "/v1/messages" else CHAT)

    def token(self, request: httpx2.Request) -> httpx2.Response:
        form = {name: values[0] for name, values in parse_qs(request.content.decode()).items()}
        details = json.loads(form.pop("authorization_details"))
        try:
            answer = self.at.exchange.exchange(
                TokenRequest(
                    **form, dpop=tuple(request.headers.get_list("dpop")), authorization_details=details
                )
            )
        except CredentialRefused as refusal:
            content = {"error": refusal.error, "error_description": refusal.message, "code": refusal.code}
            content |= {
                "reasons": [{"code": each.code} for each in refusal.reasons],
                "remedy": refusal.remedy,
            }
            return httpx2.Response(400, json=content)
        self.tokens += 1
        return httpx2.Response(
            200,
            json={"access_token": answer.access_token, "token_type": "DPoP", "expires_in": answer.expires_in},
        )


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    credentials = Credentials(tmp_path)
    yield Wire(credentials)
    credentials.embedded.close()


def holder(wire: Wire) -> Holder:
    at = wire.at
    return Holder(
        issuer=at.instance.issuer, gateway=at.instance.audience, signer=HOLDER_KEY, passport=at.issued.sd_jwt
    )


def auth(wire: Wire, **options: Any) -> PassportAuth:
    return PassportAuth(holder(wire), clock=wire.at.embedded.clock, **options)


def client(wire: Wire, vendor: Any, given: BoundAuth | None = None, **options: Any) -> Any:
    given = given or auth(wire)
    base = given.holder.gateway + ("/v1" if vendor in (openai.OpenAI, openai.AsyncOpenAI) else "")
    kind = httpx2.AsyncClient if vendor.__name__.startswith("Async") else httpx2.Client
    http_client = kind(auth=given, transport=httpx2.MockTransport(wire), follow_redirects=False)
    return vendor(api_key="placeholder", base_url=base, http_client=http_client, **options)


SAY: list[Any] = [{"role": "user", "content": "?"}]


def test_openai_asks_once_for_a_token_and_signs_each_request(wire: Wire) -> None:
    vendor = client(wire, openai.OpenAI, auth(wire, purpose="coding", disclose=["level"]))
    for _ in range(3):
        assert vendor.chat.completions.create(model="m", messages=SAY).choices[0].message.content == "Yes"
    assert wire.tokens == 1
    assert len({request.headers["dpop"] for request in wire.gateway_requests}) == 3
    assert wire.principals[0].subject == HUMAN
    assert wire.principals[0].purpose == "coding"
    assert wire.principals[0].claims.level is CLAIMS.level
    assert wire.principals[0].claims.citizenships is None


def test_anthropic_sends_no_api_key(wire: Wire) -> None:
    vendor = client(wire, anthropic.Anthropic)
    assert vendor.messages.create(model="m", max_tokens=5, messages=SAY).content[0].text == "Yes"
    assert "x-api-key" not in wire.gateway_requests[0].headers


def test_async_clients_are_signed_too_and_share_one_token(wire: Wire) -> None:
    async def run() -> list[Any]:
        vendor = client(wire, openai.AsyncOpenAI)
        other = client(wire, anthropic.AsyncAnthropic)
        await other.messages.create(model="m", max_tokens=5, messages=SAY)
        return await asyncio.gather(
            *(vendor.chat.completions.create(model="m", messages=SAY) for _ in range(5))
        )

    answers = asyncio.run(run())
    assert [answer.choices[0].message.content for answer in answers] == ["Yes"] * 5
    assert wire.tokens == 2
    assert len(wire.principals) == 6


def test_streams_are_signed_and_not_read_ahead(wire: Wire) -> None:
    stream = client(wire, openai.OpenAI).chat.completions.create(model="m", messages=SAY, stream=True)
    assert "".join(chunk.choices[0].delta.content for chunk in stream) == "Yes"


def test_a_retry_carries_a_proof_of_its_own(wire: Wire) -> None:
    wire.failures = [httpx2.Response(500, json={}, headers={"retry-after-ms": "1"})]
    client(wire, openai.OpenAI).chat.completions.create(model="m", messages=SAY)
    first, second = wire.gateway_requests
    assert first.headers["dpop"] != second.headers["dpop"]


def test_a_nonce_that_the_gateway_asks_for_is_used(wire: Wire) -> None:
    wire.failures = [httpx2.Response(401, json={}, headers={"DPoP-Nonce": "fresh"})]
    client(wire, openai.OpenAI, max_retries=0).chat.completions.create(model="m", messages=SAY)
    assert len(wire.gateway_requests) == 2
    assert wire.tokens == 1


def test_a_token_that_has_ended_by_the_given_clock_is_renewed(wire: Wire) -> None:
    vendor = client(wire, openai.OpenAI)
    vendor.chat.completions.create(model="m", messages=SAY)
    assert isinstance(wire.at.embedded.clock, SimulatedClock)
    wire.at.embedded.clock.move_to(wire.at.embedded.now + 86_400)
    vendor.chat.completions.create(model="m", messages=SAY)
    assert wire.tokens == 2


def test_a_token_refused_in_mid_life_is_renewed_once(wire: Wire) -> None:
    vendor = client(wire, openai.OpenAI, max_retries=0)
    vendor.chat.completions.create(model="m", messages=SAY)
    wire.failures = [httpx2.Response(401, json={})]
    vendor.chat.completions.create(model="m", messages=SAY)
    assert wire.tokens == 2
    wire.failures = [httpx2.Response(401, json={}) for _ in range(5)]
    with pytest.raises(openai.AuthenticationError):
        vendor.chat.completions.create(model="m", messages=SAY)
    assert len(wire.failures) == 3


@pytest.mark.parametrize("vendor", [openai.OpenAI, anthropic.Anthropic])
def test_a_refusal_is_raised_with_its_code_and_not_retried(wire: Wire, vendor: Any) -> None:
    change_passport_status(
        wire.at.instance, adjudicator(), wire.at.issued.passport, PassportStatus.SUSPENDED, cause="test"
    )
    made = client(wire, vendor)
    ask = made.chat.completions.create if vendor is openai.OpenAI else made.messages.create
    with pytest.raises(AccessRefused) as refused:
        ask(model="m", max_tokens=5, messages=SAY)
    assert refused.value.code == "PASSPORT_REVOKED"
    assert refused.value.reasons == ({"code": "PASSPORT_REVOKED"},)
    assert refused.value.remedy
    assert wire.gateway_requests == []


def test_a_credential_goes_to_the_gateway_only(wire: Wire) -> None:
    given = auth(wire)
    with httpx2.Client(auth=given, transport=httpx2.MockTransport(wire)) as plain:
        for url in (
            "http://attacker.example/v1/messages",
            "http://127.0.0.1:9/v1",
            "https://127.0.0.1:8780/v1",
        ):
            with pytest.raises(InvalidInput):
                plain.post(url)
    assert wire.tokens == 0
    assert wire.gateway_requests == []


def test_the_conveniences_turn_redirects_and_proxies_off(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example")
    for made in (openai_client(auth(wire)), anthropic_client(auth(wire))):
        assert made._client.follow_redirects is False
        assert made._client.trust_env is False
        assert str(made.base_url).startswith(wire.at.instance.audience)


def test_a_holder_file_is_written_and_read_privately(wire: Wire, tmp_path: Path) -> None:
    path = tmp_path / "holder.json"
    holder(wire).save(path)
    assert oct(path.stat().st_mode & 0o777) == oct(path.with_suffix(".pem").stat().st_mode & 0o777) == "0o600"
    read = Holder.load(path)
    assert (read.passport, read.signer.kid) == (wire.at.issued.sd_jwt, HOLDER_KEY.kid)
    for shared in (path, path.with_suffix(".pem")):
        os.chmod(shared, 0o644)
        with pytest.raises(UnsafeConfiguration):
            Holder.load(path)
        os.chmod(shared, 0o600)


@pytest.mark.parametrize("url", ["http://gateway.example", "ftp://x", "", "https://u@x", "https://x?y=1"])
def test_credentials_never_travel_in_the_clear(url: str) -> None:
    with pytest.raises(InvalidInput):
        Holder(issuer="https://issuer.example", gateway=url, signer=HOLDER_KEY, passport="x~")


def test_each_auth_wants_its_own_kind_of_holder(wire: Wire) -> None:
    with pytest.raises(InvalidInput):
        AgentAuth(holder(wire))


def test_an_agent_signs_with_its_own_key_under_its_mandate(wire: Wire, tmp_path: Path) -> None:
    at, person, agent_key = wire.at, holder(wire), NamedSigner("agent")
    now = at.embedded.now
    mandate = Mandate(
        id=MandateId("mdt_1"),
        principal=HUMAN,
        agent=SubjectId("agt_1"),
        scope=Scope((VARIANT,), (Purpose.CODING,), (Surface.API,), now, now + 600),
        agent_jwk=agent_key.public_jwk(),
        signed_at=now,
    )
    register_mandate(
        at.desk,
        mandate=person.sign_mandate(mandate),
        presentation=person.present(nonce=at.nonces.give()[0], now=now),
    )
    made = Holder(
        issuer=person.issuer,
        gateway=person.gateway,
        signer=agent_key,
        mandate=mandate.id,
        agent=mandate.agent,
    )
    made.save(tmp_path / "agent.json")
    given = AgentAuth(Holder.load(tmp_path / "agent.json"), clock=at.embedded.clock)
    client(wire, openai.OpenAI, given).chat.completions.create(model="m", messages=SAY)
    assert (wire.principals[0].subject, wire.principals[0].holder) == ("agt_1", HUMAN)
    assert wire.principals[0].mandates == ("mdt_1",)


ALONE = """
import sys
ALLOWED = {"cryptography", "httpx2", "msgspec", "safeconduct", "anyio", "httpcore2", "idna", "truststore",
           "typing_extensions", "h11", "sniffio", "certifi", "cffi", "_cffi_backend", "pycparser"}
class Only:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ALLOWED and top not in sys.stdlib_module_names:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Only())
import safeconduct.sdk
heavy = {"safeconduct." + name for name in ("app", "record", "decision", "storage", "web", "audit")} & set(sys.modules)
assert not heavy, heavy
"""


def test_the_sdk_imports_without_the_servers_dependencies() -> None:
    source = Path(__file__).resolve().parents[3] / "src"
    done = subprocess.run(
        [sys.executable, "-c", ALONE],
        env={"PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
