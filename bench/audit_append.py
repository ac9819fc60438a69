"""Durable entries a second and waiting times of the log with 1,000 concurrent asyncio writers.

Two baselines in the same run: plain `write` + `fdatasync` of the same bytes in groups of the same size, one after the other;
and the ceiling of the event loop: the same writers waiting for the same futures with no log behind them at all.
Usage: python bench/audit_append.py [--seconds 5] [--writers 1000] [--entry 400] [--directory DIR]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import uvloop

from safeconduct.audit.sequencing import Log
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import EDDSA, FileSigner
from safeconduct.storage.log_files import AppendFile, FileLogDirectory

GOAL_RATE = 50_000
GOAL_P99_MS = 60.0
GOAL_P99_SYNCS = 15


class CountingFile:
    """A log file that notes how many bytes each sync covered."""

    def __init__(self, file: AppendFile, groups: list[int]) -> None:
        self._file = file
        self._groups = groups
        self._bytes = 0

    def write(self, data: bytes) -> None:
        self._bytes += len(data)
        self._file.write(data)

    def sync(self) -> None:
        self._groups.append(self._bytes)
        self._bytes = 0
        self._file.sync()

    def write_through(self, data: bytes) -> None:
        self._groups.append(len(data))
        self._file.write_through(data)

    def close(self) -> None:
        self._file.close()


class CountingDirectory(FileLogDirectory):
    """The real directory; counts what is synced in the write-ahead log."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.groups: list[int] = []

    def create(self, path: str) -> CountingFile | AppendFile:
        file = super().create(path)
        return CountingFile(file, self.groups) if path.startswith("wal/") else file


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


async def write_for(log: Log | NoLog, seconds: float, writers: int, size: int) -> tuple[list[float], float]:
    waits: list[float] = []
    clock = time.perf_counter
    begin = clock()
    end = begin + seconds

    async def writer(number: int) -> None:
        filler = os.urandom(size)
        sequence = 0
        while True:
            start = clock()
            if start >= end:
                return
            sequence += 1
            entry = b"%d.%d." % (number, sequence) + filler
            await log.wait_durable(log.submit(entry[:size]))
            waits.append(clock() - start)

    await asyncio.gather(*(writer(number) for number in range(writers)))
    return waits, clock() - begin


class NoLog:
    """Takes entries and wakes their writers in groups; keeps nothing."""

    def __init__(self, group: int) -> None:
        self._lock = threading.Lock()
        self._size = 0
        self._group = group
        self._futures: list[asyncio.Future[None]] = []

    def submit(self, _entry: bytes) -> int:
        with self._lock:
            self._size += 1
            return self._size

    async def wait_durable(self, _index: int) -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        with self._lock:
            self._futures.append(future)
            if len(self._futures) == 1 or len(self._futures) == self._group:
                # Wake on the next turn of the loop: whoever came until then is one group.
                loop.call_soon(self._wake)
        await future

    def _wake(self) -> None:
        with self._lock:
            futures, self._futures = self._futures, []
        for future in futures:
            future.set_result(None)


def baseline(directory: Path, groups: list[int], seconds: float) -> tuple[int, float, list[float]]:
    """(bytes, seconds, each sync's seconds) of the same groups written and synced one after the other."""
    payload = memoryview(os.urandom(max(groups)))
    descriptor = os.open(directory / "baseline", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    total, syncs = 0, []
    begin = time.perf_counter()
    for group in groups:
        start = time.perf_counter()
        os.write(descriptor, payload[:group])
        os.fdatasync(descriptor)
        syncs.append(time.perf_counter() - start)
        total += group
        if time.perf_counter() - begin > seconds:
            break
    elapsed = time.perf_counter() - begin
    os.close(descriptor)
    return total, elapsed, syncs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--writers", type=int, default=1000)
    parser.add_argument("--entry", type=int, default=400, help="bytes of an entry")
    parser.add_argument(
        "--directory", type=Path, default=Path("/var/tmp"), help="on the disk to measure; /tmp may be memory"
    )
    options = parser.parse_args()
    top = Path(tempfile.mkdtemp(prefix="audit-append-", dir=options.directory))
    try:
        directory = CountingDirectory(top / "log")
        log = Log.open(
            directory,
            origin="bench.example/append",
            signer=FileSigner.generate(EDDSA),
            clock=SystemClock(),
            create=True,
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(write_for(log, 0.5, options.writers, options.entry))
            directory.groups.clear()
            waits, elapsed = runner.run(write_for(log, options.seconds, options.writers, options.entry))
            ceiling_waits, ceiling_elapsed = runner.run(
                write_for(NoLog(options.writers // 2), 1.0, options.writers, options.entry)
            )
        ceiling = len(ceiling_waits) / ceiling_elapsed
        groups = list(directory.groups)
        log.close()
        written, base_elapsed, syncs = baseline(top, groups, options.seconds * 2)
    finally:
        shutil.rmtree(top, ignore_errors=True)
    rate = len(waits) / elapsed
    p50, p99 = percentile(waits, 0.5) * 1000, percentile(waits, 0.99) * 1000
    sync_p50 = percentile(syncs, 0.5) * 1000
    limit = max(GOAL_P99_MS, GOAL_P99_SYNCS * sync_p50)
    ratio = (sum(groups) / elapsed) / (written / base_elapsed)
    reached = rate >= GOAL_RATE and p99 < limit
    result = {
        "bench": "audit_append",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "writers": options.writers,
        "entry_bytes": options.entry,
        "seconds": round(elapsed, 3),
        "entries": len(waits),
        "entries_per_second": round(rate),
        "wait_p50_ms": round(p50, 2),
        "wait_p99_ms": round(p99, 2),
        "group_commits": len(groups),
        "entries_per_group": round(len(waits) / max(1, len(groups)), 1),
        "baseline": "sequential write+fdatasync of the same groups",
        "baseline_sync_p50_ms": round(sync_p50, 3),
        "baseline_bytes_per_second": round(written / base_elapsed),
        "log_bytes_per_second": round(sum(groups) / elapsed),
        "ratio_to_baseline": round(ratio, 3),
        "event_loop_ceiling_per_second": round(ceiling),
        "ratio_to_event_loop_ceiling": round(rate / ceiling, 3),
        "goal_entries_per_second": GOAL_RATE,
        "goal_wait_p99_ms": round(limit, 1),
        "goal_reached": reached,
    }
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "audit_append.json").write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{rate:,.0f} durable entries/s, wait p50 {p50:.1f} ms, p99 {p99:.1f} ms ({options.writers} writers)"
    )
    print(
        f"{len(groups)} group commits; one fdatasync {sync_p50:.2f} ms; {ratio:.2f} x the bytes/s of bare write+fdatasync"
    )
    print(f"the same event loop without any log: {ceiling:,.0f}/s ({rate / ceiling:.2f} of it reached)")
    print(f"goal (>= {GOAL_RATE:,}/s, p99 < {limit:.0f} ms): {'reached' if reached else 'MISSED'}")
    return 0 if reached else 1


if __name__ == "__main__":
    sys.exit(main())
