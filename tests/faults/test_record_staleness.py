"""A process that cannot ask the record's database knows that its state grows old, and so do those who follow it."""

from __future__ import annotations

import time

import pytest
from tests.support.postgres import Proxy, schema

from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.enforce_following import FollowingNode, KeptRecord
from safeconduct.app.record_feed import RecordFeed
from safeconduct.bootstrap import initialise_instance, open_instance
from safeconduct.gateway.quota_ledger import MemoryQuotaLedger
from safeconduct.kernel.vocabulary import Level
from safeconduct.settings import read_settings
from safeconduct.web.serving import _gateway_node, open_replays

HANG = 40


def within(condition, what):
    deadline = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


@pytest.fixture
def away(tmp_path):
    with schema() as url, Proxy(url) as proxy:
        settings = read_settings({}, home=tmp_path, gateway_port=0, api_port=0, record_url=proxy.url)
        initialise_instance(settings, profile="development", packs=())
        with open_instance(settings) as opened:
            yield opened, proxy


def test_a_state_grows_old_while_the_database_is_away_and_is_current_again_afterwards(away):
    opened, proxy = away
    clock = opened.instance.clock
    source = KeptRecord(opened.instance.record, clock)

    def stale(level):
        source.catch_up()
        return source.freshness.stale(level, clock.monotonic())

    within(lambda: not stale(Level.C4), "never current")
    proxy.cut()
    within(lambda: stale(Level.C3), "C3 goes on although nothing is known")
    assert stale(Level.C4)
    assert not stale(Level.C0)
    assert not stale(Level.C1)
    proxy.restore()
    within(lambda: not stale(Level.C3), "it did not recover")


def test_heartbeats_tell_followers_no_later_time_than_the_database_confirmed(away):
    opened, proxy = away
    clock = opened.instance.clock
    feed = RecordFeed(
        opened.record_log,
        opened.instance.record,
        clock,
        signer=lambda: opened.keys.signer("record-log"),
        history=lambda: b"",
    )
    feed.start()
    try:
        proxy.cut()
        within(lambda: opened.record_log.failed is not None, "the outage went unnoticed")
        confirmed = opened.record_log.confirmed
        number = feed.beat.number
        within(lambda: feed.beat.number > number + 3, "no beats")
        assert feed.beat.as_of <= confirmed
        assert feed.beat.time <= clock.now() - (clock.monotonic() - confirmed) + 1
        proxy.restore()
        within(lambda: feed.beat.as_of > confirmed + 0.2, "beats do not go on")
    finally:
        feed.close()


def test_the_gateway_beside_a_shared_record_is_bound_to_its_age(away):
    opened, proxy = away
    decisions = DecisionLog(opened.decision_log, opened.instance.vault, opened.instance.clock, node="t")
    node = _gateway_node(
        opened, decisions, open_replays(opened.settings.data), MemoryQuotaLedger(), loopback=True
    )
    assert isinstance(node, FollowingNode)
    assert node.ready
    proxy.cut()
    within(lambda: (node.watch(), Level.C3 in node._stale)[1], "not noticed")
    assert Level.C0 not in node._stale
    proxy.restore()
    within(lambda: (node.watch(), not node._stale)[1], "it did not recover")
