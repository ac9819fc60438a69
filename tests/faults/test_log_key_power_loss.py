"""Power goes at every file operation of a key change: the history says which key is in force, and that key opens the log."""

from __future__ import annotations

import threading

import pytest
from tests.support.log_directories import ORIGIN, MemoryLogDirectory, PowerCut, log_signer, open_log

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.audit.key_history import KEY_HISTORY, read_key_history
from safeconduct.kernel.errors import LogCorrupt, LogUnavailable
from safeconduct.kernel.signing import EDDSA, FileSigner

OLD, NEW = log_signer(), FileSigner.generate(EDDSA)
ENTRIES = [b"entry %03d" % number for number in range(20)]


def append(log, entries):
    for entry in entries:
        index = log.submit(entry)
    log.wait_durable_sync(index, 30)
    return log.checkpoint(force=True)


def change_until_power_goes(directory):
    """Ten entries, a new key, ten more. Returns (acknowledged entries, key change returned, checkpoints read)."""
    seen, done, changed = [], 0, False
    try:
        log = open_log(directory, OLD, checkpoint_interval=0)
    except (PowerCut, LogUnavailable):
        return done, changed, seen
    try:
        seen.append(append(log, ENTRIES[:10]))
        done = 10
        log.change_key(NEW)
        changed = True
        seen.append(log.checkpoint())
        seen.append(append(log, ENTRIES[10:]))
        done = 20
    except LogUnavailable:
        pass
    log.close()
    return done, changed, seen


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_after_a_power_cut_exactly_the_key_that_the_history_names_opens_the_log(seed):
    cut = 0
    while True:
        directory = MemoryLogDirectory()
        directory.cut_after = cut
        done, changed, seen = change_until_power_goes(directory)
        found = directory.after_power_cut(seed if seed is None else seed * 1000 + cut)
        try:
            history = read_key_history(found.read(KEY_HISTORY), ORIGIN)
        except FileNotFoundError:
            history = ()
        # Once the change was acknowledged it is durable.
        assert history or not changed, cut
        present, gone = (NEW, OLD) if history else (OLD, NEW)
        if done:
            with pytest.raises(LogCorrupt):
                open_log(found, gone)
        log = open_log(found, present, checkpoint_interval=0)
        assert list(log.read(0, done)) == ENTRIES[:done], cut
        append(log, [b"later"])
        for text in seen:
            # Whoever read a checkpoint before the power went, under either key, can still verify it.
            log.verifier.verify(text)
        log.close()
        assert check(found, LogVerifier.of(ORIGIN, OLD)).problems == () or not done, cut
        assert check(found, LogVerifier.of(ORIGIN, present)).problems == (), cut
        if done == 20:
            break
        cut += 1
    assert cut > 30


@pytest.fixture(autouse=True)
def quiet_threads(monkeypatch):
    """A power cut ends the log's threads from the inside; that is what is tested, not an accident to be reported."""
    monkeypatch.setattr(threading, "excepthook", lambda arguments: None)
