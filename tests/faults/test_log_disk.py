"""Failing disks: after the first failed write or sync the log denies for good, and loses nothing it acknowledged."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from tests.support.log_directories import (
    ORIGIN,
    FailingFileDirectory,
    MemoryLogDirectory,
    append,
    log_signer,
    open_log,
)

import safeconduct
from safeconduct.audit import group_commit
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_or_broken_disk_denies_from_then_on(tmp_path, code):
    directory = FailingFileDirectory(tmp_path / "log")
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    append(log, [b"kept %d" % number for number in range(10)])
    log.checkpoint(force=True)
    directory.error = OSError(code, os.strerror(code))
    index = log.submit(b"lost")
    with pytest.raises(LogUnavailable, match=os.strerror(code)):
        log.wait_durable_sync(index, 30)
    directory.error = None  # space came back: a log that may have lost pages does not go on by itself
    with pytest.raises(LogUnavailable):
        log.submit(b"denied")
    with pytest.raises(LogUnavailable):
        asyncio.run(log.wait_durable(index))
    outcomes: list[object] = []
    log.on_durable(index, outcomes.append)
    assert isinstance(outcomes[0], LogUnavailable)
    assert isinstance(log.failed, OSError)
    assert directory.failures == 1  # neither the write nor the sync was tried again
    assert list(log.read(0, 10)) == [b"kept %d" % number for number in range(10)]
    log.close()
    again = open_log(FileLogDirectory(directory.root), SIGNER)
    assert list(again.read(0, again.size))[:10] == [b"kept %d" % number for number in range(10)]
    append(again, [b"goes on"])
    again.close()


def test_everyone_who_waits_is_told_of_the_failure(tmp_path):
    directory = FailingFileDirectory(tmp_path / "log")
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    directory.error = OSError(errno.EIO, "broken")

    async def writers() -> list[object]:
        async def one(number: int) -> None:
            await log.wait_durable(log.submit(b"%d" % number))

        return await asyncio.gather(*(one(number) for number in range(50)), return_exceptions=True)

    outcomes = asyncio.run(writers())
    assert len(outcomes) == 50
    assert all(isinstance(outcome, LogUnavailable) for outcome in outcomes)
    assert len(set(map(id, outcomes))) == 50  # one exception shared by many tasks would mix their tracebacks
    assert LogVerifier.of(ORIGIN, SIGNER).verify(log.checkpoint(force=True)).size == 0
    log.close()


def test_a_failed_sync_ends_the_log_although_the_write_went_through():
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    append(log, [b"kept"])
    calls: list[str] = []

    def fail(kind: str, path: str) -> None:
        if kind == "sync" and path.startswith("wal/"):
            calls.append(path)
            raise OSError(errno.EIO, "sync failed")

    directory.fail = fail
    with pytest.raises(LogUnavailable, match="sync failed"):
        append(log, [b"doubtful"])
    with pytest.raises(LogUnavailable):
        log.submit(b"denied")
    assert len(calls) == 1
    log.close()
    # The machine goes down: the doubtful write may be gone, what was acknowledged is not.
    again = open_log(directory.after_power_cut(), SIGNER)
    assert list(again.read(0, again.size)) == [b"kept"]
    again.close()


@pytest.mark.parametrize("path", ["tile/", "checkpoint"])
def test_a_failure_to_publish_denies_too(path):
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER, checkpoint_interval=0.01)

    def fail(kind: str, name: str) -> None:
        if name.startswith(path) and kind == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    directory.fail = fail
    append(log, [b"durable"])
    with pytest.raises(LogUnavailable, match="No space"):
        log.checkpoint(force=True)
    with pytest.raises(LogUnavailable):
        log.submit(b"denied")
    log.close()
    again = open_log(directory.after_power_cut(), SIGNER)
    assert list(again.read(0, 1)) == [b"durable"]
    again.close()


def test_a_disk_that_fails_while_opening_is_said_so_and_leaves_no_lock():
    directory = MemoryLogDirectory()

    def fail(kind: str, name: str) -> None:
        if name.startswith("wal/") and kind == "create":
            raise OSError(errno.ENOSPC, "No space left on device")

    directory.fail = fail
    with pytest.raises(LogUnavailable, match="No space"):
        open_log(directory, SIGNER)
    directory.fail = lambda kind, name: None
    open_log(directory, SIGNER).close()


LIMITED = """
import resource, signal, sys
from pathlib import Path
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import LogUnavailable
from safeconduct.kernel.signing import FileSigner
from safeconduct.storage.log_files import FileLogDirectory

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
log = Log.open(FileLogDirectory(sys.argv[1]), origin="test.example/log", clock=SystemClock(), create=True,
               signer=FileSigner.from_pem(Path(sys.argv[2]).read_bytes()))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
done = 0
try:
    while True:
        index = log.submit(b"entry %06d" % done + b"x" * 500)
        log.wait_durable_sync(index, 30)
        done += 1
except LogUnavailable as error:
    try:
        log.submit(b"after")
    except LogUnavailable:
        print(done, type(log.failed).__name__, log.failed.errno)
log.close()
"""


def test_a_real_limit_of_the_file_s_size_denies_and_keeps_what_was_acknowledged(tmp_path):
    key = tmp_path / "key.pem"
    key.write_bytes(SIGNER.to_pem())
    source = Path(safeconduct.__file__).resolve().parents[1]
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, str(tmp_path / "log"), str(key)],
        env={**os.environ, "PYTHONPATH": str(source)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    done, kind, code = result.stdout.split()
    assert (kind, int(code)) == ("OSError", errno.EFBIG), result.stderr
    assert int(done) > 10
    directory = FileLogDirectory(tmp_path / "log")
    again = open_log(directory, SIGNER)
    entries = list(again.read(0, again.size))
    assert len(entries) >= int(done)
    assert all(entry.startswith(b"entry %06d" % number) for number, entry in enumerate(entries))
    append(again, [b"goes on"])
    again.close()
    assert check(directory, LogVerifier.of(ORIGIN, SIGNER)).problems == ()


def test_a_stalled_disk_does_not_fill_the_memory(monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_PENDING_BYTES", 10_000)
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER)
    stalled = threading.Event()

    def stall(kind: str, path: str) -> None:
        if kind == "sync" and path.startswith("wal/"):
            stalled.wait(30)

    directory.fail = stall
    with pytest.raises(LogUnavailable, match="keep up"):  # noqa: PT012
        for _ in range(1000):
            log.submit(b"x" * 100)
    stalled.set()
    log.wait_durable_sync(log.size - 1, 30)
    append(log, [b"goes on"])
    log.close()
