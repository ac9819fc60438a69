"""What every home of the record promises: one suite, run on files and on PostgreSQL."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest
from tests.support.log_directories import log_signer
from tests.support.log_roots import naive_root
from tests.support.postgres import held, run, schema, tamper
from tests.support.record_homes import (
    SIGNER,
    VERIFIER,
    FileHome,
    PostgresHome,
    enrolled,
    report_over,
)

from safeconduct.app.shared_record import Draft
from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from safeconduct.audit.recovery import EPOCH, Epoch, read_epoch, replace_file
from safeconduct.kernel.errors import (
    Conflict,
    InvalidInput,
    LogCorrupt,
    LogUnavailable,
    NotFound,
    SafeconductError,
    UnsafeConfiguration,
)
from safeconduct.kernel.signing import FileKeyWrapper
from safeconduct.record.envelope import read_entry
from safeconduct.record.events import encode
from safeconduct.storage.postgres_sequencer import Deposed


@pytest.fixture(params=["files", "postgres"])
def home(request, tmp_path):
    if request.param == "files":
        yield FileHome(tmp_path)
        return
    with schema() as url:
        yield PostgresHome(tmp_path, url)


@pytest.fixture
def opened(home):
    found = home.open()
    yield found
    found.close()


def test_commits_take_consecutive_places_in_their_order(opened):
    assert [opened.record.commit([enrolled(number)]) for number in range(5)] == [1, 2, 3, 4, 5]
    assert opened.record.commit([enrolled(5), enrolled(6)]) == 7
    envelopes = [read_entry(entry) for entry in opened.entries()]
    assert [one.seq for one in envelopes] == list(range(7))
    assert [f"sub_{number}".encode() in entry for number, entry in enumerate(opened.entries())] == [True] * 7
    assert opened.record.state.position == 7
    assert sorted(opened.record.state.subjects) == [f"sub_{number}" for number in range(7)]


def test_commits_of_many_threads_keep_their_groups_together_and_are_told_in_order(opened):
    told = []
    opened.record.subscribe(lambda state, events: told.append((state.position, len(events))))

    def write(name):
        for step in range(10):
            opened.record.commit([enrolled(f"{name}-{step}-{part}") for part in range(3)])

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    envelopes = [read_entry(entry) for entry in opened.entries()]
    assert [one.seq for one in envelopes] == list(range(180))
    assert len({one.uid for one in envelopes}) == 180
    names = [bytes(one.body).split(b"sub_")[1].split(b'"')[0].rsplit(b"-", 1) for one in envelopes]
    for start in range(0, 180, 3):
        assert len({name for name, _ in names[start : start + 3]}) == 1
        assert [part for _, part in names[start : start + 3]] == [b"0", b"1", b"2"]
    assert [position for position, _ in told] == sorted(position for position, _ in told)
    assert told[-1][0] == 180 == sum(count for _, count in told)


def test_a_repeated_commit_is_written_once_and_answered_the_same(opened):
    first = opened.record.commit([enrolled(1), enrolled(2)], once="request-1")
    opened.record.commit([enrolled(3)])
    assert opened.record.commit([enrolled(1), enrolled(2)], once="request-1") == first
    # Also when it was made against a position that has passed since.
    assert opened.record.commit([enrolled(1), enrolled(2)], once="request-1", expect=0) == first
    assert len(opened.entries()) == 3


def test_a_commit_repeated_after_a_restart_is_written_once(home):
    opened = home.open()
    position = opened.record.commit([enrolled(1)], once="request-1")
    opened.close()
    again = home.open(create=False)
    assert again.record.commit([enrolled(1)], once="request-1") == position
    assert len(again.entries()) == 1
    again.close()


@pytest.mark.parametrize("once", ["", "a b", "x" * 97, "\x00", "' OR 1"])
def test_an_id_that_is_none_is_refused(opened, once):
    with pytest.raises(InvalidInput):
        opened.record.commit([enrolled(1)], once=once)
    assert opened.entries() == []


def test_what_was_acknowledged_is_durable_without_a_close(home, opened):
    for number in range(20):
        opened.record.commit([enrolled(number)])
        if number % 5 == 0:
            assert len(home.durable_entries()) >= number + 1
    assert home.durable_entries() == opened.entries()


def test_nothing_is_acknowledged_told_or_folded_before_it_is_durable(home, opened, monkeypatch):
    opened.record.commit([enrolled(0)])
    done = threading.Event()

    def commit():
        opened.record.commit([enrolled(1)])
        done.set()

    thread = threading.Thread(target=commit)
    if home.shared:
        # Somebody holds the head's row: the sequencer's transaction has begun and cannot commit.
        with held(home.url, "SELECT size FROM record_head FOR UPDATE") as release:
            thread.start()
            assert not done.wait(0.5)
            assert opened.record.state.position == 1
            assert opened.log.durable_size == 1
            release()
    else:
        gate = threading.Event()
        file = opened.log._segments._file
        through = type(file).write_through

        def wait(self, data):
            assert gate.wait(30)
            through(self, data)

        monkeypatch.setattr(type(file), "write_through", wait)
        thread.start()
        assert not done.wait(0.5)
        assert opened.record.state.position == 1
        assert opened.log.durable_size == 1
        gate.set()
    thread.join(30)
    assert done.is_set()
    assert opened.record.state.position == 2


def test_everything_is_read_back_to_the_byte_after_reopening(home):
    before: list[bytes] = []
    for round in range(3):
        opened = home.open()
        assert opened.entries() == before
        opened.record.commit([enrolled(f"{round}-{number}") for number in range(150)])
        before = opened.entries()
        state = opened.record.state
        opened.close()
    again = home.open(create=False)
    assert again.entries() == before
    assert again.record.state.subjects == state.subjects
    assert list(again.log.read(250, 260)) == before[250:260]
    with pytest.raises(InvalidInput):
        again.log.read(0, 451)
    again.close()


def test_of_commits_against_one_position_exactly_one_is_written(opened):
    barrier, outcomes = threading.Barrier(5), []

    def write(number):
        barrier.wait()
        try:
            outcomes.append(opened.record.commit([enrolled(number)], expect=0))
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes, key=str) == [1, None, None, None, None]
    assert len(opened.entries()) == 1


def test_checkpoint_and_proofs_follow_the_recursive_definition(opened):
    opened.record.commit([enrolled(number) for number in range(300)])
    first = VERIFIER.verify(opened.log.checkpoint(force=True))
    opened.record.commit([enrolled(number) for number in range(300, 600)])
    entries = opened.entries()
    second = VERIFIER.verify(opened.log.checkpoint(force=True))
    assert (first.size, first.root) == (300, naive_root(entries[:300]))
    assert (second.size, second.root) == (600, naive_root(entries))
    for index in (0, 255, 256, 599):
        verify_inclusion(
            leaf_hash(entries[index]), index, 600, opened.log.inclusion_proof(index, 600), second.root
        )
    proof = opened.log.consistency_proof(300, 600)
    verify_consistency(300, 600, first.root, second.root, proof)
    with pytest.raises(InvalidInput):
        opened.log.inclusion_proof(0, 601)


def test_the_published_files_verify_while_it_runs_and_when_it_is_stopped(home):
    opened = home.open()
    for number in range(4):
        opened.record.commit([enrolled(f"{number}-{part}") for part in range(200)])
        opened.log.checkpoint(force=True)
        report = report_over(home.directory.read)
        assert (report.problems, report.size) == ((), 200 * (number + 1))
    opened.close()
    report = home.report()
    assert (report.problems, report.size) == ((), 800)


def test_every_altered_byte_of_a_stopped_log_s_files_is_found(home):
    opened = home.open()
    opened.record.commit([enrolled(number) for number in range(260)])
    opened.close()
    for path in ("checkpoint", "tile/entries/000", "tile/0/000", "tile/entries/001.p/4"):
        file = home.directory.root / path
        data = file.read_bytes()
        file.write_bytes(data[:-3] + bytes([data[-3] ^ 1]) + data[-2:])
        assert not home.report().ok, path
        file.write_bytes(data)
    assert home.report().ok


def test_a_second_writer_of_the_same_directory_is_refused(home, opened):
    with pytest.raises(LogUnavailable):
        home.open()
    opened.record.commit([enrolled(1)])
    assert len(opened.entries()) == 1


def test_a_home_that_is_not_there_or_is_another_s_is_refused(home):
    with pytest.raises(NotFound):
        home.open(create=False)
    home.open().close()
    with pytest.raises((UnsafeConfiguration, LogCorrupt)):
        home.open(origin="other.example/record")
    with pytest.raises(LogCorrupt):
        home.open(signer=log_signer())
    home.open().close()


@pytest.mark.parametrize("kept", [0, 1, 299])
def test_a_tree_shorter_than_its_last_checkpoint_is_not_opened_and_not_signed(home, kept):
    opened = home.open()
    opened.record.commit([enrolled(number) for number in range(300)])
    opened.log.checkpoint(force=True)
    opened.close()
    before = home.directory.read("checkpoint")
    home.cut_to(kept)
    with pytest.raises(LogCorrupt, match="300"):
        home.open()
    assert home.directory.read("checkpoint") == before


def test_a_tree_that_contradicts_its_last_checkpoint_is_not_opened_and_not_signed(home):
    opened = home.open()
    opened.record.commit([enrolled(number) for number in range(10)])
    opened.log.checkpoint(force=True)
    opened.close()
    before = home.directory.read("checkpoint")
    home.alter(7)
    with pytest.raises(SafeconductError) as caught:
        home.open()
    assert caught.type is LogCorrupt
    assert home.directory.read("checkpoint") == before


def test_a_deposed_writer_gives_no_place_any_more(home, opened):
    opened.record.commit([enrolled(0)])
    opened.log.checkpoint(force=True)
    if home.shared:
        rows = [[1], ["evt_late"], [b"late"]]

        async def write_late():
            connection = await opened.log._connect("tests")
            try:
                await opened.log.sequencer._write(connection, 2, rows, [], {})
            finally:
                connection.terminate()

        run("UPDATE record_head SET epoch = epoch + 1", url=home.url)
        with pytest.raises(Deposed):
            opened.log._await(write_late())
        assert len(home.durable_entries()) == 1
        # The process itself notices, stands again, and writes in a later epoch only.
        epoch = run("SELECT epoch FROM record_head", url=home.url)[0][0]
        assert opened.record.commit([enrolled(1)]) == 2
        assert run("SELECT epoch FROM record_head", url=home.url)[0][0] > epoch
        assert len(home.durable_entries()) == 2
    else:
        epoch = read_epoch(home.directory)
        replace_file(home.directory, EPOCH, Epoch(epoch.number + 1, 1).encode())
        with pytest.raises(LogUnavailable, match="another writer"):
            opened.record.commit([enrolled(1)])
        assert opened.record.state.position == 1


# -- what only a home of many processes can do ----------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path):
    with schema() as url:
        yield PostgresHome(tmp_path, url)


def test_every_process_may_submit_and_each_sees_what_all_wrote(shared):
    homes = [shared.open(mirror=f"mirror-{number}") for number in range(3)]
    told = [[] for _ in homes]
    for one, seen in zip(homes, told, strict=True):
        one.record.subscribe(lambda state, events, seen=seen: seen.extend(event.subject for event in events))

    def write(number):
        for step in range(15):
            homes[number].record.commit([enrolled(f"{number}-{step}")])

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(one.log.sequencer.epoch is not None for one in homes) == 1
    # A commit through each of them is one more round: afterwards everybody has seen everything before it.
    for number, one in enumerate(homes):
        one.record.commit([enrolled(f"last-{number}")])
    entries = shared.durable_entries()
    assert len(entries) == 48
    homes[0].record.commit([enrolled("end")])
    for one in homes:
        assert one.entries()[:45] == entries[:45]
        VERIFIER.verify(one.log.checkpoint(force=True))
    assert told[0][:45] == told[1][:45] == told[2][:45]
    for one in homes:
        one.close()
    assert {
        (shared.place / f"mirror-{number}" / "checkpoint").read_bytes() != b"" for number in range(3)
    } == {True}


def test_commits_against_one_position_in_two_processes_write_once(shared):
    one, two = shared.open(), shared.open(mirror="other")
    outcomes = []

    def write(home, name):
        try:
            outcomes.append(home.record.commit([enrolled(name)], expect=0))
        except Conflict:
            outcomes.append(None)

    threads = [threading.Thread(target=write, args=pair) for pair in ((one, "a"), (two, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(outcomes, key=str) == [1, None]
    one.close()
    two.close()


def test_when_the_sequencer_closes_another_goes_on(shared):
    one, two = shared.open(), shared.open(mirror="other")
    one.record.commit([enrolled(1)])
    first, second = (one, two) if one.log.sequencer.epoch is not None else (two, one)
    first.close()
    assert second.record.commit([enrolled(2)]) == 2
    assert VERIFIER.verify(second.log.checkpoint(force=True)).size == 2
    second.close()


def test_the_database_itself_refuses_to_change_or_remove_entries(shared):
    opened = shared.open()
    opened.record.commit([enrolled(1)])
    for statement in (
        "UPDATE record_entry SET uid = 'x'",
        "DELETE FROM record_entry",
        "TRUNCATE record_entry",
    ):
        with pytest.raises(Exception, match="never changed"):
            run(statement, url=shared.url)
    opened.close()


def test_a_database_rolled_back_under_a_running_process_ends_its_record(shared):
    opened = shared.open()
    opened.record.commit([enrolled(number) for number in range(5)])
    opened.log.checkpoint(force=True)
    shared.cut_to(3)
    # At the latest with the next look of the follower, which a notification or a second brings about.
    deadline = time.monotonic() + 20
    while opened.log.failed is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(opened.log.failed, LogCorrupt)
    with pytest.raises(LogUnavailable):
        opened.record.commit([enrolled("after")])
    opened.close()
    assert VERIFIER.verify(shared.directory.read("checkpoint")).size == 5


@pytest.mark.parametrize("what", ["another root", "another key", "larger than the record"])
def test_a_checkpoint_in_the_database_that_is_not_of_its_entries_ends_the_record(shared, what):
    opened = shared.open()
    opened.record.commit([enrolled(number) for number in range(5)])
    before = opened.log.checkpoint(force=True)
    signer = log_signer() if what == "another key" else SIGNER
    verifier = LogVerifier.of(VERIFIER.name, signer)
    size = 7 if what == "larger than the record" else 6
    fork = sign_checkpoint(signer, verifier, size, b"\x09" * 32).text
    # Somebody holds the database and perhaps the key: an entry more, and a tree head that is not of it.
    entry = Draft("evt_x", 0, "subject_enrolled", encode(enrolled("x"))).entry(5)
    seal = opened.log._seal.of_entry(5, entry)
    tamper(
        shared.url,
        "UPDATE record_head SET epoch = epoch + 100",
        f"INSERT INTO record_entry VALUES (5, 'evt_x', '\\x{entry.hex()}', '\\x{seal.hex()}')",
        f"UPDATE record_head SET size = {max(size, 6)}, signed_size = {size}, checkpoint = '\\x{fork.hex()}'",
    )
    deadline = time.monotonic() + 20
    while not isinstance(opened.log.failed, LogCorrupt) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(opened.log.failed, LogCorrupt)
    with pytest.raises(LogUnavailable):
        opened.record.commit([enrolled("after")])
    opened.close()
    assert shared.directory.read("checkpoint") == before
    found = run("SELECT checkpoint, size FROM record_head", url=shared.url)[0]
    assert (found["checkpoint"], found["size"]) == (fork, max(size, 6))
    with pytest.raises(LogCorrupt):
        shared.open()


def test_an_entry_that_somebody_put_into_the_database_is_neither_folded_nor_signed(shared):
    opened = shared.open()
    opened.record.commit([enrolled(number) for number in range(3)])
    before = opened.log.checkpoint(force=True)
    entry = Draft("evt_x", 0, "subject_enrolled", encode(enrolled("forged"))).entry(3)
    run(
        f"INSERT INTO record_entry VALUES (3, 'evt_x', '\\x{entry.hex()}', '\\x{bytes(32).hex()}')",
        "UPDATE record_head SET size = 4",
        "SELECT pg_notify('safeconduct_' || current_schema(), 'size')",
        url=shared.url,
    )
    deadline = time.monotonic() + 20
    while opened.log.failed is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert isinstance(opened.log.failed, LogCorrupt)
    assert "sub_forged" not in opened.record.state.subjects
    opened.close()
    assert run("SELECT signed_size FROM record_head", url=shared.url)[0][0] == 3
    assert shared.directory.read("checkpoint") == before
    with pytest.raises(LogCorrupt, match="entry 3"):
        shared.open()


def test_an_entry_moved_to_another_place_is_refused(shared):
    opened = shared.open()
    opened.record.commit([enrolled(number) for number in range(4)])
    opened.close()
    tamper(
        shared.url,
        "UPDATE record_entry SET uid = uid || '.'",
        "UPDATE record_entry a SET entry = b.entry, seal = b.seal FROM record_entry b"
        " WHERE (a.seq, b.seq) IN ((1, 2), (2, 1))",
    )
    with pytest.raises(LogCorrupt, match="entry 1"):
        shared.open(mirror="fresh")


def test_a_submission_that_no_control_process_made_gets_no_place(shared):
    opened = shared.open()
    opened.record.commit([enrolled(0)])
    drafts = msgspec.msgpack.encode([Draft("evt_x", 0, "subject_enrolled", encode(enrolled("forged")))])
    seals = [bytes(32), b"", opened.log._seal.of_submission("evt_other", None, drafts)]
    for number, seal in enumerate(seals):
        run(
            "INSERT INTO record_submission (uid, drafts, expires, seal) VALUES"
            f" ('forged{number}', '\\x{drafts.hex()}', now() + interval '1 hour', '\\x{seal.hex()}')",
            url=shared.url,
        )
    assert opened.record.commit([enrolled(1)]) == 2
    assert opened.record.commit([enrolled(2)]) == 3
    assert run("SELECT count(*) FROM record_submission", url=shared.url)[0][0] == 0
    assert "sub_forged" not in opened.record.state.subjects
    opened.close()


def test_another_root_key_opens_no_record(shared, monkeypatch):
    shared.open().close()
    monkeypatch.setattr("tests.support.record_homes.WRAPPER", FileKeyWrapper(b"x" * 32))
    with pytest.raises(UnsafeConfiguration, match="unwrap"):
        shared.open()


def test_a_mirror_that_was_lost_or_damaged_is_made_again(shared):
    opened = shared.open()
    opened.record.commit([enrolled(number) for number in range(600)])
    opened.close()
    (shared.directory.root / "tile/0/000").write_bytes(b"x" * 8192)
    (shared.directory.root / "tile/entries/001").unlink()
    shared.open().close()
    assert shared.report().problems == ()
    fresh = shared.open(mirror="fresh")
    assert len(fresh.entries()) == 600
    fresh.close()


def test_a_record_kept_in_files_is_not_taken_for_a_mirror(shared, tmp_path):
    FileHome(tmp_path).open().close()
    with pytest.raises(UnsafeConfiguration, match="kept in files"):
        shared.open(mirror="log")


def test_tables_of_a_newer_release_are_refused(shared):
    shared.open().close()
    run("UPDATE record_head SET format = 2", url=shared.url)
    with pytest.raises(UnsafeConfiguration, match="format 2"):
        shared.open()


def test_the_signer_is_the_log_s_own(shared):
    opened = shared.open()
    opened.record.commit([enrolled(1)])
    assert VERIFIER.verify(opened.log.checkpoint(force=True)).signatures[0].name == VERIFIER.name
    assert VERIFIER.key.thumbprint == SIGNER.verifying_key().thumbprint
    opened.close()
