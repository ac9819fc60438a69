"""The log's process is killed with signal 9 under load: nothing that was acknowledged may be lost or changed."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.support import log_writer_process
from tests.support.log_directories import ORIGIN, open_log
from tests.support.log_roots import naive_root

import safeconduct
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.fsck import check
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.storage.log_files import FileLogDirectory

ROUNDS = int(os.environ.get("SAFECONDUCT_KILL_ROUNDS", "5"))
SOURCE = Path(safeconduct.__file__).resolve().parents[1]


def start_writer(directory: Path, key: Path, *arguments: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, log_writer_process.__file__, str(directory), str(key), *arguments],
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


@pytest.fixture
def key(tmp_path):
    path = tmp_path / "key.pem"
    signer = FileSigner.generate(EDDSA)
    path.write_bytes(signer.to_pem())
    return path, signer


@pytest.mark.timeout(60 + 6 * ROUNDS)
def test_kill_9_under_load_loses_no_acknowledged_entry(tmp_path, key):
    path, signer = key
    directory = FileLogDirectory(tmp_path / "log")
    verifier = LogVerifier.of(ORIGIN, signer)
    acknowledged: dict[int, bytes] = {}
    choose = random.Random(20260612)
    seen = None
    for _ in range(ROUNDS):
        process = start_writer(directory.root, path)
        lines: list[bytes] = []

        def collect(process=process, lines=lines) -> None:
            lines.extend(process.stdout)

        reader = threading.Thread(target=collect)
        reader.start()
        deadline = time.monotonic() + 30
        while not lines and time.monotonic() < deadline:
            time.sleep(0.005)
        assert lines, process.stderr.read()
        time.sleep(choose.uniform(0.02, 0.6))
        process.kill()
        process.wait()
        reader.join()
        complete = [line for line in lines if line.endswith(b"\n")][1:]
        for line in complete:
            index, name = line.split()
            assert int(index) not in acknowledged, "an index was given twice"
            acknowledged[int(index)] = name
        log = open_log(directory, signer, create=False)
        entries = list(log.read(0, log.size))
        log.close()
        for index, name in acknowledged.items():
            assert entries[index].split()[0] == name
        report = check(directory, verifier, known=seen)
        assert report.problems == ()
        seen = verifier.verify(directory.read("checkpoint"))
        assert seen.root == naive_root(entries)
    assert len(acknowledged) > 10 * ROUNDS


def test_a_second_writing_process_exits_and_names_the_first(tmp_path, key):
    path, _ = key
    first = start_writer(tmp_path / "log", path, "open-only")
    assert first.stdout.readline().startswith(b"ready")
    second = start_writer(tmp_path / "log", path, "open-only")
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 3
    assert b"process %d" % first.pid in errors
    first.communicate(timeout=30)
    assert first.returncode == 0
    third = start_writer(tmp_path / "log", path, "open-only")
    assert third.stdout.readline().startswith(b"ready")
    third.communicate(timeout=30)
    assert third.returncode == 0
