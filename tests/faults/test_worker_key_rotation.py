"""`key rotate` while workers run: their logs' key changes under load, and the root key is refused with the reason."""

import json
import threading

import pytest
from tests.support.nodes import Plant, Provider, key_request, logged, until

from safeconduct.cli.application import run
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(180)]


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with Provider() as provider:
        yield Plant(tmp_path_factory.mktemp("plant"), provider)


def command(plant, capsys, *words):
    status = run([*words, "--data", str(plant.home), "--url", plant.issuer, "--json"])
    out, err = capsys.readouterr()
    return status, out, err


def history(plant, worker):
    try:
        text = FileLogDirectory(plant.data / "decisions" / worker / "log").read("key-history")
    except FileNotFoundError:
        return 0
    return text.count(b"key-change/v1")


def test_the_workers_log_key_rotates_under_load_and_what_they_logged_verifies_by_either(plant, capsys):
    with plant.serve(workers=3):
        pass  # worker-3's log sleeps from now on
    statuses, stop = [], threading.Event()

    def load():
        while not stop.is_set():
            try:
                statuses.append(node.ask(key_request(plant.keys["ann"], close=True)).status)
            except Exception as error:
                statuses.append(repr(error))

    with plant.serve(workers=2) as node:
        before = KeyDirectory(plant.home / "keys").signer("worker-log").kid
        threads = [threading.Thread(target=load) for _ in range(3)]
        for thread in threads:
            thread.start()
        until(lambda: len(statuses) > 10)
        for changes in (1, 2):
            status, out, err = command(plant, capsys, "key", "rotate", "worker-log")
            assert status == 0, err
            event = json.loads(out)
            assert event["previous"]["kid"] == before != event["jwk"]["kid"]
            before = event["jwk"]["kid"]
            assert [history(plant, f"worker-{number}") for number in (1, 2, 3)] == [changes] * 3
        more = len(statuses) + 10
        until(lambda: len(statuses) > more)
        stop.set()
        for thread in threads:
            thread.join(30)
        assert set(statuses) == {200}
        # One that is killed comes back under the key that its log has by now.
        pids = node.processes()
        node.kill("worker-1")
        until(lambda: node.processes().get("worker-1", pids["worker-1"]) != pids["worker-1"])
        status, _, err = command(plant, capsys, "key", "rotate", "root")
        assert status == 1
        assert "while workers run" in err
        status, out, err = command(plant, capsys, "key", "rotate", "worker-log", "--compromised")
        assert status == 0, err
    assert not list((plant.home / "keys").glob("*.next.*"))
    # Every log, byte by byte, under the present key.
    assert len(logged(plant.data)["decision"]) >= len(statuses)
    # A backup knows the workers' key, too.
    assert run(["backup", str(plant.directory / "backup.tar"), "--data", str(plant.home)]) == 0
