"""A question opened once and answered under several states is answered as `decide` answers it under each."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_decision_properties import (
    PROFILE,
    RESTRICTING,
    orders,
    questions,
    times,
    worlds,
)
from tests.support.worlds import order, plain_world

from safeconduct.decision import evaluation
from safeconduct.decision.evaluation import Opened, decide, differ_in_orders_only
from safeconduct.decision.inquiry import Inquiry
from safeconduct.kernel.vocabulary import Binding, Screening
from safeconduct.record.events import PassportStatusChanged, SubjectScreened


@PROFILE
@given(worlds(), st.data(), times)
def test_an_opened_question_is_answered_under_each_state_as_decide_answers(world, data, now):
    before = world.state
    named = sorted(one.imported.number for one in before.directives.values())
    changing = named and data.draw(st.booleans())
    kinds = ("partially_authorise", "rescind") if changing else RESTRICTING
    amends = (data.draw(st.sampled_from(named)),) if changing else ()
    after = world.fork(data.draw(orders("new", kinds, amends=amends)))
    assert differ_in_orders_only(before, after)
    for request in questions(world):
        opened = Opened(request, before, now)
        # In both orders and again: an answer must leave nothing behind for the next.
        for state in (before, after, after, before):
            assert opened.under(state) == decide(request, state, now)


@settings(PROFILE, max_examples=30)
@given(worlds(), times)
def test_what_is_run_before_the_orders_reads_no_order(world, now):
    blind = msgspec.structs.replace(world.state, directives=None, orders_on=None, awaiting=None)
    for request in questions(world):
        assert Opened(request, blind, now).under(world.state) == decide(request, world.state, now)


@pytest.mark.parametrize(
    "unusual",
    [
        {"variant": "no-such"},
        {"passport": "no-such"},
        {"binding": Binding.KEY},
        {"purpose": None},
        {"project": "no-such"},
        {"deployment": "no-such"},
    ],
    ids=lambda one: next(iter(one)),
)
def test_a_question_that_ends_early_names_the_state_it_was_answered_under(unusual):
    world = plain_world()
    request = msgspec.structs.replace(world.request("ann", "model-x"), **unusual)
    after = world.fork(order("1", "suspend", ["model-x"], world.now))
    opened = Opened(request, world.state, world.now)
    assert opened.under(after) == decide(request, after, world.now)
    assert opened.under(after).position == after.position == world.state.position + 1


def test_an_error_in_any_check_denies_an_opened_question_too(monkeypatch):
    def broken(inquiry):
        raise RuntimeError("secret detail")

    world = plain_world()
    request = world.request("ann", "model-x")
    for position in range(len(evaluation.CHECKS)):
        with monkeypatch.context() as patch:
            checks = list(evaluation.CHECKS)
            checks[position] = broken
            patch.setattr(evaluation, "CHECKS", tuple(checks))
            found = Opened(request, world.state, world.now).under(world.state)
            assert found == decide(request, world.state, world.now)
            assert "core.check_failed" in [one.rule for one in found.reasons]


def test_states_that_differ_in_more_than_orders_are_told_apart():
    world = plain_world()
    state = world.state
    assert differ_in_orders_only(state, world.fork(order("1", "suspend", ["model-x"], world.now)))
    for event in (
        SubjectScreened(subject="ann", screening=Screening.MATCH, screened_at=0, list_digests=()),
        PassportStatusChanged(passport="pass-ann", status=1, cause="", by="", at=0),
    ):
        assert not differ_in_orders_only(state, world.fork(event))


def test_a_continued_inquiry_carries_everything_and_shares_nothing_that_changes():
    world = plain_world()
    inquiry = evaluation._begun(world.request("ann", "model-x"), world.state, world.now)
    evaluation._concluded(inquiry, evaluation.CHECKS)
    after = world.fork(order("1", "suspend", ["model-x"], world.now))
    copy = inquiry.continued(after)
    for name in set(Inquiry.__slots__) - {"state"}:
        held = getattr(inquiry, name)
        assert getattr(copy, name) == held, name
        assert not isinstance(held, list) or getattr(copy, name) is not held, name
    assert copy.state is after
