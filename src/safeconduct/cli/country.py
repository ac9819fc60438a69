"""`country import|status`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

commands = typer.Typer(help="Country groups of the export regulations, which embargoes go by.")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="15 CFR part 740, supplement no. 1, as XML.")],
    edition: Annotated[str, typer.Option("--edition", help="The date of that text, YYYY-MM-DD.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Import the country groups from the regulation's own file. From then on the pack us.ear.country runs.

    Example: safeconduct country import supplement-740-1.xml --edition 2026-11-01
    """
    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    try:
        document = read_bytes(file, most=16 << 20).decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8 (byte {error.start})", field=str(file)) from None
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/countries/groups", {"document": document, "edition": edition})
    if as_json:
        print_json(found)
        return
    marked = sum(bool(groups) for groups in found["groups"].values())
    print_lines(f"imported {len(found['groups'])} countries, {marked} of them marked, edition {edition}")
    if found["unmatched"]:
        print_lines(f"rows without a mark and without a known country: {'; '.join(found['unmatched'])}")


@commands.command()
def status(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """Say whether embargoes by country are enforced, and by which edition.

    Example: safeconduct country status
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get("/api/countries/groups")
    if as_json:
        print_json(found)
    else:
        print_lines(found["said"])
