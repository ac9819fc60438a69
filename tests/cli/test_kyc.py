"""The desk's and the applicant's commands against a running instance, and the demo applicant from nothing to an answer."""

import datetime as dt
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.evidence import PERSON_ORGANISATION, import_organisation
from tests.support.running_api import running_api

from safeconduct.cli.application import run
from safeconduct.cli.sample.utopia import Utopia

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("kyc")) as bench:
        import_organisation(bench.embedded)
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        found = run(["kyc", *map(str, words), "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


def test_fields_need_no_instance(capsys):
    assert run(["kyc", "fields"]) == 0
    text = capsys.readouterr().out
    assert "legal_name" in text
    assert "31 CFR 501.601" in text
    assert run(["kyc", "fields", "--json"]) == 0
    assert all(one["reason"] for one in json.loads(capsys.readouterr().out)["fields"])


def test_an_applicant_works_with_a_key_file_and_the_desk_with_role_keys(cli, bench, tmp_path):
    key = tmp_path / "me.pem"
    case = json.loads(cli("open", "C1", "--key", key, "--json"))["case"]
    assert key.stat().st_mode & 0o777 == 0o600
    statement = tmp_path / "statement.json"
    statement.write_text(
        json.dumps({"legal_name": "Anna Specimen Example", "email": "a@example.org", "purpose": "A test."})
    )
    assert "lacking" in cli("state", case, statement, "--key", key)
    utopia = Utopia(now=bench.now)
    authority = tmp_path / "utopia.der"
    authority.write_bytes(utopia.authority)
    digest = hashlib.sha256(utopia.authority).hexdigest()
    assert "1 imported" in cli("authorities", authority, "--sha256", digest)
    export = tmp_path / "passport.json"
    export.write_bytes(
        utopia.export(surname="Example", given_names="Anna Specimen", birth=dt.date(1990, 2, 28))
    )
    assert "SUPERIOR" in cli("document", case, export, "--key", key)
    assert "authenticator" in cli("submit", case, "--key", key, status=1)
    assert case in cli("own", "--key", key)
    assert "draft" in cli("case", case, "--key", key)
    assert "no case was handed in" in cli("list")
    assert "not assigned" in cli("show", case, status=1)
    assert "nothing to work on" in cli("assign", case, status=1)
    text = cli("withdraw", case, "--key", key)
    assert "withdrawn" in text
    assert "erased" in text
    assert "there is no case" in cli("case", case, "--key", key, status=1)


def test_mistakes_are_told_by_option(cli, tmp_path):
    key = tmp_path / "me.pem"
    assert "level" in cli("open", "C7", "--key", key, status=1)
    assert "organisation" in cli("open", "C2", "--key", key, status=1)
    case = json.loads(cli("open", "C2", "--organisation", PERSON_ORGANISATION, "--key", key, "--json"))[
        "case"
    ]
    assert "--as" in cli("affiliate", case, status=2)
    key.chmod(0o644)
    assert "remedy" in cli("own", "--key", key, status=1)


def test_the_demo_applicant_walks_from_nothing_to_an_answer_in_ten_seconds(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run(
        [sys.executable, "-m", "safeconduct", "kyc", "demo-applicant", "--json"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["seconds"] < 10
    assert "fable-5" in found["answer"]
    results = {step["step"].split(":", 1)[1].strip(): step["result"] for step in found["steps"]}
    assert results["hand in a passport's chip (passive authentication)"].startswith("SUPERIOR: signed by")
    assert "IAL2 AAL3 FAL2" in results["hand the case in"]
    assert results["decide"].startswith("approved until")
    assert len(found["steps"]) == 15
    assert not list(tmp_path.iterdir())


def test_the_demo_applicant_says_where_no_sample_runs(tmp_path, capsys):
    assert run(["kyc", "demo-applicant", "--home", str(tmp_path)]) == 1
    assert "make run" in capsys.readouterr().err
