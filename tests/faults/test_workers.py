"""Many workers on one port: one replay memory, one position; a killed one is replaced; nothing accepted is missing."""

import os
import signal
import threading

import pytest
from tests.support.nodes import Plant, Provider, key_request, logged, until

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def plant(tmp_path_factory, provider):
    return Plant(tmp_path_factory.mktemp("plant"), provider)


@pytest.fixture(scope="module")
def node(plant):
    with plant.serve(workers=2) as running:
        yield running


def test_both_workers_serve_the_port(plant, node):
    workers = {name: pid for name, pid in node.processes().items() if name.startswith("worker")}
    assert len(workers) == 2
    for _ in range(24):
        assert node.ask(key_request(plant.keys["ann"], close=True)).status == 200
    logs = plant.data / "decisions"
    sizes = [(logs / name / "log" / "checkpoint") for name in workers]
    until(
        lambda: all(int(path.read_text().split("\n")[1]) > 0 for path in sizes), what="both workers to decide"
    )


def test_a_proof_is_refused_at_whichever_worker_it_comes_back_to_and_after_a_restart(plant, node):
    ann = plant.people["ann"]
    data = ann.request("cleared-model")
    assert node.ask(data).status == 200
    for _ in range(12):  # fresh connections: the kernel spreads them over the workers
        answer = node.ask(data)
        assert (answer.status, answer.code) == (401, "BINDING_MISSING")
    before = node.processes()
    for name in ("worker-1", "worker-2"):
        node.kill(name)
    until(
        lambda: (
            len(node.processes()) == 3
            and not set(node.processes().values()) & {before["worker-1"], before["worker-2"]}
        )
    )
    answer = node.ask(data)
    assert (answer.status, answer.code) == (401, "BINDING_MISSING")


def test_a_revocation_reaches_every_worker_before_its_next_answer(plant, node):
    fre = plant.people["fre"]
    token = fre.token()
    answer = node.ask(fre.request("open-model", token=token))
    assert answer.status == 200
    streams = [
        node.stream(fre.request("cleared-model", text="[[sandbox:endless]] go on", stream=True))
        for _ in range(6)
    ]
    other = node.stream(
        plant.people["ann"].request("cleared-model", text="[[sandbox:endless]] go on", stream=True)
    )
    plant.hand_in(plant.order("w-1"))
    answers = [node.ask(fre.request("open-model", token=token)) for _ in range(8)]
    for stream in streams:
        assert stream.ended.wait(20)
        assert b"LICENCE_MISSING" in stream.data
    # Whoever answers first after the order is in: no worker decides by an older position than another already did.
    codes = [each.status for each in answers]
    assert codes == sorted(codes)
    assert codes[-1] == 403
    assert not other.ended.is_set()
    for stream in (*streams, other):
        stream.close()


class Load:
    """Clients that ask one after the other until told to stop. answered: ids of decisions; broken: connections lost."""

    def __init__(self, node, data, count=4):
        self.node = node
        self.data = data
        self.stopping = threading.Event()
        self.answered = []
        self.refused = []
        self.broken = 0
        self.threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        while not self.stopping.is_set():
            try:
                answer = self.node.ask(self.data, seconds=30)
            except (OSError, IndexError):
                self.broken += 1
                continue
            if answer.status == 200:
                self.answered.append(answer.headers["x-request-id"])
            else:
                self.refused.append(answer.status)

    def more(self, count):
        """Wait until so many more were answered."""
        seen = len(self.answered)
        until(lambda: len(self.answered) >= seen + count, what="answers")

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(40)


def test_drain_restart_and_kill_under_load_leave_no_accepted_request_out_of_the_log(plant, node):
    """Last: the node is stopped, and its logs are read."""
    load = Load(node, key_request(plant.keys["ann"], close=True))
    load.more(20)
    # In good order: what was accepted is answered, and connections wait for the new worker.
    before = node.processes()
    os.kill(before["worker-1"], signal.SIGTERM)
    until(lambda: node.processes().get("worker-1") not in (None, before["worker-1"]), what="a new worker")
    load.more(20)
    assert load.broken == 0
    node.kill("worker-2")
    until(lambda: node.processes().get("worker-2") not in (None, before["worker-2"]), what="a new worker")
    load.more(20)
    load.stop()
    assert load.refused == []
    # What a killed process had in hand breaks off; nobody else notices.
    assert load.broken <= len(load.threads)
    assert node.stop() == 0
    entries = logged(plant.data)
    permitted = {one["decision"] for one in entries["decision"] if one["outcome"] == "permit"}
    completed = {one["decision"] for one in entries["completion"]}
    assert set(load.answered) <= permitted
    # Everything permitted has its follow-up, what the killed worker had in hand as well.
    assert permitted == completed
    lost = [one for one in entries["completion"] if one["ended"] == "lost"]
    assert len(lost) <= len(load.threads)
