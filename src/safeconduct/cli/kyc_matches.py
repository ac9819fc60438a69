"""`kyc screen|matches|clear-match`: a case's person against lists, what was found, and who it is not."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from typing import Annotated

import typer

from safeconduct.cli.kyc import Case, Version, do_on_case
from safeconduct.cli.matches import show_matches
from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_table
from safeconduct.cli.session import ANALYST, connect


def add_to(commands: typer.Typer) -> None:
    """Add these commands to `kyc`."""
    commands.command()(screen)
    commands.command()(matches)
    commands.command("clear-match")(clear_match)


def screen(
    case: Case,
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Screen the person against lists, and put the case before the reviewers.

    Example: safeconduct kyc screen kyc_abc
    """
    do_on_case(
        "screen", case, {}, data=data, url=url, speaker=speaker or ANALYST, as_json=as_json, version=version
    )


def matches(
    case: Annotated[
        str | None,
        typer.Argument(help="One case; without it, all that have an open hit.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Possible matches on lists: which cases have open hits, or what was found in one case and why.

    Example: safeconduct kyc matches kyc_abc
    """
    with connect(data, url, speaker or ANALYST) as client:
        found = client.get("/api/kyc/matches" if case is None else f"/api/kyc/cases/{case}/matches")
    if as_json:
        print_json(found)
        return
    if case is not None:
        show_matches(found)
        return
    print_table(
        ("case", "subject", "state", "band", "hits", "since", "because", "kept out"),
        [
            (
                one["case"],
                one["subject"],
                one["state"],
                one["band"],
                str(one["hits"]),
                str(one["screened_at"]),
                "a list changed" if one["list_change"] else "it was screened",
                one["kept_out"],
            )
            for one in found["items"]
        ],
        empty="no hit is open",
    )


def clear_match(
    case: Case,
    rationale: Annotated[str, typer.Option(help="Why the person is not who the list means.")],
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
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Clear one possible match, with a rationale; without one nothing is cleared. In the block band an adjudicator does.

    Example: safeconduct kyc clear-match kyc_abc --rationale "Born in another decade, and another nationality."
    """
    do_on_case(
        "clear-match",
        case,
        {"rationale": rationale, "list": list_name, "entry": entry},
        data=data,
        url=url,
        speaker=speaker or ANALYST,
        as_json=as_json,
        version=version,
    )
