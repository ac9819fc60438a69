"""The fuzz targets hold on good inputs, on everything that ever broke them and on a few new inputs; and they do find defects."""

import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.fuzz.run import main, with_hypothesis
from tests.fuzz.targets import TARGETS

from safeconduct.gateway.metering import UsageMeter
from safeconduct.kernel.signing import VerifyingKey

VECTORS = Path(__file__).parents[1] / "vectors" / "fuzz"
FOUND = sorted(VECTORS.glob("*/*.bin"))


def test_there_is_a_target_for_everything_that_reads_strangers_bytes():
    assert set(TARGETS) >= {"presentation", "jws", "wal", "requests", "body", "stream", "lists"}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_holds_on_its_seeds(name):
    for seed in TARGETS[name].seeds:
        TARGETS[name].check(seed)


@pytest.mark.parametrize("path", FOUND, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_what_once_broke_a_promise_no_longer_does(path):
    TARGETS[path.parent.name].check(path.read_bytes())


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_holds_on_inputs_near_to_good_ones(name):
    target = TARGETS[name]

    @settings(max_examples=30)
    @given(target.strategy)
    def holds(data):
        target.check(data)

    holds()


@given(st.binary(max_size=80))
def test_every_target_takes_any_bytes(data):
    for target in TARGETS.values():
        target.check(data)


def test_a_signature_check_that_says_yes_is_found(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(VerifyingKey, "verify", lambda *_: True)
    assert with_hypothesis("jws", 30, tmp_path, seed=1) == 1
    assert "a token that nobody made was accepted" in capsys.readouterr().out
    (found,) = (tmp_path / "jws").iterdir()
    with pytest.raises(AssertionError):
        TARGETS["jws"].check(found.read_bytes())


def test_a_reader_that_depends_on_where_bytes_are_cut_is_found(monkeypatch, tmp_path):
    right = UsageMeter.feed

    def forgetful(self, data):
        return right(self, data) if len(data) > 1 or data != b":" else b""

    monkeypatch.setattr(UsageMeter, "feed", forgetful)
    assert with_hypothesis("stream", 30, tmp_path, seed=1) == 1


def test_the_runner_says_what_it_did(monkeypatch, capsys, tmp_path):
    given_ = [
        "run",
        "--seconds",
        "0.5",
        "--target",
        "wal",
        "--engine",
        "hypothesis",
        "--vectors",
        str(tmp_path),
    ]
    monkeypatch.setattr(sys, "argv", given_)
    assert main() == 0
    assert "wal: " in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
