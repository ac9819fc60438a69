"""The gateway with its real credential check: bound tokens, replayed proofs, gateway keys."""

import secrets

import httpx2
import msgspec
import openai
import pytest
from tests.support.gateways import RunningGateway, chat, principal_of, request

from safeconduct.app.stored_claims import KEY_CLAIMS, keep_claims
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.passport.dpop import ReplayMemory, make_proof
from safeconduct.passport.gateway_key import generate
from safeconduct.passport.tokens import StatusIndexes, issue_access_token
from safeconduct.record.events import GatewayKeyRegistered, GatewayKeyRevoked

ISSUER = "https://issuer.example"
ASK = [{"role": "user", "content": "hello there"}]
URL = "http://gateway.test/v1/chat/completions"


@pytest.fixture
def gateway(tmp_path):
    with RunningGateway(tmp_path) as running:
        running.token_key = FileSigner.generate()
        running.holder_key = FileSigner.generate()
        running.node._verifier = CredentialVerifier(
            running.node,
            running.vault,
            issuer=ISSUER,
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


def token_of(gateway, subject="ann", **changes):
    now = int(gateway.clock.now())
    principal = principal_of(gateway.world, subject, expires=now + 300, **changes)
    return issue_access_token(
        principal,
        jkt=gateway.holder_key.verifying_key().thumbprint,
        actors=(),
        status=StatusIndexes(passport=1),
        issuer=ISSUER,
        audience="http://gateway.test",
        signer=gateway.token_key,
        now=now,
        random=secrets.token_bytes,
    )


def proof_for(gateway, token, *, signer=None, url=URL, method="POST"):
    return make_proof(
        signer or gateway.holder_key,
        method=method,
        url=url,
        now=int(gateway.clock.now()),
        random=secrets.token_bytes,
        access_token=token,
    )


class Bound(httpx2.Auth):
    """Signs each request of an unchanged client."""

    def __init__(self, gateway, token):
        self.gateway, self.token = gateway, token

    def auth_flow(self, request):
        request.headers["Authorization"] = f"DPoP {self.token}"
        request.headers["DPoP"] = proof_for(self.gateway, self.token)
        yield request


def post(gateway, *headers):
    body = msgspec.json.encode(chat())
    return gateway.send(request("POST", "/v1/chat/completions", body, key=None, headers=headers))[0]


def test_an_unchanged_client_with_a_bound_token_is_answered(gateway):
    auth = Bound(gateway, token_of(gateway))
    with openai.OpenAI(
        base_url=f"{gateway.url}/v1",
        api_key="placeholder",
        http_client=openai.DefaultHttpxClient(auth=auth, follow_redirects=False, trust_env=False),
    ) as client:
        for _ in range(3):
            assert client.chat.completions.create(model="model-x", messages=ASK).usage.prompt_tokens == 2
        pieces = client.chat.completions.create(model="model-x", messages=ASK, stream=True)
        assert len(list(pieces)) > 5
    assert auth.token.encode() not in b"".join(gateway.log.read(0, gateway.log.durable_size))
    assert gateway.sealed("decision")[0]["credential"] != auth.token


def test_a_proof_is_good_once_and_for_its_own_request_only(gateway):
    token = token_of(gateway)
    proof = proof_for(gateway, token)
    assert post(gateway, f"Authorization: DPoP {token}", f"DPoP: {proof}").status == 200
    for headers in (
        [f"DPoP: {proof}"],
        [f"DPoP: {proof_for(gateway, token, method='GET')}"],
        [f"DPoP: {proof_for(gateway, token, url='http://gateway.test/v1/messages')}"],
        [f"DPoP: {proof_for(gateway, token, signer=FileSigner.generate())}"],
        [f"DPoP: {proof_for(gateway, 'another')}"],
        [f"DPoP: {proof_for(gateway, token)}", f"DPoP: {proof_for(gateway, token)}"],
        [],
    ):
        answer = post(gateway, f"Authorization: DPoP {token}", *headers)
        assert (answer.status, answer.code) == (401, "BINDING_MISSING"), headers
    assert len(gateway.seen) == 1


def test_a_bound_token_sent_as_bearer_is_refused(gateway):
    token = token_of(gateway)
    for header in (f"Authorization: Bearer {token}", f"x-api-key: {token}"):
        answer = post(gateway, header)
        assert (answer.status, answer.code) == (401, "BINDING_MISSING")
    assert gateway.seen == []


def test_a_revocation_stops_a_token_that_was_accepted_before(gateway):
    token = token_of(gateway)
    assert post(gateway, f"Authorization: DPoP {token}", f"DPoP: {proof_for(gateway, token)}").status == 200
    gateway.world.passport_status("ann", PassportStatus.SUSPENDED, at=gateway.world.now)
    gateway.change()
    answer = post(gateway, f"Authorization: DPoP {token}", f"DPoP: {proof_for(gateway, token)}")
    assert (answer.status, answer.code) == (403, "PASSPORT_REVOKED")


def test_a_gateway_key_is_answered_and_stops_when_it_is_revoked(gateway):
    key = generate("development", secrets.token_bytes)
    world = gateway.world
    commitment = keep_claims(
        gateway.vault,
        KEY_CLAIMS,
        key.id,
        subject="ann",
        claims=world.claims["ann"],
        random=secrets.token_bytes,
    )
    gateway.change(
        GatewayKeyRegistered(
            key=key.id,
            subject="ann",
            passport="pass-ann",
            project=None,
            purpose="vuln_triage",
            secret_sha256=key.sha256(),
            networks=("127.0.0.0/8",),
            aal=2,
            authenticated_at=world.start,
            valid_from=world.start,
            valid_until=world.end,
            claims_commitment=commitment,
        )
    )
    assert post(gateway, f"Authorization: Bearer {key.text}").status == 200
    assert post(gateway, f"x-api-key: {key.text}").status == 200
    assert post(gateway, f"x-api-key: {key.text[:-1]}x").status == 401
    raw = b"".join(gateway.log.read(0, gateway.log.durable_size))
    assert key.secret not in raw
    gateway.change(GatewayKeyRevoked(key=key.id, by="ann", at=world.now))
    assert post(gateway, f"x-api-key: {key.text}").status == 401
