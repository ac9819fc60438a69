import pytest

from safeconduct.gateway.freshness import BUDGETS, Freshness
from safeconduct.kernel.vocabulary import Level


def test_the_budgets_are_those_of_the_specification():
    assert [BUDGETS[level] for level in Level] == [300, 300, 10, 1, 1]


@pytest.mark.parametrize("level", list(Level))
def test_a_state_is_good_for_its_budget_and_no_longer(level):
    fresh = Freshness()
    assert fresh.stale(level, 0.0)
    fresh.confirm(100.0, 100.0)
    assert not fresh.stale(level, 100.0 + BUDGETS[level])
    assert fresh.stale(level, 100.01 + BUDGETS[level])
    assert fresh.ends_at(level) == 100.0 + BUDGETS[level]


def test_no_confirmation_reaches_into_the_future_and_none_takes_an_earlier_one_back():
    fresh = Freshness()
    fresh.confirm(500.0, 100.0)
    assert fresh.as_of == 100.0
    fresh.confirm(40.0, 110.0)
    assert fresh.as_of == 100.0
    assert fresh.age(101.5) == 1.5


def test_a_gateway_struck_off_is_stale_for_everything():
    fresh = Freshness()
    fresh.confirm(100.0, 100.0)
    fresh.withdrawn = True
    assert all(fresh.stale(level, 100.0) for level in Level)
