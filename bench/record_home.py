"""Acknowledged commits a second of the record in PostgreSQL: many submitters against one that commits row after row.

Baseline in the same run: single-row transactions on the same server, one after the other, each durable before the next.
Needs a database: SAFECONDUCT_BENCH_POSTGRES (default postgresql://postgres@127.0.0.1:5432/test); says so when there is none.
Usage: python bench/record_home.py [--seconds 5] [--submitters 64]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

import asyncpg

from safeconduct.app.shared_record import Draft
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.signing import EDDSA, FileKeyWrapper, FileSigner
from safeconduct.storage.database_url import DatabaseUrl
from safeconduct.storage.log_files import FileLogDirectory
from safeconduct.storage.postgres_record import PostgresRecordLog

BODY = json.dumps({"type": "bench", "filler": "x" * 300}).encode()
GOAL_RATIO = 4.0


def sequential(url: DatabaseUrl, seconds: float) -> float:
    """Durable single-row commits a second."""

    async def work() -> float:
        connection = await asyncpg.connect(
            **url.connect_arguments(),
            server_settings={"search_path": url.schema, "synchronous_commit": "on"},
        )
        try:
            await connection.execute("CREATE TABLE baseline (id bigint PRIMARY KEY, entry bytea)")
            count, start = 0, time.perf_counter()
            while time.perf_counter() - start < seconds:
                await connection.execute("INSERT INTO baseline VALUES ($1, $2)", count, BODY)
                count += 1
            return count / (time.perf_counter() - start)
        finally:
            await connection.close()

    return asyncio.run(work())


def drop(url: DatabaseUrl) -> None:
    """Remove the bench's schema."""

    async def work() -> None:
        connection = await asyncpg.connect(**url.connect_arguments())
        await connection.execute(f"DROP SCHEMA IF EXISTS {url.schema} CASCADE")
        await connection.close()

    asyncio.run(work())


def submitted(log: PostgresRecordLog, submitters: int, seconds: float) -> tuple[float, list[float]]:
    """Acknowledged commits a second and the waiting times, in seconds."""
    waits: list[list[float]] = [[] for _ in range(submitters)]
    end = time.perf_counter() + seconds

    def work(name: int) -> None:
        number = 0
        while (start := time.perf_counter()) < end:
            number += 1
            log.submit([Draft(f"b{submitters}-{name}-{number}", 0, "bench", BODY)])
            waits[name].append(time.perf_counter() - start)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(submitters)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = sorted(wait for one in waits for wait in one)
    return len(every) / (time.perf_counter() - begin), every


def main() -> int:
    """Measure, print, write the result; exit status 1 when the goal was missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--submitters", type=int, default=64)
    options = parser.parse_args()
    base = os.environ.get("SAFECONDUCT_BENCH_POSTGRES") or "postgresql://postgres@127.0.0.1:5432/test"
    url = DatabaseUrl.parse(f"{base}{'&' if '?' in base else '?'}schema=safeconduct_bench_{os.getpid()}")
    try:
        drop(url)
    except (OSError, asyncpg.PostgresError) as error:
        print(f"record_home: no database at {url.shown} ({type(error).__name__}): not measured")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        log = PostgresRecordLog.open(
            url,
            FileLogDirectory(Path(directory) / "log"),
            origin="bench.example/record",
            signer=FileSigner.generate(EDDSA),
            wrapper=FileKeyWrapper(os.urandom(32)),
            clock=SystemClock(),
            create=True,
        )
        try:
            alone, one = submitted(log, 1, options.seconds / 2)
            rate, waits = submitted(log, options.submitters, options.seconds)
        finally:
            log.close()
        baseline = sequential(url, options.seconds / 2)
        drop(url)
    result = {
        "bench": "record_home",
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "submitters": options.submitters,
        "commits_per_second": round(rate),
        "wait_p50_ms": round(1000 * statistics.median(waits), 2),
        "wait_p99_ms": round(1000 * waits[int(len(waits) * 0.99)], 2),
        "one_submitter_per_second": round(alone),
        "one_submitter_wait_p50_ms": round(1000 * statistics.median(one), 2),
        "baseline": "single-row durable transactions, one after the other",
        "baseline_per_second": round(baseline),
        "ratio_to_baseline": round(rate / baseline, 2),
        "goal_ratio": GOAL_RATIO,
        "goal_reached": rate / baseline >= GOAL_RATIO,
    }
    results = Path(__file__).parent / "results"
    results.mkdir(exist_ok=True)
    (results / "record_home.json").write_text(json.dumps(result, indent=2) + "\n")
    print(
        f"{rate:,.0f} acknowledged commits/s from {options.submitters} submitters "
        f"(p50 {result['wait_p50_ms']} ms, p99 {result['wait_p99_ms']} ms); one alone {alone:,.0f}/s"
    )
    print(
        f"single-row durable transactions on the same server: {baseline:,.0f}/s; ratio {rate / baseline:.1f}"
    )
    print(f"goal (ratio >= {GOAL_RATIO}): {'reached' if result['goal_reached'] else 'MISSED'}")
    return 0 if result["goal_reached"] else 1


if __name__ == "__main__":
    sys.exit(main())
