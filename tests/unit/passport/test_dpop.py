"""Proofs of possession: only for this request, this key and this token, and only once."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.holders import HOLDER_KEY, NOW, OTHER_KEY, CountedBytes, sign_raw

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.passport.dpop import ProofVerifier, ReplayMemory, make_proof, target

URL = "https://gateway.example/v1/messages"
TOKEN = "aaa.bbb.ccc"
JKT = HOLDER_KEY.verifying_key().thumbprint
JWK = {name: HOLDER_KEY.public_jwk()[name] for name in ("kty", "crv", "x", "y")}


def proof(**changes: Any) -> str:
    given: dict[str, Any] = {
        "method": "POST", "url": URL, "now": NOW, "random": CountedBytes("proof"), "access_token": TOKEN
    }  # fmt: skip
    return make_proof(HOLDER_KEY, **{**given, **changes})


def check(text: str, verifier: ProofVerifier | None = None, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "method": "POST", "url": URL, "now": NOW, "jkt": JKT, "access_token": TOKEN.encode()
    }  # fmt: skip
    return (verifier or ProofVerifier(ReplayMemory())).verify(text, **{**given, **changes})


def test_a_fresh_proof_is_accepted_and_names_its_key() -> None:
    assert check(proof()).jkt == JKT


def test_a_proof_counts_once() -> None:
    verifier = ProofVerifier(ReplayMemory())
    check(proof(), verifier)
    with pytest.raises(VerificationFailed) as failed:
        check(proof(), verifier)
    assert (failed.value.step, failed.value.code) == ("replay", "BINDING_MISSING")


def test_a_proof_counts_once_at_two_workers_that_share_their_memory() -> None:
    memory = ReplayMemory()
    check(proof(), ProofVerifier(memory))
    with pytest.raises(VerificationFailed):
        check(proof(), ProofVerifier(memory))


def test_a_proof_signed_again_under_the_same_jti_is_a_repeat() -> None:
    verifier = ProofVerifier(ReplayMemory())
    check(proof(), verifier)
    # Another text (another iat), the same jti: the memory goes by jti and key, not by text.
    with pytest.raises(VerificationFailed) as failed:
        check(proof(now=NOW + 1), verifier)
    assert failed.value.step == "replay"


@pytest.mark.parametrize(
    "changes",
    [
        {"method": "GET"},
        {"url": "https://gateway.example/v1/models"},
        {"url": "https://other.example/v1/messages"},
        {"url": "http://gateway.example/v1/messages"},
        {"url": "https://gateway.example:8443/v1/messages"},
        {"access_token": b"aaa.bbb.ddd"},
        {"jkt": OTHER_KEY.verifying_key().thumbprint},
        {"now": NOW + 66},
        {"now": NOW - 6},
    ],
)
def test_a_proof_for_anything_else_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(VerificationFailed) as failed:
        check(proof(), **changes)
    assert failed.value.code == "BINDING_MISSING"


def test_a_proof_without_ath_does_not_go_with_a_token() -> None:
    with pytest.raises(VerificationFailed) as failed:
        check(proof(access_token=None))
    assert failed.value.field == "ath"


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "JWT", "alg": "ES256", "jwk": JWK},
        {"typ": "dpop+jwt", "alg": "none", "jwk": JWK},
        {"typ": "dpop+jwt", "alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}},
        {"typ": "dpop+jwt", "alg": "ES256"},
        {"typ": "dpop+jwt", "alg": "ES256", "kid": JKT},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**JWK, "d": "AAAA"}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**JWK, "x5c": ["AAAA"]}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {"kty": "RSA", "n": "AQAB", "e": "AQAB"}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**JWK, "crv": "P-384"}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": {**JWK, "y": JWK["x"]}},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK, "crit": ["x"], "x": 1},
        {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK, "jku": "https://attacker.example"},
    ],
)
def test_a_header_that_is_not_a_proofs_is_refused(header: dict[str, Any]) -> None:
    claims = {"jti": "0123456789", "htm": "POST", "htu": URL, "iat": NOW}
    with pytest.raises(VerificationFailed) as failed:
        check(sign_raw(header, claims, HOLDER_KEY), access_token=None)
    assert failed.value.code == "BINDING_MISSING"


@pytest.mark.parametrize(
    "changes",
    [{"jti": None}, {"jti": "short"}, {"jti": 7}, {"iat": str(NOW)}, {"iat": True}, {"iat": NOW + 0.5}, {"htu": None},
     {"htu": "/v1/messages"}, {"htu": "https://gateway.example@attacker.example/v1/messages"}, {"htm": "post"},
     {"nonce": 7}],
)  # fmt: skip
def test_claims_out_of_shape_are_refused(changes: dict[str, Any]) -> None:
    claims = {"jti": "0123456789", "htm": "POST", "htu": URL, "iat": NOW, **changes}
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}
    with pytest.raises(VerificationFailed):
        check(sign_raw(header, claims, HOLDER_KEY), access_token=None)


def test_duplicate_members_are_refused() -> None:
    body = f'{{"jti":"0123456789","htm":"GET","htm":"POST","htu":"{URL}","iat":{NOW}}}'.encode()
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}
    with pytest.raises(VerificationFailed):
        check(sign_raw(header, body, HOLDER_KEY), access_token=None)


def test_a_known_header_with_another_signature_is_refused() -> None:
    verifier = ProofVerifier(ReplayMemory())
    first = proof()
    check(first, verifier)
    forged = f"{first.split('.')[0]}.{proof(random=CountedBytes('two')).split('.')[1]}.{b64u(b'0' * 64)}"
    with pytest.raises(VerificationFailed) as failed:
        check(forged, verifier)
    assert failed.value.step == "signature"


def test_a_nonce_is_asked_for_when_configured() -> None:
    verifier = ProofVerifier(ReplayMemory(), nonce_ok=lambda nonce: nonce == "ours")
    with pytest.raises(VerificationFailed) as failed:
        check(proof(), verifier)
    assert failed.value.step == "nonce"
    assert check(proof(nonce="ours"), verifier).nonce == "ours"


def test_used_proofs_are_remembered_as_long_as_they_are_accepted() -> None:
    memory = ReplayMemory(span=70)
    for start in range(0, 1000, 13):
        assert memory.first_use(b"%d" % start, float(start))
        assert not memory.first_use(b"%d" % start, float(start + 69))


def test_a_full_memory_refuses_rather_than_forgets() -> None:
    memory = ReplayMemory(2)
    assert memory.first_use(b"a", 0.0)
    assert memory.first_use(b"b", 0.0)
    with pytest.raises(VerificationFailed):
        memory.first_use(b"c", 1.0)
    assert not memory.first_use(b"a", 1.0)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://Gateway.Example:443/v1/messages?beta=true#x", URL),
        ("http://127.0.0.1:8780", "http://127.0.0.1:8780/"),
        ("http://[::1]:80/a", "http://[::1]/a"),
    ],
)
def test_targets_are_compared_without_query_and_default_port(url: str, expected: str) -> None:
    assert target(url) == expected


@pytest.mark.parametrize("url", ["", "/v1", "ftp://a/b", "https://a:b@c/", "https://a:99999/", "https:///x"])
def test_what_is_no_target_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput):
        target(url)
