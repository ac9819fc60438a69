import threading

import pytest
from tests.support.instances import make_instance

from safeconduct.app.record_keeper import RecordKeeper, read_events
from safeconduct.audit.wal import decode_segment
from safeconduct.kernel.errors import Conflict, InvalidInput, LogCorrupt, LogUnavailable
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.vocabulary import SubjectKind
from safeconduct.record.envelope import open_entry, read_entry
from safeconduct.record.events import encode
from safeconduct.record.events.holders import SubjectEnrolled
from safeconduct.record.state import fold


def enrolled(number):
    return SubjectEnrolled(subject=SubjectId(f"sub_{number}"), kind=SubjectKind.HUMAN)


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as opened:
        yield opened


def entries(embedded):
    log = embedded.opened.record_log
    return list(log.read(0, log.durable_size))


def test_a_commit_is_durable_folded_and_told_in_that_order(embedded):
    record, told = embedded.instance.record, []
    record.subscribe(
        lambda state, events: told.append((state.position, events, embedded.opened.record_log.durable_size))
    )
    before = record.state
    position = record.commit([enrolled(1), enrolled(2)])
    assert position == before.position + 2 == record.state.position
    assert told == [(position, [enrolled(1), enrolled(2)], position)]
    assert "sub_1" not in before.subjects
    envelope = read_entry(entries(embedded)[-1])
    assert (envelope.type, envelope.seq, envelope.time) == (
        "subject_enrolled",
        position - 1,
        embedded.now * 1000,
    )


def test_the_state_after_a_restart_is_the_fold_of_the_log(embedded):
    embedded.instance.record.commit([enrolled(number) for number in range(20)])
    before = embedded.state
    embedded.reopen()
    assert embedded.state.subjects == before.subjects
    assert embedded.state.position == before.position
    assert fold(read_events(iter(entries(embedded)))).subjects == before.subjects


def test_a_commit_expecting_a_position_that_has_passed_writes_nothing(embedded):
    record = embedded.instance.record
    position = record.state.position
    record.commit([enrolled(1)], expect=position)
    with pytest.raises(Conflict):
        record.commit([enrolled(2)], expect=position)
    assert "sub_2" not in record.state.subjects
    assert record.state.position == position + 1 == len(entries(embedded))


def test_an_empty_commit_writes_nothing_and_tells_nobody(embedded):
    told = []
    embedded.instance.record.subscribe(lambda *_: told.append(1))
    before = embedded.state.position
    assert embedded.instance.record.commit([]) == before
    assert told == []


def test_concurrent_commits_keep_their_groups_together_and_in_order(embedded):
    record, seen = embedded.instance.record, []
    record.subscribe(lambda state, events: seen.append((state.position, [event.subject for event in events])))
    start = record.state.position

    def write(writer):
        for step in range(10):
            record.commit([enrolled(f"{writer}-{step}-{part}") for part in range(3)])

    threads = [threading.Thread(target=write, args=(writer,)) for writer in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [position for position, _ in seen] == [start + 3 * (step + 1) for step in range(40)]
    assert all(len({subject.rsplit("-", 1)[0] for subject in group}) == 1 for _, group in seen)
    stored = [read_entry(entry) for entry in entries(embedded)]
    assert [envelope.seq for envelope in stored] == list(range(start + 120))
    assert len({envelope.uid for envelope in stored}) == start + 120


def test_of_two_commits_expecting_the_same_position_one_wins(embedded):
    record = embedded.instance.record
    position, barrier, outcomes = record.state.position, threading.Barrier(6), []

    def write(number):
        barrier.wait()
        try:
            record.commit([enrolled(number)], expect=position)
            outcomes.append("written")
        except Conflict:
            outcomes.append("conflict")

    threads = [threading.Thread(target=write, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["conflict"] * 5 + ["written"]


def test_a_subscriber_that_fails_hides_nothing_from_the_others(embedded):
    record, told = embedded.instance.record, []

    def broken(*_):
        raise RuntimeError("listener")

    record.subscribe(broken)
    record.subscribe(lambda state, _: told.append(state.position))
    assert record.commit([enrolled(1)]) == told[0]


def test_a_log_that_has_ended_acknowledges_nothing_and_changes_nothing(embedded):
    record, before = embedded.instance.record, embedded.state
    embedded.opened.record_log.close()
    with pytest.raises(LogUnavailable):
        record.commit([enrolled(1)])
    assert record.state is before


def test_an_entry_that_cannot_be_folded_stops_the_start_and_is_named(embedded):
    position = embedded.state.position
    log = embedded.opened.record_log
    unknown = open_entry(b'{"type":"from_the_future"}', uid="evt_x", seq=position, time_ms=0, type="x")
    log.wait_durable_sync(log.submit(unknown))
    with pytest.raises(LogCorrupt, match=f"entry {position}"):
        RecordKeeper(log, clock=embedded.clock)


def test_an_entry_that_claims_another_place_is_refused():
    entry = open_entry(encode(enrolled(1)), uid="evt_x", seq=7, time_ms=0, type="subject_enrolled")
    with pytest.raises(LogCorrupt, match="entry 0"):
        list(read_events(iter([entry])))


def test_an_event_too_large_for_an_entry_leaves_nothing_of_its_group(embedded):
    before = embedded.state.position
    huge = SubjectEnrolled(subject=SubjectId("s" * 70_000), kind=SubjectKind.HUMAN)
    with pytest.raises(InvalidInput, match="does not fit"):
        embedded.instance.record.commit([enrolled(1), huge])
    assert len(entries(embedded)) == before == embedded.state.position


def test_the_events_of_one_commit_are_one_frame_so_that_no_crash_parts_them(embedded):
    directory = embedded.opened.record_log._directory
    before = embedded.state.position
    embedded.instance.record.commit([enrolled(number) for number in range(7)])
    path = directory.list("wal")[-1]
    segment = decode_segment(directory.read(path), path, embedded.opened.record_log.origin)
    assert [(first, count) for _, first, count in segment.frames][-1] == (before, 7)
