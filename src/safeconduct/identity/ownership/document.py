"""Files of ownership edges and of designations: CSV or JSON, read whole or refused whole.

Owns their columns. Refuses what it does not know: a column or member that nobody reads could be a restriction.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

from safeconduct.identity.ownership.designation import Designation
from safeconduct.identity.ownership.edge import EdgeKind, OwnershipEdge, check_date, check_node
from safeconduct.identity.ownership.share import read_share
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.suggest import did_you_mean

MAX_BYTES: Final = 32 << 20
MAX_ROWS: Final = 250_000
FORMATS: Final = ("csv", "json")
EDGE_COLUMNS: Final = ("owner", "owned", "percent", "kind", "as_of", "source")
DESIGNATION_COLUMNS: Final = ("node", "list", "version", "entry", "programmes")
_OPTIONAL: Final = frozenset({"programmes"})
_KINDS: Final = tuple(kind.value for kind in EdgeKind)

_Row = tuple[str, dict[str, str]]
_T = TypeVar("_T")


def read_edges(data: bytes, form: str, *, today: str) -> tuple[OwnershipEdge, ...]:
    """Edges of a file: columns (or members) owner, owned, percent, kind, as_of, source.

    form: `csv` with a header, or `json`: an array of objects. today: ISO 8601 date; nothing is stated about the future.
    Raises InvalidInput naming line and column.
    """

    def edge(where: str, row: dict[str, str]) -> OwnershipEdge:
        if row["kind"] not in _KINDS:
            raise InvalidInput(
                f"unknown kind {row['kind'][:40]!r}{did_you_mean(row['kind'], _KINDS)}",
                field=f"{where}.kind",
                remedy=f"use one of {', '.join(_KINDS)}",
            )
        as_of = check_date(row["as_of"], f"{where}.as_of")
        if as_of > today:
            raise InvalidInput(f"{as_of} has not come yet", field=f"{where}.as_of")
        return OwnershipEdge(
            check_node(row["owner"], f"{where}.owner"),
            check_node(row["owned"], f"{where}.owned"),
            read_share(row["percent"], f"{where}.percent"),
            EdgeKind(row["kind"]),
            as_of,
            _text(row["source"], f"{where}.source", 200),
        )

    return _read(data, form, EDGE_COLUMNS, edge)


def read_designations(data: bytes, form: str) -> tuple[Designation, ...]:
    """Designations of a file: columns node, list, version, entry and, when there are any, programmes (parted by `;`).

    Raises InvalidInput naming line and column.
    """

    def designation(where: str, row: dict[str, str]) -> Designation:
        programmes = tuple(one.strip() for one in row.get("programmes", "").split(";") if one.strip())
        return Designation(
            check_node(row["node"], f"{where}.node"),
            check_name(row["list"], f"{where}.list"),
            _text(row["version"], f"{where}.version", 100),
            _text(row["entry"], f"{where}.entry", 100),
            tuple(_text(one, f"{where}.programmes", 60) for one in programmes),
        )

    found = _read(data, form, DESIGNATION_COLUMNS, designation)
    versions: dict[str, str] = {}
    for one in found:
        if versions.setdefault(one.list, one.version) != one.version:
            raise InvalidInput(
                f"two versions of list {one.list!r}: {versions[one.list]!r} and {one.version!r}",
                field="version",
                remedy="give one file a version",
            )
    return found


def _text(value: str, field: str, longest: int) -> str:
    if not value or len(value) > longest or not value.isprintable():
        raise InvalidInput(f"1 to {longest} printable characters are expected", field=field)
    return value


def _read(
    data: bytes, form: str, columns: tuple[str, ...], make: Callable[[str, dict[str, str]], _T]
) -> tuple[_T, ...]:
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"larger than {MAX_BYTES} bytes", field="document", remedy="split the file")
    if form not in FORMATS:
        raise InvalidInput(
            f"unknown format {form[:20]!r}{did_you_mean(form, FORMATS)}",
            field="format",
            remedy="use csv or json",
        )
    rows = _csv_rows(data, columns) if form == "csv" else _json_rows(data, columns)
    found: list[_T] = []
    for where, row in rows:
        if len(found) == MAX_ROWS:
            raise InvalidInput(f"more than {MAX_ROWS} rows", field="document", remedy="split the file")
        found.append(make(where, row))
    if not found:
        raise InvalidInput("there is nothing in it", field="document", remedy="give at least one row")
    return tuple(found)


def _check_columns(names: set[str], columns: tuple[str, ...], where: str) -> None:
    for name in columns:
        if name not in names and name not in _OPTIONAL:
            raise InvalidInput(
                f"{name!r} is missing", field=where, remedy=f"the columns are {', '.join(columns)}"
            )
    for name in sorted(names.difference(columns)):
        raise InvalidInput(
            f"unknown column {name[:40]!r}{did_you_mean(name, columns)}",
            field=where,
            remedy=f"the columns are {', '.join(columns)}",
        )


def _csv_rows(data: bytes, columns: tuple[str, ...]) -> Iterator[_Row]:
    try:
        text = data.decode("utf-8-sig", "strict")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8 (byte {error.start})", field="document") from None
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for row in reader:
            if not row:
                continue
            where = f"line {reader.line_num}"
            if not header:
                header = [cell.strip() for cell in row]
                if len(set(header)) != len(header):
                    raise InvalidInput("a column stands twice", field=where)
                _check_columns(set(header), columns, where)
                continue
            if len(row) != len(header):
                raise InvalidInput(
                    f"{len(row)} cells, the header has {len(header)}",
                    field=where,
                    remedy="is the file whole?",
                )
            yield where, {name: cell.strip() for name, cell in zip(header, row, strict=True)}
    except csv.Error as error:
        raise InvalidInput(f"not CSV: {error}", field=f"line {reader.line_num}") from None


def _json_rows(data: bytes, columns: tuple[str, ...]) -> Iterator[_Row]:
    value: Any = strict_json(data, what="the file")
    if not isinstance(value, list):
        raise InvalidInput("an array of objects is expected", field="document")
    for place, row in enumerate(value):
        where = f"[{place}]"
        if not isinstance(row, dict) or not all(isinstance(cell, str) for cell in row.values()):
            raise InvalidInput(
                "an object of texts is expected", field=where, remedy='percentages are texts: "33.3333"'
            )
        _check_columns(set(row), columns, where)
        yield where, row
