from __future__ import annotations

import asyncio
import os
import threading

import pytest
from tests.support.log_directories import ORIGIN, append, log_signer, open_log
from tests.support.log_roots import naive_root

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.merkle import leaf_hash, verify_consistency, verify_inclusion
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, LogUnavailable, NotFound
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)


@pytest.fixture
def directory(tmp_path):
    return FileLogDirectory(tmp_path / "log")


def test_an_entry_gets_its_index_at_once_and_is_read_back(directory):
    log = open_log(directory, SIGNER)
    assert [log.submit(b"a"), log.submit(b""), log.submit(bytearray(b"c"))] == [0, 1, 2]
    assert log.size == 3
    log.wait_durable_sync(2, 30)
    assert log.durable_size == 3
    assert list(log.read(0, 3)) == [b"a", b"", b"c"]
    log.close()


@pytest.mark.parametrize("size", [1, 255, 256, 257, 1000])
def test_the_checkpoint_covers_all_durable_entries_with_the_root_of_the_recursive_definition(directory, size):
    entries = [b"entry %d" % number for number in range(size)]
    log = open_log(directory, SIGNER)
    append(log, entries)
    checkpoint = VERIFIER.verify(log.checkpoint(force=True))
    assert (checkpoint.size, checkpoint.root) == (size, naive_root(entries))
    log.close()


def test_what_was_logged_is_there_after_reopening_again_and_again(directory):
    entries: list[bytes] = []
    for round in range(8):
        log = open_log(directory, SIGNER)
        assert log.size == log.durable_size == len(entries)
        assert list(log.read(0, log.size)) == entries
        fresh = [b"%d.%d" % (round, number) for number in range(round * 50)]
        append(log, fresh)
        entries += fresh
        log.close()
        assert len(directory.list("wal")) == 1
    checkpoint = VERIFIER.verify(directory.read("checkpoint"))
    assert (checkpoint.size, checkpoint.root) == (len(entries), naive_root(entries))


def test_reads_span_bundles_the_unfinished_one_and_what_is_not_tiled_yet(directory):
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    entries = [b"%d" % number for number in range(700)]
    append(log, entries)
    for start, end in ((0, 700), (250, 260), (511, 700), (699, 700), (5, 5), (600, 650)):
        assert list(log.read(start, end)) == entries[start:end]
    for start, end in ((0, 701), (-1, 3), (5, 4)):
        with pytest.raises(InvalidInput):
            log.read(start, end)
    log.close()


def test_proofs_of_the_writer_verify(directory):
    log = open_log(directory, SIGNER)
    entries = [b"%d" % number for number in range(600)]
    append(log, entries)
    root = naive_root(entries)
    for index in (0, 255, 256, 599):
        verify_inclusion(leaf_hash(entries[index]), index, 600, log.inclusion_proof(index, 600), root)
    verify_inclusion(leaf_hash(b"3"), 3, 300, log.inclusion_proof(3, 300), naive_root(entries[:300]))
    for old in (1, 256, 300, 599):
        proof = log.consistency_proof(old, 600)
        verify_consistency(old, 600, naive_root(entries[:old]), root, proof)
    with pytest.raises(InvalidInput):
        log.inclusion_proof(0, 601)
    log.close()


def test_waiters_of_many_tasks_on_two_loops_are_all_woken(directory):
    log = open_log(directory, SIGNER)
    seen: list[int] = []

    async def writer(name: int) -> None:
        for number in range(20):
            index = log.submit(b"%d.%d" % (name, number))
            await log.wait_durable(index)
            assert log.durable_size > index
            seen.append(index)

    async def many() -> None:
        await asyncio.gather(*(writer(name) for name in range(20)))

    threads = [threading.Thread(target=asyncio.run, args=(many(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(seen) == list(range(800))
    log.close()


def test_a_cancelled_waiter_does_not_disturb_the_others(directory):
    log = open_log(directory, SIGNER)

    async def run() -> None:
        index = log.submit(b"x")
        waits = [asyncio.ensure_future(log.wait_durable(index)) for _ in range(3)]
        await asyncio.sleep(0)
        waits[1].cancel()
        results = await asyncio.gather(*waits, return_exceptions=True)
        assert results[0] is None
        assert results[2] is None

    asyncio.run(run())
    log.close()


def test_a_closed_loop_with_waiters_does_not_stop_the_log(directory):
    log = open_log(directory, SIGNER)

    async def leave() -> None:
        task = asyncio.ensure_future(log.wait_durable(log.submit(b"x")))
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leave())
    append(log, [b"y"])
    log.close()


def test_callbacks_come_once_durable_and_their_mistakes_do_not_stop_the_log(directory):
    log = open_log(directory, SIGNER)
    outcomes: list[object] = []

    def broken(outcome):
        raise ValueError("a caller's mistake")

    index = log.submit(b"x")
    log.on_durable(index, broken)
    log.on_durable(index, outcomes.append)
    append(log, [b"y"])
    log.on_durable(index, outcomes.append)  # already durable: called at once
    assert outcomes == [None, None]
    assert log.failed is None
    log.close()


def test_an_entry_that_is_too_long_is_refused_and_costs_no_index(directory):
    log = open_log(directory, SIGNER)
    with pytest.raises(InvalidInput, match="65535"):
        log.submit(b"x" * 65_536)
    assert log.submit(b"x" * 65_535) == 0
    log.close()
    short = open_log(directory, SIGNER, max_entry=10)
    with pytest.raises(InvalidInput):
        short.submit(b"x" * 11)
    assert len(next(short.read(0, 1))) == 65_535
    short.close()


def test_waiting_for_an_entry_that_was_not_submitted_is_refused(directory):
    log = open_log(directory, SIGNER)
    for index in (0, 5, -1):
        with pytest.raises(InvalidInput):
            log.wait_durable_sync(index, 1)
    log.close()


def test_a_closed_log_refuses_entries_and_may_be_closed_again(directory):
    log = open_log(directory, SIGNER)
    index = log.submit(b"last")
    log.close()
    log.wait_durable_sync(index, 1)
    assert VERIFIER.verify(log.checkpoint()).size == 1
    with pytest.raises(LogUnavailable, match="closed"):
        log.submit(b"x")
    log.close()


def test_a_second_writer_is_refused_with_the_first_one_s_process_id(directory):
    log = open_log(directory, SIGNER)
    with pytest.raises(LogUnavailable, match=f"process {os.getpid()} .*second writer"):
        open_log(FileLogDirectory(directory.root), SIGNER)
    append(log, [b"the first writer goes on"])
    log.close()
    open_log(FileLogDirectory(directory.root), SIGNER).close()


def test_a_writer_that_lost_its_log_acknowledges_nothing(directory):
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    append(log, [b"before"])
    log.checkpoint(force=True)
    (directory.root / "lock").unlink()  # someone "cleaned up"
    usurper = open_log(FileLogDirectory(directory.root), SIGNER)
    index = log.submit(b"too late")
    with pytest.raises(LogUnavailable, match="taken over"):
        log.wait_durable_sync(index, 30)
    assert log.failed is not None
    append(usurper, [b"after"])
    assert list(usurper.read(0, 2)) == [b"before", b"after"]
    log.close()
    usurper.close()
    again = open_log(directory, SIGNER)
    assert list(again.read(0, again.size)) == [b"before", b"after"]
    again.close()


def test_opening_what_is_not_there_makes_nothing(directory):
    with pytest.raises(NotFound):
        open_log(directory, SIGNER, create=False)
    assert not directory.root.exists()


def test_files_are_for_their_owner_only(directory):
    log = open_log(directory, SIGNER)
    append(log, [b"x"] * 300)
    log.close()
    for path in [directory.root, *directory.root.rglob("*")]:
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path


def test_partial_tiles_go_once_the_full_one_is_there(directory):
    log = open_log(directory, SIGNER)
    for count in (10, 20, 300):
        append(log, [b"x"] * count)
        log.checkpoint(force=True)
    assert [
        path for path in directory.list("tile") if path.startswith(("tile/0/000.p", "tile/entries/000.p"))
    ] == []
    assert directory.list("tile/0") == ["tile/0/000", "tile/0/001.p/74"]
    log.close()


def test_the_write_ahead_log_is_cut_when_its_entries_are_in_full_bundles(directory):
    log = open_log(directory, SIGNER, segment_bytes=20_000, checkpoint_interval=0.01)
    entries = [b"%05d" % number * 20 for number in range(3000)]
    for start in range(0, 3000, 100):
        append(log, entries[start : start + 100])
    log.close()
    kept = sum((directory.root / path).stat().st_size for path in directory.list("wal"))
    assert kept < 100_000
    again = open_log(directory, SIGNER)
    assert list(again.read(0, 3000)) == entries
    assert VERIFIER.verify(again.checkpoint()).root == naive_root(entries)
    again.close()


def test_checkpoints_come_by_themselves(directory):
    log = open_log(directory, SIGNER, checkpoint_interval=0.01)
    append(log, [b"x"])
    deadline = threading.Event()
    for _ in range(500):
        if VERIFIER.verify(log.checkpoint()).size == 1:
            break
        deadline.wait(0.01)
    assert VERIFIER.verify(log.checkpoint()).size == 1
    log.close()


# -- starts that must not go on --------------------------------------------------------------------------------------


def filled(directory, count=300) -> None:
    log = open_log(directory, SIGNER)
    append(log, [b"%d" % number for number in range(count)])
    log.close()


def test_a_rolled_back_write_ahead_log_is_refused(directory, tmp_path):
    filled(directory)
    old = {path: directory.read(path) for path in directory.list("wal")}
    filled(directory, 10)
    for path in directory.list("wal"):
        directory.remove(path)
    for path, data in old.items():
        (directory.root / path).write_bytes(data)
    with pytest.raises(LogCorrupt, match="holds 300 entries but its checkpoint was signed over 310"):
        open_log(directory, SIGNER)


def test_a_checkpoint_over_other_entries_is_refused(directory, tmp_path):
    filled(directory)
    other = FileLogDirectory(tmp_path / "other")
    log = open_log(other, SIGNER)
    append(log, [b"x"] * 300)
    log.close()
    (directory.root / "checkpoint").write_bytes(other.read("checkpoint"))
    with pytest.raises(LogCorrupt, match="another root at size 300"):
        open_log(directory, SIGNER)


def test_a_missing_checkpoint_is_refused_even_when_a_log_may_be_created(directory):
    filled(directory, 3)
    (directory.root / "checkpoint").unlink()
    with pytest.raises(LogCorrupt, match="no checkpoint"):
        open_log(directory, SIGNER, create=True)


def test_a_missing_write_ahead_log_is_refused(directory):
    filled(directory)
    for path in directory.list("wal"):
        directory.remove(path)
    with pytest.raises(LogCorrupt, match="wal"):
        open_log(directory, SIGNER)


def test_another_key_or_origin_is_refused(directory):
    filled(directory, 3)
    with pytest.raises(LogCorrupt, match="checkpoint"):
        open_log(directory, log_signer())
    with pytest.raises(LogCorrupt, match="origin"):
        Log.open(directory, origin="test.example/other", signer=SIGNER, clock=SystemClock())
    open_log(directory, SIGNER).close()


def test_altered_full_tiles_that_lead_to_our_checkpoint_are_refused(directory):
    filled(directory, 600)
    open_log(directory, SIGNER).close()  # from now on the first two bundles are in no write-ahead log
    path = directory.root / "tile/0/001"
    data = bytearray(path.read_bytes())
    data[40] ^= 1
    path.write_bytes(data)
    with pytest.raises(LogCorrupt, match="another root"):
        open_log(directory, SIGNER)


def test_lost_partial_tiles_are_written_again(directory):
    filled(directory, 300)
    for path in directory.list("tile"):
        if ".p/" in path:
            directory.remove(path)
    open_log(directory, SIGNER).close()
    assert "tile/entries/001.p/44" in directory.list("tile")
