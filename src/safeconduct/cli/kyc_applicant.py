"""`kyc open|own|case|state|document|submit|withdraw|appeal|passport|affiliate`: what an applicant does, with a key file of their own.

Owns the applicant's key file. Passkeys and liveness checks belong in a browser and with a provider: their calls are in the guide.
"""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.kyc import Case, print_receipt
from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import connect

if TYPE_CHECKING:
    from safeconduct.cli.applicant_client import ApplicantClient

Key = Annotated[
    Path, typer.Option("--key", help="The applicant's key file (PEM, mode 0600); `kyc open` makes it.")
]
Server = Annotated[
    str | None,
    typer.Option(
        "--url", help="Public address of the instance (default: of the one in --data).", show_default=False
    ),
]


def _client(key: Path, url: str | None, data: Path | None) -> ApplicantClient:
    from safeconduct.cli.applicant_client import ApplicantClient  # noqa: PLC0415
    from safeconduct.cli.session import files_of  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    signer = FileSigner.from_pem(read_private(key))
    if url is not None:
        return ApplicantClient(signer, issuer=url)
    files = files_of(data)
    return ApplicantClient(signer, issuer=files.descriptor.issuer, url=files.base_url())


def open_(
    level: Annotated[str, typer.Argument(help="C1, C2, C3 or C4.")],
    key: Key,
    organisation: Annotated[
        str | None, typer.Option(help="Through which it is held, from C2 on.", show_default=False)
    ] = None,
    compartment: Annotated[list[str] | None, typer.Option(help="A compartment; may be repeated.")] = None,
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """Open a case. The key is made when the file is not there; keep it: it opens your file.

    Read `safeconduct kyc fields` first: it lists everything you will be asked for, and why.

    Example: safeconduct kyc open C2 --organisation acme --key me.pem
    """
    from safeconduct.cli.reading import write_new  # noqa: PLC0415
    from safeconduct.kernel.signing import FileSigner  # noqa: PLC0415

    if not key.exists():
        write_new(key, FileSigner.generate().to_pem(), private=True)
    body: dict[str, Any] = {"level": level, "compartments": compartment or []}
    if organisation is not None:
        body["organisation"] = organisation
    with _client(key, url, data) as client:
        _show(client.post("/api/kyc/cases", body), as_json)


def own(key: Key, data: Data = None, url: Server = None, as_json: AsJson = False) -> None:
    """Your cases.

    Example: safeconduct kyc own --key me.pem
    """
    with _client(key, url, data) as client:
        found = client.get("/api/kyc/own")["items"]
    if as_json:
        print_json({"items": found})
        return
    rows = [(one["case"], one["state"], one["level"], one.get("organisation") or "") for one in found]
    print_table(("case", "state", "level", "organisation"), rows, empty="no case")


def case(case: Case, key: Key, data: Data = None, url: Server = None, as_json: AsJson = False) -> None:
    """Your case: where it stands, what is lacking, what your evidence amounts to.

    Example: safeconduct kyc case kyc_abc --key me.pem
    """
    with _client(key, url, data) as client:
        _show(client.get(f"/api/kyc/cases/{case}"), as_json)


def state(
    case: Case,
    file: Annotated[Path, typer.Argument(help="JSON with your statement; - is standard input.")],
    key: Key,
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """State who you are and what for: legal_name, email, purpose and the other fields.

    Example: safeconduct kyc state kyc_abc statement.json --key me.pem
    """
    from safeconduct.cli.reading import read_json  # noqa: PLC0415

    with _client(key, url, data) as client:
        _show(client.put(f"/api/kyc/cases/{case}/application", read_json(file)), as_json)


def document(
    case: Case,
    file: Annotated[Path, typer.Argument(help="A reader's export (JSON), a JPEG or PNG, or a zone's text.")],
    key: Key,
    kind: Annotated[str, typer.Option(help="chip, image or zone.")] = "chip",
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """Hand in a document. A chip is checked against its state's signature at once.

    Example: safeconduct kyc document kyc_abc passport.json --key me.pem
    """
    import base64  # noqa: PLC0415

    from safeconduct.cli.reading import read_bytes, read_text  # noqa: PLC0415

    content = read_text(file) if kind == "zone" else base64.b64encode(read_bytes(file)).decode()
    with _client(key, url, data) as client:
        found = client.post(f"/api/kyc/cases/{case}/documents", {"kind": kind, "content": content})
    if as_json:
        print_json(found)
    else:
        print_lines(f"{found['document']}: {found['strength']}, {found['verdict']}")


def submit(case: Case, key: Key, data: Data = None, url: Server = None, as_json: AsJson = False) -> None:
    """Hand the case in, answer what was asked, or hand in a refresh.

    Example: safeconduct kyc submit kyc_abc --key me.pem
    """
    with _client(key, url, data) as client:
        _show(client.post(f"/api/kyc/cases/{case}/submit"), as_json)


def withdraw(case: Case, key: Key, data: Data = None, url: Server = None, as_json: AsJson = False) -> None:
    """Withdraw the case. With your last one you are erased; the receipt lists what the law keeps.

    Example: safeconduct kyc withdraw kyc_abc --key me.pem
    """
    with _client(key, url, data) as client:
        found = client.post(f"/api/kyc/cases/{case}/withdraw")
    if as_json:
        print_json(found)
        return
    print_lines(f"{case}: {found['state']}")
    if found.get("receipt"):
        print_receipt(found["receipt"], as_json=False)


def appeal(
    case: Case,
    grounds: Annotated[str, typer.Option(help="Why the decision is wrong.")],
    key: Key,
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """Appeal a refusal or a revocation, to somebody who has not decided on it.

    Example: safeconduct kyc appeal kyc_abc --grounds "The document had not expired." --key me.pem
    """
    with _client(key, url, data) as client:
        _show(client.post(f"/api/kyc/cases/{case}/appeal", {"grounds": grounds}), as_json)


def lost(
    case: Case,
    document: Annotated[str, typer.Argument(help="Id of the document.")],
    key: Key,
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """Report a document lost: it counts no more, and what was approved on it stops at once.

    Example: safeconduct kyc lost kyc_abc doc_abc --key me.pem
    """
    with _client(key, url, data) as client:
        _show(client.post(f"/api/kyc/cases/{case}/documents/lost", {"document": document}), as_json)


def passport(
    case: Case,
    out: Annotated[Path, typer.Option(help="File for the passport (mode 0600); must not exist.")],
    key: Key,
    data: Data = None,
    url: Server = None,
    as_json: AsJson = False,
) -> None:
    """Collect the passport of an approved case; it is handed out once.

    Example: safeconduct kyc passport kyc_abc --out me.sd-jwt --key me.pem
    """
    from safeconduct.cli.reading import write_new  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if out.exists():  # before the call: the passport is handed out once
        raise InvalidInput("the file is there already", field="--out", remedy="name another one")
    with _client(key, url, data) as client:
        issued = client.post(f"/api/kyc/cases/{case}/passport", {})
    write_new(out, issued.pop("sd_jwt").encode() + b"\n", private=True)
    if as_json:
        print_json({**issued, "file": str(out)})
    else:
        print_lines(f"{issued['passport']}: {out}")


def affiliate(
    case: Case,
    speaker: Speaker = None,
    data: Data = None,
    url: Url = None,
    as_json: AsJson = False,
) -> None:
    """As an organisation: say that the applicant of a case belongs to you, and ask for the clearance on your behalf.

    Example: safeconduct kyc affiliate kyc_abc --as organisation:acme
    """
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if speaker is None:
        raise InvalidInput("say which organisation", field="--as", remedy="--as organisation:NAME")
    with connect(data, url, speaker) as client:
        found = client.post(f"/api/kyc/cases/{case}/affiliation", {})
    if as_json:
        print_json(found)
    else:
        print_lines(f"{found['case']}: {found['organisation']} attests the affiliation")


def _show(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    notice = found.get("notice") or {}
    assurance = found.get("assurance") or {}
    print_lines(
        f"{found['case']}: {found['state']}, asks for {found['level']}",
        *([f"  {notice['title']}. {notice['text']} {notice['next']}"] if notice else []),
        *(f"  reason   {line}" for line in found.get("reasons", ())),
        *(f"  asked    {line}" for line in found.get("asked", ())),
        *(f"  lacking  {line}" for line in found.get("lacking", ())),
        *(
            [f"  evidence amounts to IAL{assurance['ial']} AAL{assurance['aal']} FAL{assurance['fal']}"]
            if "ial" in assurance
            else []
        ),
        *(f"  missing  {line}" for line in assurance.get("missing", ())),
    )


def add_to(commands: typer.Typer) -> None:
    """Put these beside the desk's commands."""
    commands.command("open")(open_)
    for one in (own, case, state, document, submit, withdraw, appeal, lost, passport, affiliate):
        commands.command()(one)
