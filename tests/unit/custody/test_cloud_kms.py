"""Keys in the clouds' key services, each against a simulated one that checks the caller and really signs and wraps."""

import datetime
import json
import logging

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from tests.support.credentials import Credentials
from tests.support.instances import make_instance, operator
from tests.support.simulated_kms import ARN, RING, SECRET, SimulatedKms

from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.rotate_key import RotateKey
from safeconduct.bootstrap import initialise_instance, key_rotation, open_instance
from safeconduct.custody import KeyCustody
from safeconduct.custody.aws import sigv4
from safeconduct.custody.cloud import AccessTokens
from safeconduct.custody.google import crc32c
from safeconduct.custody.signature import raw_from_der
from safeconduct.kernel.errors import InvalidInput, KeyUnavailable, UnsafeConfiguration
from safeconduct.kernel.jose import parse_jws, sign_jwt
from safeconduct.kernel.signing import EDDSA, ES256, VerifyingKey
from safeconduct.settings import read_settings
from safeconduct.web.problems import oauth_error_of, problem_of

CLOUDS = ("awskms", "azurekms", "gcpkms")
VERSION = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def kms():
    kms = SimulatedKms()
    yield kms
    kms.close()


def credentials_file(directory, content, mode=0o600):
    path = directory / "kms.json"
    path.touch(mode=mode)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def custody(kms, tmp_path):
    return KeyCustody(kms_credentials=credentials_file(tmp_path, kms.credentials()))


def reference(kms, cloud, name, *, wraps=False):
    if cloud == "awskms":
        return f"awskms:{ARN}{name}"
    if cloud == "azurekms":
        return f"azurekms:{kms.url}/keys/{name}/{VERSION}"
    return f"gcpkms:{RING}{name}" + ("" if wraps else "/cryptoKeyVersions/1")


def wrapping_key(kms, cloud, name="wrap"):
    kms.make(name, "rsa" if cloud == "azurekms" else "aes")
    return reference(kms, cloud, name, wraps=True)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_jwt_signed_in_the_cloud_verifies_with_an_independent_library(kms, custody, cloud):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, cloud, "sign"), ES256)
    # Longer than a service takes at once: it is the digest that travels.
    text = sign_jwt({"a": "x" * 9000}, typ="test+jwt", signer=signer)
    jwk = signer.public_jwk()
    key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    assert json.loads(jws.deserialize_compact(text, key, algorithms=["ES256"]).payload) == {"a": "x" * 9000}


@pytest.mark.parametrize("cloud", ["awskms", "gcpkms"])
def test_an_ed25519_key_signs_for_the_logs(kms, custody, cloud):
    kms.make("log", "ed25519")
    signer = custody.signer(reference(kms, cloud, "log"), EDDSA)
    assert VerifyingKey(signer.public_jwk()).verify(signer.sign(b"tree"), b"tree")


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize(
    ("kind", "alg"), [("p256", EDDSA), ("p384", ES256), ("rsa", ES256), ("ed25519", ES256)]
)
def test_a_key_for_another_algorithm_is_refused(kms, custody, cloud, kind, alg):
    if cloud == "azurekms" and kind == "ed25519":
        kind = "rsa"
    kms.make("sign", kind)
    with pytest.raises(InvalidInput):
        custody.signer(reference(kms, cloud, "sign"), alg)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_is_wrapped_comes_back_under_its_context_only(kms, custody, cloud):
    wrapper = custody.wrapper(wrapping_key(kms, cloud))
    wrapped = wrapper.wrap(b"k" * 32, b"context")
    assert b"k" * 8 not in wrapped
    assert wrapper.unwrap(wrapped, b"context") == b"k" * 32
    altered = wrapped[:-1] + bytes([wrapped[-1] ^ 1])
    for data, context in ((wrapped, b"other"), (altered, b"context"), (wrapped[:20], b"context"), (b"", b"")):
        with pytest.raises(InvalidInput, match="cannot decrypt"):
            wrapper.unwrap(data, context)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_what_another_key_wrapped_does_not_open(kms, custody, cloud):
    wrapped = custody.wrapper(wrapping_key(kms, cloud)).wrap(b"k" * 32, b"context")
    with pytest.raises(InvalidInput, match="cannot decrypt"):
        custody.wrapper(wrapping_key(kms, cloud, "other")).unwrap(wrapped, b"context")


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_signature_by_another_key_of_the_service_is_not_passed_on(kms, custody, cloud):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, cloud, "sign"), ES256)
    kms.defect = "other-key"
    with pytest.raises(UnsafeConfiguration, match="does not verify"):
        signer.sign(b"data")


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("defect", ["redirect", "html", "absent", "away"])
def test_a_service_that_fails_is_named_and_nothing_secret_is_quoted(kms, custody, cloud, defect, caplog):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, cloud, "sign"), ES256)
    if defect == "absent":
        kms.keys.clear()
    else:
        kms.defect = defect
    with caplog.at_level(logging.DEBUG), pytest.raises(UnsafeConfiguration) as failed:
        signer.sign(b"data")
    assert SECRET not in str(failed.value) + caplog.text
    assert str(failed.value)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_wrong_credentials_are_refused_by_the_service_and_not_quoted(kms, tmp_path, cloud, caplog):
    content = json.loads(json.dumps(kms.credentials()).replace(SECRET, "canary-wrong-secret"))
    other = SimulatedKms()
    content["gcp"]["private_key"] = other.credentials()["gcp"]["private_key"]
    other.close()
    kms.make("sign", "p256")
    custody = KeyCustody(kms_credentials=credentials_file(tmp_path, content))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(UnsafeConfiguration, match="answered 40[13]") as failed,
    ):
        custody.signer(reference(kms, cloud, "sign"), ES256)
    assert "canary" not in str(failed.value) + caplog.text


@pytest.mark.parametrize("defect", ["damaged", "unverified"])
def test_what_was_damaged_on_its_way_is_noticed(kms, custody, defect):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, "gcpkms", "sign"), ES256)
    wrapper = custody.wrapper(wrapping_key(kms, "gcpkms"))
    wrapped = wrapper.wrap(b"k", b"c")
    kms.defect = defect
    for call in (lambda: signer.sign(b"data"), lambda: wrapper.wrap(b"k", b"c")):
        with pytest.raises(UnsafeConfiguration, match="damaged"):
            call()
    if defect == "damaged":
        with pytest.raises(UnsafeConfiguration, match="damaged"):
            wrapper.unwrap(wrapped, b"c")


@pytest.mark.parametrize("cloud", ["azurekms", "gcpkms"])
def test_one_access_token_serves_many_calls(kms, custody, cloud):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, cloud, "sign"), ES256)
    for _ in range(3):
        signer.sign(b"data")
    assert kms.seen.count("token") == 1


def test_an_access_token_is_fetched_again_before_it_ends():
    times, fetched = [0.0], []

    def fetch():
        fetched.append(1)
        return f"t{len(fetched)}", 300.0

    tokens = AccessTokens(fetch, monotonic=lambda: times[0])
    assert [tokens.get(), tokens.get()] == ["t1", "t1"]
    times[0] = 241.0
    assert tokens.get() == "t2"


# Made with another implementation of Signature Version 4.
VECTORS = {
    None: "259845166bfb9a72ba38b4851fceb4bac041c49bb7ea90f89580085656eca6c9",
    "session-token-example": "36ae226f40f49b7d9ed280252c40b3630b958f6ac05091961a53834f8c6fe8e8",
}


@pytest.mark.parametrize("session", list(VECTORS))
def test_signature_version_4_is_what_others_compute(session):
    headers = sigv4(
        host="kms.eu-west-1.amazonaws.com",
        region="eu-west-1",
        target="TrentService.Sign",
        body=b'{"KeyId":"arn:aws:kms:eu-west-1:111122223333:key/1234abcd"}',
        access_key_id="AKIDEXAMPLE",
        secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token=session,
        at=datetime.datetime(2026, 6, 11, 12, tzinfo=datetime.UTC),
    )
    assert headers["authorization"].endswith(VECTORS[session])


def test_crc32c_is_castagnolis():
    assert crc32c(b"123456789") == 0xE3069283


@pytest.mark.parametrize("der", [b"", b"\x30\x00", bytes(64), b"\x30\x06\x02\x01\x01\x02\x01\x01\x00"])
def test_what_is_no_der_signature_is_refused(der):
    with pytest.raises(InvalidInput):
        raw_from_der(der)


def test_a_p384_signature_in_der_is_refused():
    long = (1 << 380).to_bytes(48, "big")
    body = b"\x02\x30" + long + b"\x02\x30" + long
    with pytest.raises(InvalidInput):
        raw_from_der(b"\x30" + bytes([len(body)]) + body)


# -- what is missing is named --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", CLOUDS)
def test_without_credentials_the_setting_is_named(cloud):
    with pytest.raises(UnsafeConfiguration, match="SAFECONDUCT_KMS_CREDENTIALS"):
        KeyCustody().signer(f"{cloud}:x", ES256)


@pytest.mark.parametrize(
    ("member", "name"), [("aws", "secret_access_key"), ("azure", "tenant"), ("gcp", "private_key")]
)
def test_a_missing_member_is_named(kms, tmp_path, member, name):
    content = kms.credentials()
    del content[member][name]
    custody = KeyCustody(kms_credentials=credentials_file(tmp_path, content))
    with pytest.raises(UnsafeConfiguration, match=f"{member}.{name} is missing"):
        custody.signer({"aws": "awskms:x", "azure": "azurekms:x", "gcp": "gcpkms:x"}[member], ES256)


def test_credentials_that_others_can_read_are_refused(kms, tmp_path):
    file = credentials_file(tmp_path, kms.credentials())
    file.chmod(0o644)
    with pytest.raises(UnsafeConfiguration, match="others can read"):
        KeyCustody(kms_credentials=file).signer(f"awskms:{ARN}sign", ES256)


@pytest.mark.parametrize(
    "reference",
    [
        "awskms:key-1",
        "awskms:arn:aws:s3:eu-west-1:111122223333:key/1",
        "awskms:arn:aws:kms:eu-west-1@evil:111122223333:key/1",
        "azurekms:http://vault.example/keys/k/" + VERSION,
        "azurekms:https://vault.example/keys/k/" + VERSION,
        "azurekms:https://v.vault.azure.net.evil.example/keys/k/" + VERSION,
        "azurekms:https://v.vault.azure.net/secrets/k/" + VERSION,
        "azurekms:https://u:p@v.vault.azure.net/keys/k/" + VERSION,
        "azurekms:https://v.vault.azure.net/keys/k",
        "gcpkms:projects/p/locations/l/keyRings/r/cryptoKeys/k",
        "gcpkms:projects/p/../x/cryptoKeyVersions/1",
        "vaultkms:x",
        "x",
    ],
)
def test_a_reference_that_leads_elsewhere_is_refused_before_any_call(kms, custody, reference):
    with pytest.raises(InvalidInput):
        custody.signer(reference, ES256)
    assert kms.seen == [] or kms.seen == ["token"]


@pytest.mark.parametrize("text", ["pksc11:x", "/path", "http://x"])
def test_settings_refuse_a_place_that_there_is_not(text):
    with pytest.raises(InvalidInput, match="pkcs11:"):
        read_settings({"SAFECONDUCT_KEY_ISSUER": text})


# -- an instance ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cloud", CLOUDS)
def test_an_instance_with_its_root_and_issuer_in_the_cloud(kms, tmp_path, cloud):
    kms.make("issuer", "p256")
    settings = read_settings(
        {},
        home=tmp_path / "home",
        api_port=0,
        gateway_port=0,
        kms_credentials=credentials_file(tmp_path, kms.credentials()),
        key_issuer=reference(kms, cloud, "issuer"),
        key_root=wrapping_key(kms, cloud),
    )
    initialise_instance(settings, profile="development")
    with open_instance(settings) as opened:
        opened.instance.vault.put("note", "n", "sub", b"kept")
        assert opened.instance.keys.signer("issuer").sign(b"x")
    with open_instance(settings) as opened:
        assert opened.instance.vault.get("note", "n") == b"kept"
        assert [
            one["kept"] for one in key_rotation(opened).describe() if one["key"] in ("issuer", "root")
        ] == [
            cloud,
            cloud,
        ]


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_services_are_asked_for_the_root_once_and_a_lost_one_stops_the_start(kms, tmp_path, cloud):
    settings = read_settings(
        {},
        home=tmp_path / "home",
        kms_credentials=credentials_file(tmp_path, kms.credentials()),
        key_root=wrapping_key(kms, cloud),
    )
    initialise_instance(settings, profile="development")
    kms.seen.clear()
    with open_instance(settings) as opened:
        for number in range(5):
            opened.instance.vault.put("note", f"n{number}", f"sub-{number}", b"kept")
        assert len([call for call in kms.seen if call != "token"]) == 1
    kms.make("wrap", "rsa" if cloud == "azurekms" else "aes")
    with pytest.raises(UnsafeConfiguration, match="does not unwrap"):
        open_instance(settings)


@pytest.mark.parametrize("cloud", CLOUDS)
def test_the_root_key_moves_from_a_file_to_the_cloud_and_back(kms, custody, tmp_path, cloud):
    with make_instance(tmp_path) as embedded:
        opened = embedded.opened
        opened.keys._custody = custody
        for number in range(3):
            opened.instance.vault.put("note", f"n{number}", f"sub-{number}", b"kept")
        opened.keys.prepare_root(wrapping_key(kms, cloud))
        key_rotation(opened).rotate(operator(), "root", RotateKey())
        assert opened.keys.reference("root").startswith(cloud)
        opened.subject_keys._cache.clear()
        assert [opened.instance.vault.get("note", f"n{number}") for number in range(3)] == [b"kept"] * 3
        key_rotation(opened).rotate(operator(), "root", RotateKey())
        assert opened.keys.reference("root") == "file:"
        opened.subject_keys._cache.clear()
        assert opened.instance.vault.get("note", "n1") == b"kept"


@pytest.mark.parametrize("tell", [problem_of, lambda error: oauth_error_of(error)[1]])
def test_callers_learn_that_a_key_is_away_and_not_where_it_is_kept(kms, custody, tell):
    kms.make("sign", "p256")
    signer = custody.signer(reference(kms, "awskms", "sign"), ES256)
    kms.defect = "away"
    with pytest.raises(KeyUnavailable) as failed:
        signer.sign(b"data")
    told = str(tell(failed.value))
    assert "AWS" not in told
    assert "awskms" not in told
    assert problem_of(failed.value).status == oauth_error_of(failed.value)[0] == 503


def test_an_exchange_without_the_token_key_is_a_503_and_the_next_one_works(kms, custody, tmp_path):
    at = Credentials(tmp_path)
    kms.make("token", "p256")
    keys = at.embedded.opened.keys
    keys._custody = custody
    keys.prepare("token", reference(kms, "gcpkms", "token"))
    key_rotation(at.embedded.opened).rotate(operator(), "token", RotateKey())
    kms.defect = "away"
    with pytest.raises(KeyUnavailable):
        at.token()
    kms.defect = None
    ring = InstanceKeyRing("token", at.instance.record, at.instance.keys, at.instance.clock)
    assert ring(parse_jws(at.token().access_token).header["kid"]) is not None
    at.embedded.close()
