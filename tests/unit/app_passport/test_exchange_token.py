"""A passport for an access token: binding, nonce, status; and what the token then says at the gateway."""

from __future__ import annotations

from typing import Any

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from tests.support.credentials import HUMAN, VARIANT, Credentials, call
from tests.support.holders import CLAIMS, HOLDER_KEY, OTHER_KEY
from tests.support.instances import adjudicator

from safeconduct.app.change_passport_status import change_passport_status
from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.app.nonces import LIFETIME
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.vocabulary import Binding, Code, PassportStatus, Purpose

DETAILS = [{"type": "safeconduct_model_access", "models": [VARIANT], "purpose": "coding"}]


def refused(at: Credentials, **changes: Any) -> CredentialRefused:
    with pytest.raises(CredentialRefused) as failed:
        at.token(**changes)
    return failed.value


def test_a_presentation_gives_a_token_and_the_token_a_principal(at: Credentials) -> None:
    answer = at.token(authorization_details=DETAILS)
    principal = call(at, at.verifier(), answer.access_token)
    assert answer.expires_in == 300
    assert (principal.subject, principal.holder, principal.claims) == (HUMAN, HUMAN, CLAIMS)
    assert (principal.aal, principal.binding, principal.purpose) == (3, Binding.DPOP, Purpose.CODING)
    assert principal.variants == (VARIANT,)
    assert principal.authenticated_at == at.embedded.now


def test_an_independent_library_verifies_the_token(at: Credentials) -> None:
    jwk = at.instance.keys.signer("token").public_jwk()
    key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    verified = jws.deserialize_compact(at.token().access_token, key, algorithms=["ES256"])
    claims = strict_json(verified.payload)
    assert verified.headers()["typ"] == "at+jwt"
    assert claims["aud"] == at.instance.audience
    assert claims["status_indexes"] == {"passport": 0, "mandates": []}


def test_only_disclosed_claims_reach_the_token(at: Credentials) -> None:
    answer = at.token(subject_token=at.presentation(["level"]))
    principal = call(at, at.verifier(), answer.access_token)
    assert principal.claims.citizenships is None
    assert principal.organisation is None


def test_a_proof_with_another_key_cannot_bind_a_stolen_presentation(at: Credentials) -> None:
    refusal = refused(at, dpop=(at.proof(OTHER_KEY),))
    assert (refusal.code, refusal.subject, refusal.error) == (Code.BINDING_MISSING, HUMAN, "invalid_grant")


@pytest.mark.parametrize("count", [0, 2])
def test_exactly_one_proof_is_needed(at: Credentials, count: int) -> None:
    assert refused(at, dpop=tuple(at.proof() for _ in range(count))).code is Code.BINDING_MISSING


def test_a_presentation_counts_once(at: Credentials) -> None:
    presentation = at.presentation()
    at.token(subject_token=presentation)
    assert refused(at, subject_token=presentation).step == "key_binding"


def test_an_expired_or_invented_nonce_is_refused(at: Credentials) -> None:
    assert refused(at, subject_token=at.presentation(nonce="invented")).step == "key_binding"
    nonce, _ = at.nonces.give()
    assert isinstance(at.embedded.clock, SimulatedClock)
    at.embedded.clock.move_to(at.embedded.now + LIFETIME)
    assert refused(at, subject_token=at.presentation(nonce=nonce)).step == "key_binding"


def test_a_presentation_for_the_gateway_is_not_one_for_the_issuer(at: Credentials) -> None:
    assert (
        refused(at, subject_token=at.presentation(audience=at.instance.audience)).code
        is Code.PASSPORT_INVALID
    )


@pytest.mark.parametrize("status", [PassportStatus.SUSPENDED, PassportStatus.INVALID])
def test_a_suspended_or_revoked_passport_gets_no_token_and_the_refusal_says_whose(
    at: Credentials, status: PassportStatus
) -> None:
    change_passport_status(at.instance, adjudicator(), at.issued.passport, status, cause="test")
    refusal = refused(at)
    assert refusal.code is Code.PASSPORT_REVOKED
    assert (refusal.subject, refusal.passport) == (HUMAN, at.issued.passport)
    assert refusal.reasons[0].remedy


def test_a_passport_is_reinstated_but_never_after_revocation(at: Credentials) -> None:
    for status in (PassportStatus.SUSPENDED, PassportStatus.VALID):
        change_passport_status(at.instance, adjudicator(), at.issued.passport, status, cause="test")
    assert at.token().access_token


@pytest.mark.parametrize(
    "changes",
    [
        {"grant_type": "password"},
        {"subject_token_type": "urn:ietf:params:oauth:token-type:jwt"},
        {"audience": "https://other.example"},
        {"authorization_details": {"type": "safeconduct_model_access"}},
        {"authorization_details": [{"type": "other"}]},
        {"authorization_details": [*DETAILS, *DETAILS]},
        {"authorization_details": [{"type": "safeconduct_model_access", "admin": True}]},
        {"authorization_details": [{"type": "safeconduct_model_access", "purpose": "ransomware"}]},
    ],
)
def test_a_malformed_request_is_not_a_refusal(at: Credentials, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        at.token(**changes)


def code_of(at: Credentials, **changes: Any) -> str:
    verifier = changes.pop("verifier", None) or at.verifier()
    token = changes.pop("token", None) or at.token().access_token
    with pytest.raises(VerificationFailed) as failed:
        call(at, verifier, token, **changes)
    return str(failed.value.code)


def test_a_bound_token_as_bearer_or_api_key_is_refused(at: Credentials) -> None:
    token = at.token().access_token.encode()
    assert code_of(at, authorization=b"Bearer " + token) == "BINDING_MISSING"
    assert code_of(at, authorization=b"Bearer " + token, dpop=[]) == "BINDING_MISSING"
    assert code_of(at, authorization=None, x_api_key=token, dpop=[]) == "BINDING_MISSING"


def test_without_or_with_two_proofs_a_token_is_refused(at: Credentials) -> None:
    assert code_of(at, dpop=[]) == "BINDING_MISSING"
    proof = at.proof(url=f"{at.instance.audience}/v1/messages").encode()
    assert code_of(at, dpop=[proof, proof]) == "BINDING_MISSING"


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"authorization": None}, "PASSPORT_INVALID"),
        ({"authorization": b"Basic YTpi"}, "PASSPORT_INVALID"),
        ({"authorization": b""}, "PASSPORT_INVALID"),
        ({"authorization": b"DPoP x.y.z"}, "PASSPORT_INVALID"),
        ({"authorization": b"DPoP \xff"}, "PASSPORT_INVALID"),
        ({"authorization": b"DPoP ' OR 1=1 --"}, "PASSPORT_INVALID"),
        ({"x_api_key": b"sc_dev_aaaaaaaaaaaaaaaa_" + b"a" * 52}, "PASSPORT_INVALID"),
        ({"method": "GET"}, "BINDING_MISSING"),
        ({"dpop": [b"\xff"]}, "BINDING_MISSING"),
    ],
)
def test_what_is_no_credential_is_refused(at: Credentials, changes: dict[str, Any], code: str) -> None:
    assert code_of(at, **changes) == code


def test_a_proof_counts_once_at_the_gateway(at: Credentials) -> None:
    verifier, token = at.verifier(), at.token().access_token
    proof = [at.proof(url=f"{at.instance.audience}/v1/messages", access_token=token).encode()]
    call(at, verifier, token, dpop=proof)
    assert code_of(at, verifier=verifier, token=token, dpop=proof) == "BINDING_MISSING"


def test_a_cached_token_ends_at_its_time(at: Credentials) -> None:
    verifier, token = at.verifier(), at.token().access_token
    call(at, verifier, token)
    assert code_of(at, verifier=verifier, token=token, now=at.embedded.now + 300) == "PASSPORT_INVALID"


def test_a_token_of_a_key_that_is_not_pinned_is_refused_also_after_it_was_cached(at: Credentials) -> None:
    verifier, token = at.verifier(), at.token().access_token
    call(at, verifier, token)
    verifier._token_keys = lambda _kid: None
    change_passport_status(
        at.instance, adjudicator(), at.issued.passport, PassportStatus.SUSPENDED, cause="moves the record"
    )
    assert code_of(at, verifier=verifier, token=token) == "PASSPORT_INVALID"


def test_a_token_stands_in_no_repr(at: Credentials) -> None:
    request = at.request()
    assert request.subject_token not in repr(request)
    assert HOLDER_KEY.to_pem().decode() not in repr(at.exchange.exchange(request))
