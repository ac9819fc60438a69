"""`document mrz|check`: reading a machine readable zone, and passive authentication of an electronic passport, offline."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.options import AsJson
from safeconduct.cli.output import print_json, print_lines

if TYPE_CHECKING:
    from safeconduct.identity.documents.csca import CscaStore
    from safeconduct.identity.documents.mrz import MachineReadableZone

commands = typer.Typer(help="Travel documents: what they say, and whether their state signed it.")


def _shown(zone: MachineReadableZone) -> dict[str, Any]:
    return {
        "format": zone.format.value,
        "document_code": zone.document_code,
        "document_number": zone.document_number,
        "issuer": zone.issuer.code,
        "nationality": zone.nationality.code,
        "citizen_of": zone.nationality.country if zone.nationality.citizen else None,
        "surname": zone.surname,
        "given_names": zone.given_names,
        "names_truncated": zone.truncated,
        "birth_date": zone.birth_date.text(),
        "sex": zone.sex,
        "expires": zone.expires.text() if zone.expires is not None else None,
        "check_digits_failed": list(zone.failed()),
    }


def _year() -> int:
    import datetime as dt  # noqa: PLC0415

    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    return dt.datetime.fromtimestamp(SystemClock().now(), tz=dt.UTC).year


@commands.command()
def mrz(
    file: Annotated[Path, typer.Argument(help="File with the lines of the zone; - is standard input.")],
    as_json: AsJson = False,
) -> None:
    """Read a machine readable zone and its check digits. They find slips, not forgeries.

    Exits with 1 when a check digit does not fit.

    Example: safeconduct document mrz zone.txt
    """
    from safeconduct.cli.reading import read_text  # noqa: PLC0415
    from safeconduct.identity.documents.mrz import read_mrz  # noqa: PLC0415

    zone = read_mrz(read_text(file), year=_year())
    shown = _shown(zone)
    if as_json:
        print_json(shown)
    else:
        print_lines(*(f"{name:<20} {'' if value is None else value}" for name, value in shown.items()))
    if not zone.consistent:
        raise typer.Exit(1)


@commands.command()
def check(
    export: Annotated[
        Path, typer.Argument(help="JSON with base64 members sod, dg1 (dg2, dg14 ...); - is standard input.")
    ],
    authorities: Annotated[
        list[Path],
        typer.Option(
            help="Master list or bundle of country authorities; may be repeated, in order of trust."
        ),
    ],
    sha256: Annotated[
        list[str] | None,
        typer.Option(
            help="Digest by which you vouch for an --authorities file: needed for the first, and for unsigned ones."
        ),
    ] = None,
    link: Annotated[list[Path] | None, typer.Option(help="Link certificate (DER); may be repeated.")] = None,
    revocations: Annotated[
        list[Path] | None, typer.Option(help="Revocation list (DER) of an authority; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Verify that what a chip holds was signed by its state (ICAO 9303-11 5.1). Nothing is sent anywhere.

    Example: safeconduct document check passport.json --authorities master-list.ml --sha256 0f3a...
    """
    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.identity.documents.epassport import authenticate_document  # noqa: PLC0415
    from safeconduct.identity.documents.reader_export import read_export  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock, format_instant  # noqa: PLC0415

    now = int(SystemClock().now())
    read = read_export(read_bytes(export))
    store, notes = _store(authorities, sha256 or [], link or [], revocations or [], now)
    found = authenticate_document(read.sod, read.groups, store, now=now, year=_year())
    shown = {
        "genuine": True,
        "document": _shown(found.zone),
        "data_groups": list(found.groups),
        "signer": found.signer.name,
        "authority": found.authority.name,
        "authority_sha256": found.authority.sha256,
        "signed_at": format_instant(found.signed_at) if found.signed_at is not None else None,
        "revocation": found.revocation,
        "specimen": found.specimen,
        "notes": notes,
    }
    if as_json:
        print_json(shown)
        return
    print_lines(
        f"genuine: signed by {shown['signer']} under {shown['authority']}",
        f"  data groups {', '.join(map(str, found.groups))}, signed {shown['signed_at'] or 'at an untold time'}, "
        f"revocation {found.revocation}",
        *(["  a specimen: no real document"] if found.specimen else []),
        *(f"  {name:<20} {'' if value is None else value}" for name, value in _shown(found.zone).items()),
        *(f"  note: {note}" for note in notes),
    )


def _store(
    authorities: list[Path], digests: list[str], links: list[Path], revocations: list[Path], now: int
) -> tuple[CscaStore, list[str]]:
    import hashlib  # noqa: PLC0415

    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415
    from safeconduct.identity.documents.certificates import read_certificate  # noqa: PLC0415
    from safeconduct.identity.documents.csca import CscaStore, read_list  # noqa: PLC0415

    store, notes = CscaStore(), []
    vouched = {digest.lower() for digest in digests}
    for path in authorities:
        data = read_bytes(path)
        digest = hashlib.sha256(data).hexdigest()
        contents = read_list(data, store, sha256=digest if digest in vouched else None, now=now)
        store = store.with_authorities(contents.certificates)
        notes += [f"{path.name}: {skipped}" for skipped in contents.skipped]
        for der in contents.revocation_lists:
            store = store.with_revocations(der)
    for path in links:
        store = store.linked(read_certificate(read_bytes(path)))
    for path in revocations:
        store = store.with_revocations(read_bytes(path))
    return store, notes
