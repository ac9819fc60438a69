"""Ledgers of every kind behind one synchronous face, and worker processes that use one together."""

import asyncio
import multiprocessing
import os
import secrets

import pytest
import redis

from safeconduct.gateway.quota_ledger import Charge, MemoryQuotaLedger
from safeconduct.storage.redis_quota_ledger import RedisQuotaLedger
from safeconduct.storage.shared_quota_ledger import SharedQuotaLedger

REDIS = os.environ.get("SAFECONDUCT_TEST_REDIS", "redis://127.0.0.1:6379/0")


def redis_or_skip():
    """A server that answers, or a skip with its reason (a failure under CI)."""
    try:
        redis.Redis.from_url(REDIS, socket_connect_timeout=1).ping()
    except Exception as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"no Redis or Valkey at {REDIS}: {error}")


class Asked:
    """A ledger whose answers are waited for."""

    def __init__(self, ledger, loop=None):
        self.ledger = ledger
        self.loop = loop

    def reserve(self, charges, now):
        answers = []

        async def ask():
            self.ledger.reserve(charges, now, answers.append)
            while not answers:
                await asyncio.sleep(0.001)

        if self.loop is not None:
            self.loop.run_until_complete(ask())
        else:
            self.ledger.reserve(charges, now, answers.append)
        return answers[0]

    def settle(self, charges, held, amounts, now):
        async def ask():
            self.ledger.settle(charges, held, amounts, now)
            while self.ledger._sending is not None:
                await asyncio.sleep(0.001)

        if self.loop is not None:
            self.loop.run_until_complete(ask())
        else:
            self.ledger.settle(charges, held, amounts, now)

    def used(self, charges, now):
        return self.ledger.used(charges, now)

    def close(self):
        if self.loop is None:
            self.ledger.close()
            return

        async def close():
            self.ledger.close()
            if self.ledger._closing is not None:
                await self.ledger._closing

        self.loop.run_until_complete(close())
        self.loop.close()


def open_ledger(kind, place):
    """place: a path for `shared`, a key prefix for `redis`."""
    if kind == "memory":
        return Asked(MemoryQuotaLedger())
    if kind == "shared":
        return Asked(SharedQuotaLedger(place, groups=64))
    return Asked(RedisQuotaLedger(REDIS, prefix=place, own_clock=True), asyncio.new_event_loop())


def place_for(kind, directory):
    if kind == "redis":
        redis_or_skip()
        return "{test-" + secrets.token_hex(6) + "}"
    return directory / "quotas.table"


def charge(amount=1, limit=10, *, name=b"a", seconds=60, sliding=False):
    """A charge as a quota of that window makes it."""
    return Charge(
        counter=name.ljust(16, b"-"),
        amount=amount,
        limit=limit,
        width=seconds * 1000 // (10 if sliding else 1),
        span=11 if sliding else 1,
    )


def _worker(kind, place, charges, now, times, gate, admitted):
    ledger = open_ledger(kind, place)
    gate.wait()
    for number in range(times):
        held = ledger.reserve(charges, now + number)
        if held is not None and held.admitted:
            with admitted.get_lock():
                admitted.value += 1
    ledger.close()


def admitted_together(kind, place, charges, *, workers, times, now=1_000_000_000):
    """How many reservations several processes get together."""
    context = multiprocessing.get_context("spawn")
    admitted = context.Value("q", 0)
    gate = context.Barrier(workers)
    processes = [
        context.Process(target=_worker, args=(kind, place, charges, now, times, gate, admitted))
        for _ in range(workers)
    ]
    for one in processes:
        one.start()
    for one in processes:
        one.join(60)
        assert one.exitcode == 0
    return admitted.value


def spend(place, admitted, limit, sliding):
    """Reserve from a shared ledger for ever, counting what was admitted; for a process that is to be killed."""
    ledger = open_ledger("shared", place)
    one = charge(1, limit, seconds=86_400, sliding=sliding)
    while True:
        if ledger.reserve([one], 1_000_000_000).admitted:
            admitted.value += 1
