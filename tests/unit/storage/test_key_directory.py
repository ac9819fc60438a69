import os
import stat

import pytest

from safeconduct.kernel.errors import Conflict, InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import EDDSA
from safeconduct.storage.key_directory import KeyDirectory, jwks, read_root_key


def test_keys_are_made_private_and_read_back(tmp_path):
    keys = KeyDirectory(tmp_path / "keys")
    made = keys.make("issuer")
    log = keys.make("record-log", EDDSA)
    keys.make("roles/operator")
    keys.make_root()
    assert stat.S_IMODE((tmp_path / "keys").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "keys" / "roles").stat().st_mode) == 0o700
    for path in (tmp_path / "keys").rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
    again = KeyDirectory(tmp_path / "keys")
    again.check()
    assert again.signer("issuer").kid == made.kid
    assert again.signer("record-log").alg == log.alg == EDDSA
    assert again.names() == ["issuer", "record-log"]
    assert again.names("roles") == ["roles/operator"]
    assert len(read_root_key(tmp_path / "keys" / "root.key")) == 32


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_file_that_others_can_read_is_refused(tmp_path, mode):
    KeyDirectory(tmp_path).make("issuer")
    os.chmod(tmp_path / "issuer.pem", mode)
    with pytest.raises(UnsafeConfiguration, match="chmod 600"):
        KeyDirectory(tmp_path).signer("issuer")
    with pytest.raises(UnsafeConfiguration, match="readable by others"):
        KeyDirectory(tmp_path).check()


def test_an_exposed_root_key_is_refused(tmp_path):
    keys = KeyDirectory(tmp_path)
    keys.make_root()
    os.chmod(tmp_path / "root.key", 0o644)
    with pytest.raises(UnsafeConfiguration, match="readable by others"):
        keys.wrapper()
    with pytest.raises(UnsafeConfiguration):
        keys.check()


def test_a_key_behind_a_link_is_refused(tmp_path):
    keys = KeyDirectory(tmp_path / "keys")
    keys.make("issuer")
    (tmp_path / "keys" / "token.pem").symlink_to(tmp_path / "keys" / "issuer.pem")
    with pytest.raises(UnsafeConfiguration, match="regular file"):
        KeyDirectory(tmp_path / "keys").signer("token")


def test_a_key_directory_that_others_can_write_to_is_refused(tmp_path):
    keys = KeyDirectory(tmp_path / "keys")
    keys.make("issuer")
    os.chmod(tmp_path / "keys", 0o777)
    with pytest.raises(UnsafeConfiguration, match="write"):
        keys.check()


def test_an_absent_key_names_its_file_and_the_remedy(tmp_path):
    with pytest.raises(UnsafeConfiguration) as caught:
        KeyDirectory(tmp_path).signer("issuer")
    assert caught.value.field.endswith("issuer.pem")
    assert "init" in caught.value.remedy


def test_a_key_is_never_overwritten(tmp_path):
    keys = KeyDirectory(tmp_path)
    before = keys.make("issuer").kid
    with pytest.raises(Conflict):
        keys.make("issuer")
    keys.make_root()
    with pytest.raises(Conflict):
        keys.make_root()
    assert KeyDirectory(tmp_path).signer("issuer").kid == before


@pytest.mark.parametrize("name", ["../issuer", "/etc/passwd", "roles/../issuer", "a/b/c", "..", "", "Issuer"])
def test_a_name_that_leaves_the_directory_is_refused(tmp_path, name):
    with pytest.raises(InvalidInput):
        KeyDirectory(tmp_path).file(name)


def test_a_malformed_root_key_is_refused(tmp_path):
    path = tmp_path / "root.key"
    path.write_text("c2hvcnQ=\n")
    path.chmod(0o600)
    with pytest.raises(UnsafeConfiguration, match="32 bytes"):
        read_root_key(path)


def test_private_keys_appear_in_no_repr_and_no_jwks(tmp_path):
    keys = KeyDirectory(tmp_path)
    signer = keys.make("issuer")
    published = jwks([signer.verifying_key(), keys.make("token").verifying_key()])
    assert [set(key) for key in published["keys"]] == [{"kty", "crv", "x", "y", "kid", "alg", "use"}] * 2
    assert "PRIVATE" not in repr(keys) + repr(signer) + repr(keys.make_root())
