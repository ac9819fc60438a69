"""Gateways that are not the control plane: what they do while it is away, cut off, killed, rolled back or tells them to stop."""

import time

import pytest
from tests.support.nodes import UPSTREAM_KEY, Plant, Provider, key_request, logged, until
from tests.support.relays import Relay

from safeconduct.gateway.freshness import BUDGETS
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.vocabulary import Level
from safeconduct.settings import read_settings
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.position_page import Position
from safeconduct.web.nodes.home import open_home
from safeconduct.web.nodes.shared import open_position

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(240)]
NOWHERE = Position(0, b"", 0.0, 0.0)
ENDLESS = "[[sandbox:endless]] go on"


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


class Site:
    """A control plane and one gateway that reaches it through a relay that a test can cut."""

    def __init__(self, directory, provider):
        self.plant = Plant(directory, provider)

    def __enter__(self):
        self.control = self.plant.control().start()
        self.relay = Relay("127.0.0.1", self.plant.api_port).start()
        self.place = self.plant.enrol("edge", control=self.relay.url)
        self.gateway = self.plant.gateway(self.place, port=self.plant.gateway_port, workers=1).start()
        return self

    def __exit__(self, *_):
        self.gateway.stop()
        self.relay.stop()
        self.control.stop()

    def settled(self):
        """Wait until the gateway follows again: a heartbeat made after this call, and a C3 request that passes."""
        ann, asked = self.plant.people["ann"], SystemClock().monotonic()
        page = open_position(self.place / "data")
        until(lambda: (page.read() or NOWHERE).as_of > asked, what="a heartbeat")
        until(lambda: self.gateway.ask(ann.request("cleared-model")).status == 200, what="a current gateway")

    def status(self, model, person="ann"):
        answer = self.gateway.ask(self.plant.people[person].request(model))
        return answer.status if answer.status == 200 else answer.code


@pytest.fixture(scope="module")
def site(tmp_path_factory, provider):
    with Site(tmp_path_factory.mktemp("site"), provider) as running:
        yield running


def test_a_gateway_holds_no_key_that_could_write_the_record(site):
    names = {path.name for path in site.place.rglob("*") if path.is_file()}
    assert {"root.key", "node.pem", "decision-log.pem"} <= names
    assert not {"record-log.pem", "token.pem", "issuer.pem", "status.pem"} & names


def test_neither_the_record_nor_the_wire_nor_a_file_shows_an_upstream_credential(site):
    site.settled()
    secret = b"upstream-canary-credential"
    assert secret not in bytes(site.relay.seen)
    for path in site.place.rglob("*"):
        if path.is_file() and "shared" not in path.parts:
            assert secret not in path.read_bytes(), path


def test_an_order_cuts_only_whom_it_hits_and_is_decided_by_at_once(site):
    site.settled()
    plant, gateway = site.plant, site.gateway
    hit = [
        gateway.stream(plant.people["fre"].request("cleared-model", text=ENDLESS, stream=True))
        for _ in range(3)
    ]
    spared = [
        gateway.stream(plant.people["ann"].request("cleared-model", text=ENDLESS, stream=True))
        for _ in range(3)
    ]
    plant.hand_in(plant.order("g-1"))
    for stream in hit:
        assert stream.ended.wait(20)
        assert b"LICENCE_MISSING" in stream.data
    assert site.status("open-model", "fre") == "LICENCE_MISSING"
    assert site.status("cleared-model") == 200
    assert not any(stream.ended.is_set() for stream in spared)
    for stream in (*hit, *spared):
        stream.close()


def test_cut_off_from_control_c3_ends_within_its_budget_the_rest_goes_on_and_all_recovers_by_itself(site):
    site.settled()
    plant, gateway = site.plant, site.gateway
    ann = plant.people["ann"]
    cleared = gateway.stream(ann.request("cleared-model", text=ENDLESS, stream=True))
    vetted = gateway.stream(ann.request("vetted-model", text=ENDLESS, stream=True))
    cut_at = time.monotonic()
    site.relay.cut()
    assert cleared.ended.wait(20)
    assert b"STATE_STALE" in cleared.data
    # The one timed promise: no more than the budget, and what a loaded machine adds.
    assert cleared.ended_at - cut_at < BUDGETS[Level.C3] + 2
    assert site.status("cleared-model") == "STATE_STALE"
    assert site.status("vetted-model") == 200
    assert site.status("open-model") == 200
    assert not vetted.ended.is_set()
    site.relay.heal()
    site.settled()
    assert not vetted.ended.is_set()
    vetted.close()


def test_a_silent_network_is_no_current_state(site):
    """The connection stays, the bytes do not come: heartbeats that are held back count for when they were made."""
    site.settled()
    site.relay.hold()
    until(lambda: site.status("cleared-model") == "STATE_STALE", what="the budget to run out")
    site.relay.heal()
    site.settled()


def test_control_is_killed_the_gateway_is_restarted_without_it_and_all_recovers(site):
    site.settled()
    stream = site.gateway.stream(site.plant.people["ann"].request("vetted-model", text=ENDLESS, stream=True))
    site.control.process.kill()
    site.control.process.wait()
    until(lambda: site.status("cleared-model") == "STATE_STALE", what="the budget to run out")
    assert site.status("vetted-model") == 200
    assert not stream.ended.is_set()
    stream.close()
    # What its verified copy is still good for, a restart does not take away: C0 and C1 for five minutes.
    assert site.gateway.stop() == 0
    site.gateway.start()
    assert site.status("open-model") == 200
    assert site.status("cleared-model") == "STATE_STALE"
    site.control = site.plant.control().start()
    site.settled()


def test_the_follower_is_killed_and_comes_back_with_its_copy(site):
    site.settled()
    before = site.gateway.processes()
    site.gateway.kill("follower")
    until(lambda: site.gateway.processes().get("follower") not in (None, before["follower"]))
    site.settled()
    assert site.gateway.processes()["worker-1"] == before["worker-1"]


def test_keys_and_credentials_are_replaced_under_a_gateway_that_follows(site, provider):
    site.settled()
    plant, gateway = site.plant, site.gateway
    before = plant.people["ann"].token()
    with plant.speak("operator") as client:
        client.post("/api/keys/token/rotate", {})
        client.post("/api/keys/record-log/rotate", {})
    # A heartbeat under the new key of the record, by the history that leads to it.
    site.settled()
    old_signer, plant.token_signer = plant.token_signer, KeyDirectory(plant.home / "keys").signer("token")
    assert plant.token_signer.kid != old_signer.kid
    ann = plant.people["ann"]
    assert gateway.ask(ann.request("cleared-model", token=before)).status == 200
    assert gateway.ask(ann.request("cleared-model")).status == 200
    with plant.speak("operator") as client:
        client.post("/api/deployments/open-model-1/credential", {"credential": "another-canary-credential"})
    provider.server.credential = b"another-canary-credential"
    until(lambda: site.status("open-model") == 200, what="the new credential")
    provider.server.credential = UPSTREAM_KEY


def test_a_gateway_struck_off_the_trust_list_serves_nobody(site):
    """Last: there is no way back but another enrolment."""
    site.settled()
    plant, gateway = site.plant, site.gateway
    stream = gateway.stream(plant.people["ann"].request("vetted-model", text=ENDLESS, stream=True))
    kid = open_home(read_settings({}, home=site.place)).signer().kid
    plant.change_trust({"revoke": [{"kid": kid, "from": int(time.time()) - 1, "cause": "lost"}]})
    assert stream.ended.wait(20)
    assert b"STATE_STALE" in stream.data
    answer = gateway.ask(key_request(plant.keys["ann"]))
    assert (answer.status, answer.code) == (503, "STATE_STALE")
    assert gateway.stop() == 0
    entries = logged(site.place / "data")
    causes = [one["cause"] for one in entries["completion"] if one["ended"] == "cut"]
    assert ["STATE_STALE"] in causes
    # Whatever was permitted here has its follow-up, whether it ended by itself, was cut, or was drained.
    permits = {one["decision"] for one in entries["decision"] if one["outcome"] == "permit"}
    assert permits == {one["decision"] for one in entries["completion"]}
