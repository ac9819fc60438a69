"""What is reserved for a request, and what it is charged in the end: no number of the caller's makes it less."""

import msgspec
import pytest
from tests.support.worlds import plain_world

from safeconduct.decision.evaluation import decide
from safeconduct.gateway.bodies import read_body
from safeconduct.gateway.quotas import (
    DEFAULT_OUTPUT_TOKENS,
    bill_for,
    counted_on,
    counter_name,
    estimate,
    quotas_on,
    used_by,
)
from safeconduct.gateway.routes import Route
from safeconduct.kernel.vocabulary import QuotaPer, QuotaUnit, QuotaWindow
from safeconduct.record.events.quotas import MeteringSet, QuotaEnded, QuotaSet
from safeconduct.registry.price import Price, cost


def ask(**members):
    return read_body(msgspec.json.encode({"model": "model-x", "messages": [], **members}))


def output(longest=None, **members):
    return estimate(ask(**members), Route.CHAT, longest)[1]


def quota(name, unit=QuotaUnit.TOKENS, limit=10**9, **facts):
    defaults = {"window": QuotaWindow.FIXED, "seconds": 60, "party": "operator", "by": "op", "at": 0}
    return QuotaSet(quota=name, unit=unit, limit=limit, **{**defaults, **facts})


def test_an_answer_is_as_long_as_the_request_allows():
    assert output(max_tokens=7) == 7
    assert output(max_completion_tokens=9) == 9
    # The upstream may heed either.
    assert output(max_tokens=7, max_completion_tokens=900) == 900


def test_a_request_that_does_not_say_is_reserved_the_longest_there_is():
    assert output() == DEFAULT_OUTPUT_TOKENS
    assert output(longest=500) == 500
    assert output(longest=500, max_tokens=10_000) == 500


def test_copies_multiply():
    assert output(max_tokens=10, n=100) == 1000
    assert output(max_tokens=10, n=2, best_of=5) == 50
    assert output(n=4) == 4 * DEFAULT_OUTPUT_TOKENS


@pytest.mark.parametrize("value", [-1, -(10**6), 0, "0", None, [], {}, True, False, 1e400, -1e9])
def test_no_number_of_the_callers_makes_a_reservation_negative_or_fails(value):
    body = b'{"model":"m","max_tokens":%b,"n":%b}' % (
        b"1e400" if value == 1e400 else msgspec.json.encode(value),
        b"-5",
    )
    sent, reserved = estimate(read_body(body), Route.CHAT, None)
    assert sent > 0
    assert 0 <= reserved <= 10**15


def test_numbers_in_another_spelling_count_as_what_they_are():
    assert output(max_tokens=1000.0) == 1000
    assert output(max_tokens=1.5) == 2
    assert output(max_tokens=10**30) <= 10**15
    assert output(max_tokens=10**14, n=10**9) <= 10**15


def test_a_longer_prompt_reserves_more():
    short = estimate(ask(messages=[{"content": "x"}]), Route.CHAT, None)[0]
    long = estimate(ask(messages=[{"content": "x" * 2000}]), Route.CHAT, None)[0]
    assert long - short >= 999


@pytest.mark.parametrize(
    ("price", "tokens", "expected"),
    [
        (Price(currency="USD", input=3_000_000, output=15_000_000), (1_000_000, 1_000_000), 18_000_000),
        (Price(currency="USD", input=1, output=0), (1, 0), 1),
        (Price(currency="USD", input=0, output=0, request=7), (1000, 1000), 7),
        (Price(currency="USD", input=1_000_001, output=0), (1, 0), 2),
    ],
)
def test_money_is_whole_and_rounded_up(price, tokens, expected):
    found = cost(price, *tokens)
    assert (found, type(found)) == (expected, int)


def billed(*quotas, price=None):
    world = plain_world()
    if price is not None:
        world.add(MeteringSet(variant="model-x", by="op", at=0, price=price))
    world.add(*quotas)
    request = world.request("ann", "model-x")
    permit = decide(request, world.state, world.now)
    found = counted_on(world.state, request, permit)
    return bill_for(world.state, found, request, ask(max_tokens=100), Route.CHAT)


def settled(bill, **facts):
    defaults = {"sent": True, "whole": True, "failed": False, "tokens_in": None, "tokens_out": None}
    return used_by(bill, **{**defaults, **facts})


def test_what_is_charged_in_the_end():
    bill = billed(quota("a"), quota("b", QuotaUnit.REQUESTS))
    tokens = bill.input + 100
    assert settled(bill, tokens_in=5, tokens_out=6) == ([11, 1], "settled")
    assert settled(bill, tokens_in=5) == ([5 + 100, 1], "reserved")
    assert settled(bill) == ([tokens, 1], "reserved")
    assert settled(bill, whole=False, tokens_in=5, tokens_out=6) == ([tokens, 1], "reserved")
    assert settled(bill, failed=True) == ([0, 1], "settled")
    assert settled(bill, failed=True, whole=False) == ([tokens, 1], "reserved")
    assert settled(bill, sent=False, tokens_in=5, tokens_out=6) == ([0, 0], "released")
    assert settled(bill, tokens_in=-500, tokens_out=6) == ([6, 1], "settled")


def test_an_error_costs_no_money_even_where_requests_have_a_price():
    bill = billed(
        quota("a", QuotaUnit.MONEY, currency="USD"), price=Price(currency="USD", input=0, output=0, request=9)
    )
    assert settled(bill, failed=True)[0] == [0]
    assert settled(bill, tokens_in=0, tokens_out=0)[0] == [9]


@pytest.mark.parametrize(
    ("about", "applies"),
    [
        ({}, True),
        ({"subject": "ann"}, True),
        ({"subject": "bob"}, False),
        ({"organisation": "org-a"}, True),
        ({"organisation": "org-lab"}, False),
        ({"variant": "model-x"}, True),
        ({"variant": "model-y"}, False),
        ({"project": "proj"}, True),
        ({"project": "other"}, False),
        ({"subject": "ann", "variant": "model-y"}, False),
        ({"subject": "ann", "organisation": "org-a", "variant": "model-x", "project": "proj"}, True),
        ({"authorization": "grant-of-nobody"}, False),
    ],
)
def test_a_quota_is_about_requests_to_which_every_name_of_it_fits(about, applies):
    world = plain_world()
    world.add(quota("q", **about))
    request = world.request("ann", "model-x", project="proj")
    permit = decide(request, world.state, world.now)
    assert bool(quotas_on(world.state, request, permit)) is applies


def test_replacing_and_ending_a_quota_leaves_nothing_behind():
    world = plain_world()
    world.add(quota("q", subject="ann"), quota("r", subject="ann"), quota("q", variant="model-x"))
    assert dict(world.state.quotas_on) == {("subject", "ann"): ("r",), ("variant", "model-x"): ("q",)}
    world.add(QuotaEnded(quota="q", by="op", at=0), QuotaEnded(quota="r", by="op", at=0))
    assert (dict(world.state.quotas_on), dict(world.state.quotas)) == ({}, {})


def test_a_counter_is_one_quotas_and_one_values():
    world = plain_world()
    world.person("bob", "org-a")
    ann, bob = world.request("ann", "model-x"), world.request("bob", "model-x")
    shared, each = quota("q"), quota("q", per=(QuotaPer.SUBJECT,))

    def name(one, asked):
        return counter_name(one, world.state, asked)

    assert name(shared, ann) == name(shared, bob)
    assert name(each, ann) != name(each, bob)
    assert len({name(quota(*facts), ann) for facts in [("q",), ("r",), ("q", QuotaUnit.REQUESTS)]}) == 3
    # Another limit goes on counting.
    assert name(quota("q", limit=5), ann) == name(shared, ann)
    # Ids that run into each other are still two.
    pair = (quota("q", subject="a", project="b"), quota("q", subject="ab", project=None))
    assert name(pair[0], ann) != name(pair[1], ann)
