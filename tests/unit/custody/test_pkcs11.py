"""Keys in a PKCS#11 token, against SoftHSM: signatures that JOSE accepts, wrapping with its context, and what is refused."""

import logging

import pytest
from joserfc import jws
from joserfc.jwk import ECKey
from tests.support.instances import make_instance, operator
from tests.support.softhsm import PIN, SoftHsm

from safeconduct.app.instance_keys import InstanceKeyRing
from safeconduct.app.rotate_key import RotateKey
from safeconduct.bootstrap import initialise_instance, key_rotation, open_instance
from safeconduct.custody import KeyCustody
from safeconduct.custody.pkcs11_token import read_reference
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import EDDSA, ES256, Secret, VerifyingKey
from safeconduct.settings import read_settings

pytestmark = pytest.mark.xdist_group("softhsm")


@pytest.fixture(scope="module")
def hsm(tmp_path_factory):
    hsm = SoftHsm(tmp_path_factory.mktemp("softhsm"))
    hsm.make_p256("sign")
    hsm.make_ed25519("log")
    hsm.make_aes("wrap")
    return hsm


@pytest.fixture
def custody():
    custody = KeyCustody(pkcs11_pin=Secret(PIN))
    yield custody
    log_out(custody)


def log_out(custody):
    """A token knows a process, not a session: without this the next test's PIN would not be asked for."""
    for token in custody._adapters["pkcs11"]._tokens.values() if custody._adapters else ():
        if token._session is not None:
            token._session.close()
            token._session = None


def test_a_jwt_signed_in_the_token_verifies_with_an_independent_library(hsm, custody):
    signer = custody.signer(hsm.reference("sign"), ES256)
    text = sign_jwt({"a": 1}, typ="test+jwt", signer=signer)
    jwk = signer.public_jwk()
    key = ECKey.import_key({name: jwk[name] for name in ("kty", "crv", "x", "y")})
    assert jws.deserialize_compact(text, key, algorithms=["ES256"]).payload == b'{"a":1}'
    assert signer.kid == VerifyingKey(jwk).thumbprint


def test_an_ed25519_key_signs_for_the_logs(hsm, custody):
    signer = custody.signer(hsm.reference("log"), EDDSA)
    assert VerifyingKey(signer.public_jwk()).verify(signer.sign(b"tree"), b"tree")


@pytest.mark.parametrize(("name", "alg"), [("sign", EDDSA), ("log", ES256)])
def test_a_key_for_another_algorithm_is_refused(hsm, custody, name, alg):
    with pytest.raises(InvalidInput, match="needs"):
        custody.signer(hsm.reference(name), alg)


def test_a_key_on_another_curve_is_refused(hsm, custody):
    hsm.make_curve("p384", "secp384r1")
    with pytest.raises(InvalidInput, match="neither P-256 nor Ed25519"):
        custody.signer(hsm.reference("p384"), ES256)


def test_what_is_wrapped_comes_back_under_its_context_only(hsm, custody):
    wrapper = custody.wrapper(hsm.reference("wrap"))
    wrapped = wrapper.wrap(b"k" * 32, b"context")
    assert b"k" * 8 not in wrapped
    assert wrapper.unwrap(wrapped, b"context") == b"k" * 32
    assert wrapper.wrap(b"k" * 32, b"context") != wrapped
    altered = bytes([wrapped[0] ^ 1]) + wrapped[1:]
    for data, context in ((wrapped, b"other"), (altered, b"context"), (wrapped[:-1], b"context"), (b"", b"")):
        with pytest.raises(InvalidInput, match="cannot decrypt"):
            wrapper.unwrap(data, context)


@pytest.mark.parametrize("name", ["absent", "wrap"])
def test_a_key_that_is_not_there_is_named(hsm, custody, name):
    with pytest.raises(UnsafeConfiguration, match="not exactly one"):
        custody.signer(hsm.reference(name), ES256)


def test_two_keys_under_one_label_are_refused(hsm, custody):
    hsm.make_p256("twice", id=b"\x01")
    hsm.make_p256("twice", id=b"\x02")
    with pytest.raises(UnsafeConfiguration, match="not exactly one"):
        custody.signer(hsm.reference("twice"), ES256)
    assert custody.signer(hsm.reference("twice", id="%02"), ES256).alg == ES256


def test_a_wrong_pin_is_said_without_the_pin(hsm, caplog):
    with caplog.at_level(logging.DEBUG), pytest.raises(UnsafeConfiguration) as failed:
        KeyCustody(pkcs11_pin=Secret("wrong-canary-pin")).signer(hsm.reference("sign"), ES256)
    assert "PIN" in str(failed.value)
    assert "wrong-canary-pin" not in str(failed.value) + caplog.text + repr(failed.value.__context__)


def test_no_pin_names_the_setting(hsm):
    with pytest.raises(UnsafeConfiguration, match="SAFECONDUCT_PKCS11_PIN_FILE"):
        KeyCustody().signer(hsm.reference("sign"), ES256)


def test_the_pin_may_lie_in_a_private_file_and_in_no_other(hsm, tmp_path):
    file = tmp_path / "pin"
    file.touch(mode=0o600)
    file.write_text(PIN + "\n")
    custody = KeyCustody(pkcs11_pin_file=file)
    assert custody.signer(hsm.reference("sign"), ES256).alg == ES256
    log_out(custody)
    file.chmod(0o640)
    with pytest.raises(UnsafeConfiguration, match="others can read"):
        KeyCustody(pkcs11_pin_file=file).signer(hsm.reference("sign"), ES256)


def test_a_missing_library_and_a_missing_token_are_told_apart(hsm, custody):
    with pytest.raises(UnsafeConfiguration, match="library cannot be loaded"):
        custody.signer("pkcs11:token=t;object=o?module-path=/nowhere.so", ES256)
    with pytest.raises(UnsafeConfiguration, match="not exactly one such token"):
        custody.signer(f"pkcs11:token=another;object=o?module-path={hsm.module}", ES256)
    with pytest.raises(UnsafeConfiguration, match="SAFECONDUCT_PKCS11_MODULE"):
        custody.signer("pkcs11:token=t;object=o", ES256)


@pytest.mark.parametrize(
    "reference",
    [
        "pkcs11:object=o",
        "pkcs11:token=t",
        "pkcs11:token=t;object=o?pin-value=1234",
        "pkcs11:token=t;object=o?pin-source=file:/x",
        "pkcs11:token=t;token=u;object=o",
        "pkcs11:token=t;object=o;colour=blue",
        "pkcs11:",
    ],
)
def test_a_reference_with_a_pin_a_gap_or_a_doubled_attribute_is_refused(reference):
    with pytest.raises(InvalidInput) as failed:
        read_reference(reference)
    assert "1234" not in str(failed.value)


def test_percent_signs_are_read_as_rfc_7512_writes_them():
    found = read_reference("pkcs11:token=my%20token;object=a%3Bb;id=%01%ff")
    assert found == {"token": "my token", "object": "a;b", "id": "\x01\xff"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_token_survives_a_lost_session(hsm, custody):
    signer = custody.signer(hsm.reference("sign"), ES256)
    signer._token._session.close()
    assert VerifyingKey(signer.public_jwk()).verify(signer.sign(b"again"), b"again")


def test_an_instance_with_all_its_keys_in_the_token(hsm, tmp_path):
    for name in ("issuer", "status", "token"):
        hsm.make_p256(f"i-{name}")
    for name in ("record-log", "decision-log"):
        hsm.make_ed25519(f"i-{name}")
    hsm.make_aes("i-root")
    settings = read_settings(
        {},
        home=tmp_path,
        api_port=0,
        gateway_port=0,
        pkcs11_pin=Secret(PIN),
        **{
            f"key_{name.replace('-', '_')}": hsm.reference(f"i-{name}")
            for name in ("issuer", "status", "token", "record-log", "decision-log", "root")
        },
    )
    initialise_instance(settings, profile="development")
    for path in settings.keys.rglob("*"):
        assert (
            path.is_dir()
            or "roles" in path.parts
            or "officers" in path.parts
            or b"pkcs11:" in path.read_bytes()
        )
        assert path.is_dir() or PIN.encode() not in path.read_bytes()
    with open_instance(settings) as opened:
        opened.instance.vault.put("note", "n", "sub", b"kept")
        before = opened.instance.keys.signer("token").kid
    with open_instance(settings) as opened:
        assert opened.instance.vault.get("note", "n") == b"kept"
        # Back into files, one by one, while what is outstanding verifies.
        for name in ("token", "record-log", "root"):
            key_rotation(opened).rotate(operator(), name, RotateKey())
        ring = InstanceKeyRing("token", opened.instance.record, opened.instance.keys, opened.instance.clock)
        assert ring(before) is not None
    with pytest.raises(UnsafeConfiguration, match="not where the settings say"):
        open_instance(settings)
    plain = read_settings({}, home=tmp_path, api_port=0, gateway_port=0, pkcs11_pin=Secret(PIN))
    with open_instance(plain) as opened:
        assert opened.instance.vault.get("note", "n") == b"kept"
        log_out(opened.keys._custody)


def test_a_running_instance_moves_its_keys_into_the_token(hsm, custody, tmp_path):
    hsm.make_p256("r-token")
    hsm.make_aes("r-root")
    with make_instance(tmp_path) as embedded:
        opened = embedded.opened
        opened.keys._custody = custody
        opened.instance.vault.put("note", "n", "sub", b"kept")
        opened.keys.prepare("token", hsm.reference("r-token"))
        opened.keys.prepare_root(hsm.reference("r-root"))
        key_rotation(opened).rotate(operator(), "token", RotateKey())
        key_rotation(opened).rotate(operator(), "root", RotateKey())
        assert opened.keys.reference("token").startswith("pkcs11:")
        assert opened.instance.vault.get("note", "n") == b"kept"
        assert not (embedded.settings.keys / "root.key").read_bytes().startswith(b"A" * 44)


def test_settings_show_no_pin():
    settings = read_settings({"SAFECONDUCT_PKCS11_PIN": PIN})
    assert PIN not in repr(settings)
