"""A SoftHSM token (Debian's softhsm2) in a directory of its own. Absent: tests skip with a reason; with CI=true they fail."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

try:
    import pkcs11
    from pkcs11.util.ec import encode_named_curve_parameters
except ImportError:  # an optional extra
    pkcs11 = None

LIBRARIES = (
    "/usr/lib/softhsm/libsofthsm2.so",
    "/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so",
    "/usr/lib/aarch64-linux-gnu/softhsm/libsofthsm2.so",
)
EDWARDS25519 = bytes.fromhex("130c656477617264733235353139")
PIN = "canary-pin-4711"


def library():
    found = next((path for path in LIBRARIES if Path(path).exists()), None)
    if found is None:
        if os.environ.get("CI") == "true":
            pytest.fail("softhsm2 is not installed: apt-get install softhsm2")
        pytest.skip("softhsm2 is not installed (apt-get install softhsm2)")
    if pkcs11 is None:
        pytest.skip("python-pkcs11 is not installed")
    return found


class SoftHsm:
    """One token per process: the library reads its configuration once. Keys are made by their label."""

    def __init__(self, directory):
        self.module = library()
        self.label = "safeconduct"
        configuration = directory / "softhsm2.conf"
        (directory / "tokens").mkdir()
        configuration.write_text(
            f"directories.tokendir = {directory / 'tokens'}\nobjectstore.backend = file\nlog.level = ERROR\n"
        )
        os.environ["SOFTHSM2_CONF"] = str(configuration)
        subprocess.run(
            [
                "softhsm2-util",
                "--init-token",
                "--free",
                "--label",
                self.label,
                "--so-pin",
                "1234",
                "--pin",
                PIN,
            ],
            check=True,
            capture_output=True,
        )
        pkcs11.unload(self.module)
        self.token = pkcs11.lib(self.module).get_token(token_label=self.label)

    def _open(self):
        try:
            return self.token.open(rw=True, user_pin=PIN)
        except pkcs11.UserAlreadyLoggedIn:
            return self.token.open(rw=True)

    def reference(self, name, **more):
        extra = "".join(f";{key}={value}" for key, value in more.items())
        return f"pkcs11:token={self.label};object={name}{extra}?module-path={self.module}"

    def make_p256(self, name, **attributes):
        with self._open() as session:
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters("secp256r1")},
                local=True,
            )
            parameters.generate_keypair(label=name, store=True, **attributes)

    def make_curve(self, name, curve):
        with self._open() as session:
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC,
                {pkcs11.Attribute.EC_PARAMS: encode_named_curve_parameters(curve)},
                local=True,
            )
            parameters.generate_keypair(label=name, store=True)

    def make_ed25519(self, name):
        with self._open() as session:
            parameters = session.create_domain_parameters(
                pkcs11.KeyType.EC_EDWARDS,
                {pkcs11.Attribute.EC_PARAMS: EDWARDS25519},
                local=True,
            )
            parameters.generate_keypair(
                mechanism=pkcs11.Mechanism.EC_EDWARDS_KEY_PAIR_GEN, label=name, store=True
            )

    def make_aes(self, name):
        with self._open() as session:
            session.generate_key(pkcs11.KeyType.AES, 256, label=name, store=True)
