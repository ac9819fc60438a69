"""Processes on chosen cores, and what a whole process tree has used: CPU from /proc, resident memory."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


class Started:
    """A process (and what it starts) pinned to cores. Its output goes to a file; `stop` ends the whole tree."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        cores: str,
        log: Path,
        environment: Mapping[str, str] | None = None,
        directory: Path | None = None,
    ) -> None:
        self.log = log
        with log.open("ab") as out:
            self._process = subprocess.Popen(
                ["taskset", "-c", cores, *command],
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                env={**os.environ, **(environment or {})},
                cwd=directory,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def tail(self) -> str:
        return self.log.read_text(errors="replace")[-1500:]

    def until_open(self, port: int, seconds: float = 60.0) -> None:
        """Wait until something listens on the port. Raises RuntimeError with the end of the log when it never does."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.ended:
                break
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=0.5):
                return
            time.sleep(0.05)
        raise RuntimeError(f"nothing listens on port {port}:\n{self.tail()}")

    def cpu(self) -> float:
        """Seconds of CPU (user and system) that the tree has used."""
        return sum(_cpu(pid) for pid in tree(self.pid))

    def parts(self) -> dict[str, float]:
        """The same apart, in seconds: `main` is each process's first thread, `others` the rest; `kernel` is system time of all."""
        main = others = kernel = 0.0
        for pid in tree(self.pid):
            with contextlib.suppress(OSError):
                kernel += int(_stat(pid)[12]) / TICK
                for thread in os.listdir(f"/proc/{pid}/task"):
                    used = _scheduled(pid, thread)
                    main, others = (main + used, others) if thread == str(pid) else (main, others + used)
        return {"main": main, "others": others, "kernel": kernel}

    def memory(self) -> int:
        """Resident bytes of the tree."""
        return sum(_memory(pid) for pid in tree(self.pid))

    def stop(self, seconds: float = 10.0) -> None:
        for kind in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, kind)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
                break
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)


def tree(root: int) -> list[int]:
    """The process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                parents.setdefault(int(_stat(int(name))[1]), []).append(int(name))
    found, todo = [], [root]
    while todo:
        pid = todo.pop()
        found.append(pid)
        todo += parents.get(pid, [])
    return found


def _stat(pid: int) -> list[str]:
    # After the command's closing bracket: state, parent, ...
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    used = 0.0
    with contextlib.suppress(OSError):
        # Of children that were waited for: whole ticks.
        used = sum(int(field) for field in _stat(pid)[13:15]) / TICK
        for thread in os.listdir(f"/proc/{pid}/task"):
            used += _scheduled(pid, thread)
    return used


def _scheduled(pid: int, thread: str) -> float:
    # Nanoseconds that the scheduler gave the thread: the same as user and system time, without the ticks.
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9
    return 0.0


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0


def free_ports(count: int) -> list[int]:
    """Ports nobody listens on now."""
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
