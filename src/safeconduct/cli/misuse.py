"""`misuse sign|send|adjudicate|list`."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import ADJUDICATOR, AUDITOR, OPERATOR, connect, files_of

commands = typer.Typer(help="Misuse signals: sign, hand in, adjudicate.")


@commands.command()
def sign(
    signal: Annotated[str, typer.Argument(help="The sender's own number, used once.")],
    party: Annotated[str, typer.Option("--as", help="The sender, e.g. provider:acme.")],
    variant: Annotated[str, typer.Option("--model", help="Variant that was misused.")],
    kind: Annotated[str, typer.Option(help="What kind of misuse, e.g. exploitation.")],
    evidence: Annotated[Path, typer.Option(help="File with the evidence; only its SHA-256 is sent.")],
    subject: Annotated[str | None, typer.Option(show_default=False)] = None,
    organisation: Annotated[str | None, typer.Option(show_default=False)] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the signal (default: print it).", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign a misuse signal.

    Example: safeconduct misuse sign 2026-7 --as provider:acme --model swift-1 --kind exploitation --evidence case.txt --subject sub_abc
    """
    from safeconduct.authorization.misuse import sign_misuse_signal  # noqa: PLC0415
    from safeconduct.cli.reading import read_bytes, write_new  # noqa: PLC0415
    from safeconduct.kernel.canonical import sha256_hex  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    claims: dict[str, object] = {
        "iss": party,
        "iat": int(SystemClock().now()),
        "signal": signal,
        "variant": variant,
        "kind": kind,
        "evidence": sha256_hex(read_bytes(evidence)),
    }
    if subject is not None:
        claims["subject"] = subject
    if organisation is not None:
        claims["organisation"] = organisation
    text = sign_misuse_signal(claims, files_of(data).role_key(party))
    if out is not None:
        write_new(out, text.encode() + b"\n")
    if as_json:
        print_json({"jws": text} if out is None else {"file": str(out)})
    else:
        print_lines(text if out is None else f"signed: {out}")


@commands.command()
def send(
    file: Annotated[Path, typer.Argument(help="The signed signal; - is standard input.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a signal: it suspends at once, until it is adjudicated.

    Example: safeconduct misuse send signal.jws
    """
    from safeconduct.cli.reading import read_text  # noqa: PLC0415

    with connect(data, url, speaker or OPERATOR) as client:
        events = client.post("/api/misuse-signals", {"jws": read_text(file)})
    _tell(events, as_json)


@commands.command()
def adjudicate(
    signal: Annotated[str, typer.Argument(help="The sender's number of the signal.")],
    sender: Annotated[str, typer.Option(help="Who sent it, e.g. provider:acme.")],
    outcome: Annotated[str, typer.Option(help="reinstate or revoke.")],
    rationale: Annotated[str, typer.Option(help="Why, kept in the record.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Decide a signal: lift the suspension, or revoke for good.

    Example: safeconduct misuse adjudicate 2026-7 --sender provider:acme --outcome revoke --rationale "confirmed"
    """
    body = {"sender": sender, "signal": signal, "outcome": outcome, "rationale": rationale}
    with connect(data, url, speaker or ADJUDICATOR) as client:
        events = client.post("/api/misuse-signals/adjudicate", body)
    _tell(events, as_json)


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List signals.

    Example: safeconduct misuse list
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/misuse-signals")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["signal"],
            one["sender"],
            one.get("subject") or one.get("organisation"),
            one["variant"],
            one["kind"],
            format_instant(one["received_at"]),
        )
        for one in found
    ]
    print_table(("signal", "sender", "about", "model", "kind", "received"), rows, empty="no signals")


def _tell(events: list[dict[str, str]], as_json: bool) -> None:
    if as_json:
        print_json(events)
        return
    for event in events:
        about = event.get("passport") or event.get("subject") or event.get("organisation") or ""
        state = event.get("status") or event.get("state") or ""
        print_lines(f"{event['type'].replace('_', ' ')} {about} {state}".rstrip())
