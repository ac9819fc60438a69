"""`evidence sign|import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines
from safeconduct.cli.session import OPERATOR, connect, files_of

commands = typer.Typer(help="Evidence of a person or an organisation, signed by an evidence desk.")


@commands.command()
def sign(
    file: Annotated[Path, typer.Argument(help="JSON with `person` or `organisation`; - is standard input.")],
    out: Annotated[
        Path | None,
        typer.Option(help="File for the signed document (default: print it).", show_default=False),
    ] = None,
    party: Annotated[str, typer.Option("--as", help="The desk whose key signs.")] = "evidence-desk",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign an evidence document with a desk's key.

    Example: safeconduct evidence sign anna.json --out anna.jws
    """
    import secrets  # noqa: PLC0415

    from safeconduct.cli.reading import read_json, write_new  # noqa: PLC0415
    from safeconduct.identity.evidence_import import sign_evidence_import  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    files = files_of(data)
    text = sign_evidence_import(
        read_json(file),
        party=party,
        audience=files.descriptor.issuer,
        jti=secrets.token_hex(16),
        signer=files.role_key(party),
        now=int(SystemClock().now()),
    )
    if out is not None:
        write_new(out, text.encode() + b"\n", private=True)
    if as_json:
        print_json({"jws": text} if out is None else {"file": str(out)})
    else:
        print_lines(text if out is None else f"signed: {out}")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The signed document; - is standard input.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a signed evidence document; says what was computed of it and what is missing.

    Example: safeconduct evidence import anna.jws
    """
    from safeconduct.cli.reading import read_text  # noqa: PLC0415

    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/evidence", {"jws": read_text(file)})
    if as_json:
        print_json(found)
        return
    if found.get("subject"):
        print_lines(
            f"subject {found['subject']}: IAL{found['ial']} AAL{found['aal']} FAL{found['fal']}, "
            f"level {found.get('level')} (asked {found.get('asked')})"
        )
    else:
        print_lines(f"organisation {found['organisation']}")
    print_lines(*(f"  met      {line}" for line in found["met"]))
    print_lines(*(f"  missing  {line}" for line in found["missing"]))
    print_lines(*(f"  alert    {line}" for line in found["alerts"]))
    if found.get("development"):
        print_lines("Development profile: a key file was treated as hardware-bound.")
