"""The listener that tells a gateway's metrics on loopback, and the sum that it tells."""

import asyncio
import contextlib
import socket
import threading

import pytest
from tests.support.gateways import RunningGateway
from tests.web.test_metrics import samples

from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.kernel.clock import SystemClock
from safeconduct.storage.measure_files import MeasureFiles, Published
from safeconduct.web.nodes.metrics import SILENT_SECONDS, MetricsListener, Publisher, node_metrics


@pytest.fixture(scope="module")
def port():
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    listener = MetricsListener(lambda: "safeconduct_ready 1\n")
    yield asyncio.run_coroutine_threadsafe(listener.start(0), loop).result(10)
    loop.call_soon_threadsafe(listener.close)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)
    loop.close()


def ask(port, data):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(data)
        answer = b""
        with contextlib.suppress(ConnectionResetError):
            while piece := connection.recv(65536):
                answer += piece
    return answer


def get(port, *lines, method="GET", path="/metrics", host="127.0.0.1:9464"):
    head = [f"{method} {path} HTTP/1.1", *([f"Host: {host}"] if host else []), *lines]
    return ask(port, "\r\n".join(head).encode() + b"\r\n\r\n")


def test_metrics_are_told_to_whoever_asks_on_this_machine(port):
    for host in ("127.0.0.1:9464", "localhost", "localhost:1"):
        answer = get(port, host=host)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4")
        assert answer.endswith(b"\r\n\r\nsafeconduct_ready 1\n")
    assert get(port, method="HEAD").endswith(b"connection: close\r\n\r\n")


@pytest.mark.parametrize(
    ("request_of", "status"),
    [
        ({"host": "rebound.example.org:9464"}, 403),
        ({"host": None}, 403),
        ({"lines": ("Origin: https://page.example.org",)}, 403),
        ({"lines": ("Host: localhost",)}, 403),
        ({"path": "/"}, 404),
        ({"path": "/metrics/../keys"}, 404),
        ({"method": "POST"}, 405),
    ],
)
def test_web_pages_and_other_requests_are_refused(port, request_of, status):
    answer = get(port, *request_of.pop("lines", ()), **request_of)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"safeconduct_ready" not in answer


def test_what_is_no_request_gets_no_metrics(port):
    assert b"safeconduct" not in ask(port, b"\r\n\r\n")
    assert b"safeconduct" not in ask(port, b"GET /metrics\r\nHost: localhost\r\n\r\n")
    assert ask(port, b"GET /metrics HTTP/1.1\r\nX: " + b"x" * 20_000 + b"\r\n\r\n") == b""


def test_connections_beyond_a_few_are_closed(port):
    with contextlib.ExitStack() as held:
        for _ in range(16):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=10))
        assert get(port) == b""
    assert get(port).endswith(b"safeconduct_ready 1\n")


class At(SystemClock):
    def __init__(self, at):
        self.at = at

    def monotonic(self):
        return self.at


def of(denials, *, at=100.0, ended=False, ready=1.0):
    measures = GatewayMeasures()
    for _ in range(denials):
        measures.denied(["STAGE"])
    gauges = {"safeconduct_ready": ready, "safeconduct_connections": 3.0, "safeconduct_processes": 1.0}
    return Published(at=at, counts=measures.snapshot(), gauges=gauges, ended=ended)


def test_a_process_that_died_keeps_its_counts_and_stands_nowhere(tmp_path):
    files = MeasureFiles(tmp_path)
    files.write("worker-1", of(5, at=100.0 - SILENT_SECONDS - 1, ready=0.0))
    files.write("worker-2", of(7))
    files.write("worker-3", of(11, ended=True, ready=0.0))
    told = samples(node_metrics(files, At(100.0)))
    assert told["safeconduct_denials_total", 'code="STAGE"'] == 23
    assert told["safeconduct_connections", ""] == 3
    assert (told["safeconduct_processes", ""], told["safeconduct_ready", ""]) == (1, 1)


def test_a_node_of_which_nothing_is_known_is_not_ready(tmp_path):
    told = samples(node_metrics(MeasureFiles(tmp_path / "none"), At(1.0)))
    assert (told["safeconduct_processes", ""], told["safeconduct_ready", ""]) == (0, 0)


def test_a_process_goes_on_from_what_the_one_before_it_had_published(tmp_path):
    files = MeasureFiles(tmp_path / "metrics")
    with RunningGateway(tmp_path) as gateway:
        files.write("worker-1", of(5))
        publisher = Publisher(gateway.server, files, "worker-1", SystemClock())
        assert gateway.post(model="no-such-model").status == 404
        gateway.on_loop(publisher.end)
        told = samples(node_metrics(files, SystemClock()))
        assert told["safeconduct_denials_total", 'code="STAGE"'] == 5
        assert told["safeconduct_denials_total", 'code="MODEL_UNKNOWN"'] == 1


def test_a_disk_that_takes_nothing_is_told_once_and_ends_nothing(tmp_path, caplog):
    with RunningGateway(tmp_path) as gateway:
        (tmp_path / "metrics").write_bytes(b"no directory")
        publisher = Publisher(gateway.server, MeasureFiles(tmp_path / "metrics"), "worker-1", SystemClock())

        async def run():
            task = asyncio.create_task(publisher.run(0.01))
            await asyncio.sleep(0.2)
            assert not task.done()
            (tmp_path / "metrics").unlink()
            await asyncio.sleep(0.2)
            task.cancel()

        gateway.call(run())
        assert sum("metrics are not published" in record.message for record in caplog.records) == 1
        assert MeasureFiles(tmp_path / "metrics").read("worker-1") is not None
