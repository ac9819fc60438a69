"""A state of packed rows is the state that folding one by one gives: read, changed, written to a snapshot and read back."""

from contextlib import contextmanager

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.properties.test_decision_properties import PROFILE, VARIANTS, questions, times, worlds

from safeconduct.decision.evaluation import decide
from safeconduct.record import packing
from safeconduct.record import rows as rows_module
from safeconduct.record.bulk import fold_many
from safeconduct.record.events import GrantEnded, PassportStatusChanged, TermsSigned
from safeconduct.record.growing_rows import GrowingRows
from safeconduct.record.large_map import LargeMap, in_one_order
from safeconduct.record.rows import GONE, empty_rows, packed
from safeconduct.record.snapshot import read_state, state_bytes
from safeconduct.record.state import State, fold

FEW = settings(PROFILE, max_examples=40)


@contextmanager
def rows_beyond(entries):
    """Maps of more entries than this are packed, where twenty thousand would be usual."""
    usual = packing.SMALL
    packing.SMALL = entries
    try:
        yield
    finally:
        packing.SMALL = usual


def again(state):
    return read_state(memoryview(b"".join(state_bytes(state))))


@FEW
@given(worlds(), st.data())
def test_folding_at_once_equals_folding_one_by_one(world, data):
    whole = fold(world.events)
    cut = data.draw(st.integers(0, len(world.events)))
    at_once = data.draw(st.integers(1, 50))
    with rows_beyond(data.draw(st.integers(0, 5))):
        assert fold_many(world.events, at_once=at_once) == whole
        begun = fold_many(world.events[:cut], at_once=at_once)
        assert isinstance(begun.grants, LargeMap) == (len(begun.grants) > packing.SMALL)
        assert fold_many(world.events[cut:], begun, at_once=at_once) == whole
        assert fold(world.events[cut:], begun) == whole
        assert whole == fold(world.events[cut:], begun)


@FEW
@given(worlds(), st.data())
def test_a_snapshot_and_the_events_after_it_equal_the_whole_fold(world, data):
    whole = fold(world.events)
    cut = data.draw(st.integers(0, len(world.events)))
    with rows_beyond(data.draw(st.integers(0, 5))):
        begun = again(fold(world.events[:cut]))
        assert begun == fold(world.events[:cut])
        middle = data.draw(st.integers(cut, len(world.events)))
        # Changes lie over the rows when the next snapshot is written.
        further = again(fold(world.events[cut:middle], begun))
        assert fold(world.events[middle:], further) == whole
        assert fold_many(world.events[middle:], further) == whole


@FEW
@given(worlds(), st.data(), times)
def test_decisions_do_not_depend_on_the_form_of_the_state(world, data, now):
    cut = data.draw(st.integers(0, len(world.events)))
    with rows_beyond(0):
        state = fold(world.events[cut:], again(fold_many(world.events[:cut])))
    for request in questions(world):
        assert decide(request, state, now) == decide(request, world.state, now)


@FEW
@given(worlds(), times)
def test_an_event_leaves_the_older_state_as_it_was(world, at):
    whole = world.state
    with rows_beyond(0):
        older = again(whole)
        for event in (
            PassportStatusChanged(passport="pass-ann", status=1, cause="", by="", at=at),
            GrantEnded(grant=sorted(whole.grants)[0], by="", at=at),
            TermsSigned(subject="ann", terms="other", document="", signed_at=at),
        ):
            newer = older.apply(event, older.position + 1)
            assert newer == whole.apply(event, whole.position + 1)
            assert newer != older
            assert older == whole


@FEW
@given(worlds())
def test_the_index_by_variant_is_worked_out_whole_and_in_the_order_of_the_record(world):
    whole = world.state
    with rows_beyond(0):
        packed = again(whole)
    assert isinstance(packed.grants_to, LargeMap)
    assert dict(packed.grants_to.items()) == dict(whole.grants_to.items())
    assert len(packed.grants_to) == len(whole.grants_to)
    for variant in (*VARIANTS, "no-such"):
        key = ("subject", "ann", variant)
        assert packed.grants_to.get(key, ()) == whole.grants_to.get(key, ())


def test_every_map_of_the_state_has_a_row_format():
    maps = {name for name in State.__struct_fields__ if hasattr(getattr(State.empty(), name), "mutate")}
    assert set(packing.codecs()) == maps
    assert set(State.__struct_fields__) - maps == {"position", "instance", "next_status_index"}


def test_a_deleted_entry_is_gone_and_can_come_back():
    with rows_beyond(0):
        held = again(State.empty())
    assert held == State.empty()
    rows, _ = packing.as_rows("by_lei", msgspec.structs.replace(held).by_lei)
    large = LargeMap(rows).set("A", "org-1").set("B", "org-2").delete("A")
    assert (len(large), list(large), "A" in large, large.get("A")) == (1, ["B"], False, None)
    merged = packed(rows.codec, rows.merged(large.changes))
    assert dict(merged.items()) == {"B": "org-2"}
    emptied = packed(rows.codec, merged.merged({"B": GONE, "C": "org-3"}))
    assert dict(emptied.items()) == {"C": "org-3"}


keys = st.sampled_from([f"k{number}" for number in range(12)])
batches = st.lists(
    st.dictionaries(keys, st.one_of(st.just(GONE), st.text("ab", max_size=30)), max_size=8), max_size=8
)


@settings(PROFILE, max_examples=200)
@given(batches, batches, st.sampled_from([64, 2, 0]))
def test_rows_that_grow_hold_what_was_put_in(earlier, later, bits):
    """bits: of the hashes that are looked at; with few of them, keys have one hash."""
    with pytest.MonkeyPatch.context() as patch:
        whole = rows_module._from_bytes
        patch.setattr(rows_module, "_from_bytes", lambda data, order: whole(data, order) >> (64 - bits))
        held, expected = GrowingRows(empty_rows(packing.codecs()["by_lei"])), {}
        for batch in earlier:
            held.take(batch)
            expected = {key: value for key, value in {**expected, **batch}.items() if value is not GONE}
            assert {
                key: held.get(key)
                for key in (f"k{number}" for number in range(12))
                if held.get(key) is not None
            } == expected
        rows = held.finished()
        assert dict(rows.items()) == expected
        assert len(rows) == len(expected)
        # What it has become can be written, and can grow again; the rows themselves stay what they are.
        dense = packed(rows.codec, rows.merged({}))
        assert dict(dense.items()) == expected == {key: rows.get(key) for key in expected}
        assert dense.size == rows.size
        again_, expected_later = GrowingRows(rows), dict(expected)
        for batch in later:
            again_.take(batch, join=lambda known, value: known + value)
            for key, value in batch.items():
                if value is GONE:
                    expected_later.pop(key, None)
                else:
                    expected_later[key] = expected_later.get(key, "") + value
        assert dict(again_.finished().items()) == expected_later
        assert dict(rows.items()) == expected
        changed = {"k0": "changed", "k1": GONE}
        merged = packed(rows.codec, rows.merged(changed))
        assert dict(merged.items()) == {
            key: value for key, value in {**expected, **changed}.items() if value is not GONE
        }


@given(st.permutations(range(6)), st.data())
def test_parts_of_one_order_join_to_an_order_that_keeps_each(order, data):
    parts = data.draw(st.lists(st.sets(st.sampled_from(order)), max_size=4))
    sequences = [[one for one in order if one in part] for part in parts]
    joined = in_one_order(sequences)
    assert set(joined) == {one for part in parts for one in part}
    assert len(joined) == len(set(joined))
    for sequence in sequences:
        assert [one for one in joined if one in set(sequence)] == sequence
