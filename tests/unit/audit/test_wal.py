from __future__ import annotations

import pytest
from tests.support.log_directories import ORIGIN

from safeconduct.audit.wal import (
    HEADER_SIZE,
    SegmentHeader,
    decode_segment,
    encode_frame,
    encode_segment_header,
    join_segments,
    segment_path,
)
from safeconduct.kernel.errors import LogCorrupt

SALT = bytes(range(16))
GROUPS = [[b"a", b"", b"ccc"], [b"d" * 300], [b"e", b"f"]]
ENTRIES = [entry for group in GROUPS for entry in group]


def segment(groups=GROUPS, *, epoch=1, first=0, size=0, salt=SALT) -> tuple[str, bytes]:
    data = encode_segment_header(SegmentHeader(ORIGIN, salt, epoch, first, size))
    index = first
    for group in groups:
        data += encode_frame(salt, index, group)
        index += len(group)
    return segment_path(epoch, first), data


def decode(path: str, data: bytes):
    return decode_segment(data, path, ORIGIN)


def test_a_segment_is_read_as_it_was_written():
    path, data = segment(first=7, size=7)
    read = decode(path, data)
    assert (read.entries, read.end, read.torn_bytes) == (ENTRIES, 7 + len(ENTRIES), 0)
    assert [(index, count) for _, index, count in read.frames] == [(7, 3), (10, 1), (11, 2)]


def test_a_segment_cut_at_every_byte_gives_all_its_complete_groups():
    path, data = segment()
    ends = [offset for offset, _, _ in decode(path, data).frames][1:] + [len(data)]
    for length in range(HEADER_SIZE, len(data) + 1):
        read = decode(path, data[:length])
        complete = sum(end <= length for end in ends)
        assert read.entries == [entry for group in GROUPS[:complete] for entry in group]
        assert read.valid_bytes + read.torn_bytes == length


def test_a_segment_without_its_whole_header_is_named():
    path, data = segment()
    for length in range(HEADER_SIZE):
        with pytest.raises(LogCorrupt, match=path):
            decode(path, data[:length])


def test_a_flipped_bit_before_the_last_group_is_named_and_never_taken_for_an_unfinished_write():
    path, data = segment()
    last = decode(path, data).frames[-1][0]
    for position in range(last):
        for bit in (0, 7):
            altered = bytearray(data)
            altered[position] ^= 1 << bit
            with pytest.raises(LogCorrupt, match=path):
                decode(path, bytes(altered))


def test_a_flipped_bit_in_the_last_group_never_gives_other_entries():
    path, data = segment()
    last = decode(path, data).frames[-1][0]
    for position in range(last, len(data)):
        altered = bytearray(data)
        altered[position] ^= 1
        read = decode(path, bytes(altered))
        assert read.entries == ENTRIES[:4]
        assert read.torn_bytes


def test_an_entry_that_holds_the_bytes_of_a_frame_does_not_pass_for_one():
    forged = encode_frame(bytes(16), 6, [b"forged"])
    path, data = segment([*GROUPS, [forged]])
    read = decode(path, data[:-3])  # the write that carried it did not finish
    assert read.entries == ENTRIES


def test_the_segment_of_another_log_is_refused():
    path, data = segment()
    with pytest.raises(LogCorrupt, match="another log"):
        decode_segment(data, path, "other.example/log")


def test_a_renamed_segment_is_refused():
    _, data = segment()
    with pytest.raises(LogCorrupt, match="name and header"):
        decode(segment_path(1, 5), data)


def test_segments_follow_each_other():
    one = decode(*segment())
    two = decode(*segment([[b"g"]], first=6, size=6))
    assert join_segments([one, two]).entries == [*ENTRIES, b"g"]


def test_a_missing_segment_is_named():
    one = decode(*segment())
    three = decode(*segment([[b"h"]], first=7, size=7))
    with pytest.raises(LogCorrupt, match="entries 6 to 6 are missing"):
        join_segments([one, three])
    with pytest.raises(LogCorrupt, match="missing"):
        join_segments([])


def test_a_new_epoch_repeats_entries_and_cuts_off_what_a_displaced_writer_added():
    old = decode(*segment())
    new = decode(*segment([[b"d" * 300], [b"n"]], epoch=2, first=3, size=4))
    replay = join_segments([old, new])
    assert replay.entries == [*ENTRIES[:4], b"n"]
    assert "lost the log" in replay.notes[0]


def test_a_new_epoch_that_contradicts_durable_entries_is_refused():
    old = decode(*segment())
    new = decode(*segment([[b"other"]], epoch=2, first=5, size=6))
    with pytest.raises(LogCorrupt, match="contradicts"):
        join_segments([old, new])


def test_an_unfinished_write_is_accepted_only_where_a_new_epoch_took_over_at_its_beginning():
    path, data = segment()
    torn = decode(path, data[:-1])
    good = decode(*segment([[b"n"]], epoch=2, first=4, size=4))
    assert join_segments([torn, good]).entries == [*ENTRIES[:4], b"n"]
    for wrong in (
        segment([[b"n"]], epoch=2, first=3, size=3),
        segment([[b"n"]], epoch=1, first=4, size=4),
        segment([[b"n"]], epoch=2, first=6, size=6),
    ):
        with pytest.raises(LogCorrupt):
            join_segments([torn, decode(*wrong)])


def test_a_new_epoch_goes_on_although_the_older_segments_are_half_removed():
    # Opening removes them oldest first; power may go in between, when the new segment begins before what is left of them.
    rest = decode(*segment([ENTRIES[4:]], first=4, size=4))
    new = decode(*segment([[*ENTRIES[3:]], [b"n"]], epoch=2, first=3, size=6))
    replay = join_segments([rest, new])
    assert (replay.first, replay.entries) == (3, [*ENTRIES[3:], b"n"])


@pytest.mark.parametrize(
    "new", [([[*ENTRIES[3:5]]], 6), ([[*ENTRIES[3:]]], 7), ([[ENTRIES[3], b"other", ENTRIES[5]]], 6)]
)
def test_a_new_epoch_that_does_not_repeat_what_is_left_is_refused(new):
    groups, size = new
    rest = decode(*segment([ENTRIES[4:]], first=4, size=4))
    with pytest.raises(LogCorrupt):
        join_segments([rest, decode(*segment(groups, epoch=2, first=3, size=size))])
