"""Many values packed into one block of bytes: the compact, read-only form of a large map of the state.

Owns the row format (MessagePack of key and value, the fields of a value by position) and the index over it (64-bit hashes of
the keys, sorted). Refuses to change: a `Rows` is made once, and what comes later lies beside it (`large_map`).
A million values as Python objects take more than a kilobyte each and seconds to build; as rows they take what their bytes
take, and a value becomes an object when somebody asks for it.
"""

from __future__ import annotations

import hashlib
import itertools
import types
import typing
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from immutables import Map

REMEMBERED: Final = 50_000
"""Values per map kept as objects after they were asked for; then forgotten all at once."""
PIECE: Final = 1 << 20
"""Bytes copied at one time, so that a thread that packs never holds the interpreter for long."""
ROWS_A_PIECE: Final = 1024

GONE: Final = object()
"""Stands for a value that was deleted."""
_ABSENT: Final = object()

Convert = Callable[[Any], Any] | None


def _encode_other(value: Any) -> Any:
    if isinstance(value, Map):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot be packed")


def _decode_other(kind: Any, value: Any) -> Any:
    origin = typing.get_origin(kind) or kind
    if origin is Map:
        return Map(msgspec.convert(value, types.GenericAlias(dict, typing.get_args(kind))))
    raise TypeError(f"{kind!r} cannot be unpacked")


# Deterministic, so that one state has one text.
_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_other, order="deterministic")
_encode = _encode_key = _encoder.encode
_blake2b, _from_bytes = hashlib.blake2b, int.from_bytes


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _layout(kind: Any) -> tuple[Any, Convert, Convert]:
    """The type of a row for a type of value, and the ways there and back; None means as it is."""
    if _is_struct(kind):
        return _struct_layout(kind)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple and len(arguments) == 2 and arguments[1] is Ellipsis and _is_struct(arguments[0]):
        inner, pack, unpack = _struct_layout(arguments[0])
        return (
            types.GenericAlias(tuple, (inner, Ellipsis)),
            lambda values: [pack(value) for value in values],
            lambda rows: tuple([unpack(row) for row in rows]),
        )
    if origin in {typing.Union, types.UnionType} and len(arguments) == 2 and type(None) in arguments:
        (other,) = (one for one in arguments if one is not type(None))
        if _is_struct(other):
            inner, pack, unpack = _struct_layout(other)
            return (
                inner | None,
                lambda value: None if value is None else pack(value),
                lambda row: None if row is None else unpack(row),
            )
    return kind, None, None


def _struct_layout(kind: Any) -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    parts = [_layout(field.type) for field in msgspec.structs.fields(kind)]
    row = types.GenericAlias(tuple, tuple(part[0] for part in parts))
    packs, unpacks = [part[1] for part in parts], [part[2] for part in parts]
    values_of = msgspec.structs.astuple
    if not any(packs):
        return row, values_of, lambda found: kind(*found)

    packing = [(place, change) for place, change in enumerate(packs) if change is not None]
    if len(packing) == 1:
        only, its = packing[0]

        def pack_one(value: Any) -> Any:
            row = list(values_of(value))
            row[only] = its(row[only])
            return row

        pack: Callable[[Any], Any] = pack_one
    else:

        def pack_some(value: Any) -> Any:
            row = list(values_of(value))
            for place, change in packing:
                row[place] = change(row[place])
            return row

        pack = pack_some

    def unpack(found: Any) -> Any:
        return kind(
            *[one if change is None else change(one) for change, one in zip(unpacks, found, strict=True)]
        )

    return row, pack, unpack


def hash_of(key: Any) -> int:
    """64 bits of a key, the same in every process."""
    data = key.encode() if type(key) is str else _encode_key(key)
    return _from_bytes(_blake2b(data, digest_size=8).digest(), "little")


class RowCodec:
    """How keys and values of one map become rows and come back. key, value: their types."""

    __slots__ = ("_decode", "_pack", "_unpack", "encode")

    def __init__(self, key: Any, value: Any) -> None:
        row, self._pack, self._unpack = _layout(value)
        self._decode = msgspec.msgpack.Decoder(
            types.GenericAlias(tuple, (key, row)), dec_hook=_decode_other
        ).decode
        # One row of a key and a value.
        self.encode: Callable[[Any, Any], bytes] = self._encode if self._pack is None else self._encode_packed

    def _encode(self, key: Any, value: Any) -> bytes:
        return _encode((key, value))

    def _encode_packed(self, key: Any, value: Any) -> bytes:
        pack = self._pack
        assert pack is not None
        return _encode((key, pack(value)))

    def decode(self, row: memoryview) -> tuple[Any, Any]:
        """Key and value of a row. Raises msgspec.MsgspecError when it is not one."""
        key, value = self._decode(row)
        return key, value if self._unpack is None else self._unpack(value)


class Piece(typing.NamedTuple):
    """Some rows in order: hashes (`Q`) and lengths (`I`) as arrays, and the rows one after the other."""

    hashes: array[int]
    lengths: array[int]
    data: bytes | bytearray | memoryview


class Rows:
    """Packed keys and values, looked up by key. Immutable; safe to read from several threads."""

    __slots__ = ("_data", "_hashes", "_in_order", "_lengths", "_remembered", "_starts", "codec")

    def __init__(
        self,
        codec: RowCodec,
        hashes: array[int],
        lengths: array[int],
        data: bytes | bytearray | memoryview,
        starts: array[int] | None = None,
    ) -> None:
        """hashes: ascending. lengths: bytes of each row of `data`, in that order. starts: where each row begins; None when
        they stand in that order too, with nothing between them.
        """
        self.codec = codec
        self._hashes = hashes
        self._lengths = lengths
        self._in_order = starts is None
        self._starts = array("Q", itertools.accumulate(lengths, initial=0)) if starts is None else starts
        self._data = memoryview(data)
        # Written by any thread: a dict's set and get are atomic, and a value lost is decoded again.
        self._remembered: dict[Any, Any] = {}

    def __len__(self) -> int:
        return len(self._hashes)

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        return len(self._data) if self._in_order else sum(self._lengths)

    def get(self, key: Any, default: Any = None) -> Any:
        """The value under `key`, or `default`."""
        found = self._remembered.get(key, _ABSENT)
        if found is _ABSENT:
            at = self.find(key)
            if at is None:
                return default
            found = self.row(at)[1]
            if len(self._remembered) >= REMEMBERED:
                self._remembered = {}
            self._remembered[key] = found
        return found

    def find(self, key: Any) -> int | None:
        """The position of a key, None when it is not here."""
        wanted, hashes = hash_of(key), self._hashes
        at = bisect_left(hashes, wanted)
        while at < len(hashes) and hashes[at] == wanted:
            if self.row(at)[0] == key:
                return at
            at += 1
        return None

    def row(self, at: int) -> tuple[Any, Any]:
        """Key and value at a position."""
        start = self._starts[at]
        return self.codec.decode(self._data[start : start + self._lengths[at]])

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Keys and values in the order of the hashes; none of them is remembered."""
        for at in range(len(self)):
            yield self.row(at)

    def part(self, start: int, end: int) -> Iterator[Piece]:
        """The rows from `start` to `end` as they are, in pieces."""
        while start < end:
            stop = self._stop(start, end)
            yield Piece(self._hashes[start:stop], self._lengths[start:stop], self._bytes(start, stop))
            start = stop

    def _stop(self, start: int, end: int) -> int:
        """Where a piece that begins at `start` ends, at `end` at the latest."""
        if self._in_order:
            return min(end, max(start + 1, bisect_left(self._starts, self._starts[start] + PIECE) - 1))
        stop, size = start, 0
        for length in self._lengths[start : min(end, start + ROWS_A_PIECE)]:
            size += length
            if size > PIECE and stop > start:
                break
            stop += 1
        return stop

    def _bytes(self, start: int, end: int) -> bytes | memoryview:
        """The rows from `start` to `end`, one after the other."""
        data, starts = self._data, self._starts
        if self._in_order:
            return data[starts[start] : starts[end]]
        found = zip(starts[start:end], self._lengths[start:end], strict=True)
        return b"".join([data[at : at + length] for at, length in found])

    def merged(self, changes: Mapping[Any, Any]) -> Iterator[Piece]:
        """These rows with `changes` made (GONE deletes), in pieces. Unchanged rows are copied, not decoded."""
        keys = list(changes)
        # (hash, position, place in `keys`; negative when the key is here already)
        placed: list[tuple[int, int, int]] = []
        present, count = self._hashes, len(self._hashes)
        for place, key in enumerate(keys):
            data = key.encode() if type(key) is str else _encode_key(key)
            wanted = _from_bytes(_blake2b(data, digest_size=8).digest(), "little")
            at = bisect_left(present, wanted)
            if at < count and present[at] == wanted:
                first = at
                while at < count and present[at] == wanted and self.row(at)[0] != key:
                    at += 1
                if at < count and present[at] == wanted:
                    placed.append((wanted, at, ~place))
                    continue
                at = first
            placed.append((wanted, at, place))
        placed.sort()
        begun, encode = 0, self.codec.encode
        hashes, lengths, rows = array("Q"), array("I"), bytearray()
        for wanted, at, place in placed:
            if len(hashes) >= ROWS_A_PIECE or len(rows) >= PIECE:
                yield Piece(hashes, lengths, rows)
                hashes, lengths, rows = array("Q"), array("I"), bytearray()
            if at - begun > ROWS_A_PIECE:
                if hashes:
                    yield Piece(hashes, lengths, rows)
                    hashes, lengths, rows = array("Q"), array("I"), bytearray()
                yield from self.part(begun, at)
                begun = at
            elif begun < at:
                hashes += present[begun:at]
                lengths += self._lengths[begun:at]
                rows += self._bytes(begun, at)
                begun = at
            if place < 0:
                place, begun = ~place, at + 1  # noqa: PLW2901 - the mark is read
            key = keys[place]
            value = changes[key]
            if value is not GONE:
                row = encode(key, value)
                hashes.append(wanted)
                lengths.append(len(row))
                rows += row
        if hashes:
            yield Piece(hashes, lengths, rows)
        yield from self.part(begun, count)


def empty_rows(codec: RowCodec) -> Rows:
    """No rows."""
    return Rows(codec, array("Q"), array("I"), b"")


def packed(codec: RowCodec, pieces: Iterable[Piece]) -> Rows:
    """Pieces in order as one `Rows` in memory."""
    hashes, lengths, data = array("Q"), array("I"), bytearray()
    for piece in pieces:
        hashes += piece.hashes
        lengths += piece.lengths
        data += piece.data
    return Rows(codec, hashes, lengths, data)
