"""A log that changes its key: old checkpoints and proofs hold, new ones need the new key, and the chain has no gap."""

import pytest

from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.fsck import check, verify
from safeconduct.audit.key_history import (
    KEY_HISTORY,
    follow_key_history,
    read_key_history,
    sign_key_change,
    write_key_history,
)
from safeconduct.audit.proof import verify_proof
from safeconduct.audit.reader import PublishedLog
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, VerificationFailed
from safeconduct.kernel.signing import EDDSA, ES256, FileSigner
from safeconduct.storage.log_files import FileLogDirectory

ORIGIN = "example.org/record"
ROOT = bytes(range(32))


def opened(directory, signer, *, create=False):
    return Log.open(
        FileLogDirectory(directory), origin=ORIGIN, signer=signer, clock=SystemClock(), create=create
    )


def entries_of(log, count, start=0):
    for number in range(start, start + count):
        index = log.submit(f"entry {number}".encode())
    log.wait_durable_sync(index, 20)
    log.checkpoint(force=True)


@pytest.fixture
def keys():
    return [FileSigner.generate(EDDSA) for _ in range(3)]


@pytest.fixture
def changed(tmp_path, keys):
    """A log of 300 entries under the first key, 300 more under the second; and a proof made under the first."""
    log = opened(tmp_path, keys[0], create=True)
    try:
        entries_of(log, 300)
        published = PublishedLog(FileLogDirectory(tmp_path).read, LogVerifier.of(ORIGIN, keys[0]))
        proof = published.prove(7)
        log.change_key(keys[1])
        entries_of(log, 300, 300)
    finally:
        log.close()
    return tmp_path, proof


def test_every_pinned_key_of_the_history_verifies_the_whole_log(changed, keys):
    directory, _ = changed
    for key in keys[:2]:
        report = check(FileLogDirectory(directory), LogVerifier.of(ORIGIN, key))
        assert report.ok, report.problems
        assert report.size == 600
        assert verify(FileLogDirectory(directory).read, LogVerifier.of(ORIGIN, key)).ok


def test_a_key_outside_the_history_verifies_nothing(changed, keys):
    report = verify(FileLogDirectory(changed[0]).read, LogVerifier.of(ORIGIN, keys[2]))
    assert not report.ok


def test_a_proof_of_the_old_key_holds_after_the_change(changed, keys):
    directory, proof = changed
    history = FileLogDirectory(directory).read(KEY_HISTORY)
    for key in keys[:2]:
        verifier = follow_key_history(LogVerifier.of(ORIGIN, key), history)
        assert verify_proof(proof, b"entry 7", verifier).index == 7


def test_a_reader_that_follows_meets_the_change_on_its_way(tmp_path, keys):
    log = opened(tmp_path, keys[0], create=True)
    try:
        entries_of(log, 10)
        reader = PublishedLog(FileLogDirectory(tmp_path).read, LogVerifier.of(ORIGIN, keys[0]))
        assert reader.refresh().size == 10
        log.change_key(keys[1])
        entries_of(log, 10, 10)
        assert reader.refresh().size == 20
        assert reader.verifier.key.thumbprint == LogVerifier.of(ORIGIN, keys[1]).key.thumbprint
    finally:
        log.close()


def test_the_replaced_key_cannot_grow_the_log(changed, keys):
    directory, _ = changed
    verifier = follow_key_history(
        LogVerifier.of(ORIGIN, keys[0]), FileLogDirectory(directory).read(KEY_HISTORY)
    )
    stolen = sign_checkpoint(keys[0], LogVerifier.of(ORIGIN, keys[0]), 601, ROOT)
    with pytest.raises(VerificationFailed, match="was replaced at 300"):
        verifier.verify(stolen.text)


def test_the_new_key_does_not_vouch_for_a_tree_before_its_time(changed, keys):
    directory, _ = changed
    verifier = follow_key_history(
        LogVerifier.of(ORIGIN, keys[1]), FileLogDirectory(directory).read(KEY_HISTORY)
    )
    early = sign_checkpoint(keys[1], LogVerifier.of(ORIGIN, keys[1]), 299, ROOT)
    with pytest.raises(VerificationFailed, match="300 entries or more"):
        verifier.verify(early.text)


def test_the_log_does_not_open_with_the_replaced_key(changed, keys):
    with pytest.raises(LogCorrupt, match="key is"):
        opened(changed[0], keys[0])
    opened(changed[0], keys[1]).close()


def test_a_change_right_after_another_and_a_restart_keep_the_chain(tmp_path, keys):
    log = opened(tmp_path, keys[0], create=True)
    entries_of(log, 3)
    log.change_key(keys[1])
    log.change_key(keys[2])
    log.close()
    log = opened(tmp_path, keys[2])
    entries_of(log, 3, 3)
    log.close()
    for key in keys:
        assert check(FileLogDirectory(tmp_path), LogVerifier.of(ORIGIN, key)).ok


@pytest.mark.parametrize("which", ["same", "back", "es256"])
def test_no_key_comes_back_and_only_ed25519_signs(tmp_path, keys, which):
    log = opened(tmp_path, keys[0], create=True)
    try:
        entries_of(log, 1)
        log.change_key(keys[1])
        new = {"same": keys[1], "back": keys[0], "es256": FileSigner.generate(ES256)}[which]
        with pytest.raises(InvalidInput):
            log.change_key(new)
        entries_of(log, 1, 1)
    finally:
        log.close()
    assert check(FileLogDirectory(tmp_path), LogVerifier.of(ORIGIN, keys[0])).ok


def chain(keys):
    first = sign_key_change(ORIGIN, keys[0], keys[1], size=10, root=ROOT)
    second = sign_key_change(ORIGIN, keys[1], keys[2], size=20, root=ROOT)
    return first, second


def test_a_history_reads_back_as_written(keys):
    changes = chain(keys)
    assert read_key_history(write_key_history(changes), ORIGIN)[1].size == 20
    assert read_key_history(b"", ORIGIN) == ()


def test_every_flipped_bit_of_a_history_is_noticed(keys):
    text = write_key_history(chain(keys))
    read_key_history(text, ORIGIN)
    for place in range(0, len(text), 7):
        altered = bytearray(text)
        altered[place] ^= 1
        with pytest.raises(VerificationFailed):
            read_key_history(bytes(altered), ORIGIN)


def test_a_history_with_a_gap_is_refused(keys):
    stranger = sign_key_change(ORIGIN, FileSigner.generate(EDDSA), keys[2], size=20, root=ROOT)
    with pytest.raises(VerificationFailed, match="follow"):
        read_key_history(write_key_history((chain(keys)[0], stranger)), ORIGIN)


def test_a_history_that_shrinks_the_tree_is_refused(keys):
    shrunk = sign_key_change(ORIGIN, keys[1], keys[2], size=9, root=ROOT)
    with pytest.raises(VerificationFailed, match="smaller"):
        read_key_history(write_key_history((chain(keys)[0], shrunk)), ORIGIN)


def test_a_key_that_comes_back_is_refused(keys):
    back = sign_key_change(ORIGIN, keys[1], keys[0], size=20, root=ROOT)
    with pytest.raises(VerificationFailed, match="comes back"):
        read_key_history(write_key_history((chain(keys)[0], back)), ORIGIN)


def test_a_change_of_another_log_is_refused(keys):
    other = sign_key_change("example.org/other", keys[0], keys[1], size=1, root=ROOT)
    with pytest.raises(VerificationFailed, match="another log"):
        read_key_history(write_key_history((other,)), ORIGIN)


@pytest.mark.parametrize("keep", [0, 1])
def test_a_change_that_one_key_did_not_sign_is_refused(keys, keep):
    change = chain(keys)[0]
    lines = change.text.decode().split("\n")
    del lines[6 + keep]
    with pytest.raises(VerificationFailed, match="not signed by"):
        read_key_history("\n".join(lines).encode(), ORIGIN)


def test_a_history_cut_in_the_middle_is_refused(keys):
    text = write_key_history(chain(keys))
    with pytest.raises(VerificationFailed):
        read_key_history(text[: text.index(b"\n\n")] + b"\n", ORIGIN)
    with pytest.raises(VerificationFailed):
        read_key_history(text[:-1], ORIGIN)
