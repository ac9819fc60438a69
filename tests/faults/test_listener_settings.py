"""What the settings say of the gateway's listener holds in the processes that serve it, in either shape."""

import contextlib
import socket

import pytest
from tests.support.gateways import read_answers
from tests.support.nodes import Plant, Provider, key_request, until

pytestmark = [pytest.mark.xdist_group("nodes"), pytest.mark.timeout(120)]

SETTINGS = {"SAFECONDUCT_BODY_LIMIT": "4096", "SAFECONDUCT_SOURCE_CONNECTIONS": "4"}


@pytest.fixture(scope="module")
def plant(tmp_path_factory):
    with Provider() as provider:
        yield Plant(tmp_path_factory.mktemp("plant"), provider)


@pytest.fixture(scope="module", params=["serve", "serve --workers"])
def node(request, plant):
    with plant.serve_alone(**SETTINGS) if request.param == "serve" else plant.serve(1, **SETTINGS) as running:
        yield running


def test_a_body_up_to_the_limit_is_served_and_a_longer_one_is_refused_before_it_is_read(plant, node):
    empty = len(key_request(plant.keys["ann"], text="").partition(b"\r\n\r\n")[2])
    fits = key_request(plant.keys["ann"], text="x" * (4096 - empty), close=True)
    assert node.ask(fits).status == 200
    longer = key_request(plant.keys["ann"], text="x" * (4097 - empty), close=True)
    assert node.ask(longer).status == 413
    head = longer.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert node.ask(head).status == 413
    chunked = head.replace(b"Content-Length: 4097", b"Transfer-Encoding: chunked") + b"fff\r\n" + b"x" * 4095
    assert node.ask(chunked + b"\r\nfff\r\n" + b"x" * 4095 + b"\r\n0\r\n\r\n").status == 413


def test_one_source_has_its_share_of_connections_and_another_is_served(plant, node):
    host, port = node.address

    def connect(source):
        return socket.create_connection((host, port), timeout=10, source_address=(source, 0))

    def served(connection):
        connection.sendall(key_request(plant.keys["ann"]))
        return read_answers(connection)[0].status == 200

    with contextlib.ExitStack() as held:
        for _ in range(4):
            until(lambda: served(held.enter_context(connect("127.0.0.1"))), what="a place")
        with connect("127.0.0.1") as fifth:
            answer = read_answers(fifth)[0]
        assert (answer.status, answer.code) == (503, "too_many_connections")
        with connect("127.0.0.2") as other:
            assert served(other)
