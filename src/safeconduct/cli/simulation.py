"""A wall clock that whoever started the process sets, line by line on standard input. Only forward; stories use it.

There is no route for this: a clock that could be set over the network would be a way to revive what has expired.
"""

from __future__ import annotations

import sys
import threading

from safeconduct.kernel.clock import SimulatedClock


def clock_from_input() -> SimulatedClock:
    """Read the first instant (seconds) now, later ones in a thread; each is answered with `at SECONDS` once it holds."""
    clock = SimulatedClock(float(sys.stdin.readline()))

    def follow() -> None:
        for line in sys.stdin:
            clock.move_to(float(line))
            sys.stdout.write(f"at {int(clock.now())}\n")
            sys.stdout.flush()

    threading.Thread(target=follow, name="simulated-clock", daemon=True).start()
    return clock
