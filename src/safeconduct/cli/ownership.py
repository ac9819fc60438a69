"""`ownership import|designate|explain|regimes|confirm`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

commands = typer.Typer(help="Ownership: who is owned, or controlled, by somebody on a list.")

File = Annotated[Path, typer.Argument(help="A .csv or .json file; - for standard input (then say --format).")]
Form = Annotated[
    str | None, typer.Option("--format", help="csv or json (default: by the name).", show_default=False)
]


@commands.command("import")
def import_(
    file: File,
    form: Form = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Import ownership edges: columns owner, owned, percent, kind, as_of, source.

    Everybody whom the edges reach is assessed in the same commit; requests in flight are decided again.

    Example: safeconduct ownership import edges.csv
    """
    _import("/api/ownership/edges", {}, file, form, data, url, speaker, as_json=as_json)


@commands.command()
def designate(
    file: File,
    form: Form = None,
    allow_fewer: Annotated[
        bool, typer.Option("--allow-fewer", help="The list really has lost more than a third of its entries.")
    ] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Say which nodes are entries of which lists: columns node, list, version, entry, programmes.

    The file replaces what was known of every list that it names.

    Example: safeconduct ownership designate listed.csv
    """
    more = {"allow_fewer": True} if allow_fewer else {}
    _import("/api/ownership/designations", more, file, form, data, url, speaker, as_json=as_json)


def _import(
    path: str,
    more: dict[str, Any],
    file: Path,
    form: str | None,
    data: Path | None,
    url: str | None,
    speaker: str | None,
    *,
    as_json: bool,
) -> None:
    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    try:
        document = read_bytes(file, most=_MOST_BYTES).decode("utf-8", "strict")
    except UnicodeDecodeError as error:
        raise InvalidInput(f"not UTF-8 (byte {error.start})", field=str(file)) from None
    body = {"format": form or file.suffix.removeprefix(".").lower() or "csv", "document": document, **more}
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post(path, body)
    if as_json:
        print_json(found)
        return
    imported = found["imported"]
    print_lines(f"imported {imported['rows']} {imported['kind']} (file {imported['sha256'][:16]})")
    rows = [
        (organisation, regime, outcome)
        for organisation, outcomes in found["assessed"].items()
        for regime, outcome in outcomes.items()
    ]
    print_table(("organisation", "regime", "by the graph"), rows, empty="nobody's outcome changed")


@commands.command()
def explain(
    organisation: Annotated[str, typer.Argument(help="An organisation's id, or a node such as lei:...")],
    on: Annotated[
        str,
        typer.Option("--on", help="The day asked about, YYYY-MM-DD (default: today).", show_default=False),
    ] = "",
    known: Annotated[
        str,
        typer.Option(
            "--known",
            help="As it was known then: YYYY-MM-DD (its end) or RFC 3339 (default: now).",
            show_default=False,
        ),
    ] = "",
    regime: Annotated[
        str, typer.Option("--regime", help="One regime, e.g. us.ofac50 (default: all).", show_default=False)
    ] = "",
    svg: Annotated[
        Path | None,
        typer.Option("--svg", help="Write the picture of one --regime to this new file.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Show the sum per owner and the path to each list's entry.

    Example: safeconduct ownership explain acme --regime us.ofac50 --svg acme.svg
    """
    from urllib.parse import quote  # noqa: PLC0415

    from safeconduct.cli.reading import write_new  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if svg is not None and not regime:
        raise InvalidInput(
            "a picture shows one regime", field="--svg", remedy="name it with --regime, e.g. us.ofac50"
        )
    path = f"/api/ownership/explanations/{quote(organisation, safe='')}"
    asked = {name: value for name, value in (("on", on), ("known", known)) if value}
    with connect(data, url, speaker or AUDITOR) as client:
        answer = client.get(path, **asked, **({"regime": regime} if regime else {}))
        found = answer["explanations"]
        if svg is not None:
            query = "&".join(f"{name}={quote(value, safe='')}" for name, value in asked.items())
            picture = f"{path}/{quote(regime, safe='')}/picture{'?' if query else ''}{query}"
            write_new(svg, client.fetch(picture))
    if as_json:
        print_json([one["explanation"] for one in found])
        return
    print_lines(*(one["text"] for one in found))
    if svg is not None:
        print_lines(f"wrote {svg}")


@commands.command()
def regimes(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """Show the regimes that run, and what holds of each today.

    Example: safeconduct ownership regimes
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get("/api/ownership/regimes")["regimes"]
    if as_json:
        print_json(found)
        return
    rows = [
        (one["regime"], one["version"], one["status"], one.get("period", {}).get("source", ""))
        for one in found
    ]
    print_table(("regime", "version", "status", "source"), rows, empty="no regime runs")


@commands.command()
def confirm(
    regime: Annotated[str, typer.Argument(help="The regime, e.g. us.bis.affiliates.")],
    status: Annotated[str, typer.Option("--status", help="active, suspended or rescinded.")],
    since: Annotated[str, typer.Option("--from", help="The first day on which it holds, YYYY-MM-DD.")],
    source: Annotated[str, typer.Option("--source", help="Where it is laid down, e.g. a page you read.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Confirm what holds of a regime from a day on. Everybody is assessed again.

    Example: safeconduct ownership confirm us.bis.affiliates --status suspended --from 2026-11-10 --source "the page you read"
    """
    body = {"regime": regime, "status": status, "since": since, "source": source}
    with connect(data, url, speaker or OPERATOR) as client:
        made = client.post("/api/ownership/regimes/confirm", body)
    if as_json:
        print_json(made)
    else:
        print_lines(f"{made['pack']} version {made['version']}: {status} from {since}")


_MOST_BYTES = 32 << 20
