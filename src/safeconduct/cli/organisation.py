"""`organisation submit|list|show|decide|lei|matches|screen|clear-match`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.matches import show_matches
from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import ADJUDICATOR, ANALYST, AUDITOR, OPERATOR, connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from safeconduct.identity.lei_record import LeiRecord

commands = typer.Typer(
    help="Organisations' cases: who they are, who binds and owns them, what was looked up."
)


@commands.command()
def submit(
    file: Annotated[Path, typer.Argument(help="JSON of the application; - is standard input.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Submit an organisation's application; says what an approval still misses.

    Example: safeconduct organisation submit acme.json
    """
    from safeconduct.cli.reading import read_json  # noqa: PLC0415

    with connect(data, url, speaker or OPERATOR) as client:
        _print(client.post("/api/organisation-cases", read_json(file)), as_json)


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """Show every case.

    Example: safeconduct organisation list
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get("/api/organisation-cases")
    if as_json:
        print_json(found)
        return
    print_table(
        ("organisation", "legal name", "state", "lei", "missing"),
        [
            (one["organisation"], one["legal_name"], one["state"], one["lei"] or "", str(one["missing"]))
            for one in found["cases"]
        ],
        empty="no organisation has a case",
    )


@commands.command()
def show(
    organisation: Annotated[str, typer.Argument(help="Its id.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Show one case: its state, and each sentence met or missed.

    Example: safeconduct organisation show acme
    """
    with connect(data, url, speaker or AUDITOR) as client:
        _print(client.get(f"/api/organisation-cases/{organisation}"), as_json)


@commands.command()
def decide(
    organisation: Annotated[str, typer.Argument(help="Its id.")],
    outcome: Annotated[str, typer.Option("--outcome", help="approved, rejected or returned_without_action.")],
    rationale: Annotated[str, typer.Option("--rationale", help="Why, in words that name nobody.")],
    extract: Annotated[
        Path | None,
        typer.Option(
            "--register-extract",
            help="The register's extract that you looked up; its digest is kept.",
            show_default=False,
        ),
    ] = None,
    number: Annotated[
        str | None,
        typer.Option("--register-number", help="The number in that extract.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Decide a case as an adjudicator.

    Example: safeconduct organisation decide acme --outcome approved --rationale "register and index agree"
    """
    import hashlib  # noqa: PLC0415

    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if (extract is None) != (number is None):
        raise InvalidInput(
            "a register's extract and the number in it belong together",
            field="--register-extract",
            remedy="give both, or neither",
        )
    ask: dict[str, Any] = {"outcome": outcome, "rationale": rationale}
    if extract is not None:
        ask["registry_lookup"] = {
            "number": number,
            "outcome": "pass",
            "document": hashlib.sha256(read_bytes(extract)).hexdigest(),
            "at": int(SystemClock().now()),
        }
    with connect(data, url, speaker or ADJUDICATOR) as client:
        _print(client.post(f"/api/organisation-cases/{organisation}/decision", ask), as_json)


@commands.command()
def lei(
    file: Annotated[
        Path, typer.Argument(help="GLEIF's golden copy of level 1 data (LEI-CDF 3.1), unpacked CSV or JSON.")
    ],
    published: Annotated[str, typer.Option("--published", help="When the file was published (RFC 3339).")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Look every case's LEI up in a golden copy, and hand the records in.

    Example: safeconduct organisation lei golden-copy.csv --published 2026-06-11T08:00:00Z
    """
    from safeconduct.cli.reading import instant  # noqa: PLC0415

    at = instant(published, "--published")
    with connect(data, url, speaker or OPERATOR) as client:
        cases = client.get("/api/organisation-cases")["cases"]
        wanted = frozenset(case["lei"] for case in cases if case["lei"])
        digest, records = _scan(file, wanted, quiet=as_json)
        found = client.post(
            "/api/lei-records",
            {
                "file": digest,
                "published": at,
                "records": _plain(records),
                "absent": sorted(wanted - set(records)),
            },
        )
    if as_json:
        print_json({"file": digest, **found})
        return
    print_lines(f"{len(records)} of {len(wanted)} LEIs found in the file {digest[:16]}...")
    print_lines(*(f"  refresh  {name}: {why}" for name, why in sorted(found["refresh"].items())))


def _plain(records: dict[str, LeiRecord]) -> list[Any]:
    import msgspec  # noqa: PLC0415

    return [msgspec.to_builtins(records[name]) for name in sorted(records)]


def _scan(file: Path, wanted: frozenset[str], *, quiet: bool) -> tuple[str, dict[str, LeiRecord]]:
    """Digest of the whole file and the wanted records, read once."""
    import hashlib  # noqa: PLC0415

    from safeconduct.identity.golden_copy import read_golden_copy  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput, NotFound  # noqa: PLC0415

    digest = hashlib.sha256()

    class Hashed:
        def __init__(self, source: Any) -> None:
            self._source = source

        def read(self, size: int, /) -> bytes:
            read: bytes = self._source.read(size)
            digest.update(read)
            return read

    try:
        size = file.stat().st_size
        with file.open("rb") as source, _progress(size, quiet=quiet) as progress:
            records = read_golden_copy(Hashed(source), wanted, progress=progress)
    except FileNotFoundError:
        raise NotFound("there is no such file", field=str(file)) from None
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(file)) from None
    return digest.hexdigest(), records


def _progress(size: int, *, quiet: bool) -> Any:
    from contextlib import contextmanager  # noqa: PLC0415

    @contextmanager
    def shown() -> Any:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import Progress  # noqa: PLC0415

        with Progress(console=Console(stderr=True), disable=quiet, transient=True) as bar:
            task = bar.add_task("reading", total=size)

            def advance(read: int) -> None:
                bar.advance(task, read)

            told: Callable[[int], None] = advance
            yield told

    return shown()


@commands.command()
def matches(
    organisation: Annotated[
        str | None,
        typer.Argument(help="One organisation; without it, all that a list has named.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Possible matches of organisations on lists: which have open hits, or what was found of one and why.

    Example: safeconduct organisation matches acme
    """
    path = "/api/organisation-screenings"
    with connect(data, url, speaker or ANALYST) as client:
        found = client.get(path if organisation is None else f"{path}/{organisation}")
    if as_json:
        print_json(found)
    elif organisation is not None:
        show_matches(found)
    else:
        print_table(
            ("organisation", "result", "hits", "since", "kept out"),
            [
                (one["organisation"], one["result"], str(one["hits"]), str(one["at"]), one["kept_out"])
                for one in found["items"]
            ],
            empty="no list has named any",
        )


@commands.command()
def screen(
    organisation: Annotated[str, typer.Argument(help="The organisation's id.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Screen an organisation again, against the lists in force now.

    Example: safeconduct organisation screen acme
    """
    with connect(data, url, speaker or ANALYST) as client:
        found = client.post(f"/api/organisation-screenings/{organisation}/screen", {})
    if as_json:
        print_json(found)
        return
    show_matches(found)


@commands.command("clear-match")
def clear_match(
    organisation: Annotated[str, typer.Argument(help="The organisation's id.")],
    rationale: Annotated[str, typer.Option(help="Why it is not whom the list means.")],
    list_name: Annotated[
        str | None,
        typer.Option(
            "--list", help="The list of the hit (may be left out while one is open).", show_default=False
        ),
    ] = None,
    entry: Annotated[
        str | None,
        typer.Option(help="The entry of the hit (may be left out while one is open).", show_default=False),
    ] = None,
    version: Annotated[
        int | None,
        typer.Option(
            help="Version of the screening you looked at (default: the present one).", show_default=False
        ),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Clear one possible match of an organisation, with a rationale. In the block band an adjudicator does.

    Example: safeconduct organisation clear-match acme --rationale "Another country and another register number."
    """
    path = f"/api/organisation-screenings/{organisation}"
    with connect(data, url, speaker or ANALYST) as client:
        seen = version if version is not None else client.get(path)["version"]
        body = {"rationale": rationale, "list": list_name, "entry": entry, "version": seen}
        found = client.post(f"{path}/clear-match", body)
    if as_json:
        print_json(found)
        return
    show_matches(found)


def _print(found: Any, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    case = found["case"]
    print_lines(f"organisation {case['application']['organisation']}: {case['state']}")
    print_lines(*(f"  met      {line}" for line in found["met"]))
    print_lines(*(f"  missing  {line}" for line in found["missing"]))
    print_lines(*(f"  against  {line}" for line in found["contradictions"]))
    for rule in found["customer_identification"]:
        print_lines(*(f"  {rule['status']}    {rule['pack']} lacks {line}" for line in rule["missing"]))
    print_lines(*(f"  note     {line}" for line in case["notes"]))
