"""`key rotate`, `key signers` and `model credential`: on a running instance, on a stopped one, and under load."""

import json
import threading

import httpx2
import pytest
from tests.support.evidence import organisation, person
from tests.support.instance_gateways import InstanceGateway
from tests.support.instances import make_instance
from tests.support.running_api import running_api
from tests.support.softhsm import PIN, SoftHsm

from safeconduct.cli.application import run
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import FileSigner

UPSTREAM_KEY, NEXT_KEY = "upstream-canary-77aa", "upstream-canary-77bb"


@pytest.fixture
def bench(tmp_path):
    with running_api(tmp_path) as bench:
        yield bench


def cli(home, capsys, *words, status=0):
    found = run([*words, "--data", str(home)])
    out, err = capsys.readouterr()
    assert found == status, (words, found, out, err)
    return out if status == 0 else err


@pytest.mark.parametrize("name", ["issuer", "status", "token", "record-log", "decision-log", "root"])
def test_a_key_of_a_running_instance_rotates_by_command(bench, capsys, name):
    before = {
        one["key"]: one["kid"] for one in json.loads(cli(bench.home, capsys, "key", "signers", "--json"))
    }
    event = json.loads(cli(bench.home, capsys, "key", "rotate", name, "--json"))
    assert event["key"] == name
    listed = json.loads(cli(bench.home, capsys, "key", "signers", "--json"))
    if name != "root":
        assert event["previous"]["kid"] == before[name] != event["jwk"]["kid"]
        assert {one["kid"] for one in listed if one["key"] == name} == {before[name], event["jwk"]["kid"]}
    kids = [one["kid"] for one in listed if one["kid"]]
    assert len(kids) == len(set(kids))
    assert "verified" in cli(bench.home, capsys, "audit", "verify")


def test_a_key_of_a_stopped_instance_rotates_by_command(tmp_path, capsys):
    make_instance(tmp_path, clock=SystemClock()).close()
    home = tmp_path / "instance"
    for name in ("issuer", "record-log", "root"):
        cli(home, capsys, "key", "rotate", name)
    text = cli(home, capsys, "key", "signers")
    assert "issuer" in text
    assert "from the start" in text
    assert cli(home, capsys, "audit", "fsck").count("verified") == 2


def test_audit_verify_knows_both_keys_of_a_log(bench, capsys, tmp_path):
    with httpx2.Client() as client:
        logs = client.get(f"{bench.url}/.well-known/safeconduct").json()["logs"]
    old = logs["record"]["key"]
    assert httpx2.get(f"{bench.url}/log/record/key-history").status_code == 404
    cli(bench.home, capsys, "key", "rotate", "record-log")
    cli(bench.home, capsys, "key", "rotate", "token")
    bench.embedded.opened.record_log.checkpoint(force=True)
    with httpx2.Client() as client:
        new = client.get(f"{bench.url}/.well-known/safeconduct").json()["logs"]["record"]["key"]
        assert client.get(f"{bench.url}/log/record/key-history").text.count("key-change/v1") == 1
    assert new != old
    for key in (old, new):
        assert "verified" in cli(
            bench.home, capsys, "audit", "verify", f"{bench.url}/log/record", "--log-key", key
        )
    proof = tmp_path / "p.tlog-proof"
    cli(bench.home, capsys, "audit", "prove", "0", "--log", "record", "--log-key", old, "--out", str(proof))


def test_a_wrong_name_is_suggested_and_options_that_do_not_fit_are_refused(bench, capsys):
    assert "role key" in cli(bench.home, capsys, "key", "rotate", "isuer", status=1)
    assert "--finish" in cli(bench.home, capsys, "key", "rotate", "token", "--finish", status=2)
    assert "--to" in cli(bench.home, capsys, "key", "rotate", "operator", "--to", "awskms:x", status=2)


def test_a_place_that_cannot_be_reached_changes_nothing(bench, capsys):
    before = cli(bench.home, capsys, "key", "signers")
    text = cli(bench.home, capsys, "key", "rotate", "token", "--to", "awskms:arn:aws:kms:x", status=1)
    assert "SAFECONDUCT_KMS_CREDENTIALS" in text
    assert cli(bench.home, capsys, "key", "signers") == before
    cli(bench.home, capsys, "key", "rotate", "token")


@pytest.mark.xdist_group("softhsm")
def test_a_key_moves_into_a_token_by_command_and_the_pin_stands_nowhere(tmp_path, capsys, monkeypatch):
    hsm = SoftHsm(tmp_path)
    hsm.make_p256("issuer-1")
    make_instance(tmp_path, clock=SystemClock()).close()
    home = tmp_path / "instance"
    pin = tmp_path / "pin"
    pin.touch(mode=0o600)
    pin.write_text(PIN)
    monkeypatch.setenv("SAFECONDUCT_PKCS11_PIN_FILE", str(pin))
    text = cli(home, capsys, "key", "rotate", "issuer", "--to", hsm.reference("issuer-1"))
    listed = json.loads(cli(home, capsys, "key", "signers", "--json"))
    assert next(one["kept"] for one in listed if one["key"] == "issuer") == "pkcs11"
    assert PIN not in text
    for path in home.rglob("*"):
        assert path.is_dir() or PIN.encode() not in path.read_bytes()


# -- role keys ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "party", ["operator", "provider:lab-a", "organisation:org-a", "authority:us", "auditor"]
)
def test_a_partys_key_rotates_where_the_officers_keys_are_at_hand(bench, capsys, party):
    before = bench.embedded.key(party).kid
    made = json.loads(cli(bench.home, capsys, "key", "rotate", party, "--json"))
    trust = bench.record.state.trust
    assert made["kid"] != before
    assert trust[made["kid"]].added.may_sign == trust[before].added.may_sign
    assert trust[made["kid"]].added.jurisdiction == trust[before].added.jurisdiction
    assert trust[made["kid"]].added.provider == trust[before].added.provider
    assert trust[before].revoked.from_ > bench.now
    cli(bench.home, capsys, "status", "--as", party if party in ("operator", "auditor") else "operator")
    again = json.loads(cli(bench.home, capsys, "key", "rotate", party, "--json"))
    assert again["kid"] not in (before, made["kid"])


def test_a_compromised_partys_key_signs_no_more_from_that_moment(bench, capsys):
    old = (bench.home / "keys" / "roles" / "auditor.pem").read_bytes()
    cli(bench.home, capsys, "key", "rotate", "auditor", "--compromised")
    (bench.home / "keys" / "roles" / "auditor.pem").write_bytes(old)
    assert "revoked" in cli(bench.home, capsys, "status", status=1)


def test_two_officers_elsewhere_sign_the_change_of_a_partys_key(bench, capsys, tmp_path):
    keys = bench.home / "keys"
    officers = []
    for number in (1, 2):
        officer = tmp_path / f"officer-{number}.pem"
        (keys / "officers" / f"{number}.pem").rename(officer)
        officers += ["--officer-key", str(officer)]
    change, document = tmp_path / "change.json", tmp_path / "change.jws"
    before = bench.embedded.key("provider:lab-a").kid
    cli(bench.home, capsys, "key", "rotate", "provider:lab-a", status=1)
    cli(bench.home, capsys, "key", "rotate", "provider:lab-a", "--out", str(change))
    assert "does not know the new key yet" in cli(
        bench.home, capsys, "key", "rotate", "provider:lab-a", "--finish", status=1
    )
    assert FileSigner.from_pem((keys / "roles" / "provider-lab-a.pem").read_bytes()).kid == before
    cli(bench.home, capsys, "trust", "sign", str(change), *officers, "--out", str(document))
    cli(bench.home, capsys, "trust", "change", str(document))
    made = json.loads(cli(bench.home, capsys, "key", "rotate", "provider:lab-a", "--finish", "--json"))
    assert (
        FileSigner.from_pem((keys / "roles" / "provider-lab-a.pem").read_bytes()).kid == made["kid"] != before
    )
    assert not list(keys.rglob("*.next.*"))
    assert "no key" in cli(bench.home, capsys, "key", "rotate", "provider:lab-a", "--finish", status=1)


# -- under load --------------------------------------------------------------------------------------------------------


class Either:
    """Stands for the provider's credential while it takes several."""

    def __init__(self, *taken):
        self.taken = taken

    def __eq__(self, given):
        return given in self.taken

    def __hash__(self):
        return hash(self.taken)


class Load:
    """Requests one after the other on four threads until told to stop; every answer is kept."""

    def __init__(self, ask):
        self.answers, self._ask, self._stop = [], ask, threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]

    def _run(self):
        with httpx2.Client(timeout=30) as client:
            while not self._stop.is_set():
                try:
                    self.answers.append(self._ask(client))
                except Exception as error:
                    self.answers.append(repr(error))

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def wait(self, more):
        """Until so many further answers came."""
        goal = len(self.answers) + more
        for _ in range(3000):
            if len(self.answers) >= goal:
                return
            self._stop.wait(0.01)
        raise AssertionError("the load stands still")

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(30)


@pytest.fixture
def served(bench, capsys, tmp_path, monkeypatch):
    """A model added by command, and a person with a gateway key for it."""
    monkeypatch.setenv("UPSTREAM_KEY_ONE", UPSTREAM_KEY)
    monkeypatch.setenv("UPSTREAM_KEY_TWO", NEXT_KEY)
    signer = FileSigner.generate()
    for content in (
        {"organisation": organisation("org-load", at=bench.now)},
        {
            "person": {
                **person("person-load", signer, at=bench.now),
                "organisation": "org-load",
                "projects": [],
            }
        },
    ):
        (tmp_path / "c.json").write_text(json.dumps(content))
        (tmp_path / "c.jws").unlink(missing_ok=True)
        cli(
            bench.home, capsys, "evidence", "sign", str(tmp_path / "c.json"), "--out", str(tmp_path / "c.jws")
        )
        found = json.loads(cli(bench.home, capsys, "evidence", "import", str(tmp_path / "c.jws"), "--json"))
    cli(bench.home, capsys, "passport", "issue", found["subject"], "--out", str(tmp_path / "p.sd-jwt"))
    pem = tmp_path / "p.pem"
    pem.touch(mode=0o600)
    pem.write_bytes(signer.to_pem())
    with InstanceGateway(bench.embedded, credential=UPSTREAM_KEY.encode()) as gateway:
        cli(
            bench.home, capsys, "model", "add", "load-1", "--provider", "load-lab", "--kind", "openai-compatible",
            "--base-url", gateway.upstream, "--key-env", "UPSTREAM_KEY_ONE", "--grant-to", "org-load",
        )  # fmt: skip
        cli(
            bench.home, capsys, "grant", "give", "--as", "organisation:org-load", "--model", "load-1",
            "--purpose", "general", "--to-subject", found["subject"],
        )  # fmt: skip
        key = cli(
            bench.home, capsys, "key", "create", "--passport", str(tmp_path / "p.sd-jwt"), "--holder-key", str(pem),
            "--purpose", "general",
        ).strip()  # fmt: skip
        yield gateway, key, (tmp_path / "p.sd-jwt").read_text().strip(), signer


def chat(gateway, key):
    body = {"model": "load-1", "messages": [{"role": "user", "content": "hello"}], "max_tokens": 5}
    headers = {"authorization": f"Bearer {key}"}

    def ask(client):
        answer = client.post(f"{gateway.url}/v1/chat/completions", json=body, headers=headers)
        return answer.status_code if answer.status_code == 200 else answer.text

    return ask


def test_the_upstreams_key_changes_under_load_without_a_dropped_request(bench, served, capsys):
    gateway, key, *_ = served
    # The provider takes both for a while, as providers do.
    gateway._upstream.credential = Either(UPSTREAM_KEY.encode(), NEXT_KEY.encode())
    with Load(chat(gateway, key)) as load:
        load.wait(20)
        text = cli(bench.home, capsys, "model", "credential", "load-1-1", "--key-env", "UPSTREAM_KEY_TWO")
        # Whatever begins now carries the new key: the provider forgets the old one.
        load.wait(8)
        gateway._upstream.credential = NEXT_KEY.encode()
        load.wait(20)
    assert set(load.answers) == {200}
    assert NEXT_KEY not in text
    sent = gateway.seen[-1].headers[b"authorization"]
    assert sent == [b"Bearer " + NEXT_KEY.encode()]


def test_every_key_of_the_instance_rotates_under_load_without_a_dropped_request(bench, served, capsys):
    gateway, key, *_ = served
    with Load(chat(gateway, key)) as load:
        load.wait(10)
        for name in ("token", "issuer", "status", "record-log", "decision-log", "root"):
            cli(bench.home, capsys, "key", "rotate", name)
            load.wait(5)
    assert set(load.answers) == {200}


def test_a_credential_is_replaced_by_who_may_only(bench, served, capsys, monkeypatch):
    for words, said in ((("no-such",), "no deployment"), (("load-1-1", "--as", "auditor"), "may not")):
        text = cli(
            bench.home, capsys, "model", "credential", *words, "--key-env", "UPSTREAM_KEY_TWO", status=1
        )
        assert said in text
        assert NEXT_KEY not in text
    assert "--key-stdin" in cli(bench.home, capsys, "model", "credential", "load-1-1", status=2)
    # A line break in it would be a header of somebody else's choice.
    monkeypatch.setenv("BROKEN", "key\r\nx-injected: 1")
    text = cli(bench.home, capsys, "model", "credential", "load-1-1", "--key-env", "BROKEN", status=1)
    assert "visible ASCII" in text
