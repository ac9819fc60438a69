"""The API on a real port: uvicorn in a thread over an embedded instance, for what speaks HTTP to it."""

from __future__ import annotations

import contextlib
import threading
import time

import msgspec
import uvicorn
from tests.support.api_nodes import ApiBench

from safeconduct.kernel.clock import SystemClock


class _Server(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self):
        yield


@contextlib.contextmanager
def running_api(tmp_path):
    """The bench, its clock real; `bench.url` is where it answers and `bench.home` the directory for --data."""
    bench = ApiBench(tmp_path, clock=SystemClock())
    config = uvicorn.Config(
        bench.application, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none"
    )
    server = _Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    for _ in range(1000):
        if server.started:
            break
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    bench.url = f"http://127.0.0.1:{port}"
    bench.home = tmp_path / "instance"
    running = {"api": bench.url, "gateway": ""}
    (bench.home / "data" / "running.json").write_bytes(msgspec.json.encode(running))
    try:
        yield bench
    finally:
        server.should_exit = True
        thread.join(10)
        bench.close()
