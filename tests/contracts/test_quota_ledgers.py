"""What every ledger keeps: whole or nothing, never over the limit in any window, what is given back goes where it was."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.quota_ledgers import admitted_together, charge, open_ledger, place_for

KINDS = ("memory", "shared", "redis")
NOW = 1_000_000_000


@pytest.fixture(params=KINDS)
def ledger(request, tmp_path):
    found = open_ledger(request.param, place_for(request.param, tmp_path))
    yield found
    found.close()


def test_what_fits_is_admitted_and_what_does_not_is_refused_and_changes_nothing(ledger):
    assert ledger.reserve([charge(6)], NOW).used == (0,)
    refused = ledger.reserve([charge(5)], NOW)
    assert (refused.admitted, refused.used, refused.buckets) == (False, (6,), ())
    assert ledger.reserve([charge(4)], NOW).admitted
    assert ledger.used([charge(0)], NOW) == [10]


def test_a_reservation_is_whole_or_nothing(ledger):
    roomy, tight = charge(5, 100, name=b"roomy"), charge(5, 4, name=b"tight")
    for charges in ([roomy, tight], [tight, roomy]):
        assert not ledger.reserve(charges, NOW).admitted
    assert ledger.used([roomy, tight], NOW) == [0, 0]
    assert ledger.reserve([roomy, charge(4, 4, name=b"tight")], NOW).used == (0, 0)


def test_a_fixed_window_begins_anew_at_its_boundary_and_not_before(ledger):
    begins = NOW - NOW % 60_000 + 60_000
    assert ledger.reserve([charge(10)], begins).admitted
    assert not ledger.reserve([charge(1)], begins + 59_999).admitted
    assert ledger.reserve([charge(10)], begins + 60_000).admitted


def test_a_sliding_window_frees_what_is_older_than_its_length(ledger):
    assert ledger.reserve([charge(10, sliding=True)], NOW).admitted
    for later in (1, 30_000, 59_999, 60_000):
        assert not ledger.reserve([charge(1, sliding=True)], NOW + later).admitted, later
    # A tenth of the window later at the most it is free.
    assert ledger.reserve([charge(10, sliding=True)], NOW + 66_000).admitted


def test_less_than_reserved_is_given_back_and_more_is_charged_past_the_limit(ledger):
    held = ledger.reserve([charge(10)], NOW)
    ledger.settle([charge(10)], held, [3], NOW + 5)
    assert ledger.used([charge(0)], NOW + 5) == [3]
    held = ledger.reserve([charge(7)], NOW + 6)
    ledger.settle([charge(7)], held, [20], NOW + 7)
    assert ledger.used([charge(0)], NOW + 7) == [23]
    assert not ledger.reserve([charge(0)], NOW + 8).admitted


@pytest.mark.parametrize("sliding", [False, True])
def test_what_comes_back_after_its_window_is_over_frees_nothing_of_the_next(ledger, sliding):
    held = ledger.reserve([charge(10, sliding=sliding)], NOW)
    later = NOW + 200_000
    assert ledger.reserve([charge(8, sliding=sliding)], later).admitted
    ledger.settle([charge(10, sliding=sliding)], held, [0], later)
    assert ledger.used([charge(0, sliding=sliding)], later) == [8]


def test_more_than_reserved_counts_when_it_is_known_not_when_it_was_asked_for(ledger):
    held = ledger.reserve([charge(5)], NOW)
    later = NOW + 120_000
    ledger.settle([charge(5)], held, [9], later)
    assert ledger.used([charge(0)], later) == [4]


def test_counters_do_not_touch_each_other(ledger):
    assert ledger.reserve([charge(10, name=b"ann")], NOW).admitted
    assert ledger.reserve([charge(10, name=b"bob")], NOW).admitted
    assert not ledger.reserve([charge(1, name=b"ann")], NOW).admitted


def test_a_limit_of_nothing_admits_nothing(ledger):
    assert not ledger.reserve([charge(1, 0)], NOW).admitted


steps = st.lists(
    st.tuples(st.integers(0, 9_000), st.integers(1, 6), st.one_of(st.none(), st.integers(0, 6))),
    min_size=1,
    max_size=40,
)


@pytest.mark.parametrize("kind", KINDS)
@given(steps=steps)
@settings(max_examples=25)
def test_no_window_of_the_length_ever_holds_more_than_the_limit(kind, steps, tmp_path_factory):
    """Reservations at any times, settled for less or not at all: any 10 s hold 10 at most; fixed windows likewise."""
    for sliding in (True, False):
        ledger = open_ledger(kind, place_for(kind, tmp_path_factory.mktemp("ledger")))
        now, counted = NOW, []
        for wait, amount, settled in steps:
            now += wait
            one = charge(amount, 10, seconds=10, sliding=sliding)
            held = ledger.reserve([one], now)
            if held.admitted:
                final = amount if settled is None else min(amount, settled)
                if final != amount:
                    ledger.settle([one], held, [final], now)
                counted.append((now, final))
        ledger.close()
        if sliding:
            for start, _ in counted:
                assert sum(amount for at, amount in counted if start <= at < start + 10_000) <= 10
        else:
            for _, window in itertools.groupby(counted, key=lambda pair: pair[0] // 10_000):
                assert sum(amount for _, amount in window) <= 10


@pytest.mark.parametrize("sliding", [False, True])
@pytest.mark.parametrize("kind", ["shared", "redis"])
def test_processes_together_get_exactly_the_limit(kind, sliding, tmp_path):
    one = charge(1, 150, seconds=86_400, sliding=sliding)
    assert admitted_together(kind, place_for(kind, tmp_path), [one], workers=3, times=100) == 150


@pytest.mark.parametrize("kind", ["shared", "redis"])
def test_processes_together_never_pass_the_tighter_of_two(kind, tmp_path):
    charges = [charge(3, 900, name=b"tokens", seconds=86_400), charge(1, 100, name=b"calls", seconds=86_400)]
    place = place_for(kind, tmp_path)
    got = admitted_together(kind, place, charges, workers=3, times=60)
    ledger = open_ledger(kind, place)
    # What one takes back at that moment can refuse another, so a little less may be got; never more.
    assert 90 <= got <= 100
    assert ledger.used(charges, NOW) == [3 * got, got]
    ledger.close()
