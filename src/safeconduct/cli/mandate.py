"""`mandate sign|register|revoke|list`: delegation to agents."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from safeconduct.cli.key import HolderKey, PassportFile
from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect, files_of

commands = typer.Typer(help="Mandates: a person's delegation to an agent.")


@commands.command()
def sign(
    passport: PassportFile,
    holder_key: HolderKey,
    agent: Annotated[str, typer.Option(help="Id of the agent, e.g. agent-reviewer.")],
    agent_key: Annotated[Path, typer.Option(help="The agent's public key (JWK) or private key (PEM).")],
    variant: Annotated[list[str], typer.Option("--model", help="Variant; may be repeated.")],
    purpose: Annotated[list[str], typer.Option(help="Purpose; may be repeated.")],
    project: Annotated[str | None, typer.Option(show_default=False)] = None,
    duration: Annotated[str, typer.Option("--for", help="How long.")] = "12h",
    out: Annotated[
        Path | None, typer.Option(help="File for the mandate (default: print it).", show_default=False)
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign a mandate with the passport's key; register it within five minutes.

    Example: safeconduct mandate sign --passport anna.sd-jwt --holder-key anna.pem --agent agent-1 --agent-key agent.pem --model swift-1 --purpose coding --out agent.mandate
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.cli.reading import read_bytes, read_json, read_text, write_new  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.ids import MandateId, ProjectId, SubjectId, VariantId, new_id  # noqa: PLC0415
    from safeconduct.kernel.jose import parse_jws  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415
    from safeconduct.kernel.vocabulary import Purpose, Surface  # noqa: PLC0415
    from safeconduct.passport.mandate import Mandate, Scope, sign_mandate  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    known = {member.value for member in Purpose}
    for name in purpose:
        if name not in known:
            raise InvalidInput(
                f"unknown purpose {name!r}{did_you_mean(name, known)}",
                field="--purpose",
                remedy="see docs/GLOSSARY.md",
            )
    jwk = (
        FileSigner.from_pem(read_private(agent_key)).public_jwk()
        if read_bytes(agent_key).lstrip().startswith(b"-----")
        else read_json(agent_key)
    )
    claims = parse_jws(read_text(passport).split("~", 1)[0]).claims()
    now = int(SystemClock().now())
    mandate = Mandate(
        id=MandateId(new_id("mdt")),
        principal=SubjectId(str(claims.get("sub", ""))),
        agent=SubjectId(agent),
        scope=Scope(
            variants=tuple(VariantId(name) for name in variant),
            purposes=tuple(Purpose(name) for name in purpose),
            surfaces=(Surface.API, Surface.AGENT),
            valid_from=now,
            valid_until=now + seconds(duration, "--for"),
            project=ProjectId(project) if project else None,
        ),
        agent_jwk=jwk,
        signed_at=now,
    )
    signer = FileSigner.from_pem(read_private(holder_key))
    text = sign_mandate(mandate, audience=files_of(data).descriptor.issuer, signer=signer)
    if out is not None:
        write_new(out, text.encode() + b"\n", private=True)
    if as_json:
        print_json({"mandate": mandate.id, **({"jws": text} if out is None else {"file": str(out)})})
    else:
        print_lines(text if out is None else f"signed {mandate.id}: {out}")


@commands.command()
def register(
    file: Annotated[Path, typer.Argument(help="The signed mandate; - is standard input.")],
    passport: PassportFile,
    holder_key: HolderKey,
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Register a mandate by presenting the passport that signed it.

    Example: safeconduct mandate register agent.mandate --passport anna.sd-jwt --holder-key anna.pem
    """
    from safeconduct.cli.reading import read_text  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    signer = FileSigner.from_pem(read_private(holder_key))
    with connect(data, url, OPERATOR) as client:
        made = client.post_presenting(
            "/api/mandates", {"mandate": read_text(file)}, read_text(passport), signer
        )
    if as_json:
        print_json(made)
    else:
        print_lines(f"registered {made['mandate']} for {made['agent']}")


@commands.command()
def revoke(
    mandate: Annotated[str, typer.Argument(help="Id of the mandate.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """End a mandate and all below it.

    Example: safeconduct mandate revoke mdt_abc
    """
    with connect(data, url, speaker or OPERATOR) as client:
        ended = client.delete(f"/api/mandates/{mandate}")
    if as_json:
        print_json(ended)
    else:
        print_lines(f"revoked {ended['mandate']}")


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List mandates.

    Example: safeconduct mandate list
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/mandates")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["registered"]["mandate"],
            one["registered"]["agent"],
            one["registered"]["principal"],
            one["registered"]["variants"],
            one["registered"]["purposes"],
            "revoked" if "revoked_at" in one else format_instant(one["registered"]["valid_until"]),
        )
        for one in found
    ]
    print_table(("mandate", "agent", "for", "models", "purposes", "until"), rows, empty="no mandates")
