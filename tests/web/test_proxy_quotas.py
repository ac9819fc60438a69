"""Quotas at the gateway: what is let through, what is told, what is charged, and what nobody can talk their way round."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from tests.support.gateways import KEY, RunningGateway, chat, principal_of, request
from tests.support.upstreams import ScriptedUpstream, answer_of
from tests.support.worlds import plain_world

from safeconduct.gateway.quota_ledger import MemoryQuotaLedger
from safeconduct.gateway.retrying import RetryLimits
from safeconduct.kernel.vocabulary import (
    Binding,
    Condition,
    PassportStatus,
    QuotaPer,
    QuotaUnit,
    QuotaWindow,
    SubjectKind,
)
from safeconduct.record.events.holders import PassportStatusChanged
from safeconduct.record.events.quotas import MeteringSet, QuotaEnded, QuotaSet
from safeconduct.registry.price import Price
from safeconduct.upstreams.pool import UpstreamLimits

PATH = "/v1/chat/completions"
USAGE = b'{"id":"x","usage":{"prompt_tokens":30,"completion_tokens":40}}'
DAY = 86_400


def quota(name="q", unit=QuotaUnit.REQUESTS, limit=2, **facts):
    defaults = {"window": QuotaWindow.FIXED, "seconds": DAY, "party": "operator", "by": "op", "at": 0}
    return QuotaSet(quota=name, unit=unit, limit=limit, **{**defaults, **facts})


def priced(**facts):
    price = Price(currency="USD", input=3_000_000, output=15_000_000)
    return MeteringSet(**{"variant": "model-x", "by": "op", "at": 0, "price": price, **facts})


def gateway_to(tmp_path, upstream, **options):
    return RunningGateway(tmp_path, kind="openai", base_url=f"http://127.0.0.1:{upstream.port}/v1", **options)


def used(gateway):
    """What every counter holds."""
    return sorted(sum(counter.buckets.values()) for counter in gateway.node.quotas.ledger._counters.values())


def test_the_request_over_the_limit_is_a_429_that_says_how_much_and_until_when(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=2))
        first, second, third = (gateway.post() for _ in range(3))
        assert [first.status, second.status, third.status] == [200, 200, 429]
        assert [each.headers["x-ratelimit-remaining-requests"] for each in (first, second, third)] == [
            "1",
            "0",
            "0",
        ]
        assert third.code == "QUOTA"
        assert third.headers["x-ratelimit-limit-requests"] == "2"
        assert third.headers["x-ratelimit-reset-requests"].endswith("s")
        assert third.headers["x-should-retry"] == "false"
        assert int(third.headers["retry-after"]) <= 30
        assert third.json["error"]["reasons"][0]["rule"] == "q"
        assert "2 requests in 86400 s" in third.json["error"]["message"]
        assert len(gateway.seen) == 2
        (refusal,) = gateway.entries("refusal")
        assert refusal["codes"] == ["QUOTA"]
        assert [one["outcome"] for one in gateway.entries("decision")] == ["permit", "permit"]


def test_the_anthropic_wire_gets_its_own_headers(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=1))
        first, second = (gateway.post("/v1/messages") for _ in range(2))
        assert first.headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert (second.status, second.json["error"]["type"]) == (429, "rate_limit_error")
        assert second.headers["anthropic-ratelimit-requests-reset"].endswith("Z")


def test_without_a_quota_no_header_and_no_counter(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        got = gateway.post()
        assert not any("ratelimit" in name for name in got.headers)
        assert used(gateway) == []
        assert "charged" not in gateway.completion()


def test_a_new_window_and_an_ended_quota_let_through_again(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=1, seconds=60))
        assert [gateway.post().status for _ in range(2)] == [200, 429]
        gateway.clock.move_to(gateway.world.now + 60)
        assert [gateway.post().status for _ in range(2)] == [200, 429]
        gateway.change(QuotaEnded(quota="q", by="op", at=0))
        assert gateway.post().status == 200


def test_a_clock_set_back_opens_no_new_window(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=1, seconds=60))
        gateway.clock.move_to(gateway.world.now + 120)
        assert [gateway.post().status for _ in range(2)] == [200, 429]
        gateway.clock._now = gateway.world.now + 30  # a simulated clock refuses; the machine's does not ask
        assert gateway.post().status == 429


def test_tokens_are_reserved_by_the_longest_answer_and_settled_by_what_was_used(tmp_path):
    with (
        ScriptedUpstream(answer_of(USAGE), close=False) as upstream,
        gateway_to(tmp_path, upstream) as gateway,
    ):
        gateway.change(quota(unit=QuotaUnit.TOKENS, limit=1000))
        got = gateway.post(max_tokens=500)
        assert int(got.headers["x-ratelimit-remaining-tokens"]) < 500
        assert gateway.completion()["charged"] == "settled"
        assert used(gateway) == [70]
        # The rest is free for the next: 930 are left, and a request that could need more is not let through.
        assert gateway.post(max_tokens=850).status == 200
        assert gateway.post(max_tokens=1000).code == "QUOTA"


def test_money_is_charged_in_whole_micro_units(tmp_path):
    with (
        ScriptedUpstream(answer_of(USAGE), close=False) as upstream,
        gateway_to(tmp_path, upstream) as gateway,
    ):
        gateway.change(priced(), quota(unit=QuotaUnit.MONEY, limit=1_000_000, currency="USD"))
        got = gateway.post(max_tokens=100)
        assert got.headers["x-safeconduct-budget-limit"] == "1.000000 USD"
        gateway.completion()
        # 30 tokens at 3 and 40 at 15 dollars a million.
        assert used(gateway) == [690]


@pytest.mark.parametrize("metering", [[], [priced(price=Price(currency="EUR", input=1, output=1))]])
def test_a_budget_without_a_price_in_its_currency_lets_nothing_through(tmp_path, metering):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(*metering, quota(unit=QuotaUnit.MONEY, limit=10**9, currency="USD"))
        got = gateway.post()
        assert (got.status, got.code) == (403, "CONDITION_UNMET")
        assert gateway.seen == []


def test_use_that_nobody_reported_is_charged_as_reserved_and_the_log_says_so(tmp_path):
    with (
        ScriptedUpstream(answer_of(b"{}"), close=False) as upstream,
        gateway_to(tmp_path, upstream) as gateway,
    ):
        gateway.change(quota(unit=QuotaUnit.TOKENS, limit=1000))
        gateway.post(max_tokens=500)
        assert gateway.completion()["charged"] == "reserved"
        assert used(gateway)[0] > 500


def test_leaving_before_the_usage_is_told_saves_nothing(tmp_path):
    """The provider's numbers come at the end of a stream: who cuts it short pays for the longest answer."""
    start = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
        b'event: message_start\ndata: {"message":{"usage":{"input_tokens":3,"output_tokens":1}}}\n\n'
    )
    with (
        ScriptedUpstream(start, close=False) as upstream,
        gateway_to(tmp_path, upstream, upstream_limits=UpstreamLimits()) as gateway,
    ):
        gateway.change(quota(unit=QuotaUnit.TOKENS, limit=10_000))
        with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
            body = msgspec.json.encode(chat(stream=True, max_tokens=4000))
            connection.sendall(request("POST", "/v1/messages", body))
            while b"message_start" not in connection.recv(65536):
                pass
        completion = gateway.completion()
        assert (completion["ended"], completion["charged"]) == ("client_gone", "reserved")
        assert used(gateway)[0] > 4000


def test_what_never_went_out_is_not_charged(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with RunningGateway(
        tmp_path, kind="openai", base_url=f"http://127.0.0.1:{port}/v1", retries=RetryLimits(retries=0)
    ) as gateway:
        gateway.change(quota("calls", limit=5), quota("tokens", QuotaUnit.TOKENS, 10_000))
        assert gateway.post().status == 502
        assert gateway.completion()["charged"] == "released"
        assert used(gateway) == [0, 0]


def test_a_request_that_the_provider_refused_counts_as_one_without_tokens(tmp_path):
    refused = answer_of(b'{"error":{}}', status="400 Bad Request")
    with ScriptedUpstream(refused, close=False) as upstream, gateway_to(tmp_path, upstream) as gateway:
        gateway.change(quota("calls", limit=5), quota("tokens", QuotaUnit.TOKENS, 10_000))
        assert gateway.post().status == 400
        assert gateway.completion()["charged"] == "settled"
        assert used(gateway) == [0, 1]


def test_many_at_once_get_exactly_the_limit(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=7))
        with ThreadPoolExecutor(20) as pool:
            statuses = list(pool.map(lambda _: gateway.post().status, range(20)))
        assert sorted(statuses) == [200] * 7 + [429] * 13
        assert len(gateway.seen) == 7


def test_an_agent_spends_its_humans_quota(tmp_path):
    world = plain_world()
    world.agent("bot", "ann", "org-a").mandate("m-1", "bot", "ann", ["model-x"])
    with RunningGateway(tmp_path, world=world) as gateway:
        gateway.credentials.principals["bot"] = msgspec.structs.replace(
            principal_of(world, "ann"), subject="bot", kind=SubjectKind.AGENT, mandates=("m-1",)
        )
        gateway.change(quota(limit=3, per=(QuotaPer.SUBJECT,)), quota("bot", limit=1, subject="bot"))
        assert [gateway.post(key="bot").status for _ in range(2)] == [200, 429]
        # What the agent was refused under its own quota was not charged to its human.
        assert [gateway.post().status for _ in range(3)] == [200, 200, 429]


def test_an_organisation_that_was_not_disclosed_still_pays(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=1, organisation="org-a"))
        gateway.credentials.principals[KEY] = principal_of(gateway.world, "ann", organisation=None)
        assert [gateway.post().status for _ in range(2)] == [200, 429]


def test_a_counter_for_each_is_each_ones_own(tmp_path):
    world = plain_world()
    world.person("bob", "org-a")
    world.admit("lab", "org-a", ["bob"], ["model-x"])
    with RunningGateway(tmp_path, world=world) as gateway:
        gateway.credentials.principals["bob"] = principal_of(world, "bob")
        gateway.change(quota(limit=1, per=(QuotaPer.SUBJECT,)))
        assert [gateway.post(key=key).status for key in (KEY, "bob", KEY, "bob")] == [200, 200, 429, 429]


def conditional_world():
    world = plain_world()
    world.person("bob", "org-a")
    world.grant(
        "above", ["model-x"], by_provider="lab", to_organisation="org-a", conditions=(Condition.QUOTA,)
    )
    world.grant(
        "below",
        ["model-x"],
        by_organisation="org-a",
        to_subject="bob",
        parent="above",
        conditions=(Condition.QUOTA,),
    )
    return world


def test_a_grant_under_a_quota_is_good_once_whoever_gave_it_has_set_one(tmp_path):
    world = conditional_world()
    with RunningGateway(tmp_path, world=world) as gateway:
        gateway.credentials.principals["bob"] = principal_of(world, "bob")
        got = gateway.post(key="bob")
        assert (got.status, got.code) == (403, "CONDITION_UNMET")
        # One on the grant below does not carry out what the provider asked for above.
        gateway.change(quota("org", limit=100, authorization="below", party="organisation:org-a"))
        assert gateway.post(key="bob").code == "CONDITION_UNMET"
        gateway.change(quota("lab", limit=1, authorization="above", party="provider:lab"))
        assert [gateway.post(key="bob").status for _ in range(2)] == [200, 429]
        # Somebody under another grant is not limited by it.
        assert gateway.post().status == 200


class SlowLedger(MemoryQuotaLedger):
    """A ledger as on another machine: it answers when it is told to."""

    def __init__(self):
        super().__init__()
        self.held = []
        self.asked = threading.Event()

    def reserve(self, charges, now, done):
        self.held.append((charges, now, done))
        self.asked.set()

    def let_go(self):
        held, self.held = self.held, []
        for charges, now, done in held:
            super().reserve(charges, now, done)

    def fail(self):
        held, self.held = self.held, []
        for _, _, done in held:
            done(None)


def asking(gateway, ledger):
    connection = socket.create_connection(("127.0.0.1", gateway.port), timeout=20)
    connection.sendall(request("POST", PATH, msgspec.json.encode(chat())))
    assert ledger.asked.wait(10)
    return connection


def test_a_revocation_that_comes_while_the_ledger_is_asked_is_not_missed(tmp_path):
    ledger = SlowLedger()
    with RunningGateway(tmp_path, ledger=ledger) as gateway:
        gateway.change(quota(limit=5))
        with asking(gateway, ledger) as connection:
            gateway.change(
                PassportStatusChanged(
                    passport="pass-ann", status=PassportStatus.INVALID, cause="x", by="adj", at=0
                )
            )
            gateway.on_loop(ledger.let_go)
            assert b"PASSPORT_REVOKED" in connection.recv(65536)
        assert gateway.seen == []
        assert used(gateway) == [0]
        assert [one["outcome"] for one in gateway.entries("decision")] == ["deny"]


def test_a_client_that_leaves_while_the_ledger_is_asked_is_charged_nothing(tmp_path):
    ledger = SlowLedger()
    with RunningGateway(tmp_path, ledger=ledger) as gateway:
        gateway.change(quota(limit=5))
        asking(gateway, ledger).close()
        gateway.until(lambda: not gateway.server._connections)
        gateway.on_loop(ledger.let_go)
        assert used(gateway) == [0]
        assert gateway.seen == []
        assert len(gateway.node.open) == 0


def test_what_cannot_be_counted_is_not_let_through(tmp_path):
    ledger = SlowLedger()
    with RunningGateway(tmp_path, ledger=ledger) as gateway:
        gateway.change(quota(limit=5))
        with asking(gateway, ledger) as connection:
            gateway.on_loop(ledger.fail)
            answer = connection.recv(65536)
            assert b" 429 " in answer
            assert b"retry-after: 1\r\n" in answer
        assert gateway.seen == []
        assert gateway.entries("refusal")[0]["codes"] == ["QUOTA"]


def test_a_fallback_is_charged_and_the_target_that_failed_is_not(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with (
        ScriptedUpstream(answer_of(USAGE), close=False) as other,
        RunningGateway(
            tmp_path, kind="openai", base_url=f"http://127.0.0.1:{port}/v1", retries=RetryLimits(retries=0)
        ) as gateway,
    ):
        gateway.deploy("model-x-2", "model-x", f"http://127.0.0.1:{other.port}/v1")
        gateway.change(quota("calls", limit=5), quota("tokens", QuotaUnit.TOKENS, 10_000))
        assert gateway.post().status == 200
        gateway.until(lambda: len(gateway.entries("completion")) == 2)
        assert [one["charged"] for one in gateway.entries("completion")] == ["released", "settled"]
        assert used(gateway) == [1, 70]


def test_a_credential_without_binding_is_not_counted_before_it_is_refused(tmp_path):
    """Nobody can use up another's quota with a request that is denied."""
    with RunningGateway(tmp_path) as gateway:
        gateway.change(quota(limit=1))
        gateway.credentials.principals["weak"] = principal_of(
            gateway.world, "ann", aal=1, binding=Binding.KEY
        )
        denied = [gateway.post(key="weak").status for _ in range(3)]
        assert set(denied) <= {401, 403}
        assert gateway.post().status == 200


def test_an_answer_kept_by_the_provider_is_paid_once_and_can_always_be_deleted(tmp_path):
    stored = answer_of(b'{"id":"resp_1","usage":{"input_tokens":30,"output_tokens":40}}')
    with ScriptedUpstream(stored, close=False) as upstream, gateway_to(tmp_path, upstream) as gateway:
        gateway.change(quota("calls", limit=2), quota("tokens", QuotaUnit.TOKENS, 10_000))
        body = {"model": "model-x", "input": "a", "max_output_tokens": 500}
        assert gateway.post("/v1/responses", body).status == 200
        assert gateway.send(request("GET", "/v1/responses/resp_1"))[0].status == 200
        gateway.until(lambda: len(gateway.entries("completion")) == 2)
        assert used(gateway) == [2, 70]
        assert gateway.send(request("GET", "/v1/responses/resp_1"))[0].code == "QUOTA"
        assert gateway.send(request("DELETE", "/v1/responses/resp_1"))[0].status == 200
