"""The story over the wire: its own server process, the vendors' clients, the logs proven afterwards."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from safeconduct.cli.log_entries import entries_of
from safeconduct.decision.entry import DecisionRecord
from safeconduct.inspection.replay import replay
from safeconduct.record.envelope import open_body, open_entry, read_entry, unsealed_part
from safeconduct.record.events import GrantGiven, decode, encode
from safeconduct.storage.subject_keys import open_subject_keys_read_only

pytestmark = [pytest.mark.xdist_group("story"), pytest.mark.timeout(400)]

LICENCE = ["LICENCE_MISSING"]
ALLOW = "allow"
# Typed from the table of the domain document, not read from what the story compares with.
TABLE = {
    ("us-citizen", "mythos-5"): [ALLOW] * 6,
    ("french-annexed", "mythos-5"): [ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW],
    ("french-annexed", "fable-5"): [ALLOW, LICENCE, LICENCE, LICENCE, LICENCE, ALLOW],
    ("french-subsidiary", "mythos-5"): [
        ALLOW,
        LICENCE,
        LICENCE,
        ["ORG_NOT_LISTED", *LICENCE],
        ["ORG_NOT_LISTED", *LICENCE],
        ALLOW,
    ],
    ("french-provider", "mythos-5"): [ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW],
    ("us-lpr", "mythos-5"): [ALLOW] * 6,
    ("undeclared", "mythos-5"): [
        ALLOW,
        ["NATIONALITY_UNDECLARED", *LICENCE],
        ["NATIONALITY_UNDECLARED", *LICENCE],
        ["NATIONALITY_UNDECLARED", "ORG_NOT_LISTED", *LICENCE],
        ["NATIONALITY_UNDECLARED", "ORG_NOT_LISTED", *LICENCE],
        ALLOW,
    ],
    ("french-misuse", "mythos-5"): [ALLOW, LICENCE, *[["PASSPORT_REVOKED"]] * 4],
    ("agent", "mythos-5"): [ALLOW, LICENCE, LICENCE, ALLOW, ALLOW, ALLOW],
    ("french-approved", "gpt-5.6-sol"): [ALLOW] * 6,
    ("french-unapproved", "gpt-5.6-sol"): [["ORG_NOT_LISTED"]] * 6,
}


def command(*words, **options):
    return subprocess.run(
        [sys.executable, "-m", "safeconduct", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def table_of(cells):
    table = {}
    for cell in cells:
        table.setdefault((cell["subject"], cell["variant"]), []).append(cell["observed"])
    return table


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    home = tmp_path_factory.mktemp("story") / "home"
    done = command("story", "june-2026", "--directory", home, "--json")
    assert done.returncode == 0, done.stderr
    return home, json.loads(done.stdout)


def test_the_table_of_june_2026_comes_out_cell_by_cell_with_its_codes(played):
    assert table_of(played[1]["cells"]) == TABLE


def test_replay_of_the_story_finds_no_difference(played):
    report = played[1]["replay"]
    assert report["clean"]
    assert report["differs"] == []
    # 66 cells; those of the revoked passport end at the token endpoint and are no model decisions.
    assert report["equal"] == 62


def test_replay_without_the_key_is_sealed_and_never_equal(played):
    home, _ = played
    done = command("replay", "--record", home / "data/record", "--log", home / "data/decisions/log", "--json")
    report = json.loads(done.stdout)
    assert (report["equal"], report["sealed"]) == (0, 62)


def test_replay_with_one_altered_grant_names_exactly_the_decisions_it_changed(played):
    home, _ = played
    record, _ = entries_of(home / "data/record/log")
    decisions, _ = entries_of(home / "data/decisions/log")
    record, decisions = list(record), list(decisions)
    altered, victim = [], None
    for entry in record:
        envelope = read_entry(entry)
        event = decode(open_body(envelope))
        kept = entry
        if victim is None and isinstance(event, GrantGiven) and event.to_subject is not None:
            victim = event.to_subject
            body = encode(msgspec.structs.replace(event, valid_until=event.valid_from + 1))
            kept = open_entry(
                body, uid=envelope.uid, seq=envelope.seq, time_ms=envelope.time, type=envelope.type
            )
        altered.append(kept)
    keys = open_subject_keys_read_only(home / "data/record", home / "keys/root.key")
    permits = set()
    for entry in decisions:
        envelope = read_entry(entry)
        if envelope.type == "decision":
            found = msgspec.json.decode(unsealed_part(envelope, keys.aead(envelope.key)), type=DecisionRecord)
            if found.request.holder == victim:
                permits.add(found.decision)
    assert permits
    report = replay(decisions, altered, keys.aead)
    keys.close()
    assert {one.decision for one in report.differs} == permits


def test_one_flipped_byte_fails_the_verification_of_the_story(played, tmp_path):
    home, _ = played
    copy = tmp_path / "copy"
    shutil.copytree(home, copy)
    target = sorted((copy / "data/decisions/log/tile").rglob("*"))[-1]
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 1
    target.write_bytes(data)
    done = command("audit", "verify", copy / "data/decisions/log", "--data", copy)
    assert done.returncode == 1
    assert "NOT VERIFIED" in done.stdout


def test_the_table_is_the_same_at_other_dates_and_under_other_names(tmp_path):
    home = tmp_path / "home"
    done = command("story", "june-2026", "--directory", home, "--shift-days", 200, "--rename", "--json")
    assert done.returncode == 0, done.stderr
    cells = json.loads(done.stdout)["cells"]
    names = dict.fromkeys(cell["variant"] for cell in cells)
    assert not set(names) & {"mythos-5", "fable-5", "gpt-5.6-sol"}
    assert {cell["date"] for cell in cells}.isdisjoint({"2026-06-12", "2026-06-26"})
    back = dict(zip(names, ("mythos-5", "fable-5", "gpt-5.6-sol"), strict=True))
    assert table_of([{**cell, "variant": back[cell["variant"]]} for cell in cells]) == TABLE


def test_nothing_that_serves_knows_the_expected_outcomes():
    source = Path(__file__).parents[2] / "src" / "safeconduct"
    for path in source.rglob("*.py"):
        if "story" in path.relative_to(source).parts:
            continue
        text = path.read_text()
        assert "expected.json" not in text, path
        if path.name != "application.py":
            assert "cli.story" not in text, path


def test_no_rule_names_a_model_or_a_country():
    source = Path(__file__).parents[2] / "src" / "safeconduct"
    rooms = "decision policy authorization record registry gateway app passport identity".split()
    for room in rooms:
        for path in (source / room).rglob("*.py"):
            text = path.read_text()
            for word in ("mythos", "fable-5", "gpt-5", '"FR"', '"US"', '"IN"'):
                assert word not in text, f"{path}: {word}"
