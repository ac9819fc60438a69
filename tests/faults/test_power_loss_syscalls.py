"""Power goes at each system call of a recorded run on real files; and no sync of the product can be left out unnoticed.

The run is recorded once, from the calls that the kernel got. Recovery is then checked at every operation of it, for a disk that
forgets all that was not promised, and again with the syncs of one call site ignored: each of them must be missed.
"""

from __future__ import annotations

import functools
import threading

import pytest
from tests.support.log_directories import ORIGIN, PowerCut, log_signer, open_log
from tests.support.log_roots import naive_root
from tests.support.power_loss import Disk, Recorder, found_directory

from safeconduct.audit.checkpoint import LogVerifier, parse_checkpoint
from safeconduct.audit.fsck import check
from safeconduct.kernel.errors import SafeconductError
from safeconduct.storage import log_files
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
ENTRIES = [b"entry %04d" % number for number in range(1300)]
SEEDS = range(8)


@functools.cache
def root_at(size: int) -> bytes:
    return naive_root(ENTRIES[:size])


def record_a_run(place, monkeypatch, *, whole: bool):
    """Three writers after one another; many small segments, of which several go at once. `whole`: tiles are synced by syncfs."""
    if whole:
        monkeypatch.setattr(log_files, "SYNC_WHOLE_FROM", 1)
    place.mkdir()
    recorder = Recorder(place, monkeypatch)
    written = 0
    for end, step, interval in ((400, 60, 30), (740, 100, 0), (1300, 60, 30)):
        log = open_log(FileLogDirectory(place), SIGNER, segment_bytes=300, checkpoint_interval=interval)
        recorder.mark(("seen", log.checkpoint()))
        for number in range(-(-(end - written) // step)):
            group = ENTRIES[written : min(end, written + step)]
            first = log.submit_group(group)
            log.wait_durable_sync(first + len(group) - 1, 30)
            written += len(group)
            recorder.mark(("acknowledged", written))
            if interval == 0 or number % 5 == 4:
                recorder.mark(("seen", log.checkpoint(force=True)))
        log.close()
        assert log.failed is None
    monkeypatch.undo()
    return recorder.operations


class Broken(AssertionError):
    """What was promised is not there."""


def recover_and_check(files: dict[str, bytes], acknowledged: int, seen: bytes | None) -> None:
    """Open what is found, and hold it against what was said before the power went. Raises Broken."""
    directory = found_directory(files)
    try:
        log = open_log(directory, SIGNER, segment_bytes=2_000, checkpoint_interval=30)
    except (SafeconductError, PowerCut) as error:
        raise Broken(f"does not open: {error}") from error
    entries = list(log.read(0, log.durable_size))
    head = VERIFIER.verify(log.checkpoint(force=True))
    log.close()
    if entries != ENTRIES[: len(entries)] or len(entries) < acknowledged:
        raise Broken(f"{len(entries)} entries where {acknowledged} were acknowledged")
    if head.root != root_at(len(entries)):
        raise Broken("another root")
    known = parse_checkpoint(seen) if seen is not None else None
    if known is not None and known.size > head.size:
        raise Broken("shorter than a checkpoint that was read")
    report = check(directory, VERIFIER, known=known)
    if report.problems:
        raise Broken(str(report.problems[0]))


def play(operations, *, ignored: str = "", seeds=SEEDS, every: int = 1) -> int:
    """Check recovery after each operation. Returns how many different states were recovered. Raises Broken."""
    disk = Disk(ignored)
    acknowledged, seen = 0, None
    known: set[int] = set()
    for number, operation in enumerate(operations):
        disk.apply(operation)
        if operation.kind == "mark":
            what, value = operation.data
            acknowledged, seen = (value, seen) if what == "acknowledged" else (acknowledged, value)
        elif number % every and operation.kind == "write":
            continue
        for seed in seeds:
            files = disk.after_power_cut(seed if seed < 2 else seed * 100_003 + number)
            state = hash((tuple(sorted(files.items())), acknowledged, seen))
            if state not in known:
                known.add(state)
                try:
                    recover_and_check(files, acknowledged, seen)
                except Broken as error:
                    raise Broken(f"after operation {number} ({operation}), seed {seed}: {error}") from error
    return len(known)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    found = {}
    with pytest.MonkeyPatch.context() as monkeypatch:
        for whole in (False, True):
            place = tmp_path_factory.mktemp("power") / "log"
            found[whole] = record_a_run(place, monkeypatch, whole=whole)
    return found


def sites(operations) -> list[str]:
    return sorted({operation.site for operation in operations if operation.site})


@pytest.mark.xdist_group("power-loss")
@pytest.mark.parametrize("whole", [False, True], ids=["fsync-each", "syncfs"])
def test_power_that_goes_at_any_system_call_loses_nothing_acknowledged(runs, whole):
    assert play(runs[whole], seeds=range(3)) > 200


def missed(operations, site: str) -> bool:
    """Whether something breaks once the syncs of this call site do nothing."""
    try:
        play(operations, ignored=site)
    except Broken:
        return True
    return False


@pytest.mark.xdist_group("power-loss")
def test_no_sync_can_be_left_out_unnoticed(runs, tmp_path):
    unnoticed = []
    checked = 0
    for whole, operations in runs.items():
        for site in sites(operations):
            checked += 1
            if missed(operations, site):
                continue
            # Which segments the publisher's thread finds covered depends on its turn: other runs may show what this one hid.
            for number in range(4):
                with pytest.MonkeyPatch.context() as monkeypatch:
                    another = record_a_run(
                        tmp_path / f"{site.partition(':')[0]}-{number}", monkeypatch, whole=whole
                    )
                if missed(another, site):
                    break
            else:
                unnoticed.append(site)
    assert unnoticed == []
    assert checked >= 8


@pytest.fixture(autouse=True)
def quiet_threads(monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)


def _nothing(*_):
    return None


@pytest.mark.xdist_group("power-loss")
@pytest.mark.parametrize(
    ("holder", "name"),
    [
        (log_files.AppendFile, "sync"),
        (log_files.AppendFile, "write_through"),
        (FileLogDirectory, "sync_directory"),
        (FileLogDirectory, "sync_all"),
    ],
    ids=lambda one: getattr(one, "__name__", one),
)
def test_taking_a_sync_out_of_the_code_is_noticed(holder, name, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(holder, name, log_files.AppendFile.write if name == "write_through" else _nothing)
        operations = record_a_run(tmp_path / "log", patch, whole=False)
    with pytest.raises(Broken):
        play(operations)
