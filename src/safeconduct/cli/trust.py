"""`trust list|sign|change`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect, files_of

commands = typer.Typer(help="The trust list: which key may sign what.")


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List the keys, what they may sign and within which scope.

    Example: safeconduct trust list
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/trust")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["added"]["party"],
            one["added"]["kid"],
            one["added"]["may_sign"],
            [
                text
                for text in (
                    one["added"].get("jurisdiction"),
                    one["added"].get("provider"),
                    one["added"].get("organisation"),
                    *one["added"]["variants"],
                )
                if text
            ],
            "revoked" if "revoked" in one else format_instant(one["added"]["valid_until"]),
        )
        for one in found
    ]
    print_table(("party", "key", "may sign", "scope", "until"), rows, empty="the trust list is empty")


@commands.command()
def sign(
    file: Annotated[Path, typer.Argument(help="JSON with `add` and `revoke`; - is standard input.")],
    officer_key: Annotated[
        list[Path] | None,
        typer.Option(
            help="Private key (PEM) of an officer; give two (default: the development officers).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="File for the document (default: print it).", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign a change of the trust list as its officers.

    Example: safeconduct trust sign change.json --officer-key one.pem --officer-key two.pem --out change.jws
    """
    from safeconduct.authorization.trust_change import sign_trust_change  # noqa: PLC0415
    from safeconduct.cli.reading import read_json, write_new  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    files = files_of(data)
    signers = (
        [FileSigner.from_pem(read_private(path)) for path in officer_key]
        if officer_key
        else [files.keys.signer(f"officers/{number}") for number in (1, 2)]
    )
    now = int(SystemClock().now())
    claims = {
        "add": [],
        "revoke": [],
        **read_json(file),
        "origin": files.descriptor.record_origin,
        "iat": now,
        "exp": now + 86_400,
    }
    document = sign_trust_change(claims, signers)
    if out is not None:
        write_new(out, document + b"\n")
    if as_json and out is not None:
        print_json({"file": str(out)})
    else:
        print_lines(document.decode() if out is None else f"signed: {out}")


@commands.command()
def change(
    file: Annotated[Path, typer.Argument(help="The document signed by two officers.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a change of the trust list.

    Example: safeconduct trust change change.jws
    """
    from safeconduct.cli.reading import read_json  # noqa: PLC0415

    with connect(data, url, speaker or OPERATOR) as client:
        events = client.post("/api/trust", read_json(file))
    if as_json:
        print_json(events)
    else:
        print_lines(
            *(f"{event['type'].removeprefix('trust_')} {event.get('kid', '')}".strip() for event in events)
        )
