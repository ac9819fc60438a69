"""`directive draft|sign|import|preview|rescind|list`: an authority's desk and what an instance makes of its orders."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect, files_of

commands = typer.Typer(help="Directives: draft, preview, sign, import, rescind.")
Annexes = Annotated[
    list[Path] | None,
    typer.Option(
        "--annex", help="File of an annex (JSON lines); its name is the file's stem.", show_default=False
    ),
]
Out = Annotated[Path | None, typer.Option(help="File to write (default: print).", show_default=False)]


def _annex_files(paths: list[Path] | None) -> dict[str, bytes]:
    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    files: dict[str, bytes] = {}
    for path in paths or ():
        if path.stem in files:
            raise InvalidInput("two annexes have the same name", field=str(path), remedy="rename one")
        files[path.stem] = read_bytes(path)
    return files


def _encoded(files: dict[str, bytes]) -> dict[str, str]:
    import base64  # noqa: PLC0415

    return {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}


def _with_annexes(claims: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    """The claims with the digests of the files given; an annex that the claims name already keeps its digest."""
    from safeconduct.kernel.canonical import sha256_hex  # noqa: PLC0415

    named = {one.get("name") for one in claims.get("annexes", []) if isinstance(one, dict)}
    added = [
        {"name": name, "media_type": "application/jsonl", "sha256": sha256_hex(data)}
        for name, data in files.items()
        if name not in named
    ]
    return {**claims, "annexes": [*claims.get("annexes", []), *added]} if added else claims


@commands.command()
def draft(
    number: Annotated[str, typer.Argument(help="The authority's number of the order.")],
    authority: Annotated[str, typer.Option("--as", help="The authority, e.g. authority:us-bis.")],
    variant: Annotated[list[str], typer.Option("--model", help="Model or variant; may be repeated.")],
    legal_source: Annotated[str, typer.Option(help="What it rests on.")],
    kind: Annotated[
        str, typer.Option(help="licence_required, suspend, restrict_to_list, ...")
    ] = "licence_required",
    foreign_nationals: Annotated[
        bool, typer.Option("--foreign-nationals", help="Apply to everybody who is not a US person.")
    ] = False,
    in_flight: Annotated[str, typer.Option(help="cut, finish or drain open requests.")] = "cut",
    effective_from: Annotated[
        str | None, typer.Option(help="When it begins (default: now).", show_default=False)
    ] = None,
    out: Out = None,
    as_json: AsJson = False,
) -> None:
    """Write a directive's claims as JSON, to be edited, previewed and signed.

    Example: safeconduct directive draft 2026-1 --as authority:us --model swift-1 --legal-source "15 CFR 744" --foreign-nationals --out order.json
    """
    from safeconduct.authorization.directive import read_directive  # noqa: PLC0415
    from safeconduct.cli.reading import instant, write_new  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock, format_instant  # noqa: PLC0415

    now = int(SystemClock().now())
    start = instant(effective_from, "--effective-from") if effective_from else now
    claims: dict[str, Any] = {
        "iss": authority,
        "iat": now,
        "number": number,
        "version": 1,
        "kind": kind,
        "force": "binding",
        "visibility": "public",
        "variants": variant,
        "applies_to": {"all": [{"us_person": "no"}]} if foreign_nationals else {"all": []},
        "effective_from": format_instant(start),
        "in_flight": in_flight,
        "legal_source": legal_source,
    }
    read_directive(claims)
    import msgspec  # noqa: PLC0415

    if out is not None:
        write_new(out, msgspec.json.format(msgspec.json.encode(claims), indent=2) + b"\n")
        if as_json:
            print_json({"file": str(out)})
        else:
            print_lines(f"drafted: {out}")
    else:
        print_json(claims)


@commands.command()
def sign(
    file: Annotated[Path, typer.Argument(help="The directive's claims as JSON; - is standard input.")],
    authority: Annotated[
        str | None,
        typer.Option("--as", help="Whose key signs (default: the document's `iss`).", show_default=False),
    ] = None,
    annex: Annexes = None,
    key: Annotated[
        Path | None,
        typer.Option(
            help="Private key (PEM) of the authority, when it is not in the key directory.",
            show_default=False,
        ),
    ] = None,
    out: Out = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Sign a directive at the authority's desk.

    Example: safeconduct directive sign order.json --as authority:us --annex exempt.jsonl --out order.jws
    """
    from safeconduct.authorization.directive import sign_directive  # noqa: PLC0415
    from safeconduct.cli.reading import read_json, write_new  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    claims = _with_annexes({"iat": int(SystemClock().now()), **read_json(file)}, _annex_files(annex))
    party = authority or str(claims.get("iss", ""))
    claims.setdefault("iss", party)
    signer = FileSigner.from_pem(read_private(key)) if key else files_of(data).role_key(party)
    text = sign_directive(claims, signer)
    if out is not None:
        write_new(out, text.encode() + b"\n")
    if as_json:
        print_json({"jws": text} if out is None else {"file": str(out)})
    else:
        print_lines(text if out is None else f"signed: {out}")


@commands.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="The signed directive; - is standard input.")],
    annex: Annexes = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a signed directive with its annexes.

    Example: safeconduct directive import order.jws --annex exempt.jsonl
    """
    from safeconduct.cli.reading import read_text  # noqa: PLC0415

    body = {"jws": read_text(file), "annexes": _encoded(_annex_files(annex))}
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/directives", body)
    _tell_imported(found, as_json)


def _tell_imported(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    order = found["directive"]
    print_lines(
        f"imported {order['directive']}: {order['kind']} on {', '.join(order['variants']) or 'what it amends'}",
        f"  in force from {format_instant(order['effective_from'])}, document SHA-256 {order['document']}",
    )
    print_lines(*(f"  annex line matches nobody here: {one['legal_name']}" for one in found["unmatched"]))
    print_lines(*(f"  cites a pack that is not published: {one}" for one in found["unknown_packs"]))


@commands.command()
def preview(
    file: Annotated[Path, typer.Argument(help="Claims as JSON, or a signed directive; - is standard input.")],
    annex: Annexes = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Who would lose and who would keep access, before anything is signed.

    Example: safeconduct directive preview order.json --annex exempt.jsonl
    """
    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.kernel.canonical import strict_json  # noqa: PLC0415
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    raw = read_bytes(file)
    files = _annex_files(annex)
    document: Any = raw.decode("utf-8", "replace").strip()
    if raw.lstrip().startswith(b"{"):
        document = _with_annexes(strict_json(raw, what=str(file)), files)
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/directives/preview", {"document": document, "annexes": _encoded(files)})
    if as_json:
        print_json(found)
        return
    impact, counts = found["impact"], found["counts"]
    names = found.get("references", {})
    print_lines(
        f"{found['directive']} ({found['kind']}) at {format_instant(found['at'])}: "
        f"{counts['loses']} lose, {counts['keeps']} keep, {counts['gains']} gain access; "
        f"{counts['untouched']} have none before or after ({impact['questions']} questions)"
    )
    rows = [
        (word, subject, names.get(subject, ""))
        for word in ("loses", "keeps", "gains")
        for subject in impact[word]
    ]
    print_table(("", "subject", "reference"), rows, empty="nobody is touched")
    if found["without_claims"]:
        print_lines(f"nothing can be said of: {', '.join(found['without_claims'])}")


@commands.command()
def rescind(
    directive: Annotated[str, typer.Argument(help="Id of the directive: AUTHORITY/NUMBER/VERSION.")],
    number: Annotated[
        str | None,
        typer.Option(help="Number of the rescission (default: NUMBER-rescinded).", show_default=False),
    ] = None,
    effective_from: Annotated[
        str | None, typer.Option(help="When it takes effect (default: now).", show_default=False)
    ] = None,
    legal_source: Annotated[str, typer.Option(help="What it rests on.")] = "as the order it rescinds",
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Sign and hand in a rescission of a directive.

    Example: safeconduct directive rescind authority:us/2026-1/1
    """
    from safeconduct.authorization.directive import sign_directive  # noqa: PLC0415
    from safeconduct.cli.reading import instant  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    parts = directive.split("/")
    if len(parts) < 3:
        raise InvalidInput(
            "not a directive's id", field="DIRECTIVE", remedy="write AUTHORITY/NUMBER/VERSION, as listed"
        )
    authority, own = parts[0], "/".join(parts[1:-1])
    now = int(SystemClock().now())
    claims = {
        "iss": authority,
        "iat": now,
        "number": number or f"{own}-rescinded",
        "version": 1,
        "kind": "rescind",
        "force": "binding",
        "visibility": "public",
        "variants": [],
        "applies_to": {"all": []},
        "amends": [directive],
        "effective_from": instant(effective_from, "--effective-from") if effective_from else now,
        "in_flight": "finish",
        "legal_source": legal_source,
    }
    text = sign_directive(claims, files_of(data).role_key(authority))
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/directives", {"jws": text})
    _tell_imported(found, as_json)


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List directives, what they order and whether they are in force.

    Example: safeconduct directive list
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/directives")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["directive"],
            one["kind"],
            one["variants"],
            format_instant(one["effective_from"]),
            format_instant(one["effective_until"]) if one.get("effective_until") else "",
            f"rescinded from {format_instant(one['rescinded_from'])}"
            if one.get("rescinded_from") is not None
            else ("amended" if one["amended_by"] else ""),
        )
        for one in found
    ]
    print_table(("directive", "kind", "models", "from", "until", ""), rows, empty="no directives")
