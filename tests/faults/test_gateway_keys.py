"""`safeconduct gateway rotate`: the keys that a gateway elsewhere holds itself, while it runs and while it does not."""

import json
import time

import pytest
from tests.support.nodes import Plant, Provider, key_request, logged, until

from safeconduct.cli.application import run
from safeconduct.settings import read_settings
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.web.nodes.home import open_home

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with Provider() as provider:
        yield Plant(tmp_path_factory.mktemp("plant"), provider)


@pytest.fixture(scope="module")
def control(plant):
    with plant.control() as running:
        yield running


@pytest.fixture
def command(capsys):
    def call(*words, status=0):
        found = run([*map(str, words), "--json"])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return json.loads(out) if status == 0 else err

    return call


def home_of(place):
    return open_home(read_settings({}, home=place))


def histories(place):
    found = []
    for path in sorted((place / "data" / "decisions").glob("*/log")):
        try:
            found.append(FileLogDirectory(path).read("key-history").count(b"key-change/v1"))
        except FileNotFoundError:
            found.append(0)
    return found


def serves(gateway, plant, model="open-model"):
    return gateway.ask(key_request(plant.keys["ann"], model, close=True)).status == 200


def test_every_key_of_a_gateway_is_replaced_and_it_serves_on(plant, control, command, tmp_path):
    place = plant.enrol("edge-k")
    first = home_of(place).signer().kid
    with plant.gateway(place, workers=2) as gateway:
        assert serves(gateway, plant)
        # Of its decision logs: both processes take it up.
        made = command("gateway", "rotate", "decision-log", "--data", place)
        assert made["kid"] == home_of(place).keys.signer("decision-log").kid != made["previous"]
        assert histories(place) == [1, 1]
        # Of its root: not under processes that hold it.
        assert "stop the gateway" in command("gateway", "rotate", "root", "--data", place, status=1)
        # Of its place on the trust list: nothing changes before the officers' change, and then by itself, under an open stream.
        held = gateway.stream(
            plant.people["ann"].request("vetted-model", text="[[sandbox:endless]] go on", stream=True)
        )
        command("gateway", "rotate", "node", "--data", place, "--out", tmp_path / "change.json")
        assert "not in force" in command("gateway", "rotate", "node", "--finish", "--data", place, status=1)
        assert home_of(place).signer().kid == first
        change = json.loads((tmp_path / "change.json").read_text())
        assert '"d"' not in (tmp_path / "change.json").read_text()
        change["revoke"][0] |= {"from": int(time.time()), "cause": "compromised"}
        plant.change_trust(change)
        until(lambda: home_of(place).signer().kid != first, what="the new key in its place")
        # The old key is good for nothing by now: only the new one can keep the state this fresh.
        time.sleep(2.5)
        assert not held.ended.is_set()
        # C3 asks for a state so fresh that a busy machine may miss it for a moment; without the new key it would stay too old.
        until(
            lambda: gateway.ask(plant.people["ann"].request("cleared-model")).status == 200,
            what="a state fresh enough for C3",
        )
        held.close()
        assert "no key" in command("gateway", "rotate", "node", "--finish", "--data", place, status=1)
    # Stopped: its logs change where they lie, and its root key.
    command("gateway", "rotate", "decision-log", "--data", place)
    assert histories(place) == [2, 2]
    before = (place / "keys" / "root.key").read_bytes()
    assert command("gateway", "rotate", "root", "--data", place)["data_keys"] > 0
    assert (place / "keys" / "root.key").read_bytes() != before
    assert logged_by(place)
    with plant.gateway(place, workers=2) as gateway:
        assert serves(gateway, plant)
        assert serves(gateway, plant, "vetted-model")
    assert not list((place / "keys").glob("*next*"))


def logged_by(place):
    """Every log of the gateway, byte by byte, under its present key."""
    return logged(place / "data")["decision"]


def test_a_gateway_that_did_not_run_takes_its_new_key_up_by_command(plant, control, command, tmp_path):
    place = plant.enrol("edge-s")
    assert "start the gateway once" in command(
        "gateway", "rotate", "node", "--data", place, "--out", tmp_path / "early.json", status=1
    )
    with plant.gateway(place) as gateway:
        assert serves(gateway, plant)
    first = home_of(place).signer().kid
    command(
        "gateway", "rotate", "node", "--data", place, "--out", tmp_path / "change.json", "--overlap", "2h"
    )
    change = json.loads((tmp_path / "change.json").read_text())
    [added], [revoked] = change["add"], change["revoke"]
    assert (added["party"], added["may_sign"]) == ("gateway:edge-s", ["role:gateway"])
    assert revoked["kid"] == first
    assert 7100 < revoked["from"] - time.time() <= 7200
    plant.change_trust(change)
    kid = command("gateway", "rotate", "node", "--finish", "--data", place)["kid"]
    assert home_of(place).signer().kid == kid != first
    with plant.gateway(place) as gateway:
        assert serves(gateway, plant)
        # Struck off, it is told so, and no new key of its own making brings it back.
        plant.change_trust({"revoke": [{"kid": kid, "from": int(time.time()), "cause": "compromised"}]})
        until(lambda: not serves(gateway, plant), what="the end")
        refused = command(
            "gateway", "rotate", "node", "--data", place, "--out", tmp_path / "never.json", status=1
        )
        assert "struck off" in refused
        home_of(place).keys.prepare("node")
        time.sleep(1.5)
        assert not serves(gateway, plant)


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (("nod", "--finish"), 1, "did you mean 'node'"),
        (("node",), 2, "--out and --finish"),
        (("root", "--finish"), 2, "is for the key node"),
        (("decision-log", "--out", "x.json"), 2, "is for the key node"),
    ],
)
def test_what_does_not_fit_is_refused(command, tmp_path, words, status, said):
    assert said in command("gateway", "rotate", *words, "--data", tmp_path, status=status)


def test_a_root_rotation_that_was_killed_is_made_good_by_repeating_it(plant, control, command):
    place = plant.enrol("edge-r")
    with plant.gateway(place) as gateway:
        assert serves(gateway, plant)
    home = home_of(place)
    waiting = home.keys.prepare_root()
    keys, vault = home.open_vault()
    # Half of the data keys are under the new root key when the process dies.
    vault.put("note", "n", "sub-late", b"kept")
    assert keys._wrapper is not waiting
    vault.close()
    keys.close()
    command("gateway", "rotate", "root", "--data", place)
    keys, vault = home_of(place).open_vault()
    assert vault.get("note", "n") == b"kept"
    vault.close()
    keys.close()
    with plant.gateway(place) as gateway:
        assert serves(gateway, plant)
