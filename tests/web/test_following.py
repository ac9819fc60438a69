"""The routes for gateways: what a follower is told, what it may have, and what nobody gets by asking."""

import base64
import json
import threading

import msgspec
import pytest
from tests.support.api_nodes import GATEWAY_PARTY, ISSUER, ApiBench
from tests.support.role_tokens import role_token

from safeconduct.app.deliver_materials import (
    PSEUDONYM_KIND,
    PSEUDONYM_NAME,
    Delivery,
    MaterialRequest,
)
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.stored_claims import KEY_CLAIMS, PASSPORT_CLAIMS
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.heartbeat import Following
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Level, Role, Wire
from safeconduct.record.envelope import read_entry
from safeconduct.record.events.holders import GatewayKeyRegistered, GatewayKeyRevoked
from safeconduct.record.events.registrations import (
    DeploymentRegistered,
    DeploymentRetired,
    ModelRegistered,
    ProviderRegistered,
    VariantRegistered,
)
from safeconduct.record.events.trust import TrustKeyAdded, TrustKeyRevoked

NONCE = "0123456789abcdef"
SECRET = b"upstream-canary-credential"


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def client(bench):
    with bench.client() as client:
        yield client


def follow(bench, client, role=Role.GATEWAY, **query):
    query = {"nonce": NONCE, "after": "0", "once": "true", **query}
    return bench.call(client, "GET", "/api/gateway/follow", role, params=query)


def test_a_follower_is_greeted_and_told_everything_it_has_not(bench, client):
    lines = [json.loads(line) for line in follow(bench, client).content.splitlines()]
    opened = bench.embedded.opened
    verifier = LogVerifier.of(opened.descriptor.record_origin, opened.keys.signer("record-log"))
    following = Following(verifier, party=GATEWAY_PARTY.party, nonce=NONCE, asked=0.0)
    greeting = following.greeted(lines[0]["greeting"])
    assert (greeting.issuer, greeting.profile) == (ISSUER, "development")
    assert [jwk["kid"] for jwk in greeting.token_keys] == [opened.keys.signer("token").kid]
    assert not any("d" in jwk for jwk in greeting.token_keys)
    beat, _ = following.heartbeat(lines[1]["heartbeat"])
    assert beat.size == bench.record.state.position == len(lines[1]["entries"])
    checkpoint = verifier.verify(lines[1]["checkpoint"].encode())
    assert (checkpoint.size, checkpoint.root) == (beat.size, beat.root_hash)
    again = follow(bench, client, after=str(beat.size)).content.splitlines()
    assert set(json.loads(again[1])) == {"heartbeat"}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"nonce": ""}, "nonce"),
        ({"nonce": "short"}, "nonce"),
        ({"nonce": "x" * 65}, "nonce"),
        ({"nonce": "\u00e9" * 20}, "nonce"),
        ({"after": "-1"}, "after"),
        ({"after": "1000000"}, "after"),
    ],
)
def test_a_following_that_cannot_be_is_refused(bench, client, query, field):
    answer = follow(bench, client, **query)
    assert (answer.status_code, answer.json()["field"]) == (400, field)


def test_a_gateway_reads_the_record_and_no_decisions(bench, client):
    bench.log.wait_durable_sync(bench.log.submit(b"a decision"), 10)
    bench.log.checkpoint(force=True)
    assert bench.call(client, "GET", "/log/decisions/tile/entries/000.p/1", Role.AUDITOR).status_code == 200
    assert bench.call(client, "GET", "/log/decisions/tile/entries/000.p/1", Role.GATEWAY).status_code == 403
    size = bench.feed.beat.checkpoint.size
    answer = bench.call(client, "GET", f"/log/record/tile/entries/000.p/{size}", Role.GATEWAY)
    assert answer.status_code == 200


# -- secrets


@pytest.fixture
def stocked(bench):
    """Two providers' deployments with credentials, one retired; two gateway keys with claims, one revoked."""
    events = []
    for name in ("a", "b", "gone"):
        events += [
            ProviderRegistered(provider=f"lab-{name}", organisation="org-a", jurisdiction="US"),
            ModelRegistered(model=f"m-{name}", provider=f"lab-{name}"),
            VariantRegistered(variant=f"v-{name}", model=f"m-{name}", level=Level.C2, compartments=()),
            DeploymentRegistered(
                deployment=f"d-{name}",
                variant=f"v-{name}",
                kind="openai",
                base_url="https://upstream.example/v1",
                upstream_model="m",
                wires=(Wire.OPENAI,),
                region="r",
                jurisdiction="US",
            ),
        ]
        bench.vault.put(CREDENTIAL_KIND, f"d-{name}", f"deployment:d-{name}", SECRET)
    events.append(DeploymentRetired(deployment="d-gone", at=bench.now))
    for name in ("live", "revoked"):
        events.append(
            GatewayKeyRegistered(
                key=name,
                subject="sub-holder",
                passport=bench.holder.passport,
                project=None,
                purpose=None,
                secret_sha256="00",
                networks=(),
                aal=2,
                authenticated_at=bench.now,
                valid_from=bench.now,
                valid_until=bench.now + 86_400,
                claims_commitment="00",
            )
        )
        bench.vault.put(KEY_CLAIMS, name, "sub-holder", b"claims")
    events.append(GatewayKeyRevoked(key="revoked", by="holder", at=bench.now))
    bench.record.commit(events)
    bench.vault.put(PSEUDONYM_KIND, PSEUDONYM_NAME, "node:gateway", b"p" * 32)
    return bench


def asked(bench, wanted, *, signer=None, party=GATEWAY_PARTY.party, audience=ISSUER, now=None):
    return MaterialRequest(
        signer or bench.embedded.key(GATEWAY_PARTY.party),
        party=party,
        audience=audience,
        wanted=wanted,
        now=bench.now if now is None else now,
    )


def deliver(bench, client, request, role=Role.GATEWAY):
    return bench.call(client, "POST", "/api/gateway/materials", role, body={"request": request.text})


def test_a_gateway_gets_what_is_in_service_and_nothing_else_of_the_vault(stocked, client):
    names = [
        (CREDENTIAL_KIND, "d-a"),
        (CREDENTIAL_KIND, "d-gone"),
        (CREDENTIAL_KIND, "d-unknown"),
        (KEY_CLAIMS, "live"),
        (KEY_CLAIMS, "revoked"),
        (PASSPORT_CLAIMS, stocked.holder.passport),
        (PSEUDONYM_KIND, PSEUDONYM_NAME),
        (PSEUDONYM_KIND, "another"),
    ]
    request = asked(stocked, names)
    answer = deliver(stocked, client, request)
    assert answer.status_code == 200
    assert SECRET not in answer.content
    found = request.open(msgspec.json.decode(answer.content, type=Delivery))
    assert found == {
        (CREDENTIAL_KIND, "d-a"): SECRET,
        (KEY_CLAIMS, "live"): b"claims",
        (PSEUDONYM_KIND, PSEUDONYM_NAME): b"p" * 32,
    }


def test_a_gateway_enrolled_for_some_variants_gets_the_credentials_of_no_others(stocked, client):
    signer = FileSigner.generate()
    stocked.record.commit(
        [
            TrustKeyAdded(
                kid=signer.kid,
                jwk=signer.public_jwk(),
                party="gateway:small",
                may_sign=("role:gateway",),
                jurisdiction=None,
                variants=("v-b",),
                provider=None,
                valid_from=0,
                valid_until=4_000_000_000,
                officers=(),
                recorded_at=0,
            )
        ]
    )
    request = asked(
        stocked, [(CREDENTIAL_KIND, "d-a"), (CREDENTIAL_KIND, "d-b")], signer=signer, party="gateway:small"
    )
    token = role_token(signer, party="gateway:small", audience=ISSUER, now=stocked.now)
    answer = client.post(
        "/api/gateway/materials",
        json={"request": request.text},
        headers={"authorization": f"Bearer {token}"},
    )
    assert set(request.open(msgspec.json.decode(answer.content, type=Delivery))) == {(CREDENTIAL_KIND, "d-b")}


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"signer": FileSigner.generate()}, id="a stolen role token: another key signs"),
        pytest.param({"party": "gateway:other"}, id="in another's name"),
        pytest.param({"audience": "https://elsewhere.example"}, id="for another instance"),
        pytest.param({"now": 1}, id="an old one"),
    ],
)
def test_a_request_that_the_caller_did_not_sign_now_for_us_opens_nothing(stocked, client, changes):
    request = asked(stocked, [(CREDENTIAL_KIND, "d-a")], **changes)
    answer = deliver(stocked, client, request)
    assert answer.status_code in (400, 401, 403, 422)
    assert "sealed" not in answer.text


def test_a_gateway_struck_off_gets_nothing_more(stocked, client):
    signer = stocked.embedded.key(GATEWAY_PARTY.party)
    stocked.record.commit(
        [
            TrustKeyRevoked(
                kid=signer.kid, from_=stocked.now, cause="lost", officers=(), recorded_at=stocked.now
            )
        ]
    )
    assert deliver(stocked, client, asked(stocked, [(CREDENTIAL_KIND, "d-a")])).status_code == 401
    assert follow(stocked, client).status_code == 401


def test_what_was_sealed_for_another_request_or_under_another_name_does_not_open(stocked, client):
    request = asked(stocked, [(CREDENTIAL_KIND, "d-a"), (CREDENTIAL_KIND, "d-b")])
    delivery = msgspec.json.decode(deliver(stocked, client, request).content, type=Delivery)
    with pytest.raises(VerificationFailed):
        asked(stocked, [(CREDENTIAL_KIND, "d-a")]).open(delivery)
    (kind, _, sealed), (_, other, _) = delivery.sealed
    with pytest.raises(VerificationFailed):
        request.open(Delivery(sealed=((kind, other, sealed),)))


def test_the_last_line_of_a_following_is_the_entry_that_ends_it(bench, client):
    signer = bench.embedded.key(GATEWAY_PARTY.party)

    def strike():
        bench.record.commit(
            [
                TrustKeyRevoked(
                    kid=signer.kid, from_=bench.now, cause="lost", officers=(), recorded_at=bench.now
                )
            ]
        )

    threading.Timer(0.3, strike).start()
    lines = follow(bench, client, once="false").content.splitlines()
    told = [entry for line in lines[1:] for entry in json.loads(line).get("entries", ())]
    assert read_entry(base64.b64decode(told[-1])).type == "trust_key_revoked"


def test_operators_do_not_pass_for_gateways(stocked, client):
    answer = deliver(stocked, client, asked(stocked, [(CREDENTIAL_KIND, "d-a")]), role=Role.OPERATOR)
    assert answer.status_code == 403
