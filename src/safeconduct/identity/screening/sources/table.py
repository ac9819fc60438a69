"""Rows of comma-separated files, strictly: quoting closed, the same number of fields in every row, an encoding that fits."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Iterator, Sequence

from safeconduct.identity.screening.sources.reading import (
    MAX_TEXT,
    Chunks,
    Defect,
    Reading,
    bounded,
    refuse,
)

MAX_CSV_BYTES = 256 << 20
MAX_ROWS = 2_000_000
_END_OF_FILE = "\x1a"


def _lines(text: str) -> Iterator[str]:
    start = 0
    while start < len(text):
        end = text.find("\n", start) + 1 or len(text)
        yield text[start:end]
        start = end


def read_text(chunks: Chunks, reading: Reading, *, field: str, fallback: str | None = None) -> str:
    """The whole file as text, UTF-8 (a byte order mark is dropped), or all of it in the fallback encoding.

    Errors: InvalidInput (empty, too big, a web page, bytes of neither encoding).
    """
    raw = b"".join(bounded(chunks, MAX_CSV_BYTES, field=field)).removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = error.start
    if fallback is not None:
        try:
            text = raw.decode(fallback)
        except UnicodeDecodeError:
            pass
        else:
            reading.encoding = fallback
            return text
    raise refuse(f"byte {place:,} is not UTF-8", field=field)


def without_end_marker(text: str, reading: Reading, *, field: str) -> str:
    """The text before OFAC's end-of-file mark (0x1A), which a file that was cut does not have."""
    body, mark, rest = text.partition(_END_OF_FILE)
    if not mark:
        reading.defect(
            Defect.END_MARKER,
            "the end-of-file mark (0x1A) is missing: the file was cut off or changed on its way",
            field=field,
        )
    elif rest.strip():
        raise refuse("there is more after the end-of-file mark (0x1A)", field=field)
    return body


def rows(text: str, width: int, *, field: str) -> Iterator[tuple[int, list[str]]]:
    """Row numbers, from 1, and rows of exactly width fields. Errors: InvalidInput with the row's number."""
    reader = csv.reader(_lines(text), strict=True)
    number = 0
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise refuse(
                f"not a row of comma-separated fields: {error}", field=f"{field} row {number + 1}"
            ) from None
        number += 1
        if number > MAX_ROWS:
            raise refuse(f"more than {MAX_ROWS:,} rows", field=field)
        if len(row) != width:
            raise refuse(f"{len(row)} fields where {width} belong", field=f"{field} row {number}")
        for value in row:
            if len(value) > MAX_TEXT:
                raise refuse(f"a field of {len(value):,} characters", field=f"{field} row {number}")
        yield number, row


def table_of(text: str, *, required: Sequence[str], field: str) -> Iterator[tuple[int, dict[str, str]]]:
    """Row numbers and rows by heading, in lower case. The heading row is the first.

    Errors: InvalidInput when a required column is missing, a heading comes twice, a row does not fit, or the last one has no end.
    """
    reader = csv.reader(_lines(text), strict=True)
    try:
        heading = [" ".join(name.lower().split()) for name in next(reader)]
    except (StopIteration, csv.Error):
        raise refuse("there is no heading row", field=field) from None
    missing = [name for name in required if name not in heading]
    if missing:
        raise refuse(
            f"there is no column {', '.join(missing)}: a file of another format",
            field=f"{field} heading",
            remedy="name the right list, or the right format with --format",
        )
    twice = {name for name in heading if name and heading.count(name) > 1}
    if twice:
        raise refuse(f"the column {min(twice)} comes twice", field=f"{field} heading")
    if not text.endswith(("\n", "\r")):
        raise refuse("the last row does not end: the file was cut off", field=field)
    body = iter(rows(text, len(heading), field=field))
    next(body)
    for number, row in body:
        yield number, dict(zip(heading, row, strict=True))
