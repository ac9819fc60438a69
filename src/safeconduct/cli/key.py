"""`key create|revoke|list`: gateway keys, for tools that can send nothing else; `key rotate|signers`: keys that sign."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

commands = typer.Typer(
    help="Gateway keys, for tools that can only send an API key; rotation of the keys that sign."
)
PassportFile = Annotated[Path, typer.Option("--passport", help="The holder's passport (SD-JWT).")]
HolderKey = Annotated[Path, typer.Option("--holder-key", help="The passport's private key (PEM).")]


@commands.command()
def create(
    passport: PassportFile,
    holder_key: HolderKey,
    level: Annotated[str, typer.Option(help="C1, or C2 (which needs --network or --loopback-only).")] = "C1",
    project: Annotated[str | None, typer.Option(show_default=False)] = None,
    purpose: Annotated[str | None, typer.Option(show_default=False)] = None,
    network: Annotated[
        list[str] | None,
        typer.Option(help="CIDR it may come from; may be repeated.", show_default=False),
    ] = None,
    loopback_only: Annotated[
        bool, typer.Option("--loopback-only", help="Good only at a gateway on loopback.")
    ] = False,
    duration: Annotated[str, typer.Option("--for", help="How long, at most 30d.")] = "30d",
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Make a gateway key by presenting a passport once. The key is printed this once.

    Example: safeconduct key create --passport anna.sd-jwt --holder-key anna.pem --level C2 --loopback-only
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.cli.reading import read_text  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    body: dict[str, Any] = {
        "level_limit": level,
        "lifetime": seconds(duration, "--for"),
        "networks": network or [],
        "loopback_only": loopback_only,
    }
    if project is not None:
        body["project"] = project
    if purpose is not None:
        body["purpose"] = purpose
    signer = FileSigner.from_pem(read_private(holder_key))
    with connect(data, url, OPERATOR) as client:
        made = client.post_presenting("/api/gateway-keys", body, read_text(passport), signer)
    if as_json:
        print_json(made)
    else:
        print_lines(made["text"])


@commands.command()
def revoke(
    key: Annotated[str, typer.Argument(help="Id of the key.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """End a gateway key.

    Example: safeconduct key revoke gwk_abc
    """
    with connect(data, url, speaker or OPERATOR) as client:
        ended = client.delete(f"/api/gateway-keys/{key}")
    if as_json:
        print_json(ended)
    else:
        print_lines(f"revoked {ended['key']}")


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List gateway keys by id.

    Example: safeconduct key list
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/gateway-keys")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["registered"]["key"],
            one["registered"]["subject"],
            one["registered"]["level_limit"],
            one["registered"]["networks"] or ("loopback" if one["registered"]["loopback_only"] else ""),
            "revoked" if "revoked_at" in one else format_instant(one["registered"]["valid_until"]),
        )
        for one in found
    ]
    print_table(("key", "subject", "level", "networks", "until"), rows, empty="no gateway keys")


@commands.command()
def rotate(
    name: Annotated[
        str,
        typer.Argument(
            help="issuer, status, token, record-log, decision-log, worker-log, root, or a party such as operator or provider:acme."
        ),
    ],
    to: Annotated[
        str | None,
        typer.Option(
            help="Where the new key is kept: pkcs11:, awskms:, azurekms: or gcpkms: (default: a new file).",
            show_default=False,
        ),
    ] = None,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="What the old key signed counts no more from now on.")
    ] = False,
    overlap: Annotated[
        str, typer.Option(help="For a party: how long its old key may still sign, e.g. 1h.")
    ] = "1h",
    officer_key: Annotated[
        list[Path] | None,
        typer.Option(
            help="For a party: private key (PEM) of an officer; give two (default: the development officers).",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="For a party: write the change of the trust list here, for two officers to sign.",
            show_default=False,
        ),
    ] = None,
    finish: Annotated[
        bool,
        typer.Option("--finish", help="For a party: the officers' change is handed in; use the new key."),
    ] = False,
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key that signs, of a running or a stopped instance; what is outstanding stays verifiable.

    Example: safeconduct key rotate token
    """
    from safeconduct.app.rotate_key import ROTATABLE  # noqa: PLC0415
    from safeconduct.cli import key_rotation  # noqa: PLC0415
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.cli.reading import write_new  # noqa: PLC0415
    from safeconduct.kernel.canonical import canonical_json  # noqa: PLC0415
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if name in ROTATABLE:
        for given, option in ((officer_key, "--officer-key"), (out, "--out"), (finish, "--finish")):
            if given:
                raise InvalidInput("is for the key of a party", field=option)
        event = key_rotation.rotate_instance_key(data, url, name, reference=to, compromised=compromised)
        if as_json:
            print_json(event)
        elif name == "root":
            print_lines("root: every data key is wrapped by the new root key; keep a copy of it elsewhere")
        else:
            until = "no more" if compromised else f"until {format_instant(event['previous_until'])}"
            if name.endswith("-log"):
                until = "for the tree as it was"
            print_lines(
                f"{name}: {event['jwk']['kid']} signs from now on",
                f"{event['previous']['kid']} verifies {until}",
            )
        return
    if to is not None:
        raise InvalidInput(
            "is for the instance's own keys", field="--to", remedy=f"one of: {', '.join(ROTATABLE)}"
        )
    if finish:
        kid = key_rotation.finish(data, url, name)
    else:
        change = key_rotation.role_change(
            data, url, name, overlap=seconds(overlap, "--overlap"), compromised=compromised
        )
        if out is not None:
            write_new(out, canonical_json(change) + b"\n")
            following = [
                f"safeconduct trust sign {out} --officer-key ONE.pem --officer-key TWO.pem --out change.jws",
                "safeconduct trust change change.jws",
                f"safeconduct key rotate {name} --finish",
            ]
            if as_json:
                print_json({"file": str(out), "next": following})
            else:
                print_lines(*(f"Next: {one}" for one in following))
            return
        kid = key_rotation.hand_in(data, url, name, change, officer_key or [])
    if as_json:
        print_json({"party": name, "kid": kid})
    else:
        print_lines(f"{name}: {kid} signs from now on")


@commands.command()
def signers(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List the keys that sign for the instance, and until when those before them verify.

    Example: safeconduct key signers
    """
    from safeconduct.cli.key_rotation import list_instance_keys  # noqa: PLC0415
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    found = list_instance_keys(data, url, speaker or AUDITOR)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["key"],
            one["kid"] or "",
            one["kept"] or "gone",
            format_instant(one["since"]) if one["since"] else "from the start",
            format_instant(one["until"]) if one["until"] is not None else "",
        )
        for one in found
    ]
    print_table(("key", "kid", "kept", "since", "verifies until"), rows, empty="no keys")
