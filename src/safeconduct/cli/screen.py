"""`screen`: names against the lists in force, one or a file of them."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_json_line, print_lines, print_table, progress
from safeconduct.cli.session import OPERATOR, connect

_PATH = "/api/screening/names"
_AT_ONCE = 100
_SECONDS = 300.0
_MOST_ROWS = 1_000_000
_COLUMNS = ("name", "kind", "born", "countries", "identifiers")


def screen(
    name: Annotated[
        str | None,
        typer.Argument(help="The name, in any script; - reads it from standard input.", show_default=False),
    ] = None,
    born: Annotated[
        str | None, typer.Option(help="Birth date: YYYY, YYYY-MM or YYYY-MM-DD.", show_default=False)
    ] = None,
    country: Annotated[
        list[str] | None,
        typer.Option(help="Nationality or seat, ISO 3166-1 alpha-2; may be repeated.", show_default=False),
    ] = None,
    identifier: Annotated[
        list[str] | None,
        typer.Option(help="Passport, register or ship number; may be repeated.", show_default=False),
    ] = None,
    kind: Annotated[
        str | None, typer.Option(help="person or organisation; both when left out.", show_default=False)
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(
            "--csv",
            help="Screen every row of this file: columns name, and if you like kind, born, countries, identifiers (several with ;).",
            show_default=False,
        ),
    ] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what every score is made of.")] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Screen a name against the lists in force. Nothing is kept. Exit status 0 whatever was found: the band says what to do.

    Example: safeconduct screen "Made-up Name" --born 1970-01-01 --country FR --explain
    """
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if (name is None) == (csv is None):
        raise InvalidInput(
            "give one of them", field="NAME, --csv", remedy='safeconduct screen "Made-up Name"'
        )
    if csv is not None:
        if born or country or identifier or kind:
            raise InvalidInput(
                "with --csv the file says this", field="--born, --country, --identifier, --kind"
            )
        _batch(csv, explain=explain, data=data, url=url, speaker=speaker, as_json=as_json)
        return
    if name == "-":
        import sys  # noqa: PLC0415

        name = sys.stdin.readline().strip()
    asked: dict[str, Any] = {"name": name, "countries": [one.upper() for one in country or []]}
    asked |= {"identifiers": identifier or []}
    asked |= {member: value for member, value in (("born", born), ("kind", kind)) if value is not None}
    with connect(data, url, speaker or OPERATOR) as client:
        (found,) = client.post_slowly(_PATH, {"names": [asked], "explain": explain}, seconds=_SECONDS)[
            "items"
        ]
    if as_json:
        print_json(found)
        return
    _show(found)


def _show(found: dict[str, Any]) -> None:
    used = ", ".join(f"{one['name']} {one['sha256'][:12]}" for one in found["lists"]) or "no list"
    print_lines(f"{found['band']}: {len(found['hits'])} hits against {used}")
    print_lines(*(f"not clear, because {reason}" for reason in found["reasons"]))
    if found["hits"]:
        print_table(
            ("score", "band", "list", "entry", "name", "as", "listed under"),
            [
                (
                    f"{hit['score']:.4f}",
                    hit["band"],
                    hit["list"],
                    hit["entry"],
                    hit["name"],
                    hit["name_kind"],
                    hit.get("programmes", ()),
                )
                for hit in found["hits"]
            ],
            empty="",
        )
    for hit in found["hits"]:
        if hit.get("explanation"):
            print_lines(*_explained(hit, hit["explanation"]))
    print_lines(f"scored by {found['scorer']}, weights {found['weights'][:12]}")


def _explained(hit: dict[str, Any], why: dict[str, Any]) -> Iterator[str]:
    yield f"{hit['list']} {hit['entry']}: log-odds {why['bias']:g}, less what speaks against it:"
    for term in why["terms"]:
        compared = f"{term['query']!r} against {term['entry']!r}"
        yield f"  {term['effect']:8.4f}  {term['feature']} {term['value']:g} x {term['weight']:g}: {compared}"
    for word in why["words"]:
        yield f"  {word['likeness']:8.4f}  {word['query']!r} is {word['entry']!r} by {word['reading']}"
    for shift in why["shifts"]:
        yield f"  {shift['amount']:+8.4f}  {shift['fact']}: {shift['query']} against {shift['entry']}, inside its band"


def _rows(path: Path) -> list[dict[str, Any]]:
    import csv  # noqa: PLC0415

    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    asked = []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, strict=True)
            columns = reader.fieldnames or []
            for column in columns:
                if column not in _COLUMNS:
                    raise InvalidInput(
                        f"unknown column {column!r}{did_you_mean(column, _COLUMNS)}",
                        field=str(path),
                        remedy=f"columns: {', '.join(_COLUMNS)}",
                    )
            if "name" not in columns:
                raise InvalidInput(
                    "there is no column `name`", field=str(path), remedy="name it in the first row"
                )
            for row in reader:
                if None in row or None in row.values():
                    raise InvalidInput(
                        f"not {len(columns)} columns",
                        field=f"{path} line {reader.line_num}",
                        remedy="quote commas",
                    )
                one: dict[str, Any] = {"name": row["name"]}
                one |= {member: row[member] for member in ("kind", "born") if row.get(member)}
                one |= {
                    member: [value.strip() for value in row[member].split(";") if value.strip()]
                    for member in ("countries", "identifiers")
                    if row.get(member)
                }
                asked.append(one)
                if len(asked) > _MOST_ROWS:
                    raise InvalidInput(
                        f"more than {_MOST_ROWS:,} rows", field=str(path), remedy="split the file"
                    )
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput(
            f"cannot be read: {error}", field=str(path), remedy="a CSV file in UTF-8"
        ) from None
    if not asked:
        raise InvalidInput("no rows", field=str(path))
    return asked


def _batch(
    path: Path, *, explain: bool, data: Path | None, url: str | None, speaker: str | None, as_json: bool
) -> None:
    asked = _rows(path)
    counts = {"clear": 0, "review": 0, "block": 0}
    shown = []
    with (
        connect(data, url, speaker or OPERATOR) as client,
        progress(f"screening {len(asked):,} names", quiet=as_json) as advance,
    ):
        for start in range(0, len(asked), _AT_ONCE):
            names = asked[start : start + _AT_ONCE]
            for found in client.post_slowly(_PATH, {"names": names, "explain": explain}, seconds=_SECONDS)[
                "items"
            ]:
                counts[found["band"]] += 1
                if as_json:
                    print_json_line(found)
                elif found["band"] != "clear":
                    best = found["hits"][0] if found["hits"] else {}
                    shown.append(
                        (
                            found["name"],
                            found["band"],
                            f"{best['score']:.4f}" if best else "",
                            f"{best['list']} {best['entry']}" if best else "; ".join(found["reasons"]),
                            best.get("name", ""),
                        )
                    )
            advance(min(start + _AT_ONCE, len(asked)), len(asked))
    if not as_json:
        print_table(("asked", "band", "score", "entry", "listed name"), shown, empty="nobody to review")
        print_lines(", ".join(f"{count:,} {band}" for band, count in counts.items()))


def add_to(application: typer.Typer) -> None:
    """Put the command at the root."""
    application.command("screen")(screen)
