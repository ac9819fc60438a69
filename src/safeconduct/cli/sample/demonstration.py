"""Where the demo applicant walks: an instance that runs with the sample in it, or a temporary one made for it.

Owns that a production instance is never walked on.
"""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from safeconduct.cli.client import InstanceFiles
from safeconduct.cli.output import print_json, print_lines
from safeconduct.cli.sample.applicant import DemoApplicant, Done
from safeconduct.kernel.errors import Conflict, UnsafeConfiguration

_START_SECONDS = 90


def demonstrate(home: Path | None, *, as_json: bool) -> None:
    """Walk, and print each step with its time. Raises UnsafeConfiguration for a production instance, what a step raises."""
    with _place(home, quiet=as_json) as (files, api, gateway):
        if files.descriptor.profile != "development":
            raise UnsafeConfiguration(
                "specimens and development providers are for a development instance",
                field="--home",
                remedy="leave --home out: a temporary instance is made",
            )

        def tell(done: Done) -> None:
            if not as_json:
                print_lines(f"{done.milliseconds:>6} ms  {done.step}", f"           {done.result}")
                sys.stdout.flush()

        applicant = DemoApplicant(files, api=api, gateway=gateway, tell=tell)
        began = time.perf_counter()
        applicant.walk()
        seconds = time.perf_counter() - began
    if as_json:
        print_json(
            {"steps": msgspec.to_builtins(applicant.steps), "seconds": seconds, "answer": applicant.answer}
        )
    else:
        print_lines(f"{seconds:9.1f} s  from nothing to an answer")


@contextlib.contextmanager
def _place(home: Path | None, *, quiet: bool) -> Iterator[tuple[InstanceFiles, str, str]]:
    given = home or Path("run")
    found = _running(given)
    if found is not None:
        yield found
        return
    if home is not None:
        raise Conflict(
            "no instance with the sample runs there", field="--home", remedy="start it with `make run`"
        )
    if not quiet:
        print_lines("No instance runs in run/: making a temporary one with the sample ...")
    with tempfile.TemporaryDirectory(prefix="safeconduct-demo-") as directory, _temporary(Path(directory)):
        there = _running(Path(directory))
        if there is None:
            raise Conflict("the temporary instance does not answer", field="--home")
        yield there


def _running(home: Path) -> tuple[InstanceFiles, str, str] | None:
    """The instance in `home`, when a process serves it and the sample is enrolled."""
    if not (home / "enrolled.json").exists():
        return None
    files = InstanceFiles(home)
    running = files.running()
    if running is None or not running.gateway:
        return None
    port = int(running.api.rsplit(":", 1)[1])
    with contextlib.closing(socket.socket()) as probe:
        probe.settimeout(2)
        if probe.connect_ex(("127.0.0.1", port)) != 0:
            return None
    return files, running.api, running.gateway


def _free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def _temporary(home: Path) -> Iterator[None]:
    """`safeconduct run` in a process of its own, until the block ends."""
    arguments = [sys.executable, "-m", "safeconduct", "run", "--home", str(home), "--json"]
    for option in ("--gateway-port", "--api-port", "--sandbox-port"):
        arguments += [option, str(_free_port())]
    with (home / "demo.err").open("w") as errors:
        process = subprocess.Popen(  # noqa: S603 - our own command, our own arguments
            arguments, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line.startswith("{"):
            raise Conflict(
                "the temporary instance did not start",
                field=(home / "demo.err").read_text()[-300:].strip(),
                remedy="see whether `make run` starts",
            )
        yield
    finally:
        process.terminate()
        try:
            process.communicate(timeout=_START_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
