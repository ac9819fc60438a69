"""A process killed at any of its calls to the disk while a list comes in: the old version or the new one is in force, whole."""

import signal
import subprocess
import sys

from tests.support.list_writer_process import LIST, bring_in, entries

from safeconduct.storage.screening_lists import ScreeningListFiles

OLD, NEW = "a" * 64, "b" * 64
COUNTS = {OLD: 500, NEW: 700}


def killed_at(call, root):
    done = subprocess.run(
        [sys.executable, "-m", "tests.support.list_writer_process", str(root), str(call)],
        check=False,
        capture_output=True,
        timeout=60,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr.decode()
    return done.returncode != 0


def test_killed_anywhere_a_whole_version_is_in_force_and_the_next_import_goes_through(tmp_path):
    seen = {OLD: 0, NEW: 0}
    call = 0
    while True:
        call += 1
        root = tmp_path / str(call) / "screening"
        root.parent.mkdir()
        store = ScreeningListFiles(root)
        bring_in(store, OLD, COUNTS[OLD], at=1)
        killed = killed_at(call, root)
        found = store.in_force(LIST)
        seen[found] += killed
        assert list(store.entries(LIST, found)) == entries(COUNTS[found])
        # What is kept beside it is whole, too: a version appears with its last byte.
        for version in store.versions(LIST):
            assert sum(1 for _ in store.entries(LIST, version.sha256)) == version.entries
        bring_in(store, NEW, COUNTS[NEW], at=3)
        assert store.in_force(LIST) == NEW
        assert list(store.entries(LIST, NEW)) == entries(COUNTS[NEW])
        names = sorted(path.name for path in (root / "lists" / LIST / "versions").iterdir())
        assert names == [OLD, NEW]
        if not killed:
            break
    assert call > 15
    assert seen[OLD] > 10
    assert seen[NEW] >= 1
