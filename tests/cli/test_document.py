"""`document`: a synthetic state's passport is verified offline, and every refusal says what to do."""

import base64
import hashlib
import json
import time

import pytest
from tests.support.chips import YEAR, State, data_group_1, master_list, revocation_list, zone_td3

from safeconduct.cli.application import run

NOW = int(time.time())
TERM = {
    "start": NOW - 5 * YEAR,
    "end": NOW + 15 * YEAR,
    "signer_start": NOW - 4 * YEAR,
    "signer_end": NOW + 9 * YEAR,
}


def b64(data):
    return base64.b64encode(data).decode()


@pytest.fixture
def files(tmp_path):
    state = State(**TERM)
    sod, groups = state.issue(signing_time=NOW - 3 * YEAR)
    (tmp_path / "passport.json").write_text(json.dumps({"sod": b64(sod), "dg1": b64(groups[1])}))
    listed = master_list([state.authority], state.signer, state.signer_key)
    (tmp_path / "list.ml").write_bytes(listed)
    return tmp_path, hashlib.sha256(listed).hexdigest(), state


def check(files, *more):
    directory, digest, _ = files
    return run(
        [
            "document", "check", str(directory / "passport.json"), "--authorities", str(directory / "list.ml"),
            "--sha256", digest, *more,
        ]
    )  # fmt: skip


def test_a_passport_is_verified_under_the_list_that_the_operator_vouches_for(files, capsys):
    assert check(files, "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["genuine"], shown["specimen"], shown["revocation"]) == (True, True, "unknown")
    assert shown["document"]["surname"] == "ERIKSSON"
    assert check(files) == 0
    assert "a specimen: no real document" in capsys.readouterr().out


def test_without_the_digest_the_list_is_not_believed(files, capsys):
    directory, _, _ = files
    words = [
        "document",
        "check",
        str(directory / "passport.json"),
        "--authorities",
        str(directory / "list.ml"),
    ]
    assert run([*words, "--json"]) == 1
    assert "master list" in json.loads(capsys.readouterr().err)["remedy"]


def test_a_changed_data_group_and_a_revoked_signer_are_refused_by_name(files, capsys):
    directory, _, state = files
    (directory / "crl").write_bytes(
        revocation_list("Authority", state.key, [77], this_update=NOW - YEAR, next_update=NOW + YEAR)
    )
    assert check(files, "--revocations", str(directory / "crl"), "--json") == 1
    assert "revoked" in json.loads(capsys.readouterr().err)["message"]
    export = json.loads((directory / "passport.json").read_text())
    export["dg1"] = b64(data_group_1(names="MALLORY<<EVE"))
    (directory / "passport.json").write_text(json.dumps(export))
    assert check(files, "--json") == 1
    assert "data group 1 was changed" in json.loads(capsys.readouterr().err)["message"]


@pytest.mark.parametrize(
    ("content", "field"),
    [
        (b"[]", "export"),
        (b'{"dg1": "AA=="}', "sod"),
        (b'{"sod": 7}', "sod"),
        (b'{"sod": "not base64!"}', "sod"),
        (b'{"sod": "AA==", "EF.SOD": "AA=="}', "EF.SOD"),
        (b'{"sod": "AA==", "dg17": "AA=="}', "dg17"),
        (b'{"sod": "AA==", "sod": "AA=="}', ""),
        (b'{"sod": "' + b"A" * 400_000 + b'"}', "sod"),
        (b"<html>", ""),
        (b"\xff\xd8\xff" + b"%PDF-1.7", ""),
    ],
)
def test_what_is_no_export_is_refused_with_a_remedy(files, capsys, content, field):
    (files[0] / "passport.json").write_bytes(content)
    assert check(files, "--json") == 2
    told = json.loads(capsys.readouterr().err)
    assert field in told["field"]
    assert told["remedy"]


def test_a_zone_is_read_and_a_wrong_digit_fails(tmp_path, capsys):
    (tmp_path / "zone").write_text(zone_td3())
    assert run(["document", "mrz", str(tmp_path / "zone"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["citizen_of"] is None
    (tmp_path / "zone").write_text(zone_td3().replace("L898902C3", "L898902C4"))
    assert run(["document", "mrz", str(tmp_path / "zone")]) == 1
    assert "document_number" in capsys.readouterr().out
