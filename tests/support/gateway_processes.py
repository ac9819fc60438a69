"""A gateway, or a model without end, in a process of its own, so that its memory can be told from the test's."""

import asyncio
import contextlib
import gc
import json
import os
import resource
import socket
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

import msgspec
import uvloop
from tests.support.gateways import RunningGateway

from safeconduct.gateway.http_messages import Limits
from safeconduct.upstreams.pool import UpstreamLimits
from safeconduct.web.tls import ListenerTls

ROOT = Path(__file__).resolve().parents[2]


class OwnProcess:
    """Starts this module with a role; talks to it in lines of JSON. files: its limit of open files, soft and hard."""

    def __init__(self, role, *, files=None, **given):
        self._given = {"role": role, **given}
        self._files = files

    def __enter__(self):
        environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        environment["SAFECONDUCT_TEST_FILES"] = json.dumps(self._files)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.gateway_processes", json.dumps(self._given)],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.port = self._read()["port"]
        return self

    def __exit__(self, *_):
        self._process.stdin.close()
        try:
            self._process.wait(20)
        finally:
            self._process.kill()
            self._process.stdout.close()

    def _read(self):
        line = self._process.stdout.readline()
        assert line, "the process has ended"
        return json.loads(line)

    def ask(self):
        """What it says of itself: `rss` and `peak` in bytes, and what its role adds."""
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()


def gateway_process(upstream, *, limits=None, upstream_limits=None, files=None, tls=None):
    """A gateway before `upstream` (a base URL). limits, upstream_limits: members that differ from the defaults.

    tls: (certificate, key) files of its listener.
    """
    return OwnProcess(
        "gateway",
        upstream=upstream,
        limits=limits or {},
        upstream_limits=upstream_limits or {},
        files=files,
        tls=[str(path) for path in tls] if tls else None,
    )


def endless_model():
    """A provider that streams events as fast as they are taken, for ever. Says `sent`: bytes it could hand on."""
    return OwnProcess("model")


def memory():
    """Resident and peak memory of this process, bytes."""
    text = Path("/proc/self/status").read_text()
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in text.splitlines() if "kB" in line}
    return {"rss": found["VmRSS"], "peak": found["VmHWM"]}


def _say(**facts):
    print(json.dumps(facts), flush=True)


def _gateway(given):
    with (
        tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as directory,
        RunningGateway(
            Path(directory),
            kind="openai",
            base_url=given["upstream"],
            limits=msgspec.convert(given["limits"], Limits),
            upstream_limits=msgspec.convert(given["upstream_limits"], UpstreamLimits),
            listener_tls=ListenerTls(*map(Path, given["tls"])).context if given["tls"] else None,
        ) as gateway,
    ):
        _say(port=gateway.port)
        while sys.stdin.readline():
            gc.collect()
            _say(
                **memory(),
                connections=gateway.on_loop(lambda: gateway.server.connections),
                handshakes=gateway.on_loop(lambda: gateway.server.handshakes),
                places=gateway.server.places.taken,
                refused=gateway.node.measures.refused_connections,
                failed_handshakes=gateway.node.measures.failed_handshakes,
                most=gateway.server.most,
                held=gateway.on_loop(lambda: gateway.server.under_way.held),
                unsent=gateway.on_loop(lambda: gateway.upstreams.unsent),
                open=gateway.on_loop(lambda: len(gateway.node.open)),
                failed=gateway.decisions.failed is not None,
                reported=[
                    "".join(traceback.format_exception(each))
                    if isinstance(each, BaseException)
                    else repr(each)
                    for each in gateway.reported
                ],
            )


class _Model(asyncio.Protocol):
    SENT = 0
    EVENT = b'data: {"choices":[{"delta":{"content":"' + b"x" * 16_000 + b'"}}]}\n\n'
    CHUNK = b"%x\r\n%b\r\n" % (len(EVENT), EVENT)

    def connection_made(self, transport):
        # Small, or the kernel takes in two megabytes of each stream before anything is felt to be slow.
        transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 32_768)
        self.transport, self.paused, self.data = transport, False, b""

    def data_received(self, data):
        self.data += data
        if b"\r\n\r\n" in self.data:
            self.data = b""
            self.transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            self._go_on()

    def _go_on(self):
        for _ in range(8):
            if self.paused or self.transport.is_closing():
                return
            self.transport.write(self.CHUNK)
            _Model.SENT += len(self.CHUNK)
        asyncio.get_running_loop().call_soon(self._go_on)

    def pause_writing(self):
        self.paused = True

    def resume_writing(self):
        self.paused = False
        self._go_on()


def _model(_given):
    async def run():
        loop = asyncio.get_running_loop()
        server = await loop.create_server(_Model, "127.0.0.1", 0, backlog=2048)
        _say(port=server.sockets[0].getsockname()[1])
        while await loop.run_in_executor(None, sys.stdin.readline):
            _say(**memory(), sent=_Model.SENT)

    # Whoever started it is gone: so is it, whatever still streams.
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(run())


def main():
    files = json.loads(os.environ.get("SAFECONDUCT_TEST_FILES", "null"))
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files) if files else (hard, hard))
    given = json.loads(sys.argv[1])
    {"gateway": _gateway, "model": _model}[given["role"]](given)


if __name__ == "__main__":
    main()
