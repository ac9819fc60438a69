"""npm `@sd-jwt` as the other side: it verifies what we issue and present, and we verify what it presents.

Wants node, and its packages: `npm install --prefix tests/vectors/passport/peer`, or `SAFECONDUCT_TEST_PEER` naming a
directory that holds the same. Skipped without; nothing is fetched here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.support.holders import (
    CLAIMS,
    HOLDER_KEY,
    ISSUER,
    ISSUER_KEY,
    NONCE,
    NOW,
    make_passport,
    make_presentation,
    verify,
)

from safeconduct.kernel.canonical import b64u

HERE = Path(__file__).resolve().parent / "peer"
MODULES = Path(os.environ.get("SAFECONDUCT_TEST_PEER", HERE)) / "node_modules"
NODE = shutil.which("node")

pytestmark = [
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(
        not (MODULES / "@sd-jwt").is_dir(), reason="npm @sd-jwt is not installed beside the tests"
    ),
]


@pytest.fixture(scope="module")
def answered():
    number = HOLDER_KEY._key.private_numbers().private_value
    asked = {
        "passport": make_passport(),
        "presentations": {
            "all": make_presentation(),
            "some": make_presentation(("ial", "citizenships")),
            "none": make_presentation(()),
            "changed": make_presentation()[:-4] + "AAAA",
            "another nonce": make_presentation(nonce="another"),
        },
        "issuer_jwk": ISSUER_KEY.public_jwk(),
        "holder_jwk": {
            **{name: HOLDER_KEY.public_jwk()[name] for name in ("kty", "crv", "x", "y")},
            "d": b64u(number.to_bytes(32, "big")),
        },
        "frame": {"ial": True, "level": True},
        "audience": ISSUER,
        "nonce": NONCE,
        "now": NOW,
    }
    ran = subprocess.run(
        [str(NODE), str(HERE / "peer.mjs")],
        input=json.dumps(asked),
        env={"PATH": os.environ["PATH"], "PEER_MODULES": str(MODULES)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-2_000:]
    return json.loads(ran.stdout)


@pytest.mark.parametrize(
    ("name", "shown"), [("all", {"ial", "role", "level"}), ("some", {"ial", "citizenships"}), ("none", set())]
)
def test_it_verifies_what_we_present_and_reads_what_we_disclosed(answered, name, shown):
    payload = answered["verified"][name]["payload"]
    assert shown <= set(payload)
    if name != "all":
        assert not ({"ial", "citizenships", "role", "level", "age_over_18"} - shown) & set(payload)
    if "ial" in shown:
        assert payload["ial"] == CLAIMS.ial


@pytest.mark.parametrize("name", ["changed", "another nonce"])
def test_it_refuses_what_we_refuse(answered, name):
    assert "error" in answered["verified"][name], answered["verified"][name]


def test_we_verify_what_it_presents(answered):
    verified = verify(answered["presentation"])
    assert (verified.claims.ial, verified.claims.level) == (CLAIMS.ial, CLAIMS.level)
    assert verified.claims.citizenships is None
    assert verified.holder_thumbprint == HOLDER_KEY.verifying_key().thumbprint
