"""The decision log is full, or its budget is used up, or the disk is: requests are denied, and a revocation still commits."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support import full_disk_process
from tests.support.gateways import RunningGateway, plain_world
from tests.support.instances import make_instance
from tests.support.log_directories import append, log_signer, open_log

import safeconduct
from safeconduct.audit.budget import MARGIN, BudgetedLog
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import InvalidInput, LogUnavailable
from safeconduct.kernel.ids import PassportId
from safeconduct.kernel.vocabulary import Level, PassportStatus
from safeconduct.record.events.holders import PassportStatusChanged
from safeconduct.settings import read_settings
from safeconduct.storage import reserve as reserve_module
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.reserve import PIECE, Reserve, ReservedLogDirectory, used_bytes

SIGNER = log_signer()
SOURCE = Path(safeconduct.__file__).resolve().parents[1]
ROOM = 1 << 40


def revocation(number: int) -> PassportStatusChanged:
    return PassportStatusChanged(
        passport=PassportId(f"pp_{number}"), status=PassportStatus.INVALID, cause="test", by="operator", at=1
    )


def budgeted(path: Path, *, budget: int = 0, floor: int = 0, free=lambda: ROOM) -> BudgetedLog:
    log = BudgetedLog.open(
        FileLogDirectory(path), origin="test.example/log", signer=SIGNER, clock=SystemClock(), create=True
    )
    log.limit(budget=budget, used=used_bytes(path), floor=floor, free=free)
    return log


def test_a_budget_stops_new_decisions_first_and_the_ends_of_running_ones_last(tmp_path):
    budget = 1 << 20
    log = budgeted(tmp_path / "log", budget=budget)
    while log.full is None:
        log.submit(b"d" * 1000)
    stopped = log.size
    assert "budget" in str(log.full)
    assert log.failed is None  # what was let through is still acknowledged
    log.wait_durable_sync(log.size - 1, 30)
    with pytest.raises(LogUnavailable, match="SAFECONDUCT_DECISION_BUDGET"):  # noqa: PT012
        while True:
            log.submit(b"e" * 1000)
    ends = log.size - stopped
    assert 0 < ends <= budget // MARGIN // 1000 + 1
    log.wait_durable_sync(log.size - 1, 30)
    log.checkpoint(force=True)
    log.close()
    tile = tmp_path / "log" / "tile"
    full = sum(
        file.stat().st_size for file in tile.rglob("*") if file.is_file() and ".p" not in file.parent.suffix
    )
    assert budget * 0.6 < full <= budget


def test_the_budget_counts_what_is_there_already(tmp_path):
    log = budgeted(tmp_path / "log", budget=1 << 20)
    while log.full is None:
        log.submit(b"d" * 1000)
    log.close()
    again = budgeted(tmp_path / "log", budget=1 << 20)
    assert again.full is not None
    with pytest.raises(LogUnavailable):
        again.submit_group([b"x"])
    again.close()
    larger = budgeted(tmp_path / "log", budget=4 << 20)
    assert larger.full is None
    append(larger, [b"goes on"])
    larger.close()


def test_the_disk_s_last_bytes_are_left_to_others_and_room_that_comes_back_is_used(tmp_path):
    free = [ROOM]
    log = budgeted(tmp_path / "log", floor=1 << 20, free=lambda: free[0])
    assert log.full is None
    free[0] = (1 << 20) - 1
    log._looked_when = 0.0
    assert "kept for the record" in str(log.full)
    with pytest.raises(LogUnavailable):
        log.submit(b"x")
    free[0] = ROOM
    log._looked_when = 0.0
    assert log.full is None
    append(log, [b"goes on"])
    log.close()


@pytest.mark.parametrize("text", ["many", "-1", "1000", "1.5"])
def test_a_budget_that_is_none_is_refused(text):
    with pytest.raises(InvalidInput) as caught:
        read_settings({"SAFECONDUCT_DECISION_BUDGET": text})
    assert caught.value.field == "SAFECONDUCT_DECISION_BUDGET"
    assert read_settings({"SAFECONDUCT_DECISION_BUDGET": "1048576"}).decision_budget == 1 << 20


def test_a_gateway_whose_log_has_used_its_budget_denies_with_audit_unavailable(tmp_path, monkeypatch):
    monkeypatch.setattr("tests.support.gateways.Log", BudgetedLog)
    with RunningGateway(tmp_path, plain_world(level=Level.C2)) as gateway:
        first = gateway.post("/v1/chat/completions")
        assert first.status == 200, first.body
        seen = len(gateway.seen)
        gateway.log.limit(budget=1 << 20, used=1 << 20, floor=0, free=lambda: ROOM)
        for _ in range(2):
            denied = gateway.post("/v1/chat/completions")
            assert (denied.status, denied.code) == (503, "AUDIT_UNAVAILABLE")
        assert len(gateway.seen) == seen
        gateway.log.limit(budget=0, used=0, floor=0, free=lambda: ROOM)
        assert gateway.post("/v1/chat/completions").status == 200


def test_a_revocation_commits_while_the_decision_log_s_budget_is_used_up(tmp_path):
    with make_instance(tmp_path) as embedded:
        log = embedded.opened.decision_log
        log.limit(budget=1 << 20, used=1 << 20, floor=0, free=lambda: ROOM)
        assert log.full is not None
        position = embedded.state.position
        assert embedded.instance.record.commit([revocation(1)]) == position + 1
        embedded.reopen()
        assert embedded.state.position == position + 1


# -- the reserve -----------------------------------------------------------------------------------------------------


class Quota:
    """A file layer that admits so many bytes below a directory, the reserve included, and not one more."""

    def __init__(self, root: Path, monkeypatch, limit: int) -> None:
        self.root = root
        self.limit = limit
        self.refused = 0
        write = os.write

        def bounded(descriptor, data):
            room = self.limit - used_bytes(root)
            if len(data) > room:
                self.refused += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return write(descriptor, data)

        monkeypatch.setattr(reserve_module.os, "write", bounded)

    def full(self) -> None:
        self.limit = used_bytes(self.root)


def test_the_record_goes_on_from_its_reserve_when_the_disk_is_full_to_the_last_byte(tmp_path, monkeypatch):
    place = tmp_path / "record"
    place.mkdir()
    store = Reserve(place / "reserve", 1 << 20)
    assert store.fill()
    quota = Quota(place, monkeypatch, 64 << 20)
    log = open_log(ReservedLogDirectory(place / "log", store), SIGNER)
    append(log, [b"before"])
    log.checkpoint(force=True)
    quota.full()
    for number in range(30):
        append(log, [b"revocation %d" % number])
        log.checkpoint(force=True)
    assert quota.refused > 0
    assert log.failed is None
    assert store.path.stat().st_size < 1 << 20
    log.close()
    again = open_log(FileLogDirectory(place / "log"), SIGNER)
    assert [*again.read(1, 31)] == [b"revocation %d" % number for number in range(30)]
    again.close()


def test_a_reserve_that_is_used_up_denies_and_is_filled_again_at_the_next_start(tmp_path, monkeypatch):
    place = tmp_path / "record"
    place.mkdir()
    store = Reserve(place / "reserve", 2 * PIECE)
    assert store.fill()
    with monkeypatch.context() as patch:
        quota = Quota(place, patch, 64 << 20)
        log = open_log(ReservedLogDirectory(place / "log", store), SIGNER)
        quota.full()
        kept = 0
        with pytest.raises(LogUnavailable):  # noqa: PT012
            for _ in range(100):
                append(log, [b"x" * 20_000])
                kept += 1
        assert kept > 3
        assert store.path.stat().st_size == 0
        log.close()
    assert store.fill()
    assert store.path.stat().st_size == 2 * PIECE
    again = open_log(ReservedLogDirectory(place / "log", store), SIGNER)
    assert again.size >= kept
    append(again, [b"goes on"])
    again.close()


def test_the_reserve_is_allocated_and_not_only_promised(tmp_path):
    store = Reserve(tmp_path / "reserve", 1 << 20)
    assert store.fill()
    status = store.path.stat()
    assert status.st_blocks * 512 >= 1 << 20
    assert status.st_mode & 0o077 == 0
    while store.give():
        pass
    assert store.path.stat().st_blocks == 0


def _may_mount() -> bool:
    command = ["unshare", "-rm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def test_on_a_real_full_disk_decisions_stop_and_sixty_revocations_commit(tmp_path):
    if not _may_mount():
        pytest.skip("this user may not mount a file system in a namespace of its own")
    place = tmp_path / "small"
    place.mkdir()
    done = subprocess.run(
        ["unshare", "-rm", sys.executable, full_disk_process.__file__, str(place), "24"],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["decisions"] > 10, said
    assert "kept for the record" in said["full"]
    assert said["failed_before"] == "None"
    assert "refused" not in said, said
    assert said["revoked"] == said["kept"] == 60
    assert said["reserve_left"] < said["reserve"]
    assert said["notes"] == []
