"""A jump of the machine's clock brings no expired grant back and ends no order early."""

from hypothesis import given
from hypothesis import strategies as st

from safeconduct.kernel.clock import SLEW, SteadyClock


class Machine:
    def __init__(self):
        self.wall = 1_800_000_000.0
        self.steady = 50.0

    def pass_(self, seconds):
        self.wall += seconds
        self.steady += seconds

    def clock(self):
        return SteadyClock(lambda: self.wall, lambda: self.steady)


def test_a_jump_backwards_does_not_bring_an_expired_grant_back():
    machine = Machine()
    clock = machine.clock()
    until = clock.now() + 60
    machine.pass_(61)
    assert clock.now() > until
    machine.wall -= 3600
    machine.pass_(2)
    assert clock.now() > until


def test_a_jump_forwards_ends_no_order_early():
    machine = Machine()
    clock = machine.clock()
    until = clock.now() + 3600
    machine.wall += 7200
    machine.pass_(10)
    assert clock.now() < until
    assert clock.drift > 7190


def test_a_slow_correction_is_taken_over():
    machine = Machine()
    clock = machine.clock()
    machine.wall += 0.01
    for _ in range(60):
        machine.pass_(1)
        clock.now()
    assert abs(clock.drift) < 0.001


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-1e6, 1e6)), max_size=30))
def test_time_never_runs_backwards_and_never_faster_than_the_steady_clock_by_more_than_the_slew(steps):
    machine = Machine()
    clock = machine.clock()
    start, before, passed = clock.now(), clock.now(), 0.0
    for seconds, jump in steps:
        machine.pass_(seconds)
        machine.wall += jump
        passed += seconds
        present = clock.now()
        assert present >= before - 1e-6
        assert abs(present - start - passed) <= passed * SLEW + 1e-5
        before = present
