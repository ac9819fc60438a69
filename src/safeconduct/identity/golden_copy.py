"""Reading GLEIF's golden copy, which an operator supplies as a file: CSV or JSON, LEI-CDF 3.1, several gigabytes.

Streams: memory is bounded by one record, whatever the file holds. Owns strictness: a row of another width, a missing column,
a number that stands twice among those asked for, or bytes left over refuse the whole file. Reads the wanted numbers only.
"""

from __future__ import annotations

import codecs
import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, Protocol

from safeconduct.identity.lei_record import COLUMNS, LeiRecord, record_from
from safeconduct.kernel.errors import InvalidInput

MAX_RECORD = 1 << 20
MAX_COLUMNS = 2_000
MAX_WANTED = 100_000
_CHUNK = 1 << 18
_SPACE = re.compile(r"[ \t\r\n]*")
_LEI_COLUMN = "LEI"


class Bytes(Protocol):
    """A file opened for reading bytes."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end."""
        ...


def read_golden_copy(
    file: Bytes, wanted: frozenset[str], *, progress: Callable[[int], None] = lambda _size: None
) -> dict[str, LeiRecord]:
    """The records of the wanted LEIs that the file has. progress: told how many bytes were read, again and again.

    Raises InvalidInput that names the line or record.
    """
    if len(wanted) > MAX_WANTED:
        raise InvalidInput(f"more than {MAX_WANTED} LEIs are asked for", field="wanted")
    source = _Text(file, progress)
    start = source.peek()
    if start.startswith("PK\x03\x04"):
        raise InvalidInput("is a ZIP archive", field="file", remedy="unpack it first")
    if start.lstrip(" \t\r\n")[:1] in {"{", "["}:
        records = _json_records(source, wanted)
    else:
        records = _csv_records(source, wanted)
    found: dict[str, LeiRecord] = {}
    for record in records:
        if record.lei in found:
            raise InvalidInput(f"{record.lei} stands twice", field="file", remedy="get the file again")
        found[record.lei] = record
    return found


class _Text:
    """The file as text, in chunks; UTF-8 with or without a mark."""

    def __init__(self, file: Bytes, progress: Callable[[int], None]) -> None:
        self._file = file
        self._progress = progress
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
        self._held = ""
        self._ended = False

    def peek(self) -> str:
        if not self._held:
            self._held = self._read()
        return self._held

    def next(self) -> str:
        """The next chunk, "" at the end."""
        held, self._held = self._held, ""
        return held or self._read()

    def _read(self) -> str:
        while not self._ended:
            data = self._file.read(_CHUNK)
            self._ended = not data
            self._progress(len(data))
            try:
                # A ZIP's head is no UTF-8 further on: it is looked at as Latin-1.
                if data.startswith(b"PK\x03\x04"):
                    return data[:4].decode("latin-1")
                text = self._decoder.decode(data, final=self._ended)
            except UnicodeDecodeError:
                raise InvalidInput("is not UTF-8", field="file") from None
            if text:
                return text
        return ""


def _lines(source: _Text) -> Iterator[str]:
    """Lines with their ends; a line longer than a record may be is refused before it is held."""
    pending = ""
    while chunk := source.next():
        pending += chunk
        # At line feeds only: other separators of Unicode stand inside names.
        *complete, pending = pending.split("\n")
        for line in complete:
            yield line + "\n"
        if len(pending) > MAX_RECORD:
            raise InvalidInput(f"a line of more than {MAX_RECORD} characters", field="file")
    if pending:
        yield pending


def _csv_records(source: _Text, wanted: frozenset[str]) -> Iterator[LeiRecord]:
    reader = csv.reader(_lines(source), strict=True)
    try:
        header = next(reader, [])
        if len(header) > MAX_COLUMNS or len(set(header)) != len(header):
            raise InvalidInput("a column stands twice, or there are too many", field="file: line 1")
        missing = [column for column in COLUMNS.values() if column not in header]
        if missing:
            raise InvalidInput(
                f"the column {missing[0]} is missing",
                field="file: line 1",
                remedy="give the golden copy of level 1 data (LEI-CDF 3.1) as CSV or JSON",
            )
        place = {name: position for position, name in enumerate(header)}
        lei = place[_LEI_COLUMN]
        for row in reader:
            if len(row) != len(header):
                raise InvalidInput(
                    f"{len(row)} columns instead of {len(header)}", field=f"file: line {reader.line_num}"
                )
            if row[lei] in wanted:
                yield record_from(_row_reader(row, place), f"line {reader.line_num}")
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}", field=f"file: line {reader.line_num}") from None


def _row_reader(row: list[str], place: dict[str, int]) -> Callable[[str], Any]:
    return lambda column: row[place[column]]


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise InvalidInput("a member stands twice in a record", field="file")
    return found


_decode = json.JSONDecoder(object_pairs_hook=_refuse_duplicates).raw_decode


class _Buffer:
    """Text not yet taken, refilled while a value is cut off, up to the size of a record."""

    def __init__(self, source: _Text) -> None:
        self._source = source
        self._text = ""
        self._at = 0

    def peek(self) -> str:
        """The next character that is not white space, "" at the end."""
        while True:
            self._at = _SPACE.match(self._text, self._at).end()  # type: ignore[union-attr]
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def take(self, expected: str) -> None:
        found = self.peek()
        if found != expected:
            raise InvalidInput(
                f"{expected!r} is expected, not {found!r}" if found else "is cut off", field="file"
            )
        self._at += 1

    def value(self) -> Any:
        self.peek()
        while True:
            try:
                value, end = _decode(self._text, self._at)
            except json.JSONDecodeError:
                if len(self._text) - self._at > MAX_RECORD or not self._more():
                    raise InvalidInput("a record is malformed, cut off or too large", field="file") from None
                continue
            except RecursionError:
                raise InvalidInput("a record is nested too deeply", field="file") from None
            self._at = end
            return value

    def _more(self) -> bool:
        chunk = self._source.next()
        self._text = self._text[self._at :] + chunk
        self._at = 0
        return bool(chunk)


def _json_records(source: _Text, wanted: frozenset[str]) -> Iterator[LeiRecord]:
    """`{"records":[...]}` or a bare array; each record is decoded on its own."""
    buffer = _Buffer(source)
    wrapped = buffer.peek() == "{"
    if wrapped:
        buffer.take("{")
        if buffer.value() != "records":
            raise InvalidInput('"records" is expected first', field="file")
        buffer.take(":")
    buffer.take("[")
    number = 0
    while buffer.peek() != "]":
        if number:
            buffer.take(",")
        number += 1
        record = buffer.value()
        reading = _member_reader(record)
        if reading(_LEI_COLUMN) in wanted:
            yield record_from(reading, f"record {number}")
    buffer.take("]")
    if wrapped:
        buffer.take("}")
    if buffer.peek():
        raise InvalidInput("something follows the records", field="file")


def _member_reader(record: Any) -> Callable[[str], Any]:
    def read(column: str) -> Any:
        value = record
        for name in (*column.split("."), "$"):
            value = value.get(name) if isinstance(value, dict) else None
        return value

    return read
