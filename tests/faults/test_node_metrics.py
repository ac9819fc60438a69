"""One answer for all processes of a node: what its workers counted together, also those that were killed."""

import socket

import pytest
from tests.support.nodes import Plant, Provider, free_port, key_request, until
from tests.web.test_metrics import samples

from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.storage.measure_files import Published
from safeconduct.web.nodes.metrics import measure_files

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(120)]


@pytest.fixture(scope="module")
def provider():
    with Provider() as running:
        yield running


@pytest.fixture(scope="module")
def plant(tmp_path_factory, provider):
    return Plant(tmp_path_factory.mktemp("plant"), provider)


def complete(told):
    return sum(value for (name, labels), value in told.items() if name == "safeconduct_requests_total")


def asked(plant):
    with plant.speak("operator") as client:
        return samples(client.fetch("/api/metrics").decode())


def test_the_operator_is_told_the_sum_of_all_workers_and_a_killed_one_keeps_its_counts(plant):
    left = GatewayMeasures()
    left.ended(("chat", "lab", "open-model"), "complete", 1.0, 1, 1)
    # From a node that ended: the next one counts from nothing.
    measure_files(plant.data).write("worker-9", Published(at=0.0, counts=left.snapshot(), gauges={}))
    with plant.serve(workers=2) as node:
        for _ in range(20):
            assert node.ask(key_request(plant.keys["ann"], close=True)).status == 200
        assert node.ask(key_request("wrong", close=True)).status == 401
        told = until(lambda: complete(told := asked(plant)) == 20 and told, what="the sum")
        assert told["safeconduct_failed_authentications_total", ""] == 1
        assert told["safeconduct_overhead_seconds_count", ""] == 20
        assert (told["safeconduct_processes", ""], told["safeconduct_ready", ""]) == (2, 1)
        before = node.processes()
        for name in ("worker-1", "worker-2"):
            node.kill(name)
            until(lambda name=name: node.processes().get(name, before[name]) != before[name], what=name)
        until(lambda: node.ask(key_request(plant.keys["ann"], close=True)).status == 200)
        assert complete(asked(plant)) >= 20
        until(lambda: complete(asked(plant)) == 21, what="the new worker's count on top")


def metrics_at(port):
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    return samples(body.decode())


def test_a_gateway_tells_its_metrics_on_loopback_when_it_is_asked_to(plant):
    with plant.control():
        place = plant.enrol("edge-m")
        port = free_port()
        with plant.gateway(place, workers=2, extra=("--metrics-port", port)) as gateway:
            for _ in range(6):
                assert gateway.ask(key_request(plant.keys["ann"], close=True)).status == 200
            told = until(lambda: complete(told := metrics_at(port)) == 6 and told, what="the sum")
            assert told["safeconduct_processes", ""] == 2
            gateway.kill("follower")

            def back():
                try:
                    return complete(metrics_at(port)) == 6
                except OSError:
                    return False

            until(back, what="the next follower to tell")
            # Nobody but this machine: the port is not open on other addresses of it.
            host = socket.gethostbyname(socket.gethostname())
            if not host.startswith("127."):
                with pytest.raises(OSError):
                    socket.create_connection((host, port), timeout=2)
