from __future__ import annotations

import pytest
from tests.support.log_directories import ORIGIN, MemoryLogDirectory, append, log_signer, open_log

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check, verify
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)


class Files:
    """A log's files in memory, to be altered."""

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files

    @classmethod
    def of(cls, directory) -> Files:
        return cls({path: directory.read(path) for path in directory.list()})

    def read(self, path: str) -> bytes:
        if path not in self.files:
            raise FileNotFoundError(path)
        return self.files[path]

    def list(self, prefix: str = "") -> list[str]:
        start = f"{prefix}/" if prefix else ""
        return sorted(path for path in self.files if path.startswith(start))

    def altered(self, path: str, data: bytes | None) -> Files:
        files = {**self.files, path: data or b""}
        if data is None:
            del files[path]
        return Files(files)


def small_log(counts=(3, 4)) -> Files:
    directory = MemoryLogDirectory()
    for part, count in enumerate(counts):
        log = open_log(directory, SIGNER)
        append(log, [b"entry %d of part %d" % (number, part) for number in range(count)])
        log.close()
    return Files.of(directory)


def long_log(tmp_path) -> Files:
    directory = FileLogDirectory(tmp_path / "log")
    for count in (300, 400):
        log = open_log(directory, SIGNER)
        append(log, [b"%d" % number for number in range(count)])
        log.checkpoint(force=True)
        append(log, [b"and one more"])
        log.close()
    return Files.of(directory)


def files_of(report) -> set[str]:
    return {problem.file for problem in report.problems}


def test_a_sound_log_has_no_problems(tmp_path):
    for files in (small_log(), small_log((0,)), small_log((256,)), long_log(tmp_path)):
        report = check(files, VERIFIER)
        assert report.problems == ()
        assert report.notes == ()
        assert report.ok
    assert report.size == report.durable == 702
    assert verify(files.read, VERIFIER).ok


@pytest.mark.parametrize("counts", [(3, 4), (257,)])
def test_a_flipped_bit_at_every_byte_of_every_file_is_named(counts):
    files = small_log(counts)
    assert {path.split("/")[0] for path in files.list()} == {"checkpoint", "epoch", "tile", "wal"}
    for path in files.list():
        data = files.read(path)
        step = 1 if len(data) < 1000 else 61
        for position in range(0, len(data), step):
            altered = bytearray(data)
            altered[position] ^= 1 << position % 8
            report = check(files.altered(path, bytes(altered)), VERIFIER)
            assert path in files_of(report), (path, position)


def test_only_the_altered_file_is_named_with_the_entry(tmp_path):
    files = long_log(tmp_path)
    bundle = "tile/entries/001"
    altered = files.read(bundle).replace(b"\x00\x03299", b"\x00\x03298")
    report = check(files.altered(bundle, altered), VERIFIER)
    assert [(problem.file, problem.entry) for problem in report.problems] == [(bundle, 299)]
    tile = "tile/0/001"
    data = bytearray(files.read(tile))
    data[32 * 43 + 5] ^= 16
    report = check(files.altered(tile, bytes(data)), VERIFIER)
    assert [(problem.file, problem.entry) for problem in report.problems] == [(tile, 299)]
    assert "byte 1376" in str(report.problems[0])
    upper = "tile/1/000.p/2"
    data = bytearray(files.read(upper))
    data[40] ^= 1
    report = check(files.altered(upper, bytes(data)), VERIFIER)
    assert [(problem.file, problem.entry) for problem in report.problems] == [(upper, 256)]


def test_several_altered_files_are_all_named(tmp_path):
    files = long_log(tmp_path)
    wrong = {"tile/entries/000": 50, "tile/0/001": 100, "tile/entries/002.p/190": 30}
    for path, position in wrong.items():
        data = bytearray(files.read(path))
        data[position] ^= 2
        files = files.altered(path, bytes(data))
    assert files_of(check(files, VERIFIER)) == set(wrong)


def test_an_entry_exchanged_with_its_leaf_hash_is_found(tmp_path):
    files = long_log(tmp_path)
    other = FileLogDirectory(tmp_path / "other")
    log = open_log(other, SIGNER)
    append(log, [b"forged"] * 702)
    log.close()
    forged = files.altered("tile/entries/000", other.read("tile/entries/000"))
    forged = forged.altered("tile/0/000", other.read("tile/0/000"))
    report = check(forged, VERIFIER)
    assert not report.ok
    assert not verify(forged.read, VERIFIER).ok


def test_every_missing_file_is_named(tmp_path):
    files = long_log(tmp_path)
    # Partial tiles of earlier checkpoints may be deleted at any time.
    needed = [
        path
        for path in files.list()
        if path != "lock" and (".p/" not in path or path.endswith(("/190", "1/000.p/2")))
    ]
    for path in needed:
        report = check(files.altered(path, None), VERIFIER)
        expected = "wal" if path.startswith("wal/") else path
        assert expected in files_of(report), path


def test_a_write_ahead_log_cut_at_every_byte_is_named():
    files = small_log((7,))
    (path,) = files.list("wal")
    data = files.read(path)
    for length in range(len(data)):
        report = check(files.altered(path, data[:length]), VERIFIER)
        assert path in files_of(report), length


def test_a_write_that_did_not_finish_is_a_note_and_no_problem():
    files = small_log((7,))
    (path,) = files.list("wal")
    report = check(files.altered(path, files.read(path) + b"\xf7SCF\x00\x00"), VERIFIER)
    assert report.ok
    assert path in report.notes[0]


def test_a_log_of_another_key_is_refused():
    report = check(small_log(), LogVerifier.of(ORIGIN, log_signer()))
    assert "checkpoint" in files_of(report)


def test_a_log_that_shrank_or_changed_since_a_remembered_checkpoint_is_refused(tmp_path):
    directory = FileLogDirectory(tmp_path / "log")
    log = open_log(directory, SIGNER)
    append(log, [b"%d" % number for number in range(300)])
    early = VERIFIER.verify(log.checkpoint(force=True))
    old = Files.of(directory)
    append(log, [b"%d" % number for number in range(300)])
    late = VERIFIER.verify(log.checkpoint(force=True))
    log.close()
    assert check(Files.of(directory), VERIFIER, known=early).ok
    assert check(Files.of(directory), VERIFIER, known=late).ok
    report = verify(old.read, VERIFIER, known=late)
    assert "shrank" in str(report.problems[0])
    other = FileLogDirectory(tmp_path / "other")
    log = open_log(other, SIGNER)
    append(log, [b"rewritten"] * 700)
    log.close()
    report = check(Files.of(other), VERIFIER, known=late)
    assert "not those of the checkpoint seen earlier" in str(report.problems[0])


def test_an_older_epoch_file_is_named():
    files = small_log()
    first = small_log((0,))
    report = check(files.altered("epoch", first.read("epoch")), VERIFIER)
    assert files_of(report) == {"epoch"}


def test_a_foreign_file_is_a_note():
    report = check(small_log().altered("readme.txt", b"hello"), VERIFIER)
    assert report.ok
    assert report.notes == ("readme.txt: not part of the log",)


def test_progress_is_told_up_to_the_end(tmp_path):
    steps: list[tuple[int, int]] = []
    check(long_log(tmp_path), VERIFIER, progress=lambda done, total: steps.append((done, total)))
    assert steps == [(256, 702), (512, 702), (702, 702)]
