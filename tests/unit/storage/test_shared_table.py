import os
import signal
import subprocess
import sys
import threading

import pytest

from safeconduct.kernel.errors import InvalidInput
from safeconduct.storage.shared_table import SLOTS, SharedTable, TableBusy, TableFull

NOW = 1_000_000.0


@pytest.fixture
def path(tmp_path):
    return tmp_path / "table"


def test_a_key_counts_once_until_its_time_is_over_whoever_asks(path):
    with SharedTable.open(path, groups=4) as one, SharedTable.open(path, groups=4) as other:
        assert one.insert(b"proof", until=NOW + 70, now=NOW)
        assert not other.insert(b"proof", until=NOW + 70, now=NOW)
        assert not one.insert(b"proof", until=NOW + 170, now=NOW + 69.9)
        assert other.insert(b"proof", until=NOW + 170, now=NOW + 70)
        assert one.live(NOW) == 1


def test_a_count_never_passes_its_limit_and_never_falls_below_nothing(path):
    with SharedTable.open(path, groups=4) as table:
        assert table.add(b"quota", 7, limit=10, until=NOW + 60, now=NOW) == 7
        assert table.add(b"quota", 4, limit=10, until=NOW + 60, now=NOW) is None
        assert table.get(b"quota", NOW) == 7
        assert table.add(b"quota", 3, limit=10, until=NOW + 60, now=NOW) == 10
        assert table.add(b"quota", -4, until=NOW + 60, now=NOW) == 6
        assert table.add(b"quota", -40, until=NOW + 60, now=NOW) == 0
        # The time is the first one's: a later call neither shortens nor extends it.
        assert table.add(b"quota", 1, until=NOW + 600, now=NOW) == 1
        assert table.get(b"quota", NOW + 60) == 0


def test_several_counts_stop_at_the_first_that_would_pass_the_limit_or_fails(path):
    until, now = int((NOW + 60) * 1000), int(NOW * 1000)
    with SharedTable.open(path, groups=4) as table:
        assert table.add(b"b", 8, until=NOW + 60, now=NOW) == 8
        done = []
        steps = [(b"a", until), (b"b", until), (b"c", until)]
        assert not table.add_each(steps, 3, now=now, limit=10, done=done)
        assert done == [3]
        assert [table.get(key, NOW) for key in (b"a", b"b", b"c")] == [3, 8, 0]
        assert table.add_each(steps, 2, now=now, limit=10, done=done)
        assert done == [3, 5, 10, 2]
    path.unlink()
    with SharedTable.open(path, groups=1) as table:
        for number in range(SLOTS - 1):
            assert table.insert(b"%d" % number, until=NOW + 70, now=NOW)
        done = []
        with pytest.raises(TableFull):
            table.add_each([(b"one", until), (b"two", until)], 5, now=now, done=done)
        assert done == [5]
        # The lock is free again, and what was counted is there.
        assert table.add(b"one", 1, until=NOW + 60, now=NOW) == 6


def test_what_was_counted_outlives_the_process(path):
    with SharedTable.open(path, groups=4) as table:
        table.insert(b"proof", until=NOW + 70, now=NOW)
    with SharedTable.open(path, groups=4) as table:
        assert not table.lost_at_boot
        assert not table.insert(b"proof", until=NOW + 70, now=NOW)


def test_another_boot_of_the_machine_empties_the_table_and_says_so(path):
    SharedTable.open(path, groups=4, boot=b"a" * 16).close()
    with SharedTable.open(path, groups=4, boot=b"a" * 16) as table:
        table.insert(b"proof", until=NOW + 70, now=NOW)
    with SharedTable.open(path, groups=4, boot=b"b" * 16) as table:
        assert table.lost_at_boot
        assert table.live(NOW) == 0


def test_a_full_group_refuses_instead_of_forgetting(path):
    with SharedTable.open(path, groups=1) as table:
        for number in range(SLOTS):
            assert table.insert(b"%d" % number, until=NOW + 70, now=NOW)
        with pytest.raises(TableFull):
            table.insert(b"one more", until=NOW + 70, now=NOW)
        assert not table.insert(b"0", until=NOW + 70, now=NOW)
        assert table.insert(b"one more", until=NOW + 200, now=NOW + 70)


def test_a_file_of_another_size_or_kind_is_refused(path, tmp_path):
    SharedTable.open(path, groups=4).close()
    with pytest.raises(InvalidInput, match="not a table"):
        SharedTable.open(path, groups=8)
    (tmp_path / "other").write_bytes(b"something else entirely, longer than a header is")
    with pytest.raises(InvalidInput, match="not a table"):
        SharedTable.open(tmp_path / "other", groups=4)
    os.symlink(path, tmp_path / "link")
    with pytest.raises(OSError):
        SharedTable.open(tmp_path / "link", groups=4)


COUNTING = """
import sys
from pathlib import Path
from safeconduct.storage.shared_table import SharedTable
table = SharedTable.open(Path(sys.argv[1]), groups=2)
won = 0
for number in range(400):
    won += table.insert(b"key-%d" % (number % 100), until=2e6, now=1e6)
    table.add(b"sum", 1, until=2e6, now=1e6)
print(won)
"""


def run(path, text=COUNTING, **options):
    return subprocess.Popen(
        [sys.executable, "-c", text, str(path)], stdout=subprocess.PIPE, text=True, **options
    )


def test_processes_and_threads_together_count_exactly(path):
    with SharedTable.open(path, groups=2) as table:
        others = [run(path) for _ in range(3)]
        here = []

        def count():
            here.append(sum(table.insert(b"key-%d" % number, until=2e6, now=1e6) for number in range(100)))
            for _ in range(200):
                table.add(b"sum", 1, until=2e6, now=1e6)

        threads = [threading.Thread(target=count) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        won = sum(int(other.communicate(timeout=60)[0]) for other in others)
        assert won + sum(here) == 100
        assert table.get(b"sum", 1e6) == 3 * 400 + 2 * 200


def test_the_lock_of_a_killed_process_is_released_and_of_a_stopped_one_is_not_waited_for(path):
    holding = """
import sys, time
from pathlib import Path
from safeconduct.storage import shared_table
table = shared_table.SharedTable.open(Path(sys.argv[1]), groups=1)
with shared_table._locked(table._descriptor, shared_table._HEADER, shared_table._GROUP):
    print("held", flush=True)
    time.sleep(60)
"""
    with SharedTable.open(path, groups=1) as table:
        other = run(path, holding)
        assert other.stdout.readline() == "held\n"
        with pytest.raises(TableBusy):
            table.insert(b"proof", until=NOW + 70, now=NOW)
        other.send_signal(signal.SIGKILL)
        other.wait(10)
        assert table.insert(b"proof", until=NOW + 70, now=NOW)
        other.stdout.close()
