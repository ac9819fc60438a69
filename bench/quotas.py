"""What counting a request's use costs: one quota reserved and settled, in each ledger of one machine, fixed and sliding.

The baseline of the same run is one decision of the core over ten grants, which every request pays anyway. Prints
microseconds of this thread's processor (the least of many batches) and the ratio to the baseline; writes JSON to
bench/results/. `--quick` takes fewer batches.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from decide import NOW, people, question, registrations
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.gateway.quota_ledger import Charge, Held, MemoryQuotaLedger, QuotaLedger
from safeconduct.record.state import fold
from safeconduct.storage.shared_quota_ledger import SharedQuotaLedger

BATCH = 50


def least(call: Callable[[], object], batches: int) -> float:
    """Microseconds of processor time a call, in the best batch: what a busy machine adds is not counted."""
    best = float("inf")
    for _ in range(batches):
        start = time.thread_time_ns()
        for _ in range(BATCH):
            call()
        best = min(best, (time.thread_time_ns() - start) / BATCH / 1000)
    return round(best, 2)


def counting(ledger: QuotaLedger, *, sliding: bool) -> Callable[[], None]:
    """Reserve 500 and settle for 200, as a request does."""
    width, span = (6_000, 11) if sliding else (60_000, 1)
    charges = [Charge(counter=b"bench-counter---", amount=500, limit=10**15, width=width, span=span)]
    answers: list[Held | None] = []

    def once() -> None:
        answers.clear()
        now = int(time.time() * 1000)
        ledger.reserve(charges, now, answers.append)
        held = answers[0]
        assert held is not None
        ledger.settle(charges, held, [200], now)

    return once


def main() -> int:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer batches")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results" / "quotas.json")
    options = parser.parse_args()
    batches = 40 if options.quick else 400
    state = fold([*registrations(), *people(10)])
    asked = question(0)
    assert isinstance(decide(asked, state, NOW), Permit)
    figures = {"decide": least(lambda: decide(asked, state, NOW), batches)}
    with tempfile.TemporaryDirectory() as directory:
        for kind in ("memory", "shared"):
            for window in ("fixed", "sliding"):
                ledger: QuotaLedger = (
                    MemoryQuotaLedger()
                    if kind == "memory"
                    else SharedQuotaLedger(Path(directory) / f"{window}.table", groups=64)
                )
                figures[f"{kind}, {window}"] = least(counting(ledger, sliding=window == "sliding"), batches)
                ledger.close()
    for name, microseconds in figures.items():
        print(f"{name:16} {microseconds:8.2f} us CPU  {microseconds / figures['decide']:6.2f} x a decision")
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps({"microseconds": figures}, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
