"""The search for canaries finds them, in every form and wherever the product speaks; and a run with a leak fails."""

from __future__ import annotations

import base64
import logging
import os
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.support.canaries import CANARIES, LENGTH, forms
from tests.support.instances import make_instance
from tests.support.role_tokens import role_token

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import EDDSA, FileKeyWrapper, FileSigner
from safeconduct.passport import gateway_key
from safeconduct.web.problems import problem
from safeconduct.web.proxy.answers import answer_bytes

SECRET = "Zq7!kP/2 vR+9x=tWm?4"
ROOT = Path(__file__).resolve().parents[2]

SPELLINGS = {
    "raw": SECRET,
    "url": quote(SECRET, safe=""),
    "first 12": SECRET[:LENGTH],
    "hex": SECRET.encode().hex(),
    "base64": base64.b64encode(SECRET.encode()).decode(),
    "base64url": b64u(SECRET.encode()),
    "base64 after one": base64.b64encode(b"x" + SECRET.encode()).decode(),
    "base64 after two": base64.b64encode(b"xy" + SECRET.encode()).decode(),
    "base64 of a header": base64.b64encode(f"user:{SECRET}".encode()).decode(),
    "base64 of its first 12": base64.b64encode(SECRET[:LENGTH].encode() + b" and more").decode(),
}


@pytest.fixture(autouse=True)
def _planted():
    CANARIES.plant("the secret of this test", SECRET)
    yield
    CANARIES.forgiven()


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_canary_is_found_in_every_form(spelling):
    CANARIES.said("log", f"before {SPELLINGS[spelling]}, after")
    found = CANARIES.forgiven()
    assert found
    assert "the secret of this test in log" in found[0]
    assert not any(SECRET[:LENGTH] in note or SECRET[-6:] in note for note in found)


def test_what_holds_no_canary_is_not_accused():
    CANARIES.said("log", f"before {SECRET[1:]} {SECRET[: LENGTH - 1]} after")
    CANARIES.said("log", b"\xff\x00" * 1_000)
    assert CANARIES.forgiven() == []


def test_what_is_too_short_to_be_told_apart_is_refused():
    with pytest.raises(ValueError, match="everywhere"):
        forms(b"short")


def log_it():
    logging.getLogger("safeconduct.anything").debug("got %s", SECRET)


def log_it_with_a_traceback():
    try:
        raise RuntimeError(SECRET)
    except RuntimeError:
        logging.getLogger("safeconduct.anything").exception("failed")


def raise_it():
    InvalidInput("not a key", field="key", remedy=f"not {SECRET}")
    VerificationFailed(f"{SECRET} does not verify", step="signature")


def answer_with_it():
    answer_bytes(Head(), 401, SECRET.encode(), keep=True, date_line=b"", lines=b"")


def tell_it_as_a_problem():
    problem("invalid_input", f"bad {SECRET}")


def measure_it():
    measures = GatewayMeasures()
    measures.denied((SECRET,))
    measures.exposition()


@pytest.mark.parametrize(
    "leak", [log_it, log_it_with_a_traceback, raise_it, answer_with_it, tell_it_as_a_problem, measure_it]
)
def test_a_canary_is_found_wherever_the_product_speaks(leak):
    leak()
    assert CANARIES.forgiven()


def test_a_canary_is_found_in_the_bodies_of_entries(tmp_path):
    with make_instance(tmp_path) as embedded:
        opened = embedded.opened
        log = DecisionLog(opened.decision_log, opened.instance.vault, embedded.clock, node="n")
        log.refusal(("GRANT_MISSING",), route=SECRET, now=embedded.now)
        assert CANARIES.forgiven()
        log.refusal(("GRANT_MISSING",), route="x", now=embedded.now, holder="sub-1", asked=SECRET)
        assert CANARIES.forgiven()


@pytest.mark.parametrize("alg", ["ES256", EDDSA])
def test_private_keys_are_planted_as_they_are_made(alg):
    CANARIES.said("log", FileSigner.generate(alg).to_pem().replace(b"\n", b""))
    assert "a private key" in CANARIES.forgiven()[0]


def test_credentials_are_planted_as_they_are_given(tmp_path):
    root = os.urandom(32)
    FileKeyWrapper(root)
    key = gateway_key.generate("development", os.urandom)
    token = role_token(FileSigner.generate(), party="operator", audience="a", now=0)
    given = [b64u(root), key.text, token]
    with make_instance(tmp_path) as embedded:
        vault = embedded.opened.instance.vault
        vault.put(CREDENTIAL_KIND, "d", "deployment:d", b"sk-proj-0123456789")
        given.append("Bearer sk-proj-0123456789")
    for text in given:
        CANARIES.said("metric", text)
        assert CANARIES.forgiven(), text[:8]


def test_what_is_public_is_no_canary():
    signer = FileSigner.generate()
    key = gateway_key.generate("development", os.urandom)
    CANARIES.said("log", f"{signer.public_jwk()} {key.id} {key.sha256()}")
    assert CANARIES.forgiven() == []


LEAKING = """
import logging
from safeconduct.kernel.signing import FileSigner

def test_that_says_nothing():
    FileSigner.generate()

def test_that_leaks():
    signer = FileSigner.generate()
    logging.getLogger("safeconduct.x").warning("key %s", signer._key.private_numbers().private_value.to_bytes(32, "big").hex())

def test_that_says_nothing_afterwards():
    FileSigner.generate()
"""


def test_a_run_in_which_something_leaks_fails(tmp_path):
    (tmp_path / "test_leaking.py").write_text(LEAKING)
    path = os.pathsep.join([str(ROOT), *(entry for entry in sys.path if entry)])
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.conftest", "-p", "no:cacheprovider", "-p", "no:randomly",
         "--rootdir", str(tmp_path), "-c", os.devnull, str(tmp_path / "test_leaking.py")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": path}, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "a private key in log" in ran.stdout
    # The test that leaked, and the run as a whole in the teardown of its last test.
    assert "ERROR test_leaking.py::test_that_leaks" in ran.stdout
    assert "ERROR test_leaking.py::test_that_says_nothing_afterwards" in ran.stdout
    assert "3 passed, 2 errors" in ran.stdout
