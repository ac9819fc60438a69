"""One process of a node: `python -m safeconduct.web.nodes.process DESCRIPTOR CONFIG`, started by the supervisor only.

Owns the signals and the last words of such a process. When it is ready it writes one line to DESCRIPTOR. It ends when its
supervisor does, however that ended: workers without a supervisor would be replaced by nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

import msgspec
import uvloop

from safeconduct.kernel.errors import SafeconductError
from safeconduct.kernel.signing import Secret
from safeconduct.settings import PREFIX, Settings, read_settings

_PR_SET_PDEATHSIG = 1


class ProcessConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What a process is told. kind: `control`, `follower`, `worker`. followed: the worker's record is a copy (a gateway's).

    settings: as text, so that a child has the very same. number: of a worker, or how many there are (control).
    listener, public_url: of a worker. metrics_port: of a follower, that tells the node's metrics there.
    """

    kind: str
    settings: dict[str, str | int | bool]
    followed: bool = False
    control: str = ""
    control_ca: str = ""
    number: int = 0
    listener: int = -1
    public_url: str = ""
    sandbox_port: int | None = None
    metrics_port: int | None = None

    def encode(self) -> bytes:
        """JSON."""
        return msgspec.json.encode(self)


def settings_as_text(settings: Settings) -> dict[str, str | int | bool]:
    """Settings as a child reads them back, without secrets: arguments can be read by everybody on the machine."""
    found = {name: getattr(settings, name) for name in settings.__struct_fields__}
    return {
        name: value if isinstance(value, int) else str(value)
        for name, value in found.items()
        if value is not None and not isinstance(value, Secret)
    }


def _secrets_of(environment: Mapping[str, str]) -> dict[str, str]:
    """What a child takes from its environment, and nothing else of it: the rest it was told."""
    names = (f"{PREFIX}PKCS11_PIN", f"{PREFIX}QUOTA_REDIS")
    return {name: environment[name] for name in names if name in environment}


def _die_with(parent: int) -> None:
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    if os.getppid() != parent:  # it ended before we asked
        raise SystemExit(0)


def run_until_stopped(work: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    """Run `work` on uvloop; SIGTERM and SIGINT set the event it is given."""

    async def run() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, stop.set)
        await work(stop)

    uvloop.run(run())


def main(arguments: list[str]) -> int:
    """Run one process; the exit status."""
    parent = os.getppid()
    told = int(arguments[0])
    config = msgspec.json.decode(arguments[1].encode(), type=ProcessConfig)
    _die_with(parent)

    def ready(line: str) -> None:
        os.write(told, line.encode() + b"\n")
        os.close(told)

    try:
        settings = read_settings(_secrets_of(os.environ), **config.settings)
        if config.kind == "control":
            from safeconduct.web.serving import serve_control  # noqa: PLC0415 - each kind loads only its own

            return serve_control(
                settings, sandbox_port=config.sandbox_port, ready=ready, workers=config.number
            )
        if config.kind == "follower":
            from safeconduct.web.nodes.follower import run_follower  # noqa: PLC0415

            run_follower(
                settings,
                control=config.control or None,
                control_ca=Path(config.control_ca) if config.control_ca else None,
                ready=ready,
                metrics_port=config.metrics_port,
            )
            return 0
        from safeconduct.web.nodes.worker import run_worker  # noqa: PLC0415

        run_worker(
            settings,
            followed=config.followed,
            number=config.number,
            listener=config.listener,
            public_url=config.public_url,
            ready=ready,
        )
    except SafeconductError as error:
        # The supervisor's standard error is ours: the reader sees why a start failed.
        sys.stderr.write(f"{config.kind}: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
