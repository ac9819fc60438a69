"""A log that an event loop writes: the same promises as with a thread, and none of its waits on the loop."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest
from tests.support.log_directories import (
    ORIGIN,
    MemoryLogDirectory,
    MemorySync,
    log_signer,
    open_log,
)
from tests.support.log_roots import naive_root

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.storage import kernel_sync
from safeconduct.storage.kernel_sync import KernelSync
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
THREAD = "log-writer"


@pytest.fixture
def directory(tmp_path):
    return FileLogDirectory(tmp_path / "log")


def entries(count, start=0):
    return [b"entry %04d" % number for number in range(start, start + count)]


def reopened(directory):
    log = open_log(directory, SIGNER, create=False)
    try:
        return list(log.read(0, log.size))
    finally:
        log.close()


def writers_of(monkeypatch):
    """Names of the threads that make bytes durable."""
    seen = set()
    for holder, name in ((KernelSync, "start"), (kernel_sync.KernelSync, "finished")):
        original = getattr(holder, name)

        def noted(*given, original=original, **more):
            seen.add(threading.current_thread().name)
            return original(*given, **more)

        monkeypatch.setattr(holder, name, noted)
    return seen


def test_the_loop_writes_what_its_own_thread_and_others_submit(directory, monkeypatch):
    seen = writers_of(monkeypatch)

    async def run():
        log = open_log(directory, SIGNER)
        assert log.drive(asyncio.get_running_loop())
        for entry in entries(300):
            index = log.submit(entry)
            if index % 50 == 49:
                await log.wait_durable(index)
        more = await asyncio.to_thread(lambda: [log.submit(entry) for entry in entries(50, 300)])
        await asyncio.to_thread(log.wait_durable_sync, more[-1], 10)
        checkpoint = VERIFIER.verify(await asyncio.to_thread(log.checkpoint, force=True))
        assert (checkpoint.size, checkpoint.root) == (350, naive_root(entries(350)))
        log.close()

    asyncio.run(run())
    assert seen == {threading.current_thread().name}
    assert reopened(directory) == entries(350)


def test_an_entry_that_may_wait_is_written_when_its_time_is_up_or_somebody_hurries(directory):
    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"a", within=0.02))
        index = log.submit(b"b", within=3_600.0)
        await asyncio.sleep(0.05)
        assert log.durable_size == 1
        log.hurry()
        await asyncio.wait_for(log.wait_durable(index), 10)
        log.close()

    asyncio.run(run())


def test_waiting_on_the_loops_own_thread_writes_instead_of_hanging(directory):
    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        for entry in entries(5):
            log.wait_durable_sync(log.submit(entry), 10)
        # One group is under way when the next is waited for.
        log.submit(b"under way")
        await asyncio.sleep(0)
        log.wait_durable_sync(log.submit(b"last", within=60.0), 10)
        assert log.durable_size == 7
        log.close()

    asyncio.run(run())


def test_a_new_segment_is_the_threads_work_and_the_order_stays(directory):
    async def run():
        log = open_log(directory, SIGNER, segment_bytes=300, checkpoint_interval=0.01)
        log.drive(asyncio.get_running_loop())
        for entry in entries(600):
            index = log.submit(entry)
            if index % 7 == 6:
                await asyncio.wait_for(log.wait_durable(index), 10)
        await log.wait_durable(599)
        assert any(name for name in directory.list("wal") if not name.endswith("-00000000000000000000.wal"))
        log.close()

    asyncio.run(run())
    assert reopened(directory) == entries(600)


@pytest.mark.parametrize("when", ["idle", "under way", "pending"])
def test_the_thread_takes_over_when_the_loop_lets_go(directory, when):
    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"first"))
        if when != "idle":
            log.submit(b"second", within=60.0 if when == "pending" else 0.0)
        if when == "under way":
            await asyncio.sleep(0)
        log.undrive()
        log.undrive()
        await asyncio.to_thread(log.wait_durable_sync, log.submit(b"last"), 10)
        assert log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"driven again"))
        return log

    log = asyncio.run(run())
    # The loop is closed and never said so.
    index = log.submit(b"after the loop", within=60.0)
    log.close()
    assert log.failed is None
    assert reopened(directory)[index] == b"after the loop"


def test_closing_from_another_thread_while_the_loop_runs_loses_nothing(directory):
    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        for entry in entries(100):
            log.submit(entry, within=60.0)
        await asyncio.to_thread(log.close)
        with pytest.raises(LogUnavailable):
            log.submit(b"late")

    asyncio.run(run())
    assert reopened(directory) == entries(100)


@pytest.mark.parametrize("step", ["start", "finished"])
def test_a_failed_sync_ends_the_log_and_is_never_tried_again(directory, monkeypatch, step):
    calls = []

    def failing(sync, *given, **more):
        calls.append(step)
        raise OSError(errno.EIO, "Input/output error")

    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"kept"))
        monkeypatch.setattr(KernelSync, step, failing)
        index = log.submit(b"lost")
        with pytest.raises(LogUnavailable, match="Input/output"):
            await log.wait_durable(index)
        with pytest.raises(LogUnavailable):
            log.submit(b"later")
        assert log.durable_size == 1
        log.close()
        assert isinstance(log.failed, OSError)

    asyncio.run(run())
    assert calls == [step]


def test_nothing_is_acknowledged_once_another_writer_has_taken_over(tmp_path, monkeypatch):
    directory = FileLogDirectory(tmp_path / "log")

    async def run():
        log = open_log(directory, SIGNER)
        log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"mine"))
        monkeypatch.setattr(directory, "identity", lambda path: "another")
        with pytest.raises(LogUnavailable, match="another writer"):
            await log.wait_durable(log.submit(b"too late"))
        assert log.durable_size == 1
        log.close()

    asyncio.run(run())


def test_where_the_kernel_does_not_offer_it_the_thread_goes_on_writing(directory, monkeypatch):
    monkeypatch.setattr(kernel_sync, "_NUMBERS", {})

    async def run():
        log = open_log(directory, SIGNER)
        assert not log.drive(asyncio.get_running_loop())
        await log.wait_durable(log.submit(b"a"))
        log.close()

    asyncio.run(run())


def run_with_power(directory, acknowledged, *, segment_bytes=300):
    """Groups of one to four entries, each waited for; what was acknowledged is noted."""

    async def run():
        log = open_log(directory, SIGNER, segment_bytes=segment_bytes, checkpoint_interval=3600)
        try:
            assert log.drive(asyncio.get_running_loop())
            written = 0
            for number in range(14):
                for entry in entries(1 + number % 4, written):
                    index = log.submit(entry)
                    written += 1
                await log.wait_durable(index)
                acknowledged.append(written)
        finally:
            log.close()

    try:
        asyncio.run(run())
    except BaseException as error:
        # Whatever the cut made of it: what counts is what the next start finds.
        if isinstance(error, AssertionError | KeyboardInterrupt):
            raise


def lost_somewhere():
    whole = MemoryLogDirectory()
    whole.syncs_behind = True
    run_with_power(whole, [])
    assert whole.operations > 40
    for cut in range(whole.operations):
        directory = MemoryLogDirectory()
        directory.syncs_behind = True
        directory.cut_after = cut
        acknowledged: list[int] = []
        run_with_power(directory, acknowledged)
        promised = acknowledged[-1] if acknowledged else 0
        for seed in (None, 1, 2):
            found = directory.after_power_cut(seed)
            if not promised and not found.names:
                continue
            try:
                log = open_log(found, SIGNER)
            except Exception:
                if promised:
                    return True
                continue
            try:
                if list(log.read(0, log.size))[:promised] != entries(promised):
                    return True
            finally:
                log.close()
    return False


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_power_cut_at_any_operation_everything_acknowledged_is_there():
    assert not lost_somewhere()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_leaving_the_sync_out_is_noticed(monkeypatch):
    def pretended(sync, *, wait=False):
        sync._file = None
        return True

    monkeypatch.setattr(MemorySync, "finished", pretended)
    assert lost_somewhere()
