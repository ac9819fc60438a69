"""What callers see, and what is charged, when a disk, a provider, a ledger or a worker fails."""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.support.gateways import RunningGateway, chat, request
from tests.support.quota_ledgers import charge, open_ledger, spend
from tests.support.slow_disks import WAYS, Disk
from tests.support.upstreams import ScriptedUpstream, answer_of
from tests.support.worlds import plain_world

from safeconduct.gateway.quota_ledger import Held
from safeconduct.gateway.retrying import RetryLimits
from safeconduct.kernel.vocabulary import QuotaUnit, QuotaWindow
from safeconduct.record.events.quotas import QuotaSet
from safeconduct.storage.redis_quota_ledger import LedgerAway, RedisQuotaLedger
from safeconduct.upstreams.pool import UpstreamLimits

PATH = "/v1/chat/completions"
BODY = msgspec.json.encode(chat(stream=True, stream_options={"include_usage": True}))
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
EVENT = b'data: {"choices":[{"delta":{"content":"a"}}]}\n\n'
GOOD = answer_of(b'{"id":"x"}')
NOW = 1_000_000_000


@pytest.fixture(params=WAYS)
def full_disk(monkeypatch, request):
    """Fills the log's disk when it is told to: what is written from then on fails."""
    disk = Disk()
    disk.attach(monkeypatch, request.param)
    return disk


def dead_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def url(port):
    return f"http://127.0.0.1:{port}/v1"


def quota(**facts):
    defaults = {"window": QuotaWindow.FIXED, "seconds": 86_400, "party": "operator", "by": "op", "at": 0}
    return QuotaSet(**{"quota": "q", "unit": QuotaUnit.REQUESTS, "limit": 5, **defaults, **facts})


def test_a_full_disk_denies_what_is_new_and_lets_what_was_recorded_finish(tmp_path, full_disk):
    with (
        ScriptedUpstream(b"", pieces=[STREAM + EVENT, *[EVENT] * 30, b"data: [DONE]\n\n"]) as upstream,
        RunningGateway(tmp_path, kind="openai", base_url=url(upstream.port)) as gateway,
        socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection,
    ):
        connection.sendall(request("POST", PATH, BODY))
        received = connection.recv(65536)
        assert b" 200 " in received
        full_disk.failing = True
        denied = gateway.post()
        assert (denied.status, denied.code) == (503, "AUDIT_UNAVAILABLE")
        while b"\r\n0\r\n\r\n" not in received:
            piece = connection.recv(65536)
            assert piece, received
            received += piece
        # Its decision was on disk before its first byte went out, so it ends as it would have.
        assert received.count(EVENT) == 31
        assert b"[DONE]" in received
        assert gateway.post().code == "AUDIT_UNAVAILABLE"


def test_a_decision_that_cannot_be_recorded_gives_back_its_quota(tmp_path, full_disk):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota())
        full_disk.failing = True
        assert gateway.post().code == "AUDIT_UNAVAILABLE"
        (counter,) = gateway.node.quotas.ledger._counters.values()
        gateway.until(lambda: sum(counter.buckets.values()) in (0, 1))
        # Below C3 the provider may have worked on it already: then it counts.
        assert sum(counter.buckets.values()) <= 1
        assert gateway.post().code == "AUDIT_UNAVAILABLE"
        assert sum(counter.buckets.values()) <= 1


def test_a_fallback_that_cannot_be_recorded_is_not_asked(tmp_path, full_disk):
    slow = RetryLimits(retries=1, first_seconds=0.2)
    with (
        ScriptedUpstream(GOOD, close=False) as other,
        RunningGateway(tmp_path, kind="openai", base_url=url(dead_port()), retries=slow) as gateway,
    ):
        gateway.node.uniform = lambda low, high: high
        gateway.deploy("model-x-2", "model-x", url(other.port))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            connection.sendall(request("POST", PATH, msgspec.json.encode(chat())))
            gateway.until(lambda: len(gateway.node.open) == 1)
            gateway.until(lambda: gateway.log.durable_size == 1)
            full_disk.failing = True
            answer = connection.recv(65536)
        assert b" 502 " in answer or b" 503 " in answer
        assert b'"id":"x"' not in answer


def test_a_provider_that_hangs_keeps_nobody_from_another(tmp_path):
    world = plain_world()
    world.variant("model-y", "lab")
    world.admit("lab", "org-a", ["ann"], ["model-y"])
    limits = UpstreamLimits(connections=4, waiting=4, waiting_seconds=0.3)
    with (
        ScriptedUpstream(b"", close=False) as hanging,
        ScriptedUpstream(GOOD, close=False) as other,
        RunningGateway(
            tmp_path, world, kind="openai", base_url=url(hanging.port), upstream_limits=limits
        ) as gateway,
    ):
        gateway.deploy("model-y-1", "model-y", url(other.port))
        stuck = [socket.create_connection(("127.0.0.1", gateway.port), timeout=20) for _ in range(4)]
        for one in stuck:
            one.sendall(request("POST", PATH, msgspec.json.encode(chat())))
        gateway.until(lambda: len(hanging.requests) == 4)
        with ThreadPoolExecutor(12) as pool:
            answers = list(pool.map(lambda _: gateway.post(), range(12)))
        assert {(each.status, each.code) for each in answers} == {(503, "upstream_busy")}
        assert len(hanging.requests) == 4
        assert gateway.post(model="model-y").status == 200
        for one in stuck:
            one.close()
        gateway.until(
            lambda: not gateway.upstreams._origins[next(iter(gateway.upstreams._origins))]._connections
        )


def test_a_server_that_counts_and_is_away_denies_until_it_is_back():
    async def ask(port):
        ledger = RedisQuotaLedger(f"redis://127.0.0.1:{port}/0")
        answered = asyncio.get_running_loop().create_future()
        ledger.reserve([charge()], NOW, answered.set_result)
        ledger.settle([charge()], Held(admitted=True, used=(0,), buckets=(0,)), [0], NOW)
        async with asyncio.timeout(20):
            found = await answered
        ledger.close()
        await ledger._closing
        return ledger, found

    ledger, found = asyncio.run(ask(dead_port()))
    assert found is None
    with pytest.raises(LedgerAway):
        ledger.used([charge(0)], NOW)


def test_a_server_that_counts_and_does_not_answer_is_not_waited_for():
    async def ask():
        async def silent(reader, writer):
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silent, "127.0.0.1", 0)
        ledger = RedisQuotaLedger(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0")
        answered = asyncio.get_running_loop().create_future()
        ledger.reserve([charge()], NOW, answered.set_result)
        async with asyncio.timeout(20):
            found = await answered
        ledger.close()
        await ledger._closing
        server.close()
        return found

    assert asyncio.run(ask()) is None


@pytest.mark.parametrize("sliding", [False, True])
def test_a_worker_killed_while_it_counts_lets_nobody_have_more(tmp_path, sliding):
    place, limit = tmp_path / "quotas.table", 3000
    context = multiprocessing.get_context("spawn")
    spent = 0
    for _ in range(2):
        admitted = context.Value("q", 0, lock=False)
        worker = context.Process(target=spend, args=(place, admitted, limit, sliding))
        worker.start()
        end = time.monotonic() + 30
        while admitted.value < 50 and time.monotonic() < end:
            time.sleep(0.001)
        os.kill(worker.pid, signal.SIGKILL)
        worker.join(10)
        assert worker.exitcode == -signal.SIGKILL
        spent += admitted.value
    ledger = open_ledger("shared", place)
    one = charge(1, limit, seconds=86_400, sliding=sliding)
    rest = 0
    while rest <= limit and ledger.reserve([one], NOW).admitted:
        rest += 1
    ledger.close()
    # What a worker had taken and could not tell of any more is lost, never given twice.
    assert limit - 2 <= spent + rest <= limit
