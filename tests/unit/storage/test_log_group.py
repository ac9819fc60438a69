"""One key for several processes' logs: it changes while some write and others sleep, and no log is ever left with a key that is gone."""

import threading

import pytest
from tests.support.instances import make_instance, operator

from safeconduct.app.rotate_key import RotateKey
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.audit.sequencing import Log
from safeconduct.bootstrap import key_rotation, open_instance
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import Conflict, LogCorrupt, NotFound
from safeconduct.kernel.signing import EDDSA, thumbprint
from safeconduct.storage.key_directory import KeyDirectory
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.log_group import ORDER, LogGroup, newest_log_key

KEY = "worker-log"


class Processes:
    """A key directory, and processes that keep logs under its key."""

    def __init__(self, directory):
        self.directory = directory / "decisions"
        self.keys = KeyDirectory(directory / "keys")
        self.first = self.keys.make(KEY, EDDSA)
        self.group = self.a_group()

    def a_group(self, keys=None, patience=5.0):
        """As another process has it: with a key directory of its own."""
        keys = keys or KeyDirectory(self.keys.path)
        return LogGroup(
            self.directory, keys, KEY, origin_of=self.origin, clock=SystemClock(), patience=patience
        )

    @staticmethod
    def origin(process):
        return f"example/decisions/{process}"

    def begin(self, process):
        group = self.a_group()
        with group.opening():
            return Log.open(
                FileLogDirectory(self.directory / process / "log"),
                origin=self.origin(process),
                signer=group.signer_for(process),
                clock=SystemClock(),
                create=True,
            )

    def change(self, group=None, **more):
        (group or self.group).change_key(self.keys.prepare(KEY), by="operator", cause="scheduled", **more)

    def write(self, log, text):
        log.wait_durable_sync(log.submit(text), 20)

    def check(self, *verifiers):
        for process in sorted(path.name for path in self.directory.iterdir() if path.is_dir()):
            files = FileLogDirectory(self.directory / process / "log")
            for key in verifiers:
                report = check(files, LogVerifier.of(self.origin(process), key))
                assert report.ok, (process, report.problems)


@pytest.fixture
def processes(tmp_path):
    return Processes(tmp_path)


class Follows:
    """A process that looks for a new key now and then, as a worker does."""

    def __init__(self, processes, log):
        self._group, self._log = processes.a_group(), log
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self):
        while not self._stop.wait(0.02):
            signer = self._group.wanted(self._log.verifier.key.thumbprint)
            if signer is not None:
                self._log.change_key(signer)

    def __enter__(self):
        self._thread.start()

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join(10)


def test_logs_that_are_written_and_logs_that_sleep_change_together_and_both_keys_lead_to_them(processes):
    for process in ("worker-1", "worker-3"):
        log = processes.begin(process)
        processes.write(log, b"before")
        log.close()
    log = processes.begin("worker-2")
    processes.write(log, b"before")
    with Follows(processes, log):
        processes.change()
        processes.write(log, b"after")
    log.close()
    new = processes.keys.signer(KEY)
    assert new.kid != processes.first.kid
    processes.check(processes.first, new)
    for process in ("worker-1", "worker-2", "worker-3"):
        log = processes.begin(process)
        processes.write(log, b"later")
        log.close()
    assert not list(processes.keys.path.glob("*.next.*"))
    assert not (processes.directory / ORDER).exists()
    # Again, from the new key on.
    processes.change()
    processes.check(processes.first, new, processes.keys.signer(KEY))


def test_the_old_key_stays_until_the_last_log_has_changed(processes):
    kept = (processes.keys.path / f"{KEY}.pem").read_bytes()
    log, sleeping = processes.begin("worker-1"), processes.begin("worker-2")
    processes.write(log, b"before")
    sleeping.close()
    with pytest.raises(Conflict, match="worker-1 did not take up"):
        processes.change(processes.a_group(patience=0.2))
    assert (processes.keys.path / f"{KEY}.pem").read_bytes() == kept
    # Both open as they are now: one under the old key, one under the new.
    assert processes.a_group().signer_for("worker-1").kid == processes.first.kid
    assert processes.a_group().signer_for("worker-2").kid != processes.first.kid
    log.close()
    for process in ("worker-1", "worker-2"):
        log = processes.begin(process)
        processes.write(log, b"meanwhile")
        log.close()
    processes.change()
    assert (processes.keys.path / f"{KEY}.pem").read_bytes() != kept
    processes.check(processes.first, processes.keys.signer(KEY))


def test_a_process_that_began_under_the_old_key_while_it_was_replaced_changes_by_itself(processes):
    """Its first checkpoint may come after the last look at the logs: it holds the old key, and nobody else does any more."""
    log = processes.begin("worker-1")
    processes.write(log, b"before")
    processes.keys.prepare(KEY)
    processes.keys.activate(KEY)
    signer = processes.a_group().wanted(log.verifier.key.thumbprint)
    assert signer is not None
    log.change_key(signer)
    log.close()
    processes.begin("worker-1").close()


def test_a_process_that_begins_waits_while_a_sleeping_log_is_changed(processes):
    processes.begin("worker-1").close()
    done = []
    with processes.group.opening():
        thread = threading.Thread(target=lambda: done.append(processes.change()))
        thread.start()
        thread.join(0.3)
        # Whoever is opening a log is waited for: the key is not replaced under its hands.
        assert not done
        assert processes.keys.signer(KEY).kid == processes.first.kid
    thread.join(10)
    assert done == [None]


def test_a_rotation_that_was_killed_goes_on_from_where_it_was(processes):
    processes.begin("worker-1").close()
    log = processes.begin("worker-2")
    with pytest.raises(Conflict):
        processes.change(processes.a_group(patience=0.1))
    order = processes.group.order()
    assert (order.by, order.cause) == ("operator", "scheduled")
    # At the next start: the key that waits was ordered, so it stays.
    processes.a_group().settle()
    waiting = processes.keys.pending(KEY)
    assert thumbprint(waiting.public_jwk()) == order.thumbprint
    log.close()
    processes.change()
    assert processes.keys.signer(KEY).kid == waiting.kid


def test_a_kill_between_the_keys_place_and_the_end_of_the_order_leaves_nothing_to_do(processes):
    processes.begin("worker-1").close()
    group = processes.a_group()
    group._keys.activate = lambda name: (_ for _ in ()).throw(SystemExit)
    with pytest.raises(SystemExit):
        processes.change(group)
    processes.keys.activate(KEY)
    assert processes.a_group().wanted(thumbprint(processes.keys.signer(KEY).public_jwk())) is None
    processes.a_group().settle()
    assert processes.group.order() is None
    processes.begin("worker-1").close()


def test_a_key_that_waits_without_an_order_is_dropped_and_taken_up_by_nobody(processes):
    log = processes.begin("worker-1")
    processes.keys.prepare(KEY)
    assert processes.a_group().wanted(log.verifier.key.thumbprint) is None
    processes.a_group().settle()
    assert processes.keys.pending(KEY) is None
    log.close()


def test_an_order_for_a_key_that_does_not_wait_here_is_followed_by_nobody(processes):
    """Who can write the data directory but not the keys cannot make a log sign with a key of their own."""
    log = processes.begin("worker-1")
    (processes.directory / ORDER).write_text(
        '{"thumbprint": "of another key", "by": "x", "cause": "scheduled"}'
    )
    assert processes.a_group().wanted(log.verifier.key.thumbprint) is None
    processes.keys.prepare(KEY)
    assert processes.a_group().wanted(log.verifier.key.thumbprint) is None
    with pytest.raises(Conflict, match="another change"):
        processes.change()
    log.close()


def test_an_order_that_cannot_be_read_is_an_error(processes):
    processes.begin("worker-1").close()
    (processes.directory / ORDER).write_text("{")
    with pytest.raises(LogCorrupt):
        processes.group.order()


# -- as keys of an instance


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


def a_worker(embedded, process="worker-1"):
    keys = embedded.opened.keys
    if not keys.has(KEY):
        keys.make(KEY, EDDSA)
    return Log.open(
        FileLogDirectory(embedded.settings.worker_log(process)),
        origin=f"{embedded.opened.descriptor.decision_origin}/{process}",
        signer=keys.signer(KEY),
        clock=SystemClock(),
        create=True,
    )


def rotate(embedded, **ask):
    return key_rotation(embedded.opened).rotate(operator(), KEY, RotateKey(**ask))


def test_an_instance_that_never_had_workers_has_no_such_key(embedded):
    with pytest.raises(NotFound, match="no workers yet"):
        rotate(embedded)
    assert KEY not in {one["key"] for one in key_rotation(embedded.opened).describe()}


def test_the_record_says_which_key_the_workers_logs_have_and_which_they_had(embedded):
    a_worker(embedded).close()
    before = embedded.opened.keys.signer(KEY).kid
    event = rotate(embedded)
    assert (event.key, event.previous["kid"]) == (KEY, before)
    shown = {(one["key"], one["kid"]) for one in key_rotation(embedded.opened).describe()}
    assert {(KEY, before), (KEY, event.jwk["kid"])} <= shown
    embedded.reopen()
    assert embedded.instance.keys.signer(KEY).kid == event.jwk["kid"]
    rotate(embedded)


def test_a_rotation_that_the_process_did_not_survive_is_finished_by_the_next(embedded):
    log = a_worker(embedded)
    rotation = key_rotation(embedded.opened)
    rotation._worker_logs._patience = 0.1
    with pytest.raises(Conflict, match="worker-1"):
        rotation.rotate(operator(), KEY, RotateKey(compromised=True))
    log.close()
    embedded.close()
    embedded.opened = open_instance(embedded.settings, clock=embedded.clock)
    event = key_rotation(embedded.opened).finish()
    assert (event.cause, event.by) == ("compromised", operator().id)
    assert key_rotation(embedded.opened).finish() is None
    aim = thumbprint(event.jwk)
    origin = f"{embedded.opened.descriptor.decision_origin}/worker-1"
    assert newest_log_key(embedded.settings.worker_log("worker-1"), origin) == aim
    assert thumbprint(embedded.opened.keys.signer(KEY).public_jwk()) == aim


def test_the_root_key_is_refused_as_long_as_a_worker_has_its_log_open_whoever_asks(embedded):
    """Also by a process that knows of no workers: the control process may have died before them."""
    log = a_worker(embedded)
    before = (embedded.settings.keys / "root.key").read_bytes()
    with pytest.raises(Conflict, match="while workers run"):
        key_rotation(embedded.opened).rotate(operator(), "root", RotateKey())
    assert (embedded.settings.keys / "root.key").read_bytes() == before
    assert not (embedded.settings.keys / "root.next.key").exists()
    log.close()
    key_rotation(embedded.opened).rotate(operator(), "root", RotateKey())
    assert (embedded.settings.keys / "root.key").read_bytes() != before
