from __future__ import annotations

import pytest
from tests.support.log_directories import ORIGIN, append, log_signer, open_log

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.proof import verify_proof
from safeconduct.audit.reader import PublishedLog
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, NotFound, VerificationFailed
from safeconduct.storage.log_files import FileLogDirectory

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
ENTRIES = [b"entry %d" % number for number in range(600)]


@pytest.fixture
def files(tmp_path):
    directory = FileLogDirectory(tmp_path / "log")
    log = open_log(directory, SIGNER)
    append(log, ENTRIES)
    log.close()
    return {path: directory.read(path) for path in directory.list() if not path.startswith("wal")}


def fetch_from(files):
    def fetch(path: str) -> bytes:
        if path not in files:
            raise NotFound(f"no {path}")
        return files[path]

    return fetch


def test_entries_are_read_and_held_against_the_signed_root(files):
    log = PublishedLog(fetch_from(files), VERIFIER)
    assert list(log.entries(0, 600)) == ENTRIES
    assert list(log.entries(255, 257)) == ENTRIES[255:257]
    with pytest.raises(InvalidInput):
        list(log.entries(0, 601))


@pytest.mark.parametrize("index", [0, 255, 256, 511, 512, 599])
def test_a_proof_from_tiles_verifies_offline(files, index):
    text = PublishedLog(fetch_from(files), VERIFIER).prove(index)
    assert verify_proof(text, ENTRIES[index], VERIFIER).index == index


def test_no_proof_beyond_the_checkpoint(files):
    with pytest.raises(InvalidInput, match="600"):
        PublishedLog(fetch_from(files), VERIFIER).prove(600)


def test_an_altered_bundle_is_named_with_its_entry(files):
    files["tile/entries/001"] = files["tile/entries/001"].replace(b"entry 300", b"entry 30X")
    reader = PublishedLog(fetch_from(files), VERIFIER)
    read = reader.entries(256, 512)
    assert [next(read) for _ in range(44)] == ENTRIES[256:300]
    with pytest.raises(LogCorrupt, match=r"tile/entries/001.*entry 300"):
        next(read)


@pytest.mark.parametrize("path", ["tile/0/001", "tile/0/002.p/88"])
def test_an_altered_tile_is_named_and_proves_nothing(files, path):
    for position in range(0, len(files[path]), 97):
        altered = bytearray(files[path])
        altered[position] ^= 1
        reader = PublishedLog(fetch_from({**files, path: bytes(altered)}), VERIFIER)
        index = 256 if path == "tile/0/001" else 512
        with pytest.raises(LogCorrupt, match=path):
            list(reader.entries(index, index + 10))


def test_a_missing_tile_is_named(files):
    del files["tile/0/002.p/88"]
    with pytest.raises(LogCorrupt, match=r"tile/0/002\.p/88"):
        PublishedLog(fetch_from(files), VERIFIER).prove(599)


def test_the_full_tile_serves_where_the_partial_one_is_gone(tmp_path):
    directory = FileLogDirectory(tmp_path / "log")
    log = open_log(directory, SIGNER)
    append(log, ENTRIES[:300])
    reader = PublishedLog(directory.read, VERIFIER)
    log.checkpoint(force=True)
    assert reader.refresh().size == 300
    append(log, ENTRIES[300:])
    log.close()
    assert list(reader.entries(290, 300)) == ENTRIES[290:300]
    assert verify_proof(reader.prove(299), ENTRIES[299], VERIFIER).checkpoint.size == 300
    assert reader.refresh().size == 600


def test_a_log_that_was_rolled_back_or_forked_is_refused(files, tmp_path):
    reader = PublishedLog(fetch_from(files), VERIFIER)
    assert reader.checkpoint.size == 600
    other = FileLogDirectory(tmp_path / "other")
    log = open_log(other, SIGNER)
    append(log, [b"other"] * 100)
    log.close()
    with pytest.raises(VerificationFailed, match="shrank"):
        PublishedLog(other.read, VERIFIER).refresh(known=reader.checkpoint)
    log = open_log(other, SIGNER)
    append(log, [b"other"] * 800)
    log.close()
    with pytest.raises(VerificationFailed, match="consistency"):
        PublishedLog(other.read, VERIFIER).refresh(known=reader.checkpoint)


def test_nothing_published_is_said_so():
    with pytest.raises(NotFound):
        PublishedLog(fetch_from({}), VERIFIER).refresh()
