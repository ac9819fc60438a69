"""Tokens bound to a client certificate (RFC 8705): one test for each way to come with the wrong one, or with none."""

from __future__ import annotations

import secrets
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.support.certificates import certificate_of, peer_from_pem, self_signed
from tests.support.credentials import HUMAN, Credentials, call
from tests.support.holders import HOLDER_KEY, OTHER_KEY
from tests.support.instances import operator

from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.rotate_key import RotateKey
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.bootstrap import key_rotation
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.jose import parse_jws, sign_jwt
from safeconduct.kernel.vocabulary import Binding, Code
from safeconduct.passport.certificate import PeerCertificate, open_anchor
from safeconduct.passport.dpop import ReplayMemory
from safeconduct.passport.tokens import StatusIndexes, issue_access_token


def peer(at: Credentials, signer: Any = HOLDER_KEY) -> PeerCertificate:
    return certificate_of(signer, now=at.embedded.now)


def bound(at: Credentials, certificate: PeerCertificate) -> str:
    return at.token(dpop=(), certificate=certificate).access_token


def come(
    at: Credentials, token: str, certificate: PeerCertificate | None, verifier: Any = None, **more: Any
) -> Any:
    given = {"authorization": b"Bearer " + token.encode(), "dpop": [], "peer": certificate, **more}
    return call(at, verifier or at.verifier(), token, **given)


def refusal(at: Credentials, token: str, certificate: PeerCertificate | None, **more: Any) -> str:
    with pytest.raises(VerificationFailed) as failed:
        come(at, token, certificate, **more)
    assert failed.value.code == "BINDING_MISSING"
    return failed.value.message


def test_a_certificate_over_the_passports_key_binds_the_token(at: Credentials) -> None:
    certificate = peer(at)
    answer = at.token(dpop=(), certificate=certificate)
    assert answer.token_type == "Bearer"
    claims = parse_jws(answer.access_token).claims()
    assert claims["cnf"] == {"x5t#S256": certificate.thumbprint}
    principal = come(at, answer.access_token, certificate)
    assert (principal.holder, principal.binding) == (HUMAN, Binding.MTLS)
    assert principal.binding.sender_constrained


def test_a_certificate_over_another_key_cannot_bind_a_stolen_presentation(at: Credentials) -> None:
    with pytest.raises(CredentialRefused) as failed:
        bound(at, peer(at, OTHER_KEY))
    assert (failed.value.code, failed.value.subject) == (Code.BINDING_MISSING, HUMAN)


@pytest.mark.parametrize("kind", ["rsa", "p384"])
def test_a_certificate_over_another_kind_of_key_binds_nothing(at: Credentials, kind: str) -> None:
    key: Any = (
        rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(ec.SECP384R1())
    )
    with pytest.raises(CredentialRefused) as failed:
        bound(at, peer_from_pem(self_signed(key, now=at.embedded.now)))
    assert failed.value.code is Code.BINDING_MISSING


def test_a_proof_beside_a_certificate_binds_to_the_proofs_key(at: Credentials) -> None:
    answer = at.token(certificate=peer(at, OTHER_KEY))
    assert answer.token_type == "DPoP"
    assert set(parse_jws(answer.access_token).claims()["cnf"]) == {"jkt"}


def test_a_token_without_its_certificate_is_refused(at: Credentials) -> None:
    assert "without it" in refusal(at, bound(at, peer(at)), None)


def test_a_token_over_another_certificate_of_the_same_key_is_refused(at: Credentials) -> None:
    assert "another certificate" in refusal(at, bound(at, peer(at)), peer(at))


def test_a_token_over_a_strangers_certificate_is_refused(at: Credentials) -> None:
    assert "another certificate" in refusal(at, bound(at, peer(at)), peer(at, OTHER_KEY))


def test_a_certificate_bound_token_as_an_api_key_needs_its_certificate_too(at: Credentials) -> None:
    certificate = peer(at)
    token = bound(at, certificate)
    given: dict[str, Any] = {"authorization": None, "x_api_key": token.encode()}
    assert come(at, token, certificate, **given).binding is Binding.MTLS
    assert "without it" in refusal(at, token, None, **given)


def test_a_certificate_bound_token_under_the_dpop_scheme_is_refused(at: Credentials) -> None:
    certificate = peer(at)
    token = bound(at, certificate)
    with pytest.raises(VerificationFailed) as failed:
        call(at, at.verifier(), token, peer=certificate)
    assert failed.value.code == "BINDING_MISSING"


def test_a_proof_cannot_stand_in_for_the_certificate(at: Credentials) -> None:
    certificate = peer(at)
    token = bound(at, certificate)
    proof = at.proof(url=f"{at.instance.audience}/v1/messages", access_token=token).encode()
    assert "without it" in refusal(at, token, None, dpop=[proof])
    assert "not to a proof" in refusal(at, token, certificate, dpop=[proof])


def test_a_dpop_bound_token_stays_refused_as_bearer_on_a_connection_with_a_certificate(
    at: Credentials,
) -> None:
    assert "without its proof" in refusal(at, at.token().access_token, peer(at))


def test_a_connection_remembers_its_token_and_no_other(at: Credentials) -> None:
    certificate, verifier = peer(at), at.verifier()
    token = bound(at, certificate)
    first = come(at, token, certificate, verifier)
    assert come(at, token, certificate, verifier) is first
    other = at.token().access_token
    with pytest.raises(VerificationFailed):
        come(at, other, certificate, verifier)
    with pytest.raises(VerificationFailed):
        come(at, token[:-4], certificate, verifier)


def test_a_remembered_token_ends_with_its_term(at: Credentials) -> None:
    certificate, verifier = peer(at), at.verifier()
    token = bound(at, certificate)
    come(at, token, certificate, verifier)
    with pytest.raises(VerificationFailed, match="expired"):
        come(at, token, certificate, verifier, now=at.embedded.now + 301)


def test_a_remembered_token_ends_with_a_compromised_key(at: Credentials) -> None:
    instance = at.instance
    verifier = CredentialVerifier(
        instance.record,
        instance.vault,
        issuer=instance.issuer,
        audience=instance.audience,
        token_keys=InstanceKeyRing("token", instance.record, instance.keys, instance.clock),
        replays=ReplayMemory(),
        profile="development",
        loopback=True,
    )
    certificate = peer(at)
    token = bound(at, certificate)
    come(at, token, certificate, verifier)
    key_rotation(at.embedded.opened).rotate(operator(), "token", RotateKey())
    assert come(at, token, certificate, verifier).binding is Binding.MTLS
    key_rotation(at.embedded.opened).rotate(operator(), "token", RotateKey())
    come(at, token, certificate, verifier)
    fresh = bound(at, certificate)
    key_rotation(at.embedded.opened).rotate(operator(), "token", RotateKey(compromised=True))
    with pytest.raises(VerificationFailed, match="unknown key"):
        come(at, fresh, certificate, verifier)


@pytest.mark.parametrize("cnf", [{}, {"jkt": "a", "x5t#S256": "b"}, {"x5t#S256": 1}, {"x5t": "b"}])
def test_a_token_that_is_bound_to_nothing_or_to_two_things_is_refused(at: Credentials, cnf: Any) -> None:
    certificate = peer(at)
    claims = {**parse_jws(bound(at, certificate)).claims(), "cnf": cnf}
    forged = sign_jwt(claims, typ="at+jwt", signer=at.instance.keys.signer("token"))
    with pytest.raises(VerificationFailed) as failed:
        come(at, forged, certificate)
    assert failed.value.code == "PASSPORT_INVALID"


def test_none_is_issued_either(at: Credentials) -> None:
    principal = come(at, bound(at, certificate := peer(at)), certificate)
    for given in ({}, {"jkt": "a", "x5t": "b"}):
        with pytest.raises(InvalidInput, match="one key or one certificate"):
            issue_access_token(
                principal,
                **given,
                actors=(),
                status=StatusIndexes(1),
                issuer=at.instance.issuer,
                audience=at.instance.audience,
                signer=at.instance.keys.signer("token"),
                now=at.embedded.now,
                random=secrets.token_bytes,
            )


def test_the_anchor_is_always_the_same(at: Credentials) -> None:
    assert open_anchor() == open_anchor()
