"""Token exchange, nonces, keys, metadata and status lists over the wire."""

import json
import secrets

import pytest
from tests.support.api_nodes import ISSUER, ApiBench

from safeconduct.app.exchange_token import ACCESS_TOKEN_TYPE
from safeconduct.decision.entry import FAILED_AUTHENTICATION_TYPE, REFUSAL_TYPE
from safeconduct.kernel.jose import parse_jws, sign_jwt, verify_jwt
from safeconduct.kernel.signing import FileSigner, KeyRing
from safeconduct.kernel.vocabulary import Role
from safeconduct.passport.token_requests import GRANT_TYPE, PASSPORT_TOKEN_TYPE
from safeconduct.record.envelope import read_entry

TOKEN = f"{ISSUER}/oauth/token"


@pytest.fixture
def bench(tmp_path):
    bench = ApiBench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def client(bench):
    with bench.client() as client:
        yield client


def _proof(bench, signer=None, *, url=TOKEN, method="POST", **more):
    signer = signer or bench.holder.signer
    jwk = {name: signer.public_jwk()[name] for name in ("kty", "crv", "x", "y")}
    claims = {"htm": method, "htu": url, "iat": bench.now, "jti": secrets.token_urlsafe(12), **more}
    return sign_jwt(claims, typ="dpop+jwt", signer=signer, header={"jwk": jwk})


def _form(bench, **changed):
    form = {
        "grant_type": GRANT_TYPE,
        "subject_token": changed.pop("subject_token", None) or bench.holder.present(),
        "subject_token_type": PASSPORT_TOKEN_TYPE,
        "authorization_details": json.dumps(
            [{"type": "safeconduct_model_access", "models": ["m"], "purpose": "general"}]
        ),
    }
    return {**form, **changed}


def _exchange(bench, client, *, proof=None, **changed):
    headers = {"dpop": proof or _proof(bench)}
    return client.post("/oauth/token", data=_form(bench, **changed), headers=headers)


def test_a_passport_is_exchanged_for_a_bound_token(bench, client):
    answer = _exchange(bench, client)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["token_type"] == "DPoP"
    assert body["issued_token_type"] == ACCESS_TOKEN_TYPE
    assert 0 < body["expires_in"] <= 300
    assert answer.headers["cache-control"] == "no-store"
    ring = KeyRing.from_jwks(client.get("/.well-known/jwks.json").json())
    claims, _ = verify_jwt(
        body["access_token"],
        typ="at+jwt",
        key_for=lambda kid, _: ring.get(kid),
        now=bench.now,
        issuer=ISSUER,
        audience=bench.instance.audience,
    )
    assert claims["sub"] == "sub-holder"


def test_the_nonce_endpoint_gives_nonces_that_serve_once(bench, client):
    given = client.post("/oauth/nonce").json()
    assert set(given) == {"nonce", "expires_in"}
    presentation = bench.holder.present(nonce=given["nonce"])
    assert _exchange(bench, client, subject_token=presentation).status_code == 200
    again = _exchange(bench, client, subject_token=presentation)
    assert again.status_code == 400
    assert again.json()["error"] == "invalid_grant"


def _log_types(bench):
    bench.ledger.flush(bench.now, force=True)
    bench.log.wait_durable_sync(bench.log.size - 1, 5) if bench.log.size else None
    return [read_entry(entry).type for entry in bench.log.read(0, bench.log.durable_size)]


def test_a_suspended_passport_is_refused_with_code_reasons_and_remedy_and_recorded(bench, client):
    presentation = bench.holder.present()
    suspended = bench.call(
        client,
        "POST",
        f"/api/passports/{bench.holder.passport}/suspend",
        Role.OPERATOR,
        body={"cause": "test"},
    )
    assert suspended.status_code == 201, suspended.text
    answer = _exchange(bench, client, subject_token=presentation)
    body = answer.json()
    assert (answer.status_code, body["error"], body["code"]) == (400, "invalid_grant", "PASSPORT_REVOKED")
    assert body["reasons"][0]["code"] == "PASSPORT_REVOKED"
    assert body["remedy"]
    assert REFUSAL_TYPE in _log_types(bench)
    assert "PASSPORT_REVOKED" in client.get("/").text


def test_what_nobody_signed_is_only_counted(bench, client):
    for _ in range(5):
        assert _exchange(bench, client, subject_token="a.b.c~d~e").status_code == 400
    types = _log_types(bench)
    assert types.count(FAILED_AUTHENTICATION_TYPE) == 1
    assert REFUSAL_TYPE not in types


@pytest.mark.parametrize(
    ("changed", "error"),
    [
        ({"grant_type": "client_credentials"}, "unsupported_grant_type"),
        ({"grant_type": ""}, "invalid_request"),
        ({"subject_token_type": "urn:x"}, "invalid_request"),
        ({"audience": "http://elsewhere"}, "invalid_target"),
        ({"requested_token_type": "urn:x"}, "invalid_request"),
        ({"actor_token": "x"}, "invalid_request"),
        ({"authorization_details": "[{]"}, "invalid_request"),
        ({"authorization_details": '[{"type":"other"}]'}, "invalid_authorization_details"),
        (
            {"authorization_details": '[{"type":"safeconduct_model_access","purpose":"ransomware"}]'},
            "invalid_authorization_details",
        ),
    ],
)
def test_a_malformed_request_is_named_in_oauths_words(bench, client, changed, error):
    answer = _exchange(bench, client, **changed)
    assert answer.status_code == 400
    assert answer.json()["error"] == error
    assert set(answer.json()["error_description"]) <= set(map(chr, range(32, 127))) - {'"', "\\"}


def test_another_key_than_the_passports_cannot_bind_a_stolen_presentation(bench, client):
    answer = _exchange(bench, client, proof=_proof(bench, FileSigner.generate()))
    assert answer.status_code == 400
    assert answer.json()["code"] == "BINDING_MISSING"


@pytest.mark.parametrize(
    "change", [{"url": "http://127.0.0.1:8781/oauth/nonce"}, {"method": "GET"}, {"iat": 1}]
)
def test_a_proof_for_another_request_is_refused(bench, client, change):
    answer = _exchange(bench, client, proof=_proof(bench, **change))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_dpop_proof")


def test_no_proof_and_two_proofs_are_refused(bench, client):
    form = _form(bench)
    assert client.post("/oauth/token", data=form).json()["error"] == "invalid_dpop_proof"
    two = [("dpop", _proof(bench)), ("dpop", _proof(bench))]
    assert client.post("/oauth/token", data=form, headers=two).json()["error"] == "invalid_dpop_proof"


@pytest.mark.parametrize(
    ("content", "media_type"),
    [
        (b'{"grant_type":"x"}', "application/json"),
        (b"grant_type=a&grant_type=b", "application/x-www-form-urlencoded"),
        (b"&".join(b"a%d=1" % n for n in range(40)), "application/x-www-form-urlencoded"),
        (b"grant_type=%ff%fe", "application/x-www-form-urlencoded"),
        (b"\xff\xfe=1", "application/x-www-form-urlencoded"),
        (b"", "application/x-www-form-urlencoded"),
        (b"novalue", "application/x-www-form-urlencoded"),
    ],
)
def test_hostile_forms_are_invalid_requests(client, content, media_type):
    answer = client.post("/oauth/token", content=content, headers={"content-type": media_type})
    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_request"


def test_a_huge_form_is_a_413(client):
    answer = client.post(
        "/oauth/token",
        content=b"a=" + b"x" * 70_000,
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 413


def test_without_a_log_no_token_is_given(bench, client):
    bench.faults.append("the decision log has stopped")
    answer = _exchange(bench, client)
    assert answer.status_code == 503
    assert answer.json() | {"error_description": "", "remedy": ""} == {
        "error": "temporarily_unavailable",
        "code": "AUDIT_UNAVAILABLE",
        "error_description": "",
        "remedy": "",
    }


def test_keys_are_public_halves_and_metadata_names_everything(client):
    keys = client.get("/.well-known/jwks.json").json()["keys"]
    assert len(keys) == 3
    assert not any({"d", "k"} & set(key) for key in keys)
    found = client.get("/.well-known/safeconduct").json()
    assert found["issuer"] == ISSUER
    assert found["logs"]["record"]["key"].count("+") >= 2
    assert client.get("/.well-known/jwt-vc-issuer").json()["jwks_uri"] == found["jwks_uri"]


def test_the_status_list_says_what_the_record_says(bench, client):
    answer = client.get("/status/0")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/statuslist+jwt")
    jws = parse_jws(answer.text)
    assert jws.header["typ"] == "statuslist+jwt"
    assert jws.claims()["sub"] == f"{ISSUER}/status/0"
    before = jws.claims()["status_list"]["lst"]
    bench.call(
        client,
        "POST",
        f"/api/passports/{bench.holder.passport}/revoke",
        Role.ADJUDICATOR,
        body={"cause": "x"},
    )
    after = parse_jws(client.get("/status/0").text).claims()["status_list"]["lst"]
    assert before != after
    for number in ("1", "99999999999999999999", "-1", "x"):
        assert client.get(f"/status/{number}").status_code in (400, 404)
