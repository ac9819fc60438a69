"""Enclave attestations: over one key, by a trusted authority, for this gateway and nonce, at most a day old."""

import pytest
from immutables import Map
from tests.support.authorities import DAY, NOW, key, trusted

from safeconduct.authorization.enclave_attestation import (
    TYP,
    EnclaveRole,
    sign_enclave_attestation,
    verify_enclave_attestation,
)
from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import Forbidden, InvalidInput, UnsafeConfiguration, VerificationFailed
from safeconduct.kernel.jose import sign_jwt
from safeconduct.record.projections import TrustedKey

GATEWAY, NONCE = "https://gateway.example", "n" * 22
ATTESTED, COMMERCIAL = b64u(b"a" * 32), b64u(b"c" * 32)
ORIGIN, DEPLOYMENT = EnclaveRole.ORIGIN, EnclaveRole.DEPLOYMENT


def claims(**change):
    return {
        "iss": "authority:enclaves",
        "iat": NOW - 10,
        "exp": NOW + 3_600,
        "aud": GATEWAY,
        "enclave": "enclave-a",
        "role": "origin",
        "cnf": {"x5t#S256": ATTESTED},
        "nonce": NONCE,
        **change,
    }


def trust(may_sign=("enclave_attestation",), **scope):
    added = trusted(
        "enclaves",
        "authority:enclaves",
        may_sign,
        **{"jurisdiction": "US", "variants": (), "provider": None, **scope},
    )
    return Map({"enclaves": TrustedKey(added=added)})


def verify(text, known=None, **given):
    asked = {"audience": GATEWAY, "nonce": NONCE, "now": NOW, "production": True, **given}
    return verify_enclave_attestation(text, trust=known if known is not None else trust(), **asked)


def signed(**change):
    return sign_jwt(claims(**change), typ=TYP, signer=key("enclaves"))


def test_an_attestation_covers_the_very_key_it_names():
    found = verify(sign_enclave_attestation(claims(), key("enclaves")))
    assert (found.enclave, found.role, found.jurisdiction) == ("enclave-a", ORIGIN, "US")
    assert found.covers(ATTESTED, role=ORIGIN, enclave="enclave-a", now=NOW)
    assert found.covers(ATTESTED, role=ORIGIN, enclave=None, now=NOW)


def test_a_commercial_key_inside_the_enclaves_tenant_is_not_covered():
    found = verify(signed())
    assert not found.covers(COMMERCIAL, role=ORIGIN, enclave="enclave-a", now=NOW)
    assert not found.covers(None, role=ORIGIN, enclave="enclave-a", now=NOW)


def test_it_covers_one_role_one_enclave_and_one_day():
    found = verify(signed())
    assert not found.covers(ATTESTED, role=DEPLOYMENT, enclave="enclave-a", now=NOW)
    assert not found.covers(ATTESTED, role=ORIGIN, enclave="enclave-b", now=NOW)
    assert not found.covers(ATTESTED, role=ORIGIN, enclave="enclave-a", now=NOW + 3_600)


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"exp": NOW}, "times"),
        ({"iat": NOW - 100, "exp": NOW - 100 + DAY + 1}, "times"),
        ({"iat": NOW + 600}, "times"),
        ({"aud": "https://other.example"}, "claims"),
        ({"nonce": "m" * 22}, "claims"),
    ],
)
def test_one_that_is_old_or_made_for_something_else_is_refused(change, step):
    with pytest.raises(VerificationFailed) as failure:
        verify(signed(**change))
    assert failure.value.step == step


@pytest.mark.parametrize(
    "change",
    [
        {"role": "tenant"},
        {"cnf": {"jkt": ATTESTED}},
        {"cnf": {"x5t#S256": ATTESTED, "jkt": ATTESTED}},
        {"cnf": {"x5t#S256": b64u(b"short")}},
        {"cnf": ATTESTED},
        {"nonce": "short"},
        {"enclave": "Not A Name"},
        {"header": "x"},
    ],
)
def test_one_that_is_malformed_is_refused_by_name(change):
    with pytest.raises(InvalidInput) as failure:
        verify(signed(**change))
    assert failure.value.field
    with pytest.raises(InvalidInput):
        sign_enclave_attestation(claims(**change), key("enclaves"))


@pytest.mark.parametrize(
    "known",
    [
        trust(may_sign=("licence",)),
        trust(variants=("model-x",)),
        trust(provider="lab"),
        trust(valid_until=NOW),
        Map(),
    ],
)
def test_a_key_that_may_not_attest_enclaves_is_refused(known):
    with pytest.raises(Forbidden):
        verify(signed(), known)


def test_another_key_or_a_development_key_is_refused():
    with pytest.raises(VerificationFailed, match="signature"):
        verify(sign_jwt(claims(), typ=TYP, signer=key("enclaves-2")), _renamed())
    with pytest.raises(UnsafeConfiguration):
        verify(signed(), trust(development=True))


def _renamed():
    """The trust list names another key under the kid that signed."""
    added = trusted(
        "enclaves",
        "authority:enclaves",
        ("enclave_attestation",),
        jurisdiction=None,
        variants=(),
        provider=None,
    )
    return Map({key("enclaves-2").kid: TrustedKey(added=added)})
