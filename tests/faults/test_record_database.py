"""The record's database and its control processes fail in every way: nothing acknowledged is lost, nothing is written twice.

The machine's own PostgreSQL is never stopped: a proxy of the test's stands for "away", a private cluster is what gets killed.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Self

import pytest
from litestar.testing import TestClient
from tests.support import record_writer_process
from tests.support.log_roots import naive_root
from tests.support.postgres import Proxy, held, run, schema
from tests.support.record_homes import SIGNER, VERIFIER, PostgresHome, enrolled
from tests.support.role_tokens import role_token

import safeconduct
from safeconduct.app.decision_log import DecisionLog
from safeconduct.bootstrap import initialise_instance, open_instance
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Sector
from safeconduct.record.envelope import read_entry
from safeconduct.record.events.holders import OrganisationRegistered
from safeconduct.settings import read_settings
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.web.api.application import create_application
from safeconduct.web.api.assembly import node_of

SOURCE = Path(safeconduct.__file__).resolve().parents[1]
HANG = 40


@pytest.fixture
def home(tmp_path):
    with schema() as url:
        yield PostgresHome(tmp_path, url)


def written_once(home, acknowledged: dict[str, int]) -> list[bytes]:
    """The durable entries, after checking that each acknowledged uid stands where it was said, once, and in one order."""
    entries = home.durable_entries()
    envelopes = [read_entry(entry) for entry in entries]
    assert [one.seq for one in envelopes] == list(range(len(entries)))
    places = {one.uid: one.seq + 1 for one in envelopes}
    assert len(places) == len(entries)
    assert {uid: places.get(uid) for uid in acknowledged} == acknowledged
    return entries


def within(seconds: float, condition, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class Writers:
    """Threads that commit without end, each commit repeated until it is acknowledged."""

    def __init__(self, opened, threads: int = 4) -> None:
        self.acknowledged: dict[str, int] = {}
        self.denied = 0
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._write, args=(opened, one)) for one in range(threads)]

    def _write(self, opened, name) -> None:
        number = 0
        while not self._stop.is_set():
            number += 1
            once = f"w{name}.{number}"
            while True:
                try:
                    self.acknowledged[once] = opened.record.commit([enrolled(once)], once=once)
                    break
                except LogUnavailable:
                    self.denied += 1
                    if self._stop.wait(0.02):
                        return

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(HANG)

    def more(self, count: int) -> None:
        """Wait until so many more are acknowledged."""
        target = len(self.acknowledged) + count
        within(HANG, lambda: len(self.acknowledged) >= target, "no progress")


def test_backends_that_are_terminated_under_load_lose_nothing_and_repeat_nothing(home):
    opened = home.open()
    with Writers(opened) as writers:
        for purpose in ("sequencer", "follower", "submitter", "%", "sequencer", "%"):
            writers.more(15)
            # The name says the schema, so that other tests' connections are left alone.
            run(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                f" WHERE application_name LIKE 'safeconduct {purpose} {home.url.schema}'"
            )
        writers.more(15)
    entries = written_once(home, writers.acknowledged)
    assert VERIFIER.verify(opened.log.checkpoint(force=True)).root == naive_root(opened.entries())
    assert opened.record.state.position == len(entries)
    opened.close()


@pytest.mark.parametrize("way", ["cut", "silent"])
def test_while_the_database_is_away_every_write_is_denied_and_afterwards_it_goes_on(home, way, monkeypatch):
    monkeypatch.setattr("safeconduct.storage.postgres_schema.COMMAND_SECONDS", 0.8)
    monkeypatch.setattr("safeconduct.storage.postgres_schema.CONNECT_SECONDS", 0.8)
    with Proxy(home.url) as proxy:
        opened = home.open(url=proxy.url, timeout=2.0, stall=0.5)
        with Writers(opened, 2) as writers:
            writers.more(10)
            if way == "cut":
                proxy.cut()
            else:
                proxy.silent = True
            within(HANG, lambda: opened.log.failed is not None and writers.denied > 3, "nothing was denied")
            with pytest.raises(LogUnavailable):
                opened.record.commit([enrolled("away")])
            stood = len(home.durable_entries())
            time.sleep(0.2)
            assert len(home.durable_entries()) == stood
            proxy.cut()
            proxy.restore()
            writers.more(10)
        assert opened.log.failed is None
        entries = written_once(home, writers.acknowledged)
        assert not any(b"sub_away" in entry for entry in entries)
        opened.close()


def test_a_commit_whose_answer_is_lost_is_neither_lost_nor_repeated(home):
    with Proxy(home.url) as proxy:
        opened = home.open(url=proxy.url, stall=0.5)
        opened.record.commit([enrolled("first")])
        lost = []

        def drop_the_answer(data):
            # The commit reaches the database and its answer never comes back; then the connection is gone.
            if b"COMMIT" in data and not lost:
                lost.append(True)
                threading.Timer(0.3, proxy.cut).start()
                threading.Timer(0.5, proxy.restore).start()
                return "drop-answers"
            return None

        proxy.on_query = drop_the_answer
        acknowledged = {
            f"c{number}": opened.record.commit([enrolled(number)], once=f"c{number}") for number in range(5)
        }
        assert lost
        assert len(written_once(home, acknowledged)) == 6
        opened.close()


def test_a_connection_that_stops_in_the_middle_of_a_transaction_does_not_hold_the_record_up(
    home, monkeypatch
):
    monkeypatch.setattr("safeconduct.storage.postgres_schema.COMMAND_SECONDS", 1.0)
    with Proxy(home.url) as proxy:
        opened = home.open(url=proxy.url, stall=0.5)
        opened.record.commit([enrolled("first")])
        outcome = []
        with held(home.url, "SELECT size FROM record_head FOR UPDATE") as release:
            thread = threading.Thread(
                target=lambda: outcome.append(opened.record.commit([enrolled("held")], once="held"))
            )
            thread.start()
            within(HANG, lambda: _waiting(home) > 0, "the sequencer's transaction did not begin")
            proxy.silent = True
            release()
            time.sleep(0.3)
            # Its transaction holds the head's row on the server, and nobody will ever end it from here.
            proxy.restore()
        thread.join(HANG)
        assert outcome == [2]
        assert len(written_once(home, {"held": 2})) == 2
        opened.close()


def _waiting(home) -> int:
    return run(
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND (locktype = 'transactionid' OR relation ="
        f" to_regclass('{home.url.schema}.record_head'))"
    )[0][0]


# -- control processes -----------------------------------------------------------------------------------------------


class Process:
    """A control process of its own, with what it said."""

    def __init__(self, home, name: str, key: Path) -> None:
        self.lines: list[bytes] = []
        self.process = subprocess.Popen(
            [
                sys.executable,
                record_writer_process.__file__,
                home.url.shown,
                str(home.place / f"mirror-{name}"),
                str(key),
                name,
            ],
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._reader = threading.Thread(target=lambda: self.lines.extend(self.process.stdout), daemon=True)
        self._reader.start()

    @property
    def sequencing(self) -> bool:
        said = [line for line in self.lines if line.startswith(b"sequencing")]
        return bool(said) and not said[-1].endswith(b"None\n")

    @property
    def acknowledged(self) -> dict[str, int]:
        found = {}
        for line in list(self.lines):
            first, _, uid = line.partition(b" ")
            if first.isdigit() and uid.endswith(b"\n"):
                found[uid.strip().decode()] = int(first)
        return found

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(10)

    def more(self, count: int) -> None:
        target = len(self.acknowledged) + count
        within(HANG, lambda: len(self.acknowledged) >= target, "no progress")


@pytest.fixture
def processes(home, tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(SIGNER.to_pem())
    started: list[Process] = []

    def start(name: str) -> Process:
        started.append(Process(home, name, key))
        return started[-1]

    yield start
    for one in started:
        with contextlib.suppress(ProcessLookupError):
            one.process.send_signal(signal.SIGCONT)
        one.kill()
        one.process.stdout.close()


def test_kill_9_of_the_sequencing_process_loses_nothing_and_another_takes_over(home, processes):
    acknowledged: dict[str, int] = {}
    running = [processes("a"), processes("b")]
    for round in range(2):
        within(HANG, lambda: any(one.sequencing for one in running), "nobody sequences")
        for one in running:
            one.more(20)
        victim = next(one for one in running if one.sequencing)
        victim.kill()
        acknowledged |= victim.acknowledged
        running.remove(victim)
        running[0].more(20)
        running.append(processes(f"c{round}"))
    for one in running:
        one.kill()
        acknowledged |= one.acknowledged
    assert len(acknowledged) > 100
    entries = written_once(home, acknowledged)
    opened = home.open(create=False)
    assert opened.entries() == entries
    assert VERIFIER.verify(opened.log.checkpoint(force=True)).root == naive_root(entries)
    opened.close()


def test_a_sequencer_that_is_stopped_is_deposed_and_writes_nothing_when_it_wakes(home, processes):
    running = [processes("a"), processes("b")]
    within(HANG, lambda: any(one.sequencing for one in running), "nobody sequences")
    for one in running:
        one.more(10)
    stopped = next(one for one in running if one.sequencing)
    other = next(one for one in running if one is not stopped)
    stopped.process.send_signal(signal.SIGSTOP)
    other.more(20)
    assert other.sequencing
    stopped.process.send_signal(signal.SIGCONT)
    stopped.more(10)
    other.more(10)
    acknowledged = {}
    for one in running:
        one.kill()
        acknowledged |= one.acknowledged
    written_once(home, acknowledged)
    # Both processes' mirrors are of one tree.
    heads = [VERIFIER.verify((home.place / f"mirror-{name}" / "checkpoint").read_bytes()) for name in "ab"]
    entries = home.durable_entries()
    assert [head.root for head in heads] == [naive_root(entries[: head.size]) for head in heads]


# -- a database of our own that is killed ----------------------------------------------------------------------------


def _binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(one) for one in (shutil.which("initdb"),) if one
    ]
    return found[-1].parent if found else None


class Cluster:
    """A PostgreSQL server in a directory of the test's own."""

    def __init__(self, place: Path, user: str | None) -> None:
        self._place = place
        self._user = user
        binaries = _binaries()
        assert binaries is not None
        self._binaries = binaries
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port = probe.getsockname()[1]
        self._run("initdb", "-D", str(place / "pg"), "-U", "postgres", "-A", "trust", "--no-sync")

    def _run(self, name: str, *arguments: str) -> None:
        subprocess.run(
            [str(self._binaries / name), *arguments],
            user=self._user,
            cwd=self._place,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            check=True,
            capture_output=True,
            timeout=60,
        )

    def start(self) -> None:
        options = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=on"
        self._run(
            "pg_ctl",
            "-D",
            str(self._place / "pg"),
            "-w",
            "-l",
            str(self._place / "log"),
            "-o",
            options,
            "start",
        )

    def kill(self) -> None:
        """Signal 9 to every process of the server; the kernel keeps what was written, the server's memory is gone."""
        leader = int((self._place / "pg/postmaster.pid").read_text().split()[0])
        children = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(leader)], capture_output=True, text=True, check=False
        ).stdout.split()
        for pid in (leader, *map(int, children)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        within(HANG, lambda: not Path(f"/proc/{leader}").exists(), "the server did not end")

    def stop(self) -> None:
        with contextlib.suppress(subprocess.CalledProcessError):
            self._run("pg_ctl", "-D", str(self._place / "pg"), "-m", "immediate", "stop")


@pytest.fixture
def cluster():
    if _binaries() is None:
        pytest.skip("the PostgreSQL server's programs are not installed")
    user = None
    if os.geteuid() == 0:
        names = {entry.pw_name for entry in pwd.getpwall()}
        user = next((name for name in ("postgres", "nobody") if name in names), None)
        if user is None:
            pytest.skip("a PostgreSQL server does not run as root, and there is no other user")
    with tempfile.TemporaryDirectory(prefix="safeconduct-pg-", ignore_cleanup_errors=True) as name:
        place = Path(name)
        if user:
            shutil.chown(place, user)
        found = Cluster(place, user)
        found.start()
        yield found
        found.stop()


def test_kill_9_of_the_whole_database_loses_nothing_that_was_acknowledged(cluster, tmp_path):
    home = PostgresHome(
        tmp_path, DatabaseUrl.parse(f"postgresql://postgres@127.0.0.1:{cluster.port}/postgres?schema=record")
    )
    opened = home.open(timeout=2.0)
    with Writers(opened) as writers:
        writers.more(30)
        cluster.kill()
        within(HANG, lambda: opened.log.failed is not None, "the outage went unnoticed")
        with pytest.raises(LogUnavailable):
            opened.record.commit([enrolled("away")])
        cluster.start()
        writers.more(30)
    entries = written_once(home, writers.acknowledged)
    assert opened.entries() == entries
    opened.close()


# -- through the API -------------------------------------------------------------------------------------------------


def test_the_api_denies_writes_with_audit_unavailable_while_the_database_is_away(tmp_path):
    with schema() as url, Proxy(url) as proxy:
        settings = read_settings({}, home=tmp_path, gateway_port=0, api_port=0, record_url=proxy.url)
        initialise_instance(settings, profile="development", packs=())
        with open_instance(settings) as opened:
            decisions = DecisionLog(
                opened.decision_log, opened.instance.vault, opened.instance.clock, node="t"
            )
            node = node_of(opened, decisions)
            signer = opened.keys.signer("roles/operator")
            with TestClient(create_application(node)) as client:

                def register(name):
                    return client.post(
                        "/api/providers",
                        json={"provider": name, "organisation": name, "jurisdiction": "US"},
                        headers={
                            "Authorization": "Bearer "
                            + role_token(
                                signer,
                                party="operator",
                                audience=opened.instance.issuer,
                                now=opened.instance.clock.now(),
                            )
                        },
                    )

                opened.instance.record.commit(
                    [
                        OrganisationRegistered(
                            organisation=OrganisationId(name),
                            legal_name=name,
                            country="US",
                            sector=Sector.OTHER,
                        )
                        for name in ("acme", "late")
                    ]
                )
                before = opened.instance.record.state.position
                first = register("acme")
                assert first.status_code < 300, first.text
                proxy.cut()
                patience, opened.record_log._timeout = opened.record_log._timeout, 1.0
                for _ in range(2):
                    away = register("late")
                    assert (away.status_code, away.json()["code"]) == (503, "AUDIT_UNAVAILABLE"), away.text
                    assert "postgres" not in away.text
                    assert away.json()["remedy"]
                assert node.faults()
                assert opened.instance.record.state.position == before + 1
                proxy.restore()
                within(HANG, lambda: opened.record_log.failed is None, "it did not come back")
                opened.record_log._timeout = patience
                again = register("late")
                assert again.status_code < 300, again.text
                assert node.faults() == []


def test_the_password_of_the_database_is_in_no_file_error_or_log(tmp_path, caplog):
    with schema() as url:
        secret = "pw-Zx9$Q/secret"
        wrong = DatabaseUrl(
            host="127.0.0.1",
            port=1,
            user=url.user,
            database=url.database,
            schema=url.schema,
            options={},
            password=secret,
        )
        settings = read_settings({}, home=tmp_path, gateway_port=0, api_port=0, record_url=wrong)
        with pytest.raises(LogUnavailable) as caught:
            initialise_instance(settings, profile="development", packs=())
        shown = [str(caught.value), repr(settings), repr(wrong), str(wrong.shown), caplog.text]
        good = DatabaseUrl(
            host=url.host,
            port=url.port,
            user=url.user,
            database=url.database,
            schema=url.schema,
            options={},
            password=secret,
        )
        other = tmp_path / "other"
        settings = read_settings({}, home=other, gateway_port=0, api_port=0, record_url=good)
        initialise_instance(settings, profile="development", packs=())
        open_instance(settings).close()
        shown += [file.read_bytes().decode("latin-1") for file in other.rglob("*") if file.is_file()]
        assert not any(secret in one or "Zx9" in one for one in [*shown, caplog.text])
