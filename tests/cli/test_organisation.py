"""`organisation submit|list|show|decide|lei` against a running instance. The organisation is made up."""

import json

import msgspec
import pytest
from tests.support.running_api import running_api
from tests.unit.app_control.test_organisation_cases import LEI, application
from tests.unit.identity.test_golden_copy import as_csv, as_json, row

from safeconduct.cli.application import run
from safeconduct.kernel.clock import format_instant


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("organisation")) as bench:
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        found = run(["organisation", *map(str, words), "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


def _golden(bench, form=as_csv, **change):
    return form(
        row(
            LEI,
            **{
                "Entity.LegalName": "Acme Sample, Inc.",
                "Registration.LastUpdateDate": format_instant(bench.now - 1000),
                **change,
            },
        )
    )


def test_from_an_application_to_a_verified_organisation_and_a_lapse(cli, bench, tmp_path):
    file, golden = tmp_path / "acme.json", tmp_path / "golden"
    file.write_bytes(msgspec.json.encode(application()))
    published = format_instant(bench.now - 10)
    assert "missing  the LEI's record" in cli("submit", file)
    assert "outcome" in cli(
        "decide", "acme-sample", "--outcome", "approved", "--rationale", "looks fine", status=1
    )
    golden.write_bytes(_golden(bench))
    assert "1 of 1 LEIs found" in cli("lei", golden, "--published", published)
    assert "against" not in cli("show", "acme-sample")
    agreed = ("--outcome", "approved", "--rationale", "the index agrees")
    assert "acme-sample: approved" in cli("decide", "acme-sample", *agreed)
    assert bench.record.state.organisations["acme-sample"].registered.lei == LEI
    golden.write_bytes(_golden(bench, as_json, **{"Registration.RegistrationStatus": "LAPSED"}))
    found = json.loads(cli("lei", golden, "--published", published, "--json"))
    assert "lapsed" in found["refresh"]["acme-sample"]
    (listed,) = json.loads(cli("list", "--json"))["cases"]
    assert (listed["state"], listed["lei"]) == ("refresh_due", LEI)
    assert "Made-up" not in cli("list")
    assert "note" in cli("show", "acme-sample", "--as", "auditor")
    # A register's extract needs its number, and does not outweigh an index that says the number lapsed.
    extract = tmp_path / "extract.pdf"
    extract.write_bytes(b"made up")
    words = ("decide", "acme-sample", "--outcome", "approved", "--rationale", "x")
    assert "--register-extract" in cli(*words, "--register-extract", extract, status=2)
    words = (*words, "--register-extract", extract, "--register-number", "4711")
    assert "contradicts" in cli(*words, status=1)


def test_mistakes_are_named(cli, tmp_path):
    assert "no such file" in cli("lei", tmp_path / "absent", "--published", "2026-01-01", status=1)
    assert "--published" in cli("lei", tmp_path / "absent", "--published", "yesterday", status=2)
    assert "no case" in cli("show", "nobody", status=1)
    file = tmp_path / "bad.json"
    file.write_text('{"organisation": "x", "ial": 3}')
    assert "error: ial:" in cli("submit", file, status=1)
