"""`quota set|show|end`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

commands = typer.Typer(help="Quotas and budgets: how much may be used in a time, by whom.")

_PER = ("subject", "project", "organisation", "variant")


@commands.command("set")
def set_(
    every: Annotated[str, typer.Option("--every", help="The window's length, e.g. 60s, 24h, 30d.")],
    requests: Annotated[
        int | None, typer.Option("--requests", help="Limit of requests.", show_default=False)
    ] = None,
    tokens: Annotated[
        int | None,
        typer.Option("--tokens", help="Limit of tokens, in and out together.", show_default=False),
    ] = None,
    money: Annotated[
        str | None,
        typer.Option("--money", help="Limit of money, e.g. 250.00USD.", show_default=False),
    ] = None,
    name: Annotated[
        str | None,
        typer.Option(
            "--name",
            help="Its name; the same name again replaces it. Made when left out.",
            show_default=False,
        ),
    ] = None,
    sliding: Annotated[
        bool, typer.Option("--sliding", help="The last so much time, instead of windows one after another.")
    ] = False,
    subject: Annotated[str | None, typer.Option(help="About this subject.", show_default=False)] = None,
    project: Annotated[str | None, typer.Option(help="About this project.", show_default=False)] = None,
    organisation: Annotated[
        str | None, typer.Option(help="About this organisation's people.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option("--model", help="About this variant.", show_default=False)
    ] = None,
    authorization: Annotated[
        str | None,
        typer.Option(
            "--grant",
            help="About what this grant or licence permits; by whoever gave it.",
            show_default=False,
        ),
    ] = None,
    per: Annotated[
        list[str] | None,
        typer.Option(help=f"A counter for each: {', '.join(_PER)}; may be repeated.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Set a quota. Where several are about a request it must fit them all.

    Example: safeconduct quota set --name acme-day --organisation acme --per subject --tokens 2000000 --every 24h
    """
    from safeconduct.cli.reading import duration  # noqa: PLC0415
    from safeconduct.cli.reading import money as amount  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    given = {"requests": requests, "tokens": tokens, "money": money}
    chosen = [unit for unit, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise InvalidInput(
            "a quota has one limit", field="--requests", remedy="give one of --requests, --tokens, --money"
        )
    for one in per or ():
        if one not in _PER:
            raise InvalidInput(
                f"unknown value {one!r}{did_you_mean(one, _PER)}",
                field="--per",
                remedy=f"one of: {', '.join(_PER)}",
            )
    body: dict[str, Any] = {
        "unit": chosen[0],
        "limit": given[chosen[0]],
        "seconds": duration(every, "--every"),
        "window": "sliding" if sliding else "fixed",
        "per": per or [],
    }
    if money is not None:
        body["limit"], body["currency"] = amount(money, "--money")
    asked = {
        "quota": name,
        "subject": subject,
        "project": project,
        "organisation": organisation,
        "variant": model,
        "authorization": authorization,
    }
    body |= {member: value for member, value in asked.items() if value is not None}
    with connect(data, url, speaker or OPERATOR) as client:
        made = client.post("/api/quotas", body)
    if as_json:
        print_json(made)
    else:
        print_lines(f"quota {made['quota']}: {_limit(made)}, {_about(made)}")


@commands.command()
def show(
    subject: Annotated[
        str | None, typer.Option(help="Of quotas with a counter for each: this one's.", show_default=False)
    ] = None,
    project: Annotated[str | None, typer.Option(show_default=False)] = None,
    organisation: Annotated[str | None, typer.Option(show_default=False)] = None,
    model: Annotated[str | None, typer.Option("--model", show_default=False)] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Show quotas and what is used of them.

    Example: safeconduct quota show --as organisation:acme --subject sub_abc
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    values = {"subject": subject, "project": project, "organisation": organisation, "variant": model}
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/quotas", **{name: value for name, value in values.items() if value})
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["quota"],
            _limit(one),
            _about(one),
            _amount(one, one["used"]) if "used" in one else f"say which {', '.join(one['per'])}",
            format_instant(one["resets_at"]) if "resets_at" in one else "",
        )
        for one in found
    ]
    print_table(("quota", "limit", "about", "used", "next"), rows, empty="no quotas")


@commands.command()
def end(
    name: Annotated[str, typer.Argument(help="The quota.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """End a quota; by whoever set it.

    Example: safeconduct quota end acme-day
    """
    with connect(data, url, speaker or OPERATOR) as client:
        ended = client.delete(f"/api/quotas/{name}")
    if as_json:
        print_json(ended)
    else:
        print_lines(f"ended {ended['quota']}")


def _amount(quota: dict[str, Any], amount: int) -> str:
    if quota["unit"] != "money":
        return f"{amount} {quota['unit']}"
    return f"{amount // 1_000_000}.{amount % 1_000_000:06d} {quota['currency']}"


def _limit(quota: dict[str, Any]) -> str:
    kind = "any" if quota["window"] == "sliding" else "each"
    return f"{_amount(quota, quota['limit'])} in {kind} {quota['seconds']} s"


def _about(quota: dict[str, Any]) -> str:
    named = [
        f"{word} {quota[member]}"
        for member, word in (
            ("subject", "subject"),
            ("project", "project"),
            ("organisation", "organisation"),
            ("variant", "model"),
            ("authorization", "grant or licence"),
        )
        if member in quota
    ]
    each = f", a counter for each {' and '.join(quota['per'])}" if quota["per"] else ""
    return (", ".join(named) or "everybody") + each
