"""The write-ahead log's bytes: segments of CRC-framed groups. What is durable here is acknowledged; all else is derived.

Owns encoding and strict reading. One frame is one group commit, and the next frame is written only after the sync of the one
before returned; so an invalid frame with a valid one after it can only be corruption and is refused by name, while an invalid
end is a write that was never acknowledged. Each segment has its own random salt under every CRC: entries hold what
strangers sent, and none of them can contain bytes that pass for a frame.
"""

from __future__ import annotations

import hashlib
import re
import struct
import zlib
from collections.abc import Sequence

import msgspec

from safeconduct.kernel.errors import LogCorrupt

DIRECTORY = "wal"
_NAME = re.compile(r"wal/(\d{10})-(\d{20})\.wal")

_SEGMENT = struct.Struct(
    ">8s16s32sQQQI"
)  # magic, salt, SHA-256(origin), epoch, first index, size at start, CRC
_SEGMENT_MAGIC = b"SCWAL\x00\x01\n"
SALT_SIZE = 16
HEADER_SIZE = _SEGMENT.size

_FRAME = struct.Struct(">4sIQII")  # magic, body length, first index, number of entries, CRC
_FRAME_MAGIC = b"\xf7SCF"
_PIECE = 5 * 1024  # the longest piece that zlib sums up without giving the interpreter away
_HELD = 1024 * 1024
FRAME_HEADER_SIZE = _FRAME.size


class SegmentHeader(msgspec.Struct, frozen=True):
    """epoch: of the writer that made it; first: index of its first entry; size: entries that were durable when it was made."""

    origin: str
    salt: bytes
    epoch: int
    first: int
    size: int


class Segment(msgspec.Struct, frozen=True):
    """A segment as read. entries: all of its valid frames, the first at index `header.first`.

    valid_bytes: where its valid frames end; torn_bytes: what stands behind them, never acknowledged.
    frames: (byte offset, index of the first entry, number of entries) of each frame.
    """

    path: str
    header: SegmentHeader
    entries: list[bytes]
    frames: list[tuple[int, int, int]]
    valid_bytes: int
    torn_bytes: int

    @property
    def end(self) -> int:
        """Index after its last entry."""
        return self.header.first + len(self.entries)


def segment_path(epoch: int, first: int) -> str:
    """`wal/<epoch>-<first index>.wal`: sorted by name is sorted by time."""
    return f"{DIRECTORY}/{epoch:010d}-{first:020d}.wal"


def is_segment_path(path: str) -> bool:
    """True for the name of a finished segment."""
    return _NAME.fullmatch(path) is not None


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The first bytes of a segment."""
    origin = hashlib.sha256(header.origin.encode()).digest()
    fields = _SEGMENT.pack(_SEGMENT_MAGIC, header.salt, origin, header.epoch, header.first, header.size, 0)
    return fields[:-4] + zlib.crc32(fields[:-4]).to_bytes(4, "big")


def encode_frame(salt: bytes, first: int, entries: Sequence[bytes]) -> bytes:
    """One group: header, the lengths of all entries as uint16, then their bytes."""
    body = struct.pack(f">{len(entries)}H", *map(len, entries)) + b"".join(entries)
    fields = _FRAME.pack(_FRAME_MAGIC, len(body), first, len(entries), 0)[:-4]
    crc = _crc(body, zlib.crc32(fields, zlib.crc32(salt)))
    return b"".join((fields, crc.to_bytes(4, "big"), body))


def _crc(body: bytes, crc: int) -> int:
    """CRC-32 in small pieces: zlib gives the interpreter away for longer ones, and a busy event loop takes 5 ms to return it."""
    if len(body) > _HELD:
        return zlib.crc32(body, crc)
    view = memoryview(body)
    for start in range(0, len(body), _PIECE):
        crc = zlib.crc32(view[start : start + _PIECE], crc)
    return crc


def _frame_at(data: bytes, offset: int, salt: bytes) -> tuple[int, list[bytes], int] | None:
    """(first index, entries, end offset) of the valid frame at `offset`, or None."""
    start = offset + FRAME_HEADER_SIZE
    if start > len(data):
        return None
    magic, length, first, count, crc = _FRAME.unpack_from(data, offset)
    end = start + length
    if magic != _FRAME_MAGIC or end > len(data) or 2 * count > length:
        return None
    body = data[start:end]
    if zlib.crc32(body, zlib.crc32(data[offset : start - 4], zlib.crc32(salt))) != crc:
        return None
    lengths = struct.unpack_from(f">{count}H", body)
    if 2 * count + sum(lengths) != length:
        return None
    entries = []
    position = 2 * count
    for size in lengths:
        entries.append(body[position : position + size])
        position += size
    return first, entries, end


def _decode_header(data: bytes, path: str, origin: str) -> SegmentHeader:
    match = _NAME.fullmatch(path)
    if match is None or len(data) < HEADER_SIZE:
        # Segments appear under their name only after their header is durable.
        raise LogCorrupt("the segment's header is missing (byte 0)", field=path)
    magic, salt, digest, epoch, first, size, crc = _SEGMENT.unpack_from(data)
    if magic != _SEGMENT_MAGIC or zlib.crc32(data[: HEADER_SIZE - 4]) != crc:
        raise LogCorrupt(f"the segment's header is altered (bytes 0-{HEADER_SIZE - 1})", field=path)
    if digest != hashlib.sha256(origin.encode()).digest():
        raise LogCorrupt(f"the segment belongs to another log than {origin!r}", field=path)
    if (epoch, first) != (int(match[1]), int(match[2])):
        raise LogCorrupt("the segment's name and header differ", field=path)
    return SegmentHeader(origin, salt, epoch, first, size)


def decode_segment(data: bytes, path: str, origin: str) -> Segment:
    """Read a segment up to its last valid frame. Raises LogCorrupt naming file, byte and entry for anything but a torn end."""
    header = _decode_header(data, path, origin)
    entries: list[bytes] = []
    frames: list[tuple[int, int, int]] = []
    offset = HEADER_SIZE
    expected = header.first
    while offset < len(data):
        frame = _frame_at(data, offset, header.salt)
        if frame is None:
            later = _find_frame(data, offset + 1, header.salt)
            if later is not None:
                raise LogCorrupt(
                    f"altered between byte {offset} and {later[0]}: entries {expected} to {later[1] - 1} are lost",
                    field=path,
                    remedy="restore the file from a copy; nothing may be appended to this log until then",
                )
            break
        first, group, end = frame
        if first != expected:
            raise LogCorrupt(f"entry {first} at byte {offset} where entry {expected} belongs", field=path)
        frames.append((offset, first, len(group)))
        entries += group
        expected += len(group)
        offset = end
    return Segment(path, header, entries, frames, offset, len(data) - offset)


def _find_frame(data: bytes, start: int, salt: bytes) -> tuple[int, int] | None:
    """(offset, first index) of the next valid frame at or after `start`."""
    offset = data.find(_FRAME_MAGIC, start)
    while offset >= 0:
        frame = _frame_at(data, offset, salt)
        if frame is not None:
            return offset, frame[0]
        offset = data.find(_FRAME_MAGIC, offset + 1)
    return None


class Replay(msgspec.Struct, frozen=True):
    """What the segments hold together: `entries` from index `first` on. notes: what was cut off and why, for people."""

    first: int
    entries: list[bytes]
    notes: list[str]

    @property
    def size(self) -> int:
        """Index after the last entry: the size of the log."""
        return self.first + len(self.entries)


def _check_repeated(segment: Segment, entries: list[bytes], first: int) -> None:
    offset = first - segment.header.first
    if segment.entries[offset : offset + len(entries)] != entries:
        raise LogCorrupt("the segment contradicts the one before it", field=segment.path)


def join_segments(segments: Sequence[Segment]) -> Replay:
    """Put segments, in the order of their names, together. Raises LogCorrupt for gaps and contradictions.

    A segment of a later epoch says how many entries were durable when its writer took over. What an earlier epoch's writer
    wrote beyond that was never acknowledged (it looks at the epoch between its sync and its acknowledgement), so it ends there.
    """
    if not segments:
        raise LogCorrupt("the write-ahead log is missing", field=DIRECTORY, remedy="restore it from a copy")
    first = segments[0].header.first
    entries: list[bytes] = []
    notes: list[str] = []
    for position, segment in enumerate(segments):
        header = segment.header
        size = first + len(entries)
        if position:
            before = segments[position - 1]
            taken_over = header.epoch > before.header.epoch
            if before.torn_bytes and not (taken_over and header.size == size):
                raise LogCorrupt(
                    f"altered from byte {before.valid_bytes}: entries from {before.end} on are lost",
                    field=before.path,
                )
            if taken_over and header.first < first and header.size <= size and segment.end >= header.size:
                # Power went while a new writer removed the older segments: the first of them are gone, and the new one,
                # durable before any was removed, repeats everything from its own first entry on.
                _check_repeated(segment, entries[: header.size - first], first)
                first, entries = header.first, list(segment.entries)
                continue
            if header.size > size or not first <= header.first <= header.size:
                raise LogCorrupt(
                    f"entries {size} to {header.size - 1} are missing before this segment", field=segment.path
                )
            if taken_over and header.size < size:
                notes.append(
                    f"{before.path}: entries from {header.size} on were written by a writer that had lost the log; cut off"
                )
                del entries[header.size - first :]
        offset = header.first - first
        known = entries[offset:]
        if segment.entries[: len(known)] != known[: len(segment.entries)]:
            raise LogCorrupt("the segment contradicts the one before it", field=segment.path)
        entries += segment.entries[len(known) :]
        if segment.torn_bytes:
            notes.append(
                f"{segment.path}: {segment.torn_bytes} bytes from byte {segment.valid_bytes} are a write that did not finish"
            )
    return Replay(first, entries, notes)
