"""The instance that a story plays against: its own process, data directory and ports, its clock set line by line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, Self

import msgspec

from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import Conflict


class StoryServer:
    """`safeconduct serve --simulated-clock` in a process of its own. `clock` is the story's and runs with the server's."""

    def __init__(self, home: Path, clock: SimulatedClock) -> None:
        self.home = home
        self.clock = clock
        self.api = self.gateway = self.sandbox = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self, *, api_port: int, gateway_port: int) -> None:
        """Start and wait until it listens. Raises Conflict with what the process said when it does not."""
        errors = self.home / "server.err"
        with errors.open("w") as stream:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, our own arguments
                [
                    *(sys.executable, "-m", "safeconduct", "serve", "--data", str(self.home)),
                    *("--api-port", str(api_port), "--gateway-port", str(gateway_port)),
                    *("--sandbox-port", "0", "--simulated-clock"),
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stream,
                text=True,
            )
        self._write(str(int(self.clock.now())))
        line = self._read()
        if not line.startswith("{"):
            self.stop()
            raise Conflict("the story's server did not start", field=errors.read_text()[-500:].strip())
        ready: dict[str, Any] = msgspec.json.decode(line)["ready"]
        self.api, self.gateway, self.sandbox = ready["api"], ready["gateway"], ready["sandbox"]

    def move_to(self, instant: int) -> None:
        """Move both clocks; returns when the server's stands there."""
        self.clock.move_to(instant)
        self._write(str(instant))
        if self._read().strip() != f"at {instant}":
            raise Conflict("the story's server has stopped", field="server")

    def _write(self, line: str) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def _read(self) -> str:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def stop(self) -> None:
        """Stop it in good order, and for good when it does not."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        self._process = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
