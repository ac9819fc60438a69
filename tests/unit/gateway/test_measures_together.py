"""Counters of several processes come to what one process would have counted."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.measures import GAUGES, GatewayMeasures, MeasuresCounts, gauges_together

events = st.lists(
    st.one_of(
        st.tuples(st.just("denied"), st.sampled_from([("STAGE",), ("STAGE", "QUOTA")])),
        st.tuples(st.just("refused"), st.sampled_from([400, 503])),
        st.tuples(
            st.just("ended"),
            st.sampled_from([("chat", "lab", "one"), ("chat", "lab", "two")]),
            st.sampled_from(["complete", "cut"]),
            st.integers(0, 200),
            st.none() | st.integers(0, 10**8),
        ),
        st.tuples(st.just("overhead"), st.integers(0, 4)),
        st.tuples(st.just("failed")),
        st.tuples(st.just("turned"), st.sampled_from(["total", "source", "handshakes"])),
    ),
    max_size=30,
)


def count(measures, happened):
    for kind, *facts in happened:
        if kind == "denied":
            measures.denied(facts[0])
        elif kind == "refused":
            measures.refused(facts[0])
        elif kind == "ended":
            key, how, seconds, tokens = facts
            measures.ended(key, how, seconds, tokens, tokens)
        elif kind == "overhead":
            measures.overhead.add(facts[0])
        elif kind == "failed":
            measures.failed_authentications += 1
            measures.failed_handshakes += 1
        else:
            measures.refused_connections[facts[0]] += 1
    return measures


@given(st.lists(events, max_size=4))
def test_the_sum_of_what_several_counted_is_what_one_would_have_counted(processes):
    together = GatewayMeasures()
    for happened in processes:
        counts = count(GatewayMeasures(), happened).snapshot()
        together.take_in(msgspec.json.decode(msgspec.json.encode(counts), type=MeasuresCounts))
    alone = count(GatewayMeasures(), [one for happened in processes for one in happened])
    assert together.exposition() == alone.exposition()


@given(events, events)
def test_a_snapshot_stands_still_while_counting_goes_on(before, after):
    measures = count(GatewayMeasures(), before)
    snapshot = measures.snapshot()
    text = msgspec.json.encode(snapshot)
    count(measures, after)
    assert msgspec.json.encode(snapshot) == text


def test_a_histogram_with_other_bounds_is_left_out_and_not_added_askew():
    measures, other = GatewayMeasures(), GatewayMeasures()
    other.overhead.add(1)
    other.overhead.counts.append(7)
    measures.take_in(other.snapshot())
    assert sum(measures.overhead.counts) == 0


def test_a_node_is_as_ready_and_as_current_as_its_worst_process():
    one = dict.fromkeys(GAUGES, 5.0)
    two = {**one, "safeconduct_ready": 0.0, "safeconduct_state_position": 3.0}
    found = gauges_together([one, two])
    assert (found["safeconduct_ready"], found["safeconduct_state_position"]) == (0, 3)
    assert found["safeconduct_connections"] == 10
    assert gauges_together([]) == {"safeconduct_ready": 0, "safeconduct_processes": 0}
