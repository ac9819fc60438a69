"""`model add` is all it takes: from a key at an upstream to an answer through the gateway, by commands only."""

import contextlib
import io
import json

import httpx2
import pytest
from tests.support.evidence import organisation, person
from tests.support.instance_gateways import InstanceGateway
from tests.support.running_api import running_api

from safeconduct.cli.application import run
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Role

UPSTREAM_KEY = "upstream-canary-77aa"
CHAT = {"messages": [{"role": "user", "content": "hello there"}], "max_tokens": 50}


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("model-add")) as bench:
        yield bench


@pytest.fixture(scope="module")
def gateway(bench):
    with InstanceGateway(bench.embedded, credential=UPSTREAM_KEY.encode()) as gateway:
        yield gateway


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        found = run([*words, "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


class Member:
    """A person of a verified organisation, with a gateway key."""

    def __init__(self, cli, bench, home, name):
        signer = FileSigner.generate()
        self.organisation = f"org-{name}"
        for content in (
            {"organisation": organisation(self.organisation, at=bench.now)},
            {
                "person": {
                    **person(f"person-{name}", signer, at=bench.now),
                    "organisation": self.organisation,
                    "projects": [],
                }
            },
        ):
            (home / "content.json").write_text(json.dumps(content))
            (home / "content.jws").unlink(missing_ok=True)
            cli("evidence", "sign", str(home / "content.json"), "--out", str(home / "content.jws"))
            found = json.loads(cli("evidence", "import", str(home / "content.jws"), "--json"))
        self.subject = found["subject"]
        passport, key = home / f"{name}.sd-jwt", home / f"{name}.pem"
        cli("passport", "issue", self.subject, "--out", str(passport))
        key.touch(mode=0o600)
        key.write_bytes(signer.to_pem())
        words = (
            "--passport",
            str(passport),
            "--holder-key",
            str(key),
            "--level",
            "C1",
            "--purpose",
            "general",
        )
        self.key = cli("key", "create", *words, "--loopback-only").strip()

    def get(self, gateway, path):
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx2.get(gateway.url + path, headers=headers, trust_env=False)

    def chat(self, gateway, model):
        headers = {"authorization": f"Bearer {self.key}"}
        return httpx2.post(
            f"{gateway.url}/v1/chat/completions",
            json={"model": model, **CHAT},
            headers=headers,
            trust_env=False,
        )

    def models(self, gateway):
        return [one["id"] for one in self.get(gateway, "/v1/models").json()["data"]]


@pytest.fixture(scope="module")
def people(bench, tmp_path_factory):
    home = tmp_path_factory.mktemp("people")

    def quietly(*words):
        with contextlib.redirect_stdout(io.StringIO()) as out:
            assert run([*words, "--data", str(bench.home)]) == 0
        return out.getvalue()

    return [Member(quietly, bench, home, name) for name in ("ann", "bea")]


def test_after_model_add_and_a_grant_the_gateway_answers_and_lists_the_model(
    cli, bench, gateway, people, monkeypatch
):
    monkeypatch.setenv("UPSTREAM_KEY", UPSTREAM_KEY)
    ann, bea = people
    words = ["model", "add", "swift-1", "--provider", "acme", "--kind", "openai-compatible"]
    words += ["--base-url", gateway.upstream, "--upstream-model", "swift-1-upstream"]
    words += ["--key-env", "UPSTREAM_KEY", "--grant-to", ann.organisation]
    text = cli(*words)
    assert "upstream-canary" not in text
    assert bench.record.state.variants["swift-1"].stage == "general"
    assert bench.vault.get("upstream-credential", "swift-1-1") == UPSTREAM_KEY.encode()
    assert ann.chat(gateway, "swift-1").status_code == 403
    assert ann.models(gateway) == []
    assert gateway.seen == []

    following = text.splitlines()[-1].removeprefix("Next: safeconduct ").replace("SUBJECT", ann.subject)
    assert following.startswith(f"grant give --as organisation:{ann.organisation} ")
    cli(*following.split())
    answer = ann.chat(gateway, "swift-1")
    assert answer.status_code == 200, answer.text
    assert answer.json()["choices"][0]["message"]["content"]
    assert json.loads(gateway.seen[-1].body)["model"] == "swift-1-upstream"
    assert ann.models(gateway) == ["swift-1"]
    # Nobody else gained anything.
    assert bea.chat(gateway, "swift-1").status_code == 403
    assert bea.models(gateway) == []
    assert ann.key.encode() not in b"".join(
        b"".join(value) for one in gateway.seen for value in one.headers.values()
    )

    # The same once more for another organisation: no new upstream, one more grant.
    made = json.loads(cli(*words[:-1], bea.organisation, "--json"))
    assert [event["type"] for event in made["events"]] == ["grant_given"]
    cli(*made["next"][0].removeprefix("safeconduct ").replace("SUBJECT", bea.subject).split())
    assert bea.chat(gateway, "swift-1").status_code == 200

    cli("grant", "end", made["grants"][0]["grant"], "--as", "operator")
    assert bea.chat(gateway, "swift-1").status_code == 403
    assert ann.chat(gateway, "swift-1").status_code == 200


@pytest.mark.parametrize(
    ("kind", "path", "header"),
    [("openai", "/v1/chat/completions", "authorization"), ("anthropic", "/v1/messages", "x-api-key")],
)
def test_a_model_of_each_public_api_answers_under_the_operators_own_key(
    cli, bench, gateway, people, kind, path, header
):
    ann = people[0]
    key_file = bench.home / f"{kind}.key"
    key_file.write_text(f"{UPSTREAM_KEY}\n")
    words = ("model", "add", f"{kind}-model", "--provider", f"{kind}-api", "--kind", kind, "--json")
    words += ("--base-url", gateway.upstream, "--key-file", str(key_file), "--grant-to", ann.organisation)
    made = json.loads(cli(*words))
    cli(*made["next"][0].removeprefix("safeconduct ").replace("SUBJECT", ann.subject).split())
    answer = httpx2.post(
        gateway.url + path,
        json={"model": f"{kind}-model", **CHAT},
        headers={"x-api-key": ann.key, "anthropic-version": "2023-06-01"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    sent = gateway.seen[-1].headers
    assert UPSTREAM_KEY.encode() in b"".join(sent[header.encode()])
    assert ann.key.encode() not in b"".join(b"".join(value) for value in sent.values())


def test_a_local_server_needs_no_key_and_a_development_instance_grants_to_every_verified_organisation(
    cli, bench, people
):
    words = ("model", "add", "llama-8b", "--provider", "meta", "--kind", "openai-compatible")
    text = cli(*words, "--base-url", "http://127.0.0.1:8080/v1")
    assert "development instance" in text
    assert bench.vault.get("upstream-credential", "llama-8b-1") is None
    for one in people:
        assert f"to organisation {one.organisation}" in text
        assert f"--as organisation:{one.organisation}" in text
    # Registered but never verified.
    assert "org-a\n" not in text


def test_a_second_upstream_of_an_adopted_model_is_added(cli, bench, people):
    words = ("model", "add", "two", "--provider", "acme", "--kind", "openai-compatible", "--base-url")
    grant = ("--grant-to", people[0].organisation, "--level", "C2")
    cli(*words, "http://127.0.0.1:9/v1", *grant)
    cli(*words, "http://127.0.0.1:10/v1", *grant)
    listed = json.loads(cli("model", "list", "--json"))
    assert next(one for one in listed if one["variant"] == "two")["deployments"] == ["two-1", "two-2"]
    assert bench.record.state.variants["two"].required_level == 2


def test_a_lab_that_speaks_here_is_not_adopted_from(cli, bench, people):
    (bench.home / "key").write_text(UPSTREAM_KEY)
    before = bench.record.state.variants
    words = ("model", "add", "x", "--provider", "lab-a", "--organisation", "org-b", "--kind", "openai")
    text = cli(*words, "--key-file", str(bench.home / "key"), "--grant-to", people[0].organisation, status=1)
    assert "provider:lab-a" in text
    assert "upstream-canary" not in text
    assert bench.record.state.variants == before
    assert bench.vault.get("upstream-credential", "x-1") is None


def test_the_route_refuses_a_lab_its_variant_and_whoever_is_no_operator(bench):
    body = {
        "variant": "x",
        "provider": "lab-a",
        "organisation": "org-b",
        "kind": "openai-compatible",
        "base_url": "https://models.example/v1",
        "upstream_model": "x",
        "jurisdiction": "US",
        "credential": UPSTREAM_KEY,
        "grant_to": ["org-a"],
    }
    before = bench.record.state.position
    with bench.client() as client:
        for role in (None, *Role):
            answer = bench.call(client, "POST", "/api/models/adopt", role, body=body)
            assert answer.status_code == (401 if role is None else 403), (role, answer.text)
            assert "canary" not in answer.text
        assert (
            "releases its models here itself"
            in bench.call(client, "POST", "/api/models/adopt", Role.OPERATOR, body=body).json()["detail"]
        )
        for more in ({"stage": "general"}, {"by": "somebody"}, {"findings": []}):
            answer = bench.call(client, "POST", "/api/models/adopt", Role.OPERATOR, body={**body, **more})
            assert answer.status_code == 400
    assert bench.record.state.position == before
