"""`passport issue|show|suspend|reinstate|revoke`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import ADJUDICATOR, AUDITOR, OPERATOR, connect

commands = typer.Typer(help="Passports: issue, look at, suspend, reinstate, revoke.")
Passport = Annotated[str, typer.Argument(help="Id of the passport.")]
Cause = Annotated[str, typer.Option(help="Why, kept in the record.")]


@commands.command()
def issue(
    subject: Annotated[str, typer.Argument(help="Subject whose evidence was imported.")],
    out: Annotated[Path, typer.Option(help="File for the passport (mode 0600); must not exist.")],
    key: Annotated[
        str | None,
        typer.Option(
            help="Thumbprint of the authenticator's key to bind it to (default: the strongest).",
            show_default=False,
        ),
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long it is good.")] = "90d",
    supersedes: Annotated[
        str | None, typer.Option(help="Older passport that this one replaces.", show_default=False)
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Issue a passport from the claims computed of the subject's evidence.

    Example: safeconduct passport issue sub_abc --out anna.sd-jwt --for 90d
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.cli.reading import write_new  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if out.exists():  # before the call: the passport is handed out once
        raise InvalidInput("the file is there already", field="--out", remedy="name another one")
    body: dict[str, Any] = {"subject": subject, "duration": seconds(duration, "--for")}
    if key is not None:
        body["key"] = key
    if supersedes is not None:
        body["supersedes"] = supersedes
    with connect(data, url, speaker or OPERATOR) as client:
        issued = client.post("/api/passports", body)
    write_new(out, issued.pop("sd_jwt").encode() + b"\n", private=True)
    if as_json:
        print_json({**issued, "file": str(out)})
    else:
        print_lines(f"issued {issued['passport']} to {subject}: {out}")


@commands.command()
def show(
    passport: Passport, data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False
) -> None:
    """Show a passport's status and term.

    Example: safeconduct passport show psp_abc
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get(f"/api/passports/{passport}")
    if as_json:
        print_json(found)
        return
    issued = found["issued"]
    rows = [
        ("passport", issued["passport"]),
        ("subject", issued["subject"]),
        ("status", found["status"] + (f" ({found['cause']})" if found.get("cause") else "")),
        ("from", format_instant(issued["valid_from"])),
        ("until", format_instant(issued["valid_until"])),
        ("authenticator", f"AAL{issued['aal']}"),
        ("key", issued["key"]),
    ]
    print_table(("", ""), rows, empty="nothing")


def _change(verb: str, passport: str, cause: str, data: Any, url: Any, speaker: str, as_json: bool) -> None:
    with connect(data, url, speaker) as client:
        changed = client.post(f"/api/passports/{passport}/{verb}", {"cause": cause})
    if as_json:
        print_json(changed)
    else:
        print_lines(f"{changed['passport']}: {changed['status']}")


@commands.command()
def suspend(
    passport: Passport,
    cause: Cause,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Suspend a passport; the next call and open streams with it are denied.

    Example: safeconduct passport suspend psp_abc --cause "reported lost"
    """
    _change("suspend", passport, cause, data, url, speaker or OPERATOR, as_json)


@commands.command()
def reinstate(
    passport: Passport,
    cause: Cause,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Lift a suspension (an adjudicator does).

    Example: safeconduct passport reinstate psp_abc --cause "found again"
    """
    _change("reinstate", passport, cause, data, url, speaker or ADJUDICATOR, as_json)


@commands.command()
def revoke(
    passport: Passport,
    cause: Cause,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Revoke a passport for good, with every mandate below it.

    Example: safeconduct passport revoke psp_abc --cause "key stolen"
    """
    _change("revoke", passport, cause, data, url, speaker or ADJUDICATOR, as_json)
