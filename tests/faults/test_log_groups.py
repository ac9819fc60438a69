"""A group that was submitted together survives a crash whole or not at all, wherever the write was cut."""

from __future__ import annotations

import sys
import threading

import pytest
from tests.support.log_directories import (
    ORIGIN,
    MemoryLogDirectory,
    PowerCut,
    append,
    log_signer,
    open_log,
)

from safeconduct.audit.wal import HEADER_SIZE, decode_segment
from safeconduct.kernel.errors import InvalidInput, LogUnavailable

SIGNER = log_signer()
GROUPS = [
    [b"%d.%d of %d" % (group, place, size) for place in range(size)]
    for group, size in enumerate((3, 1, 5, 2))
]
SIZE = 20


def whole(entries: list[bytes]) -> bool:
    """True when the entries are some of the groups, in order, none of them in part."""
    for count in range(len(GROUPS) + 1):
        if entries == [entry for group in GROUPS[:count] for entry in group]:
            return True
    return False


def segment_of(directory: MemoryLogDirectory) -> tuple[str, bytes]:
    [path] = directory.list("wal")
    return path, directory.read(path)


def test_a_log_cut_at_any_byte_holds_no_part_of_a_group():
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    for group in GROUPS:
        log.wait_durable_sync(log.submit_group(group) + len(group) - 1, 30)
    path, data = segment_of(directory)
    log.close()
    sizes = set()
    for end in range(HEADER_SIZE, len(data) + 1):
        entries = decode_segment(data[:end], path, ORIGIN).entries
        assert whole(entries), end
        sizes.add(len(entries))
    assert sizes == {0, 3, 4, 9, 11}


def test_a_log_opened_after_a_cut_at_any_byte_of_its_last_group_goes_on_without_it():
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER, checkpoint_interval=30)
    before = segment_of(directory)[1]
    # What a machine finds that lost power before anything of the group was published.
    crashed = directory.after_power_cut()
    log.wait_durable_sync(log.submit_group(GROUPS[0]) + 2, 30)
    path, data = segment_of(directory)
    log.close()
    for end in range(len(before), len(data) + 1):
        again = crashed.after_power_cut()
        again.names[path].data[:] = data[:end]
        reopened = open_log(again, SIGNER, checkpoint_interval=30)
        assert list(reopened.read(0, reopened.size)) == (GROUPS[0] if end == len(data) else []), end
        reopened.wait_durable_sync(reopened.submit_group(GROUPS[1]), 30)
        reopened.close()


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_power_that_goes_at_any_operation_parts_no_group(seed):
    cut, finished = 0, False
    while not finished:
        directory = MemoryLogDirectory()
        directory.cut_after = cut
        try:
            log = open_log(directory, SIGNER, checkpoint_interval=0, segment_bytes=150)
            try:
                for group in GROUPS:
                    log.wait_durable_sync(log.submit_group(group) + len(group) - 1, 30)
            finally:
                log.close()
            finished = log.failed is None
        except (PowerCut, LogUnavailable):
            pass
        again = open_log(directory.after_power_cut(seed and seed * 1000 + cut), SIGNER)
        assert whole(list(again.read(0, again.size))), cut
        again.close()
        cut += 1
    assert cut > 20


@pytest.fixture
def eager_threads():
    """Threads change places at nearly every step, so that the writer looks in between whatever can be come between."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("eager_threads")
def test_groups_of_many_threads_stand_together_in_one_frame_each():
    directory = MemoryLogDirectory()
    log = open_log(directory, SIGNER, checkpoint_interval=30)

    def write(name: int) -> None:
        for number in range(20):
            first = log.submit_group([b"%d.%d" % (name, number)] * SIZE)
            log.submit(b"alone")
            log.wait_durable_sync(first + SIZE - 1, 30)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    path, data = segment_of(directory)
    log.close()
    segment = decode_segment(data, path, ORIGIN)
    assert len(segment.entries) == 6 * 20 * (SIZE + 1)
    groups = 0
    for _, first, count in segment.frames:
        rest = [entry for entry in segment.entries[first : first + count] if entry != b"alone"]
        assert len(rest) % SIZE == 0
        for start in range(0, len(rest), SIZE):
            assert len(set(rest[start : start + SIZE])) == 1
            groups += 1
    assert groups == 120


def test_a_group_that_is_refused_costs_no_index_and_leaves_nothing():
    log = open_log(MemoryLogDirectory(), SIGNER, max_entry=10)
    for group in ([], [b"fits", b"x" * 11]):
        with pytest.raises(InvalidInput):
            log.submit_group(group)
    assert log.size == 0
    append(log, [b"a"])
    assert log.submit_group([bytearray(b"b"), b""]) == 1
    log.wait_durable_sync(2, 30)
    assert list(log.read(0, 3)) == [b"a", b"b", b""]
    log.close()
    with pytest.raises(LogUnavailable):
        log.submit_group([b"late"])


@pytest.fixture(autouse=True)
def quiet_threads(monkeypatch):
    """A power cut ends the log's threads from the inside; that is what is tested, not an accident to be reported."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
