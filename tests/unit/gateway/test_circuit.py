"""Circuits: when a deployment is left alone, who may probe it, and how many retries there are to spend."""

import pytest

from safeconduct.gateway.circuit import CircuitLimits, Circuits

LIMITS = CircuitLimits(
    window_seconds=20, least=4, rate=0.5, open_seconds=8, longest_seconds=20, probes=2, retry_burst=2
)


@pytest.fixture
def circuits():
    return Circuits(lambda _low, high: high, LIMITS)


def run(circuit, outcomes, now=0.0):
    for outcome in outcomes:
        assert circuit.enter(now)
        (circuit.succeeded if outcome == "+" else circuit.failed)(now)


def test_few_failures_or_a_small_share_of_them_break_nothing(circuits):
    run(circuits.of("few"), "---")
    run(circuits.of("share"), "+++++----")
    assert circuits.open == set()


def test_half_of_enough_requests_breaks_it(circuits):
    circuit = circuits.of("d")
    run(circuit, "++++----")
    assert circuits.open == {"d"}
    assert not circuit.enter(7.9)


def test_old_failures_are_forgotten(circuits):
    circuit = circuits.of("d")
    run(circuit, "---", 0.0)
    run(circuit, "-", 40.0)
    assert not circuit.is_open


def test_failures_in_both_halves_of_the_window_count_together(circuits):
    circuit = circuits.of("d")
    run(circuit, "--", 9.0)
    run(circuit, "--", 20.0)
    assert circuit.is_open


def test_one_probe_at_a_time_and_enough_of_them_mend_it(circuits):
    circuit = circuits.of("d")
    run(circuit, "----")
    assert circuit.enter(8.0)
    assert not circuit.enter(8.0)
    circuit.succeeded(8.5)
    assert circuit.is_open
    assert circuit.enter(9.0)
    circuit.succeeded(9.5)
    assert not circuit.is_open
    assert circuits.open == set()
    run(circuit, "---", 10.0)
    assert not circuit.is_open


def test_a_probe_that_fails_doubles_the_wait_up_to_a_bound(circuits):
    circuit = circuits.of("d")
    run(circuit, "----")
    waits = []
    now = 0.0
    for _ in range(4):
        waits.append(circuit.open_until - now)
        now = circuit.open_until
        assert circuit.enter(now)
        circuit.failed(now)
    assert waits == [8, 16, 20, 20]


def test_a_probe_whose_client_left_lets_another_go(circuits):
    circuit = circuits.of("d")
    run(circuit, "----")
    assert circuit.enter(8.0)
    circuit.left()
    assert circuit.enter(8.0)


def test_what_was_under_way_when_it_broke_is_no_probe(circuits):
    circuit = circuits.of("d")
    run(circuit, "----")
    circuit.succeeded(1.0)
    circuit.succeeded(1.0)
    circuit.failed(1.0)
    assert circuit.is_open
    assert circuit.open_until == 8


def test_gateways_come_back_at_different_moments():
    asked = []
    circuits = Circuits(lambda low, high: asked.append((low, high)) or low, LIMITS)
    run(circuits.of("d"), "----")
    assert asked == [(4, 8)]


def test_retries_are_a_share_of_requests(circuits):
    circuit = circuits.of("d")
    assert [circuit.may_retry() for _ in range(3)] == [True, True, False]
    run(circuit, "+" * 11)
    assert [circuit.may_retry() for _ in range(2)] == [True, False]


def test_a_broken_circuit_has_no_retries(circuits):
    circuit = circuits.of("d")
    run(circuit, "----")
    assert not circuit.may_retry()


def test_a_retired_deployment_is_forgotten(circuits):
    run(circuits.of("d"), "----")
    circuits.forget("d")
    assert circuits.open == set()
    assert circuits.of("d").enter(0.0)
