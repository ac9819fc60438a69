"""The parent of a node's processes: starts them, restarts those that die, passes signals on, ends them in good order.

Owns the listening sockets, one per worker (SO_REUSEPORT): they stay open while a worker is replaced, so that connections
wait instead of being refused. Serves nothing, holds no secret and opens no log. Refuses to go on when a process does not come
up at the first start: that is a configuration that wants mending.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import signal
import socket
import subprocess  # our own module in our own interpreter, no shell
import sys
from collections.abc import Callable, Iterator, Sequence

import msgspec

from safeconduct.kernel.clock import Clock, SystemClock
from safeconduct.kernel.errors import SafeconductError

START_SECONDS = 60.0
STOP_SECONDS = 15.0
_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 5.0
_SETTLED_SECONDS = 5.0
MODULE = "safeconduct.web.nodes.process"

_logger = logging.getLogger(__name__)


class ProcessFailed(SafeconductError):
    """A process of the node did not come up."""

    kind = "process_failed"


class ProcessSpec(msgspec.Struct, frozen=True):
    """A process to keep alive. config: JSON for `web.nodes.process`, free of secrets; descriptors: inherited."""

    name: str
    config: bytes
    descriptors: tuple[int, ...] = ()


class _Process:
    def __init__(self, spec: ProcessSpec) -> None:
        self.spec = spec
        self.running: subprocess.Popen[bytes] | None = None
        self.ready = -1
        self.told = b""
        self.came_up = False
        self.began = 0.0
        self.pause = _FIRST_PAUSE
        self.due = 0.0


def bind(host: str, port: int, count: int) -> list[socket.socket]:
    """`count` listening sockets on one address, each of which the kernel gives its share of the connections.

    port 0 picks a free one. Raises OSError when the address is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    made: list[socket.socket] = []
    try:
        for _ in range(count):
            one = socket.socket(family, socket.SOCK_STREAM)
            made.append(one)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if count > 1:
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            one.bind((host, port))
            port = int(one.getsockname()[1])
        for one in made:
            one.listen(2048)
            one.setblocking(False)
    except BaseException:
        for one in made:
            one.close()
        raise
    return made


class Supervisor:
    """Keeps the processes alive until SIGTERM or SIGINT. The first are started before the others, and ended after them."""

    def __init__(
        self, first: Sequence[ProcessSpec], others: Sequence[ProcessSpec], *, clock: Clock | None = None
    ) -> None:
        self._first = [_Process(spec) for spec in first]
        self._others = [_Process(spec) for spec in others]
        self._clock = clock or SystemClock()
        self._stopping = False
        self._wake, self._woken = socket.socketpair()
        for one in (self._wake, self._woken):
            one.setblocking(False)

    def run(self, ready: Callable[[dict[str, bytes]], None]) -> int:
        """Run until told to stop; returns the exit status. ready: called once all are up, with what each said of itself.

        Raises ProcessFailed when one does not come up at the first start.
        """
        with self._signals():
            try:
                for group in (self._first, self._others):
                    for process in group:
                        self._start(process)
                    self._await(group)
                if not self._stopping:
                    ready({process.spec.name: process.told for process in (*self._first, *self._others)})
                while not self._stopping:
                    self._sleep(self._next_start())
                    self._restart_dead()
            finally:
                self._end(self._others)
                self._end(self._first)
        return 0

    def pids(self) -> dict[str, int]:
        """Process ids by name, of those that run."""
        return {
            process.spec.name: process.running.pid
            for process in (*self._first, *self._others)
            if process.running is not None and process.running.poll() is None
        }

    # -- starting ------------------------------------------------------------------------------------------------

    def _start(self, process: _Process) -> None:
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        spec = process.spec
        try:
            process.running = subprocess.Popen(  # noqa: S603 - fixed arguments
                [sys.executable, "-m", MODULE, str(writing), spec.config.decode()],
                pass_fds=(writing, *spec.descriptors),
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )
        finally:
            os.close(writing)
        if process.ready >= 0:
            os.close(process.ready)
        process.ready, process.told, process.came_up = reading, b"", False
        process.began = self._clock.monotonic()
        _logger.info("started %s", spec.name)

    def _await(self, group: list[_Process]) -> None:
        """Wait until all of them said that they are ready. Raises ProcessFailed."""
        end = self._clock.monotonic() + START_SECONDS
        while not self._stopping:
            waiting = [process for process in group if not process.came_up]
            if not waiting:
                return
            for process in waiting:
                assert process.running is not None
                # Asked first: what it wrote before it ended is read below.
                status = process.running.poll()
                self._listen(process)
                if status is not None and not process.came_up:
                    raise ProcessFailed(
                        f"{process.spec.name} ended at its start with status {status}",
                        remedy=f"read {process.spec.name}'s service log; its last words stand above",
                    )
            if self._clock.monotonic() > end:
                raise ProcessFailed(f"{waiting[0].spec.name} did not come up in {START_SECONDS:.0f} s")
            self._sleep(0.1, *(process.ready for process in waiting))

    @staticmethod
    def _listen(process: _Process) -> None:
        with contextlib.suppress(BlockingIOError):
            while piece := os.read(process.ready, 65536):
                process.told += piece
        process.came_up = process.told.endswith(b"\n")

    # -- keeping alive -------------------------------------------------------------------------------------------

    def _next_start(self) -> float:
        dues = [
            process.due - self._clock.monotonic()
            for process in (*self._first, *self._others)
            if process.running is None
        ]
        return max(0.0, min([1.0, *dues]))

    def _restart_dead(self) -> None:
        present = self._clock.monotonic()
        for process in (*self._first, *self._others):
            running = process.running
            if running is not None and running.poll() is not None:
                settled = present - process.began > _SETTLED_SECONDS
                process.pause = _FIRST_PAUSE if settled else min(_LONGEST_PAUSE, process.pause * 2)
                process.due = present + (0.0 if settled else process.pause)
                process.running = None
                _logger.error("%s ended with status %s", process.spec.name, running.returncode)
            if process.running is None and present >= process.due and not self._stopping:
                self._start(process)

    # -- ending --------------------------------------------------------------------------------------------------

    def _end(self, group: list[_Process]) -> None:
        for process in group:
            if process.running is not None and process.running.poll() is None:
                process.running.terminate()
        end = self._clock.monotonic() + STOP_SECONDS
        for process in group:
            if process.running is None:
                continue
            try:
                process.running.wait(max(0.1, end - self._clock.monotonic()))
            except subprocess.TimeoutExpired:
                _logger.exception("%s does not end and is killed", process.spec.name)
                process.running.kill()
                process.running.wait()
            if process.ready >= 0:
                os.close(process.ready)
                process.ready = -1

    def _sleep(self, seconds: float, *descriptors: int) -> None:
        select.select([self._woken.fileno(), *descriptors], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            while self._woken.recv(4096):
                pass

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def stop(_number: int, _frame: object) -> None:
            self._stopping = True

        before = {
            one: signal.signal(one, handler)
            for one, handler in (
                (signal.SIGTERM, stop),
                (signal.SIGINT, stop),
                (signal.SIGCHLD, lambda _number, _frame: None),
            )
        }
        descriptor = signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(descriptor)
            for one, handler in before.items():
                signal.signal(one, handler)
            self._wake.close()
            self._woken.close()
