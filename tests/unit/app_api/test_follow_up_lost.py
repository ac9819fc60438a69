"""A killed process leaves no permit without its follow-up: the next one writes what it can know."""

from tests.support.gateways import RunningGateway

from safeconduct.app.follow_up_lost import follow_up_lost


def test_what_had_no_follow_up_is_lost_and_what_had_one_is_left_alone(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        assert gateway.post().status == 200
        gateway.completion()
        assert gateway.post(model="no-such-model").status == 404
        entries = list(gateway.log.read(0, gateway.log.durable_size))
        assert follow_up_lost(gateway.decisions, entries) == 0
        # As a kill leaves it: the decision is there, its end is not.
        killed = [entry for entry in entries if b'"completion"' not in entry]
        assert follow_up_lost(gateway.decisions, killed) == 1
        [first, lost] = gateway.entries("completion")
        assert (lost["decision"], lost["ended"], lost["cause"]) == (
            first["decision"],
            "lost",
            ["process_ended"],
        )
        now_all = list(gateway.log.read(0, gateway.log.durable_size))
        assert follow_up_lost(gateway.decisions, now_all) == 0
