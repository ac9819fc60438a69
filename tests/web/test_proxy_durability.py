"""Nothing leaves unrecorded: what must be durable before what, and what happens when the log cannot write."""

import hmac
import socket
import threading
import time

import msgspec
import pytest
from tests.support.gateways import KEY, RunningGateway, chat, principal_of, read_answers, request
from tests.support.slow_disks import WAYS, Disk
from tests.support.worlds import plain_world

from safeconduct.kernel.vocabulary import Level
from safeconduct.web.proxy.server import ProxyServer

BODY = msgspec.json.encode(chat())


@pytest.fixture(params=WAYS)
def held_disk(monkeypatch, request):
    """A disk on which nothing becomes durable until it is let go, or that fails when told to."""
    disk = Disk()
    disk.attach(monkeypatch, request.param)
    yield disk
    disk.gate.set()


def start(gateway, *headers, body=BODY, key=KEY):
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    connection.sendall(request("POST", "/v1/chat/completions", body, headers=headers, key=key))
    return connection


def silent(connection):
    connection.settimeout(0.3)
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return True
    finally:
        connection.settimeout(20)


def test_below_c3_the_provider_may_work_but_no_byte_goes_out_before_the_decision_is_durable(
    tmp_path, held_disk
):
    for stream in (False, True):
        directory = tmp_path / str(stream)
        directory.mkdir()
        held_disk.gate.set()
        with RunningGateway(directory, plain_world(level=Level.C2)) as gateway:
            held_disk.gate.clear()
            with start(gateway, body=msgspec.json.encode(chat(stream=stream))) as connection:
                gateway.until(lambda: gateway.seen)
                assert silent(connection)
                assert len(gateway.seen) == 1
                held_disk.gate.set()
                answer = read_answers(connection)[0]
                assert answer.status == 200
                assert b"sandbox provider" in answer.body or stream


def test_at_c3_nothing_is_forwarded_before_the_decision_is_durable(tmp_path, held_disk):
    with RunningGateway(tmp_path, plain_world(level=Level.C3)) as gateway:
        held_disk.gate.clear()
        with start(gateway, "X-Safeconduct-Project: proj") as connection:
            gateway.until(lambda: gateway.log.size)
            assert silent(connection)
            assert gateway.seen == []
            held_disk.gate.set()
            assert read_answers(connection)[0].status == 200
            assert len(gateway.seen) == 1


def test_a_revocation_while_the_decision_is_written_keeps_a_c3_request_from_being_forwarded(
    tmp_path, held_disk
):
    with RunningGateway(tmp_path, plain_world(level=Level.C3)) as gateway:
        held_disk.gate.clear()
        with start(gateway, "X-Safeconduct-Project: proj") as connection:
            gateway.until(lambda: gateway.log.size)
            assert silent(connection)
            gateway.world.passport_status("ann", at=gateway.world.now)
            gateway.change()
            gateway.on_loop(int)
            held_disk.gate.set()
            answer = read_answers(connection)[0]
        assert (answer.status, answer.code) == (403, "PASSPORT_REVOKED")
        assert gateway.seen == []
        assert gateway.completion()["ended"] == "cut"


def test_a_denial_is_durable_before_it_is_answered(tmp_path, held_disk):
    world = plain_world().person("eve", "org-a")
    with RunningGateway(tmp_path, world) as gateway:
        gateway.credentials.principals["eve"] = principal_of(world, "eve")
        held_disk.gate.clear()
        with start(gateway, key="eve") as connection:
            gateway.until(lambda: gateway.log.size)
            assert silent(connection)
            held_disk.gate.set()
            answer = read_answers(connection)[0]
        assert (answer.status, answer.code) == (403, "GRANT_MISSING")
        assert gateway.entries("decision")[0]["outcome"] == "deny"


@pytest.mark.parametrize("level", [Level.C2, Level.C3])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/messages"])
def test_a_failed_log_denies_what_is_under_way_and_everything_after(tmp_path, held_disk, level, path):
    with RunningGateway(tmp_path, plain_world(level=level)) as gateway:
        held_disk.gate.clear()
        held_disk.failing = True
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", path, BODY, headers=["X-Safeconduct-Project: proj"]))
            if level is not Level.C3:
                gateway.until(lambda: gateway.seen)
            gateway.until(lambda: gateway.log.size)
            time.sleep(0.1)
            reached = len(gateway.seen)
            held_disk.gate.set()
            answer = read_answers(connection)[0]
        assert (answer.status, answer.code) == (503, "AUDIT_UNAVAILABLE")
        assert b"sandbox provider" not in answer.body
        assert reached == (0 if level is Level.C3 else 1)
        held_disk.failing = False
        for _ in range(2):
            again = gateway.post(path)
            assert (again.status, again.code) == (503, "AUDIT_UNAVAILABLE")
        assert gateway.send(request("GET", "/v1/models"))[0].status == 503
        assert gateway.send(request("GET", "/readyz"))[0].status == 503
        assert gateway.send(request("GET", "/healthz"))[0].status == 200
        assert len(gateway.seen) == reached
        assert gateway.world.state.position == gateway.node.state.position


def test_an_entry_holds_what_a_replay_needs_and_what_an_auditor_may_see_is_pseudonymous(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.post(text="a secret prompt canary")
        opened, sealed = gateway.entries("decision")[0], gateway.sealed("decision")[0]
        assert opened["subject"] == "ann"
        assert "claims" not in opened
        assert sealed["request"]["claims"]["citizenships"] == ["YY"]
        assert sealed["position"] == gateway.node.state.position
        assert sealed["asked"] == "model-x"
        assert sealed["route"] == "POST /v1/chat/completions"
        size = gateway.log.size
        raw = b"".join(gateway.log.read(0, size))
        assert b"canary" not in raw
        assert KEY.encode() not in raw


def test_the_answers_digest_can_be_recomputed_with_the_sealed_key_only(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        for stream in (False, True):
            answer = gateway.post(stream=stream)
            opened, sealed = gateway.entries("completion")[-1], gateway.sealed("completion")[-1]
            key = bytes.fromhex(sealed["key"])
            assert opened["answer_hmac"] == hmac.digest(key, answer.body, "sha256").hex()
            assert sealed["request_hmac"] == hmac.digest(key, gateway.seen[-1].body, "sha256").hex()


def test_an_erased_holder_is_not_let_through(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        assert gateway.post().status == 200
        gateway.vault.forget("ann")
        answer = gateway.post()
        assert (answer.status, answer.code) == (503, "AUDIT_UNAVAILABLE")
        assert len(gateway.seen) == 1


def test_shutting_down_lets_answers_finish_and_takes_no_more(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        body = msgspec.json.encode(chat(text="[[sandbox:late]]"))
        with start(gateway, body=body) as busy, socket.create_connection(("127.0.0.1", gateway.port)) as idle:
            gateway.until(lambda: gateway.seen)
            closing = threading.Thread(target=lambda: gateway.call(gateway.server.close(5)))
            closing.start()
            idle.settimeout(20)
            assert idle.recv(1) == b""
            answer = read_answers(busy, until_close=True)[0]
            assert (answer.status, answer.complete) == (200, True)
            closing.join(20)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", gateway.port))


def test_shutting_down_ends_what_does_not_finish_in_time(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        with start(gateway, body=msgspec.json.encode(chat(text="[[sandbox:endless]]", stream=True))) as busy:
            busy.recv(100)
            gateway.call(gateway.server.close(0.1))
            received = b""
            while piece := busy.recv(65536):
                received += piece
        assert b"shutting_down" in received
        completion = gateway.completion()
        assert (completion["ended"], completion["cause"]) == ("cut", ["shutting_down"])


def test_a_busy_port_is_an_os_error(tmp_path):
    with RunningGateway(tmp_path) as gateway:

        async def again():
            await ProxyServer(gateway.node, gateway.upstreams).start("127.0.0.1", gateway.port)

        with pytest.raises(OSError):
            gateway.call(again())
