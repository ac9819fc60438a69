"""Passkeys: what is accepted, at which assurance, and every way in which an answer is refused by the step that failed."""

from __future__ import annotations

import json

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.passkeys import AAGUID, BE, BS, NOW, RP, UP, UV, YEAR, Maker, SecurityKey

from safeconduct.identity.authenticator import AuthenticatorKind, bound_key
from safeconduct.identity.webauthn import cbor
from safeconduct.identity.webauthn.attestation import AttestationType, read_attestation_roots
from safeconduct.identity.webauthn.ceremony import (
    authenticator_of,
    verify_authentication,
    verify_registration,
)
from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration, VerificationFailed
from safeconduct.kernel.signing import FileSigner
from safeconduct.sdk.development_authenticator import DevelopmentAuthenticator

CHALLENGE = b64u(b"c" * 32)
HANDLE = b64u(b"sub_made_up")
CREATE = {
    "challenge": CHALLENGE,
    "rp": {"id": RP.id, "name": RP.name},
    "user": {"id": HANDLE, "name": "x", "displayName": "x"},
    "pubKeyCredParams": [{"type": "public-key", "alg": -7}],
}
GET = {"challenge": CHALLENGE, "rpId": RP.id}


@pytest.fixture(scope="module")
def maker():
    return Maker()


def register(key, roots=(), *, response=None, **given):
    return verify_registration(
        key.create(CREATE) if response is None else response,
        relying_party=RP,
        challenge=lambda text: text == CHALLENGE,
        roots=roots,
        now=NOW,
        **given,
    )


def sign_in(key, credential, *, response=None, **given):
    return verify_authentication(
        key.get(GET) if response is None else response,
        relying_party=RP,
        challenge=lambda text: text == CHALLENGE,
        credential_of=lambda name: credential if name == credential.id else None,
        user_handle=HANDLE,
        **given,
    )


def aal(credential, profile="production"):
    return bound_key(authenticator_of(credential), profile=profile, field="x").aal


def refused(step, key, roots=(), **given):
    with pytest.raises(VerificationFailed) as failure:
        register(key, roots, **given)
    assert failure.value.step == step, failure.value
    return failure.value


# -- assurance -------------------------------------------------------------------------------------------------------


def test_a_trusted_makers_key_that_verified_its_user_reaches_aal3(maker):
    credential = register(SecurityKey(maker.batch()), maker.roots())
    assert credential.attestation.root == maker.name
    assert credential.hardware_bound
    assert aal(credential) == 3


def test_without_a_trusted_root_nobody_vouches_for_hardware_and_aal2_is_reached(maker):
    credential = register(SecurityKey(maker.batch()), Maker("Other Keys").roots())
    assert credential.attestation.type is AttestationType.BASIC
    assert credential.attestation.root is None
    assert not credential.hardware_bound
    assert aal(credential) == 2


@pytest.mark.parametrize("batch", [None, "self"])
def test_no_statement_and_a_self_signed_one_reach_aal2(maker, batch):
    credential = register(SecurityKey(batch), maker.roots())
    assert not credential.hardware_bound
    assert aal(credential) == 2


def test_a_synced_passkey_is_not_hardware_bound_whoever_attests_it(maker):
    credential = register(SecurityKey(maker.batch(), flags=UP | UV | BE | BS), maker.roots())
    assert credential.backup_eligible
    assert not credential.hardware_bound
    assert aal(credential) == 2


def test_presence_alone_is_one_factor_and_reaches_aal1(maker):
    key = SecurityKey(maker.batch(), flags=UP)
    credential = register(key, maker.roots(), require_user_verification=False)
    assert authenticator_of(credential).kind is AuthenticatorKind.SINGLE_FACTOR_CRYPTOGRAPHIC
    assert aal(credential) == 1
    assert "PIN" in refused("user", key, maker.roots()).remedy


def test_a_root_counts_only_for_the_models_it_is_trusted_for(maker):
    assert register(SecurityKey(maker.batch()), maker.roots(aaguids=[AAGUID])).hardware_bound
    other = maker.roots(aaguids=["ffffffff-ffff-ffff-ffff-ffffffffffff"])
    assert not register(SecurityKey(maker.batch()), other).hardware_bound


def test_a_format_that_is_not_verified_vouches_for_nothing(maker):
    key = SecurityKey(maker.batch())
    key.format = "tpm"
    credential = register(key, maker.roots())
    assert credential.attestation.type is AttestationType.UNVERIFIED
    assert aal(credential) == 2


def test_the_software_authenticator_attests_as_a_key_file_which_production_refuses():
    software = DevelopmentAuthenticator(FileSigner.generate(), origin=RP.origins[0])
    credential = register(None, response=software.create(CREATE))
    assert authenticator_of(credential).kind is AuthenticatorKind.FILE_KEY_DEVELOPMENT
    assert not credential.hardware_bound
    assert bound_key(authenticator_of(credential), profile="development", field="x").development
    with pytest.raises(UnsafeConfiguration):
        aal(credential)
    assert sign_in(None, credential, response=software.get(GET)).sign_count == 1


# -- attestation statements --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "batch",
    [
        {"aaguid": "ffffffff-ffff-ffff-ffff-ffffffffffff"},
        {"unit": "Something else"},
        {"unit": None},
        {"authority": True},
        {"critical": True},
    ],
)
def test_an_attestation_certificate_that_breaks_its_rules_is_refused(maker, batch):
    refused("attestation", SecurityKey(maker.batch(**batch)), maker.roots())


@pytest.mark.parametrize("batch", [{"end": -YEAR / 2}, {"start": YEAR}])
def test_an_attestation_certificate_out_of_date_vouches_for_nothing(maker, batch):
    assert not register(SecurityKey(maker.batch(**batch)), maker.roots()).hardware_bound


def test_a_certificate_of_the_makers_name_but_another_key_is_not_the_makers(maker):
    assert not register(SecurityKey(Maker(maker.name).batch()), maker.roots()).hardware_bound


def test_an_attestation_signed_with_another_key_than_its_certificates_is_refused(maker):
    (_, chain), (stolen, _) = maker.batch(), maker.batch()
    refused("attestation", SecurityKey((stolen, chain)), maker.roots())


@pytest.mark.parametrize(
    "statement",
    [
        {},
        {"alg": -7, "sig": b"x"},
        {"alg": -8, "sig": b"x"},
        {"alg": -7, "sig": b"x", "x5c": []},
        {"alg": -7, "sig": b"x", "x5c": [b"no certificate"]},
        {"alg": -7, "sig": b"x", "x5c": [b""] * 9},
        {"alg": -7, "sig": b"x", "ecdaaKeyId": b"y"},
    ],
)
def test_a_packed_statement_that_does_not_verify_is_refused(statement):
    key = SecurityKey()
    key.statement, key.format = statement, "packed"
    refused("attestation", key)


def test_a_none_statement_that_says_something_is_refused():
    key = SecurityKey()
    key.statement, key.format = {"sig": b"x"}, "none"
    refused("attestation", key)


def test_a_leaf_cannot_vouch_for_another_leaf(maker):
    """A batch key, got out of one device, must not make certificates."""
    stolen, chain = maker.batch()

    parent = x509.load_der_x509_certificate(chain[0])
    made = Maker("Forger")
    key, _ = made.batch()
    leaf = made._certificate(
        "forged", key, parent, stolen, authority=False, unit="Authenticator Attestation", aaguid=AAGUID
    )

    forged = [leaf.public_bytes(serialization.Encoding.DER), *chain]
    assert not register(SecurityKey((key, forged)), maker.roots()).hardware_bound


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b'{"roots":[{"name":"","certificate":""}]}',
        b'{"roots":[{"name":"x","certificate":"no PEM"}]}',
        b'{"roots":[],"roots":[]}',
        b'{"roots":[],"more":1}',
    ],
)
def test_roots_that_cannot_be_read_are_refused(document):
    with pytest.raises(InvalidInput):
        read_attestation_roots(document)


def test_a_batch_certificate_is_no_root(maker):

    pem = x509.load_der_x509_certificate(maker.batch()[1][0]).public_bytes(serialization.Encoding.PEM)
    with pytest.raises(InvalidInput, match="authority"):
        read_attestation_roots(json.dumps({"roots": [{"name": "x", "certificate": pem.decode()}]}).encode())


# -- what a browser sends ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("step", "change"),
    [
        ("origin", {"origin": "http://127.0.0.1:8782"}),
        ("origin", {"origin": "http://127.0.0.1:8781.evil.example"}),
        ("origin", {"crossOrigin": True}),
        ("origin", {"crossOrigin": None}),
        ("origin", {"topOrigin": "https://evil.example"}),
        ("client_data", {"type": "webauthn.get"}),
        ("challenge", {"challenge": b64u(b"d" * 32)}),
        ("client_data", {"challenge": 7}),
    ],
)
def test_client_data_of_something_else_is_refused(step, change):
    key = SecurityKey()
    key.client = change
    refused(step, key)


def test_a_key_made_for_another_relying_party_is_refused():
    key = SecurityKey()
    key.rp_id = "evil.example"
    refused("rp_id", key)


def test_nobody_present_is_refused():
    refused("user", SecurityKey(flags=UV))


@pytest.mark.parametrize("flags", [UP | UV | BS, UP | UV | 0x02, UP | UV | 0x20])
def test_flags_that_contradict_each_other_are_refused(flags):
    refused("structure", SecurityKey(flags=flags))


def test_extensions_are_read_over_and_bytes_behind_them_refused():
    key = SecurityKey()
    key.extensions = cbor.encode({"credProtect": 2})
    assert register(key).id == key.id
    key.extensions += b"\x00"
    refused("structure", key)


@pytest.mark.parametrize(
    "cose",
    [
        {3: -257, 1: 3, -1: b"n" * 256, -2: b"\x01\x00\x01"},
        {3: -8, 1: 1, -1: 6, -2: b"x" * 32},
        {1: 2, 3: -7, -1: 1, -2: b"x" * 32, -3: b"y" * 32},
        {1: 2, 3: -7, -1: 1, -2: b"x" * 32, -3: True},
        {1: 2, 3: -7, -1: 2, -2: b"x" * 32, -3: b"y" * 32},
        [],
    ],
)
def test_a_key_that_cannot_hold_a_passport_is_refused(cose, monkeypatch):
    key = SecurityKey()
    monkeypatch.setattr(key, "cose", lambda: cose)
    refused("structure", key)


@pytest.mark.parametrize("name", ["id", "rawId"])
def test_an_id_beside_the_signed_one_is_refused(name):
    response = SecurityKey().create(CREATE)
    response[name] = b64u(b"another")
    refused("credential", None, response=response)


@pytest.mark.parametrize(
    "response",
    [
        None,
        [],
        {},
        {"type": "public-key"},
        {"type": "public-key", "response": {}},
        {"type": "public-key", "response": {"clientDataJSON": "!"}},
        {"type": "public-key", "response": {"clientDataJSON": b64u(b"[]")}},
        {"type": "public-key", "response": {"clientDataJSON": b64u(b'{"type":1}')}},
        {"type": "public-key", "response": {"clientDataJSON": "A" * 10_000}},
    ],
)
def test_nonsense_is_refused_by_name_and_never_a_stack_trace(response):
    with pytest.raises(VerificationFailed):
        register(None, response=response if response is not None else {"type": None})


def test_a_member_that_stands_twice_in_the_client_data_is_refused():
    """One reader would see our origin, another the attacker's."""
    response = SecurityKey().create(CREATE)
    raw = b64u_decode(response["response"]["clientDataJSON"]).decode()
    doubled = raw[:-1] + ', "origin": "http://evil.example"}'
    response["response"]["clientDataJSON"] = b64u(doubled.encode())
    refused("client_data", None, response=response)


# -- authentication --------------------------------------------------------------------------------------------------------


def _failing(step, key, credential, **given):
    with pytest.raises(VerificationFailed) as failure:
        sign_in(key, credential, **given)
    assert failure.value.step == step, failure.value


def test_an_assertion_of_the_registered_key_is_accepted_and_counts():
    key = SecurityKey()
    credential = register(key)
    assertion = sign_in(key, credential)
    assert (assertion.sign_count, assertion.cloned, assertion.user_verified) == (1, False, True)


@pytest.mark.parametrize(
    ("stored", "count", "cloned"), [(0, 0, False), (5, 5, True), (5, 4, True), (5, 6, False), (5, 0, True)]
)
def test_a_counter_that_does_not_advance_tells_of_a_copy(stored, count, cloned):

    key = SecurityKey()
    credential = msgspec.structs.replace(register(key), sign_count=stored)
    key.count, key.step = count, 0
    assert sign_in(key, credential).cloned is cloned


def test_an_assertion_by_another_key_is_refused():
    key, thief = SecurityKey(), SecurityKey()
    credential = register(key)
    thief.credential = key.credential
    thief.handle = key.handle
    _failing("signature", thief, credential)


def test_a_credential_made_for_somebody_else_is_refused():
    key = SecurityKey()
    credential = register(key)
    key.handle = b64u(b"sub_other")
    _failing("credential", key, credential)


def test_a_registration_cannot_serve_as_an_assertion():
    key = SecurityKey()
    credential = register(key)
    key.client = {"type": "webauthn.create"}
    _failing("client_data", key, credential)


def test_eligibility_for_backup_that_changes_is_refused():
    key = SecurityKey()
    credential = register(key)
    key.flags |= BE
    _failing("user", key, credential)


def test_an_assertion_without_user_verification_is_refused_unless_asked_for():
    key = SecurityKey()
    credential = register(key)
    key.flags = UP
    _failing("user", key, credential)
    assert not sign_in(key, credential, require_user_verification=False).user_verified


def _flipped(response, name, place):
    """A copy of the response with one bit of a member changed."""
    raw = bytearray(b64u_decode(response["response"][name]))
    bit = place % (len(raw) * 8)
    raw[bit // 8] ^= 1 << bit % 8
    return {**response, "response": {**response["response"], name: b64u(bytes(raw))}}


@pytest.fixture(scope="module")
def answered():
    key = SecurityKey()
    return register(key), key.get(GET)


@given(st.sampled_from(["clientDataJSON", "authenticatorData", "signature"]), st.integers(0, 1 << 16))
@settings(max_examples=150, deadline=None)
def test_any_flipped_bit_of_an_assertion_fails(answered, name, place):
    credential, response = answered
    with pytest.raises(VerificationFailed):
        sign_in(None, credential, response=_flipped(response, name, place))


@pytest.fixture(scope="module")
def attested(maker):
    return SecurityKey(maker.batch()).create(CREATE)


@given(place=st.integers(0, 1 << 16))
@settings(max_examples=200, deadline=None)
def test_any_flipped_bit_of_an_attested_registration_fails_or_vouches_for_nothing(maker, attested, place):
    response = _flipped(attested, "attestationObject", place)
    try:
        assert not register(None, maker.roots(), response=response).hardware_bound
    except VerificationFailed:
        pass


# -- CBOR -------------------------------------------------------------------------------------------------------------------

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.binary(max_size=300)
    | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=9) | st.integers(-300, 300), inner, max_size=4)
    ),
    max_leaves=4,
)


@given(values)
@settings(max_examples=200, deadline=None)
def test_what_is_written_reads_the_same(value):
    assert cbor.decode(cbor.encode(value), what="x") == value


@pytest.mark.parametrize(
    "data",
    [
        "",
        "18",
        "1817",  # 23 in two bytes
        "190017",
        "1a0000ffff",
        "5f4101ff",  # indefinite
        "9fff",
        "bfff",
        "c001",  # a tag
        "f90000",  # floats
        "fb0000000000000000",
        "f7",  # undefined
        "f820",
        "a2010101 02".replace(" ", ""),  # a key twice
        "a1f500",  # a boolean key
        "a1410000",  # a byte string key
        "61ff",  # no UTF-8
        "5b7fffffffffffffff00",
        "9b0000000100000000",
        "81" * 40 + "00",
        "0000",
    ],
)
def test_cbor_that_authenticators_do_not_write_is_refused(data):
    with pytest.raises(InvalidInput):
        cbor.decode(bytes.fromhex(data), what="x")


@given(st.binary(max_size=200))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_read_or_refused(data):
    try:
        cbor.decode(data, what="x")
    except InvalidInput:
        pass


# -- beside another verifier ------------------------------------------------------------------------------------------------


def test_another_verifier_agrees_about_what_is_accepted(maker):
    webauthn = pytest.importorskip("webauthn", reason="the other verifier is a development dependency")
    formats = webauthn.helpers.structs.AttestationFormat
    pem = maker.root.public_bytes(serialization.Encoding.PEM)
    for batch in (None, "self", maker.batch()):
        key = SecurityKey(batch)
        response = key.create(CREATE)
        theirs = webauthn.verify_registration_response(
            credential=response,
            expected_challenge=b64u_decode(CHALLENGE),
            expected_rp_id=RP.id,
            expected_origin=list(RP.origins),
            require_user_verification=True,
            pem_root_certs_bytes_by_fmt={formats.PACKED: [pem]} if batch not in (None, "self") else None,
        )
        ours = register(key, maker.roots(), response=response)
        assert theirs.credential_id == key.credential
        assert theirs.aaguid == ours.aaguid
        answer = key.get(GET)
        signed = webauthn.verify_authentication_response(
            credential=answer,
            expected_challenge=b64u_decode(CHALLENGE),
            expected_rp_id=RP.id,
            expected_origin=list(RP.origins),
            credential_public_key=theirs.credential_public_key,
            credential_current_sign_count=0,
            require_user_verification=True,
        )
        assert signed.new_sign_count == sign_in(key, ours, response=answer).sign_count
    software = DevelopmentAuthenticator(FileSigner.generate(), origin=RP.origins[0])
    response = software.create(CREATE)
    theirs = webauthn.verify_registration_response(
        credential=response,
        expected_challenge=b64u_decode(CHALLENGE),
        expected_rp_id=RP.id,
        expected_origin=list(RP.origins),
        require_user_verification=True,
    )
    assert theirs.fmt == formats.NONE
