"""Which open requests a change of state ends."""

import pytest
from tests.support.worlds import order, plain_world

from safeconduct.decision.evaluation import decide
from safeconduct.gateway.open_requests import OpenRequests
from safeconduct.kernel.vocabulary import InFlight


class Open:
    def __init__(self, request, fails=False):
        self.request, self.valid_until, self.fails, self.codes = request, 0, fails, None

    def cut(self, deny):
        self.codes = [code.value for code in deny.codes]
        if self.fails:
            raise RuntimeError("broken")


def opened(world, count=1, **changes):
    requests = OpenRequests()
    each = [Open(world.request("ann", "model-x"), **changes) for _ in range(count)]
    for one in each:
        requests.add(one)
    return requests, each


@pytest.mark.parametrize(("in_flight", "cut"), [(InFlight.CUT, 1), (InFlight.FINISH, 0), (InFlight.DRAIN, 0)])
def test_a_directive_says_what_becomes_of_requests_in_flight(in_flight, cut):
    world = plain_world()
    requests, (one,) = opened(world)
    state = world.fork(order("1", "suspend", ["model-x"], world.now, in_flight=in_flight))
    assert requests.recheck([one], state, world.now, decide) == cut
    assert len(requests) == 1 - cut
    assert (one.codes is not None) == bool(cut)


def test_one_that_fails_does_not_keep_the_others_open():
    world = plain_world()
    requests, each = opened(world, count=5, fails=True)
    world.passport_status("ann")
    with pytest.raises(RuntimeError):
        requests.recheck(each, world.state, world.now, decide)
    assert [one.codes for one in each] == [["PASSPORT_REVOKED"]] * 5
    assert len(requests) == 0


def test_a_permit_is_looked_at_again_when_its_time_is_over():
    world = plain_world()
    requests, (one,) = opened(world)
    requests.recheck([one], world.state, world.now, decide)
    assert one.valid_until > world.now
    assert requests.expired(one.valid_until - 1) == []
    assert requests.expired(one.valid_until) == [one]
