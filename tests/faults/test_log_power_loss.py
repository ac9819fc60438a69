"""Power goes at every single file operation; whatever was not synced is gone, torn, or half of it there."""

from __future__ import annotations

import functools
import threading

import pytest
from tests.support.log_directories import ORIGIN, MemoryLogDirectory, PowerCut, log_signer, open_log
from tests.support.log_roots import naive_root

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.kernel.errors import LogUnavailable

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
ENTRIES = [b"entry %03d" % number for number in range(320)]


@functools.cache
def root_at(size: int) -> bytes:
    return naive_root(ENTRIES[:size])


def run_until_power_goes(directory: MemoryLogDirectory, acknowledged: list[bytes]) -> tuple[bool, list]:
    """Open, append in groups with small segments, close. Returns (finished, checkpoints that anyone may have read)."""
    seen = []
    try:
        log = open_log(directory, SIGNER, segment_bytes=3_000, checkpoint_interval=0)
    except (PowerCut, LogUnavailable):
        return False, seen
    assert list(log.read(0, len(acknowledged))) == acknowledged
    del acknowledged[len(acknowledged) :]
    try:
        start = log.size
        acknowledged[:] = list(log.read(0, start))
        for first in range(start, len(ENTRIES), 64):
            group = ENTRIES[first : first + 64]
            for entry in group:
                index = log.submit(entry)
            log.wait_durable_sync(index, 30)
            acknowledged += group
            seen.append(VERIFIER.verify(log.checkpoint(force=True)))
    except LogUnavailable:
        log.close()
        return False, seen
    log.close()
    return log.failed is None, seen


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_power_that_goes_at_any_operation_loses_nothing_acknowledged(seed):
    cut = 0
    step = 1 if seed is None else 4
    while True:
        directory = MemoryLogDirectory()
        directory.cut_after = cut
        acknowledged: list[bytes] = []
        finished, seen = run_until_power_goes(directory, acknowledged)
        found = directory.after_power_cut(seed if seed is None else seed * 1000 + cut)
        finished_again, seen_again = run_until_power_goes(found, acknowledged)
        assert finished_again, cut
        assert acknowledged == ENTRIES
        for checkpoint in seen + seen_again:
            # Whoever read a checkpoint before the power went finds it extended by the log afterwards.
            assert checkpoint.root == root_at(checkpoint.size)
        report = check(found, VERIFIER, known=seen[-1] if seen else None)
        assert report.problems == (), cut
        assert report.size == len(ENTRIES)
        if finished:
            break
        cut += step
    assert cut > 50


def test_power_that_goes_again_while_recovering_loses_nothing():
    first = MemoryLogDirectory()
    first.cut_after = 60
    acknowledged: list[bytes] = []
    run_until_power_goes(first, acknowledged)
    assert acknowledged
    for cut in range(0, 40, 2):
        second = first.after_power_cut(cut)
        second.cut_after = cut
        run_until_power_goes(second, list(acknowledged))
        third = second.after_power_cut(cut + 1)
        finished, _ = run_until_power_goes(third, list(acknowledged))
        assert finished, cut


@pytest.fixture(autouse=True)
def quiet_threads(monkeypatch):
    """A power cut ends the log's threads from the inside; that is what is tested, not an accident to be reported."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
