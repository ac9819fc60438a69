"""`grant give|end|list`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, connect

commands = typer.Typer(help="Grants: links of the chain from a provider to a person.")


@commands.command()
def give(
    speaker: Annotated[str, typer.Option("--as", help="The grantor: provider:NAME or organisation:NAME.")],
    variant: Annotated[list[str], typer.Option("--model", help="Model or variant; may be repeated.")],
    purpose: Annotated[list[str], typer.Option(help="Purpose; may be repeated.")],
    to_organisation: Annotated[str | None, typer.Option(show_default=False)] = None,
    to_group: Annotated[str | None, typer.Option(show_default=False)] = None,
    to_subject: Annotated[str | None, typer.Option(show_default=False)] = None,
    duration: Annotated[
        str | None, typer.Option("--for", help="How long, e.g. 90d.", show_default=False)
    ] = None,
    region: Annotated[
        list[str] | None, typer.Option(help="Default: every region.", show_default=False)
    ] = None,
    parent: Annotated[
        str | None, typer.Option(help="The grant it narrows, when several could.", show_default=False)
    ] = None,
    requested_by: Annotated[str, typer.Option(help="Who asked, when not the grantee.")] = "",
    condition: Annotated[
        list[str] | None,
        typer.Option(help="Condition, such as quota; may be repeated.", show_default=False),
    ] = None,
    fallback: Annotated[
        str | None,
        typer.Option(help="Variant to ask when none of these answers.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Give a grant.

    Example: safeconduct grant give --as provider:acme --model swift-1 --purpose general --to-organisation acme --for 90d
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415

    body: dict[str, Any] = {"variants": variant, "purposes": purpose, "requested_by": requested_by}
    asked = {
        "to_organisation": to_organisation,
        "to_group": to_group,
        "to_subject": to_subject,
        "parent": parent,
        "regions": region,
        "conditions": condition,
        "fallback": fallback,
        "duration": seconds(duration, "--for") if duration else None,
    }
    body |= {name: value for name, value in asked.items() if value is not None}
    with connect(data, url, speaker) as client:
        given = client.post("/api/grants", body)
    if as_json:
        print_json(given)
    else:
        print_lines(f"granted {given['grant']}")


@commands.command()
def end(
    grant: Annotated[str, typer.Argument(help="Id of the grant.")],
    speaker: Annotated[str, typer.Option("--as", help="The grantor.")],
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """End a grant and all below it.

    Example: safeconduct grant end grt_abc --as provider:acme
    """
    with connect(data, url, speaker) as client:
        ended = client.delete(f"/api/grants/{grant}")
    if as_json:
        print_json(ended)
    else:
        print_lines(f"ended {ended['grant']}")


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List grants.

    Example: safeconduct grant list --as provider:acme
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/grants")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["given"]["grant"],
            one["given"].get("by_provider") or one["given"].get("by_organisation"),
            one["given"].get("to_organisation")
            or one["given"].get("to_subject")
            or f"group {one['given'].get('to_group')}",
            one["given"]["variants"],
            one["given"]["purposes"],
            "ended" if "ended_at" in one else format_instant(one["given"]["valid_until"]),
        )
        for one in found
    ]
    print_table(("grant", "by", "to", "models", "purposes", "until"), rows, empty="no grants")
