"""The commands against a running instance: what they print, what they change, how they fail."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import typer
from tests.support.api_nodes import Person
from tests.support.evidence import organisation, person
from tests.support.running_api import running_api

from safeconduct.cli.application import application, run
from safeconduct.kernel.signing import FileSigner
from safeconduct.passport.claims import Claims
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("cli")) as bench:
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0, data=True):
        given = [*words, "--data", str(bench.home)] if data else list(words)
        found = run(given)
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


def _json(text):
    return json.loads(text)


def _write(path, value):
    path.write_text(value if isinstance(value, str) else json.dumps(value))
    return str(path)


def _private(path, signer):
    path.touch(mode=0o600)
    path.write_bytes(signer.to_pem())
    return str(path)


def test_status_says_where_and_how_much(cli, bench):
    text = cli("status")
    assert bench.url in text
    assert "development" in text
    assert _json(cli("status", "--json"))["ready"] is True


@pytest.mark.parametrize(
    ("words", "field", "remedy"),
    [
        (("model", "add", "x", "--provider", "p", "--kind", "opnai"), "--kind", "did you mean 'openai'"),
        (("model", "add", "x", "--provider", "p", "--kind", "openai"), "--key-env", "--key-stdin"),
        (
            ("model", "add", "x", "--provider", "p", "--kind", "openai", "--key-env", "NOT_SET_ANYWHERE"),
            "--key-env",
            "export it",
        ),
        (("model", "add", "x", "--provider", "p", "--kind", "openai-compatible"), "--base-url", "127.0.0.1"),
        (("model", "stage", "x", "--to", "genral"), "--to", "did you mean 'general'"),
        (
            (
                "grant",
                "give",
                "--as",
                "operator",
                "--model",
                "m",
                "--purpose",
                "general",
                "--to-subject",
                "s",
                "--for",
                "soon",
            ),
            "--for",
            "90d",
        ),
        (("audit", "tail", "--log", "recrd"), "--log", "did you mean 'record'"),
        (("directive", "rescind", "nonsense"), "DIRECTIVE", "AUTHORITY/NUMBER/VERSION"),
        (("completion", "bsh"), "SHELL", "did you mean 'bash'"),
    ],
)
def test_wrong_use_is_status_2_and_names_the_option_and_the_remedy(cli, words, field, remedy):
    text = cli(*words, status=2, data=words[0] != "completion")
    assert f"error: {field}" in text
    assert remedy in text


@pytest.mark.parametrize("words", [("modle", "list"), ("model", "lsit"), ("sttus",)])
def test_a_mistyped_command_is_suggested(cli, words):
    text = cli(*words, status=2, data=False)
    assert "Did you mean" in text


def test_a_refusal_is_status_1_with_the_servers_field_and_remedy(cli):
    text = cli("passport", "show", "psp_nobody", status=1)
    assert text.startswith("error: ")
    assert "remedy: " in text
    body = _json(cli("passport", "show", "psp_nobody", "--json", status=1))
    assert set(body) == {"error", "message", "field", "remedy"}


def test_no_instance_and_no_answer_say_what_to_do(bench, tmp_path, capsys):
    assert run(["status", "--data", str(tmp_path)]) == 1
    assert "safeconduct init" in capsys.readouterr().err
    assert run(["status", "--data", str(bench.home), "--url", "http://127.0.0.1:9"]) == 1
    assert "make run" in capsys.readouterr().err


def test_a_role_token_is_not_sent_to_somebody_else(cli):
    assert "is not this instance" in cli("status", "--url", "https://elsewhere.example", status=1)


def test_an_unknown_party_is_named_with_those_there_are(cli):
    text = cli("status", "--as", "provder:lab-a", status=1)
    assert "did you mean 'provider-lab-a'" in text


def test_from_evidence_to_a_dry_run_and_its_explanation(cli, bench, tmp_path):
    now = bench.now
    signer = FileSigner.generate()
    for content in (
        {"organisation": organisation("org-cli", at=now)},
        {"person": {**person("person-cli", signer, at=now), "organisation": "org-cli"}},
    ):
        file = _write(tmp_path / "content.json", content)
        signed = tmp_path / "content.jws"
        signed.unlink(missing_ok=True)
        cli("evidence", "sign", file, "--out", str(signed))
        found = _json(cli("evidence", "import", str(signed), "--json"))
    subject = found["subject"]
    assert (found["ial"], found["level"]) == (2, "C3")
    assert "claims" not in found
    passport = tmp_path / "person.sd-jwt"
    issued = _json(cli("passport", "issue", subject, "--out", str(passport), "--json"))
    assert passport.stat().st_mode & 0o777 == 0o600
    assert issued["passport"] in cli("passport", "show", issued["passport"])
    cli("passport", "issue", subject, "--out", str(passport), status=2)  # never overwritten
    key_file = _private(tmp_path / "person.pem", signer)
    key = cli(
        "key",
        "create",
        "--passport",
        str(passport),
        "--holder-key",
        key_file,
        "--level",
        "C2",
        "--loopback-only",
    ).strip()
    assert re.fullmatch(r"sc_\w+_\w+_\S+", key)
    listed = cli("key", "list")
    assert subject in listed
    assert key not in listed
    key_id = next(iter(_json(cli("key", "list", "--json"))))["registered"]["key"]
    assert key_id in cli("key", "revoke", key_id)
    denied = _json(cli("decide", subject, "swift-none", "--json"))
    assert denied["codes"] == ["MODEL_UNKNOWN"]
    assert "remedy:" in cli("decide", subject, "swift-none")
    explained = cli("explain", denied["decision"])
    assert denied["decision"] in explained
    assert "MODEL_UNKNOWN" in explained
    assert _json(cli("explain", denied["decision"], "--json"))["outcome"] == "deny"
    for verb, word in (("suspend", "suspended"), ("reinstate", "valid"), ("revoke", "invalid")):
        assert word in cli("passport", verb, issued["passport"], "--cause", "a test")


def test_a_mandate_is_signed_registered_and_revoked(cli, bench, tmp_path):

    who = Person(bench, "sub-principal", Claims(ial=2), organisation="org-a")
    bench.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation="org-b", jurisdiction="US"),
            ModelRegistered(model="agentic", provider="lab-a"),
            VariantRegistered(variant="agentic-1", model="agentic", level=1, compartments=()),
            GrantGiven(
                grant="g-agent",
                by_provider=None,
                by_organisation="org-a",
                to_organisation=None,
                to_group=None,
                to_subject="sub-principal",
                variants=("agentic-1",),
                purposes=("coding",),
                surfaces=("api", "agent"),
                regions=(),
                valid_from=bench.now,
                valid_until=bench.now + 86_400,
                approved_by=(),
                requested_by="x",
            ),
        ]
    )
    passport = _write(tmp_path / "p.sd-jwt", who.sd_jwt)
    holder = _private(tmp_path / "p.pem", who.signer)
    agent = _write(tmp_path / "agent.json", FileSigner.generate().public_jwk())
    mandate = tmp_path / "m.jws"
    common = ("--passport", passport, "--holder-key", holder)
    words = ("mandate", "sign", *common, "--agent", "agent-cli", "--agent-key", agent, "--model", "agentic-1")
    assert "did you mean 'coding'" in cli(*words, "--purpose", "codng", status=2)
    cli(*words, "--purpose", "coding", "--out", str(mandate))
    registered = _json(cli("mandate", "register", str(mandate), *common, "--json"))
    assert registered["agent"] == "agent-cli"
    assert registered["mandate"] in cli("mandate", "list")
    assert registered["mandate"] in cli("mandate", "revoke", registered["mandate"])


def test_a_directive_from_draft_to_rescission(cli, bench, tmp_path):

    bench.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation="org-b", jurisdiction="US"),
            ModelRegistered(model="ordered", provider="lab-a"),
            VariantRegistered(variant="ordered-1", model="ordered", level=1, compartments=()),
        ]
    )
    order = tmp_path / "order.json"
    cli(
        "directive",
        "draft",
        "2026-1",
        "--as",
        "authority:us",
        "--model",
        "ordered-1",
        "--legal-source",
        "Sample order",
        "--foreign-nationals",
        "--out",
        str(order),
        data=False,
    )
    annex = tmp_path / "exempt.jsonl"
    annex.write_text('{"legal_name":"Nobody Here","lei":"529900T8BM49AURSDO55"}\n')
    preview = _json(cli("directive", "preview", str(order), "--json"))
    assert set(preview["counts"]) == {"loses", "keeps", "gains", "untouched"}
    assert "lose" in cli("directive", "preview", str(order))
    jws = tmp_path / "order.jws"
    cli("directive", "sign", str(order), "--out", str(jws))
    assert "imported authority:us/2026-1/1" in cli("directive", "import", str(jws))
    cli("directive", "import", str(jws), status=1)
    assert "authority:us/2026-1/1" in cli("directive", "list")
    assert "rescind" in cli("directive", "rescind", "authority:us/2026-1/1")
    assert "rescinded from" in cli("directive", "list")
    cli("directive", "import", str(jws), "--as", "authority:us", status=1)


def test_a_trust_change_needs_the_two_officers(cli, tmp_path):
    key = FileSigner.generate()
    change = _write(
        tmp_path / "change.json",
        {
            "add": [
                {
                    "jwk": key.public_jwk(),
                    "party": "auditor:two",
                    "may_sign": ["role:auditor"],
                    "valid_from": 1_700_000_000,
                    "valid_until": 4_000_000_000,
                    "development": True,
                }
            ]
        },
    )
    document = tmp_path / "change.jws"
    cli("trust", "sign", change, "--out", str(document))
    broken = _json(document.read_text())
    broken["signatures"] = broken["signatures"][:1]
    assert "officers" in cli("trust", "change", _write(tmp_path / "one.jws", broken), status=1)
    assert "key_added" in cli("trust", "change", str(document))
    assert "auditor:two" in cli("trust", "list")


def test_the_logs_verify_and_prove(cli, bench, tmp_path):
    cli("decide", "sub-holder", "nothing")
    bench.log.checkpoint(force=True)
    bench.embedded.opened.record_log.checkpoint(force=True)
    text = cli("audit", "verify")
    assert text.count("verified") == 2
    places = [str(bench.home / "data" / "record" / "log"), f"{bench.url}/log/record"]
    for place in places:
        assert "verified" in cli("audit", "verify", place)
    report = _json(cli("audit", "verify", "--json"))
    assert all(one["ok"] for one in report)
    proof = tmp_path / "one.tlog-proof"
    cli("audit", "prove", "0", "--log", "record", "--out", str(proof))
    assert proof.read_text().startswith("c2sp.org/tlog-proof@v1")
    assert "instance_initialised" in cli("audit", "tail", "-n", "1000", "--log", "record")
    assert "decision" in cli("audit", "tail", "-n", "3")
    assert "99999" in cli("audit", "prove", "99999", status=2)


def test_a_flipped_byte_in_a_file_of_any_kind_fails_the_verification(cli, bench, tmp_path):
    """Every byte of every file is the log's own test; here: the command reads them all and says so by its status."""
    bench.embedded.opened.record_log.checkpoint(force=True)
    copy = tmp_path / "log"
    shutil.copytree(bench.home / "data" / "record" / "log", copy)
    verify = ["audit", "verify", str(copy), "--data", str(bench.home)]
    assert run(verify) == 0
    of_kind = {}
    for file in sorted(path for path in copy.rglob("*") if path.is_file() and path.stat().st_size):
        of_kind.setdefault(file.relative_to(copy).parts[:2], []).append(file)
    for file in {path for files in of_kind.values() for path in (files[0], files[-1])}:
        whole = file.read_bytes()
        data = bytearray(whole)
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
        assert run(verify) == 1, file
        file.write_bytes(whole)
    assert run(verify) == 0


def test_replay_from_files_alone(cli, bench):
    cli("decide", "sub-holder", "nothing")
    bench.log.checkpoint(force=True)
    bench.embedded.opened.record_log.checkpoint(force=True)
    sealed = _json(cli("replay", "--json"))
    assert sealed["equal"] == 0
    assert sealed["sealed"] > 0
    report = _json(cli("replay", "--root-key", str(bench.home / "keys" / "root.key"), "--json"))
    assert report["clean"] is True
    assert report["equal"] > 0
    assert "0 differences" in cli("replay", "--root-key", str(bench.home / "keys" / "root.key"))


def test_init_makes_an_instance_once(tmp_path, capsys):
    home = str(tmp_path / "new")
    assert run(["init", "--data", home, "--provider", "acme", "--json"]) == 0
    made = json.loads(capsys.readouterr().out)
    assert made["profile"] == "development"
    assert (tmp_path / "new" / "keys" / "roles" / "provider-acme.pem").stat().st_mode & 0o777 == 0o600
    assert run(["init", "--data", home]) == 1
    assert "never overwritten" in capsys.readouterr().err


def _commands(group, path=()):
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from _commands(command, (*path, name))
        else:
            yield (*path, name), command


def _all_commands():

    return dict(_commands(typer.main.get_command(application)))


@pytest.mark.parametrize("words", sorted(_all_commands()), ids=" ".join)
def test_every_command_has_help_an_example_and_json(words, capsys):
    assert run([*words, "--help"]) == 0
    text = capsys.readouterr().out
    assert "Example: safeconduct" in text
    if words != ("completion",):
        assert "--json" in text


def test_help_is_quick():
    environment = {**os.environ, "PYTHONPATH": "src"}
    program = (
        "import sys, safeconduct.cli.application as a; a.run(['--help']);"
        "heavy = {'litestar','sqlalchemy','cedarpy','uvicorn','httpx2','cryptography','msgspec','rich','jinja2'};"
        "sys.stderr.write(' '.join(sorted(heavy & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0
    assert done.stderr == ""


def test_reset_deletes_only_what_run_made_and_says_so_in_json(tmp_path, capsys):
    home = tmp_path / "kept"
    home.mkdir()
    (home / "letter.txt").write_text("mine")
    assert run(["reset", "--home", str(home), "--yes", "--json"]) == 1
    assert json.loads(capsys.readouterr().err)["remedy"] == "delete it yourself"
    assert (home / "letter.txt").exists()
    (home / "enrolling").touch()
    assert run(["reset", "--home", str(home), "--yes", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"directory": str(home), "deleted": True}
    assert not home.exists()
