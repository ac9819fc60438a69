"""The state of a million people and a million grants: folding, starting from a snapshot, memory, and one event's update.

Writes a record of a made-up population into a log (about four entries a person), then opens it in fresh processes as a worker
would. Baselines of the same run: reading the same bytes with plain `read` and SHA-256. CPU stands beside wall time, since
the machine may be shared. Usage: python bench/state.py [--people 1000000] [--quick] [--directory DIR] [--output FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import population as made
from safeconduct.app.record_keeper import RecordKeeper
from safeconduct.app.snapshots import Snapshots, SnapshotWriter
from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import PassportStatus, Purpose, Screening, Surface
from safeconduct.record.envelope import open_entry
from safeconduct.record.events import (
    ClearanceChanged,
    GrantEnded,
    GrantGiven,
    PassportStatusChanged,
    SubjectEnrolled,
    SubjectScreened,
    encode,
)
from safeconduct.record.state import State
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.snapshot_files import FileSnapshots

ORIGIN = "localhost/bench/record"
GOALS = {"fold_seconds": 60.0, "start_seconds": 5.0, "bytes": 1.5 * 1024**3, "update_p99_us": 1000.0}
GROUP = 4_000


def signer() -> FileSigner:
    """The same key in every process of the bench."""
    from cryptography.hazmat.primitives.asymmetric import ed25519  # noqa: PLC0415

    return FileSigner(ed25519.Ed25519PrivateKey.from_private_bytes(made.digest("bench")))


def open_log(directory: Path, *, create: bool = False) -> Log:
    """The record's log."""
    return Log.open(
        FileLogDirectory(directory / "log"),
        origin=ORIGIN,
        signer=signer(),
        clock=SystemClock(),
        create=create,
    )


def snapshots_of(directory: Path, log: Log) -> Snapshots:
    """Its snapshots."""
    return Snapshots(FileSnapshots(directory / "snapshots"), log, signer())


def memory() -> dict[str, int]:
    """Resident bytes now and at the most."""
    now = next(
        int(line.split()[1]) * 1024
        for line in Path("/proc/self/status").read_text().splitlines()
        if line.startswith("VmRSS")
    )
    return {"rss": now, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


class Watch:
    """Wall and CPU time of a piece of work."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """Seconds so far."""
        return {
            "seconds": round(time.perf_counter() - self._wall, 3),
            "cpu_seconds": round(time.process_time() - self._cpu, 3),
        }


def write_record(directory: Path, people: int) -> dict[str, float]:
    """The whole record, through the log as a control plane writes it."""
    watch, log = Watch(), open_log(directory, create=True)
    group: list[bytes] = []
    last = -1
    for number, event in enumerate(made.events(people)):
        group.append(
            open_entry(
                encode(event),
                uid=f"evt_{number:016d}",
                seq=number,
                time_ms=made.START * 1000,
                type=str(event.__struct_config__.tag),
            )
        )
        if len(group) == GROUP:
            last = log.submit_group(group) + len(group) - 1
            log.wait_durable_sync(last)
            group = []
    if group:
        last = log.submit_group(group) + len(group) - 1
        log.wait_durable_sync(last)
    log.close()
    return {**watch.read(), "entries": last + 1}


def plain_read(paths: list[Path]) -> dict[str, float]:
    """`read` and SHA-256 of files: what no reader can do without."""
    watch, digest, size = Watch(), hashlib.sha256(), 0
    for path in paths:
        data = path.read_bytes()
        digest.update(data)
        size += len(data)
    return {**watch.read(), "bytes": size}


def bundles(directory: Path) -> list[Path]:
    """The files that hold the entries."""
    return sorted(path for path in (directory / "log" / "tile" / "entries").rglob("*") if path.is_file())


def fold(directory: Path) -> dict:
    """In a worker: the fold from the first entry on, then a snapshot, as a process that serves writes it."""
    watch = Watch()
    log = open_log(directory)
    opened = watch.read()
    watch = Watch()
    keeper = RecordKeeper(log, clock=SystemClock())
    folded = {**watch.read(), **memory(), "entries": keeper.state.position}
    quiet = lateness(lambda: time.sleep(3.0))
    snapshots = snapshots_of(directory, log)
    writer = SnapshotWriter(snapshots, lambda: keeper.state, min_entries=1)
    watch = Watch()
    beside = lateness(lambda: snapshots.write(lambda: keeper.state, writer._give_way()))
    written = watch.read()
    log.close()
    return {
        "open": opened,
        "fold": folded,
        "snapshot": {
            **written,
            "bytes": sum(path.stat().st_size for path in (directory / "snapshots").iterdir()),
        },
        "lateness_ms": {"quiet": quiet, "while_writing": beside},
    }


def lateness(work) -> dict[str, float]:
    """How late a thread that wakes every 2 ms is while `work` runs in another: what a request would wait for."""
    late: list[float] = []
    thread = threading.Thread(target=work)
    thread.start()
    while thread.is_alive():
        began = time.perf_counter()
        time.sleep(0.002)
        late.append((time.perf_counter() - began - 0.002) * 1000)
    thread.join()
    late.sort()
    return {
        "p50": round(late[len(late) // 2], 3),
        "p99": round(late[int(len(late) * 0.99)], 3),
        "max": round(late[-1], 3),
    }


def start(directory: Path) -> dict:
    """In a worker: open the log, verify and load the snapshot; then update by single events."""
    watch = Watch()
    log = open_log(directory)
    opened = watch.read()
    watch = Watch()
    keeper = RecordKeeper(log, clock=SystemClock(), snapshots=snapshots_of(directory, log))
    loaded = {**watch.read(), **memory(), "snapshot": keeper.snapshot, "entries": keeper.state.position}
    assert not keeper.notes, keeper.notes
    assert keeper.snapshot == keeper.state.position
    state = keeper.state
    updates = update(state)
    after = memory()
    log.close()
    return {"open": opened, "start": loaded, "update": updates, "after_updates": after}


def update(state: State) -> dict[str, float]:
    """`State.apply` of one event after another, of six kinds, about people at random."""
    rng = random.Random(1)
    people = len(state.subjects)
    taken: list[float] = []
    before = {name: state.subjects[name] for name in (made.name_of("sub", 3), made.name_of("sub", 5))}
    first, untouched = state, len(state.grants)
    for number in range(12_000):
        one = rng.randrange(people)
        subject, grant = made.name_of("sub", one), made.name_of("grt", one)
        event = (
            PassportStatusChanged(
                passport=made.name_of("pas", one), status=PassportStatus.SUSPENDED, cause="", by="", at=1
            ),
            GrantEnded(grant=grant, by="", at=made.NOW),
            SubjectScreened(subject=subject, screening=Screening.CLEAR, screened_at=1, list_digests=()),
            ClearanceChanged(subject=subject, state="suspended", cause="", by="", at=1),
            SubjectEnrolled(subject=f"new-{number}", kind="human"),
            GrantGiven(
                grant=f"new-{number}",
                by_provider=None,
                by_organisation=made.name_of("org", 1),
                to_organisation=None,
                to_group=None,
                to_subject=subject,
                variants=made.NAMES,
                purposes=(Purpose.VULN_TRIAGE,),
                surfaces=(Surface.API,),
                regions=(),
                valid_from=0,
                valid_until=made.END,
                approved_by=("a",),
                requested_by="b",
                parent=made.name_of("top", 1),
            ),
        )[number % 6]
        began = time.perf_counter()
        state = state.apply(event, state.position + 1)
        taken.append((time.perf_counter() - began) * 1e6)
    # The state that the updates began with is what it was.
    assert len(first.grants) == untouched
    assert "new-5" not in first.grants
    assert all(first.subjects[name] == held for name, held in before.items())
    taken.sort()
    return {
        "p50_us": round(taken[len(taken) // 2], 1),
        "p99_us": round(taken[int(len(taken) * 0.99)], 1),
        "max_us": round(taken[-1], 1),
        "updates": len(taken),
    }


def in_worker(what: str, directory: Path) -> dict:
    """The same file in a fresh process."""
    done = subprocess.run(
        [sys.executable, __file__, "--worker", what, "--directory", str(directory)],
        check=True,
        capture_output=True,
        env=os.environ,
    )
    return json.loads(done.stdout)


def verdict(found: float, goal: float) -> str:
    """Whether a goal was reached."""
    return "reached" if found <= goal else "MISSED"


def main() -> int:
    """Run, print, write. Exits 0 whether or not goals are reached: the figures say so."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=1_000_000)
    parser.add_argument("--quick", action="store_true", help="20,000 people")
    parser.add_argument("--directory", type=Path, default=None, help="where to write the record (a few GB)")
    parser.add_argument("--worker", choices=["fold", "start"], help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "state.json")
    options = parser.parse_args()
    if options.worker:
        print(json.dumps({"fold": fold, "start": start}[options.worker](options.directory)))
        return 0
    people = 20_000 if options.quick else options.people
    directory = Path(tempfile.mkdtemp(prefix="safeconduct-state-", dir=options.directory))
    try:
        written = write_record(directory, people)
        print(
            f"{people:,} people: a record of {written['entries']:,} entries, written in {written['seconds']:.0f} s",
            flush=True,
        )
        entries = plain_read(bundles(directory))
        folded = in_worker("fold", directory)
        snapshot = plain_read(sorted((directory / "snapshots").iterdir()))
        started = in_worker("start", directory)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    results = {
        "people": people,
        "python": platform.python_version(),
        "goals": GOALS,
        "record": written,
        "baseline_entries": entries,
        "folded": folded,
        "baseline_snapshot": snapshot,
        "started": started,
    }
    options.output.parent.mkdir(exist_ok=True)
    options.output.write_text(json.dumps(results, indent=2) + "\n")
    tell(results)
    return 0


def tell(found: dict) -> None:
    """One line a figure, each beside its goal and its baseline."""
    fold_, start_ = found["folded"]["fold"], found["started"]["start"]
    entries, snapshot = found["baseline_entries"], found["baseline_snapshot"]
    late, update_ = found["folded"]["lateness_ms"], found["started"]["update"]
    megabytes, most = 1e6, GOALS["bytes"]
    print(
        f"fold from the first entry: {fold_['seconds']:.1f} s ({fold_['cpu_seconds']:.1f} s CPU), goal 60 s:"
        f" {verdict(fold_['seconds'], GOALS['fold_seconds'])}; read and SHA-256 of the same {entries['bytes'] / 1e6:,.0f} MB:"
        f" {entries['seconds']:.1f} s"
    )
    print(
        f"memory of a worker that folded: {fold_['rss'] / megabytes:,.0f} MB, at the most {fold_['peak'] / megabytes:,.0f} MB,"
        f" goal {most / megabytes:,.0f} MB: {verdict(fold_['peak'], most)}"
    )
    print(
        f"start from a snapshot, verified: {start_['seconds']:.2f} s ({start_['cpu_seconds']:.2f} s CPU), goal 5 s:"
        f" {verdict(start_['seconds'], GOALS['start_seconds'])}; read and SHA-256 of the same"
        f" {snapshot['bytes'] / 1e6:,.0f} MB: {snapshot['seconds']:.2f} s; opening the log itself:"
        f" {found['started']['open']['seconds']:.2f} s"
    )
    print(
        f"memory of a worker that started so: {start_['rss'] / megabytes:,.0f} MB, at the most"
        f" {start_['peak'] / megabytes:,.0f} MB, goal {most / megabytes:,.0f} MB: {verdict(start_['peak'], most)}"
    )
    print(
        f"one event: p50 {update_['p50_us']:.0f} us, p99 {update_['p99_us']:.0f} us, goal p99 1,000 us:"
        f" {verdict(update_['p99_us'], GOALS['update_p99_us'])} ({update_['updates']:,} events, the most"
        f" {update_['max_us']:,.0f} us)"
    )
    print(
        f"a snapshot written beside requests takes {found['folded']['snapshot']['seconds']:.1f} s; a thread that wakes every"
        f" 2 ms is late by p99 {late['while_writing']['p99']:.1f} ms meanwhile, {late['quiet']['p99']:.1f} ms without"
    )


if __name__ == "__main__":
    raise SystemExit(main())
