"""What every signed text of ours must be refused for, whatever library wrote it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from joserfc import jwt
from joserfc.jwk import ECKey
from tests.support.holders import ISSUER_KEY, NOW, OTHER_KEY, sign_raw

from safeconduct.kernel.canonical import b64u, b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.jose import sign_jwt, verify_jwt
from safeconduct.kernel.signing import KeyRing, VerifyingKey, thumbprint

HEADER: dict[str, Any] = {"typ": "test+jwt", "alg": "ES256", "kid": ISSUER_KEY.kid}
CLAIMS: dict[str, Any] = {"iss": "a", "aud": "b", "iat": NOW, "exp": NOW + 60}


def verify(text: str, **changes: Any) -> dict[str, Any]:
    given: dict[str, Any] = {
        "typ": "test+jwt", "now": NOW, "audience": "b", "issuer": "a",
        "key_for": lambda kid, _: ISSUER_KEY.verifying_key() if kid == ISSUER_KEY.kid else None,
    }  # fmt: skip
    return verify_jwt(text, **{**given, **changes})[0]


def step_of(text: str, **changes: Any) -> str:
    with pytest.raises(VerificationFailed) as failed:
        verify(text, **changes)
    return failed.value.step


def test_a_good_token_is_read() -> None:
    assert verify(sign_raw(HEADER, CLAIMS, ISSUER_KEY)) == CLAIMS


def test_what_an_independent_library_signs_is_read_and_the_other_way_round() -> None:
    private = ECKey.import_key(ISSUER_KEY.to_pem())
    assert verify(jwt.encode(HEADER, CLAIMS, private, algorithms=["ES256"])) == CLAIMS
    ours = sign_jwt(CLAIMS, typ="test+jwt", signer=ISSUER_KEY)
    assert jwt.decode(ours, private, algorithms=["ES256"]).claims == CLAIMS
    assert private.thumbprint() == thumbprint(ISSUER_KEY.public_jwk())


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "none"}, {"alg": "HS256"}, {"alg": "RS256"}, {"alg": "ES384"}, {"alg": "EdDSA"}, {"alg": None},
        {"typ": "JWT"}, {"typ": "at+jwt"}, {"typ": None}, {"typ": ["test+jwt"]},
        {"jwk": OTHER_KEY.public_jwk()}, {"jku": "https://x"}, {"x5u": "https://x"}, {"x5c": ["x"]}, {"x5t": "x"},
        {"crit": ["exp"]}, {"crit": []}, {"b64": False}, {"zip": "DEF"}, {"enc": "A256GCM"}, {"cty": "JWT"},
        {"kid": None}, {"kid": 1},
    ],
)  # fmt: skip
def test_a_header_that_could_change_the_meaning_is_refused(changes: dict[str, Any]) -> None:
    assert step_of(sign_raw({**HEADER, **changes}, CLAIMS, ISSUER_KEY)) == "header"


@pytest.mark.parametrize(
    ("claims", "step"),
    [
        ({"exp": None}, "times"), ({"exp": NOW}, "times"), ({"exp": "9999999999"}, "times"), ({"exp": 1e12}, "times"),
        ({"exp": True}, "times"), ({"nbf": NOW + 31}, "times"), ({"iat": NOW + 31}, "times"), ({"iat": -1}, "times"),
        ({"aud": "c"}, "claims"), ({"aud": ["c"]}, "claims"), ({"aud": None}, "claims"), ({"aud": {"b": 1}}, "claims"),
        ({"iss": "A"}, "claims"),
    ],
)  # fmt: skip
def test_times_audience_and_issuer_are_checked(claims: dict[str, Any], step: str) -> None:
    assert step_of(sign_raw(HEADER, {**CLAIMS, **claims}, ISSUER_KEY)) == step


def test_a_lifetime_beyond_the_limit_or_without_a_beginning_is_refused() -> None:
    assert step_of(sign_raw(HEADER, {**CLAIMS, "exp": NOW + 301}, ISSUER_KEY), max_lifetime=300) == "times"
    without = {name: value for name, value in CLAIMS.items() if name != "iat"}
    assert step_of(sign_raw(HEADER, without, ISSUER_KEY), max_lifetime=300) == "times"


def test_duplicate_members_in_header_or_payload_are_refused() -> None:
    header = json.dumps(HEADER)[:-1].encode() + b',"alg":"ES256"}'
    assert step_of(sign_raw(header, CLAIMS, ISSUER_KEY)) == "structure"
    payload = json.dumps(CLAIMS)[:-1].encode() + b',"exp":9999999999}'
    assert step_of(sign_raw(HEADER, payload, ISSUER_KEY)) == "structure"
    nested = json.dumps(CLAIMS)[:-1].encode() + b',"x":[{"a":1,"a":2}]}'
    assert step_of(sign_raw(HEADER, nested, ISSUER_KEY)) == "structure"


GOOD = sign_raw(HEADER, CLAIMS, ISSUER_KEY)


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "...", GOOD + "=", GOOD + "==", GOOD + ".", GOOD + "\n", " " + GOOD,
        GOOD.replace(".", "=."), GOOD.rsplit(".", 1)[0], GOOD.replace(".", "..", 1), "\ud800.a.b", "é.é.é",
    ],
)  # fmt: skip
def test_other_spellings_of_a_token_are_refused(text: str) -> None:
    assert step_of(text) == "structure"


def test_stray_bits_in_the_last_character_are_refused() -> None:
    head, body, signature = GOOD.split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    other = alphabet[alphabet.index(signature[-1]) ^ 1]
    assert step_of(f"{head}.{body}.{signature[:-1]}{other}") == "structure"


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw + b"\0",
        lambda raw: raw[:-1],
        lambda raw: b"\0" * 64,
        lambda raw: b"",
        lambda raw: raw[32:] + raw[:32],
    ],
)
def test_signatures_of_another_shape_are_refused(change: Any) -> None:
    head, body, signature = GOOD.split(".")
    assert step_of(f"{head}.{body}.{b64u(change(b64u_decode(signature)))}") == "signature"


def test_a_der_signature_is_refused() -> None:
    head, body, _ = GOOD.split(".")
    raw = ISSUER_KEY.sign(f"{head}.{body}".encode())
    der = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
    assert step_of(f"{head}.{body}.{b64u(der)}") == "signature"


def test_a_key_of_another_kind_is_never_used() -> None:
    assert step_of(GOOD, key_for=lambda *_: OTHER_KEY.verifying_key()) == "signature"
    assert step_of(GOOD, key_for=lambda *_: None) == "signature"


EC = {name: ISSUER_KEY.public_jwk()[name] for name in ("kty", "crv", "x", "y")}


@pytest.mark.parametrize(
    "jwk",
    [
        {**EC, "d": "AAAA"}, {"kty": "oct", "k": "AAAA"}, {"kty": "RSA", "n": "AQAB", "e": "AQAB"},
        {"kty": "RSA", "n": b64u(b"\xff" * 128), "e": "AQAB"}, {**EC, "crv": "P-384"}, {**EC, "crv": "secp256k1"},
        {**EC, "y": EC["x"]}, {**EC, "x": EC["x"] + "A"}, {**EC, "x": EC["x"] + "="}, {**EC, "alg": "HS256"},
        {**EC, "use": "enc"}, {**EC, "key_ops": ["sign"]}, {"kty": "EC", "crv": "P-256", "x": EC["x"]}, {}, {**EC, "x": 1},
    ],
)  # fmt: skip
def test_keys_that_are_not_public_p256_or_ed25519_for_signatures_are_refused(jwk: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        VerifyingKey(jwk)


def test_a_key_set_with_a_kid_twice_is_refused() -> None:
    one, two = {**EC, "kid": "same"}, {**OTHER_KEY.public_jwk(), "kid": "same"}
    with pytest.raises(InvalidInput, match="same"):
        KeyRing.from_jwks({"keys": [one, two]})
    with pytest.raises(InvalidInput, match="same"):
        KeyRing.from_jwks({"keys": [one, one]})


@pytest.mark.parametrize(
    "data",
    [
        b"[" * 100_000,
        b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        b"NaN",
        b"[1] x",
        b"\xff",
        b"-Infinity",
        b"1" * 5000,
    ],
)
def test_json_that_others_read_differently_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        strict_json(data)
