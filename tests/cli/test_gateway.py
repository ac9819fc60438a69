"""`gateway enrol`: what it makes, what it refuses, and that two officers let the gateway in."""

import json
import stat

import pytest
from tests.support.running_api import running_api

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.cli.application import run
from safeconduct.kernel.signing import EDDSA, FileSigner


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("api")) as bench:
        yield bench


class Done:
    def __init__(self, status, stdout, stderr):
        self.returncode, self.stdout, self.stderr = status, stdout, stderr


@pytest.fixture
def command(capsys):
    def call(*words):
        status = run([str(word) for word in words])
        return Done(status, *capsys.readouterr())

    return call


def test_enrolment_makes_a_home_and_a_change_that_two_officers_sign(bench, command, tmp_path):
    done = command("gateway", "enrol", "edge-1", "--control", bench.url, "--data", tmp_path / "gw", "--json")
    assert done.returncode == 0, done.stderr
    made = json.loads(done.stdout)
    opened = bench.embedded.opened
    verifier = LogVerifier.of(opened.descriptor.record_origin, opened.keys.signer("record-log"))
    assert made["record_key"] == verifier.text()
    for path in (tmp_path / "gw" / "keys").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
    text = (tmp_path / "gw" / "data" / "enrolment.json").read_text()
    [addition] = json.loads(text)["add"]
    assert (addition["party"], addition["may_sign"]) == ("gateway:edge-1", ["role:gateway"])
    assert '"d"' not in text
    change = tmp_path / "change.jws"
    signed = command("trust", "sign", made["enrolment"], "--out", change, "--data", bench.home)
    assert signed.returncode == 0, signed.stderr
    handed = command("trust", "change", change, "--data", bench.home, "--json")
    assert handed.returncode == 0, handed.stderr
    assert addition["kid"] in bench.record.state.trust
    again = command("gateway", "enrol", "edge-1", "--control", bench.url, "--data", tmp_path / "gw")
    assert again.returncode == 1
    assert "already" in again.stderr


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ["--record-key", LogVerifier.of("another/record", FileSigner.generate(EDDSA)).text()],
            "another key",
        ),
        (["--control", "http://control.example.org"], "loopback"),
        (["--control", "http://127.0.0.1:1"], "no control plane answers"),
        (["--days", "0"], "1 to 3650 days"),
    ],
)
def test_what_cannot_be_trusted_is_not_enrolled_with(bench, command, tmp_path, words, says):
    control = [] if "--control" in words else ["--control", bench.url]
    done = command("gateway", "enrol", "edge-2", *control, *words, "--data", tmp_path / "gw")
    assert done.returncode in (1, 2)
    assert says in done.stderr
    assert not (tmp_path / "gw" / "data" / "gateway.json").exists()


def test_a_directory_without_an_enrolment_is_no_gateway(command, tmp_path):
    done = command("gateway", "--data", tmp_path)
    assert done.returncode == 1
    assert "gateway enrol" in done.stderr


def test_workers_and_a_simulated_clock_do_not_go_together(bench, command):
    done = command("serve", "--data", bench.home, "--workers", "2", "--simulated-clock")
    assert done.returncode == 2
    assert "--workers" in done.stderr
