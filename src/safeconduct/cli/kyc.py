"""`kyc fields|open|state|document|submit|own|list|show|assign|...`: applicants and the people of the desk."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import ADJUDICATOR, ANALYST, OPERATOR, connect

commands = typer.Typer(help="Know your customer: what is asked and why, cases, decisions, erasure.")
Case = Annotated[str, typer.Argument(help="Id of the case.")]
Reason = Annotated[list[str], typer.Option("--reason", help="Why, in a sentence; may be repeated.")]
Version = Annotated[
    int | None,
    typer.Option(
        help="Version of the case you decide on (default: the present one, read just before).",
        show_default=False,
    ),
]


def _seen(client: Any, case: str, version: int | None) -> int:
    return version if version is not None else int(client.get(f"/api/kyc/cases/{case}")["version"])


def _told(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    risk = f", risk {found['risk']}" if found.get("risk") else ""
    print_lines(f"{found['case']}: {found['state']}{risk}, version {found['version']}")


def do_on_case(
    verb: str,
    case: str,
    body: dict[str, Any],
    *,
    data: Path | None,
    url: str | None,
    speaker: str,
    as_json: bool,
    version: int | None = None,
    versioned: bool = True,
) -> None:
    """One step on a case, on the version that is named or that stands."""
    with connect(data, url, speaker) as client:
        if versioned:
            body = {**body, "version": _seen(client, case, version)}
        _told(client.post(f"/api/kyc/cases/{case}/{verb}", body), as_json)


@commands.command()
def fields(as_json: AsJson = False) -> None:
    """Every field an applicant is asked for, with its reason, its legal source and how long it is kept. Needs no instance.

    Example: safeconduct kyc fields
    """
    from safeconduct.identity.kyc_fields import kyc_fields  # noqa: PLC0415

    found = kyc_fields()
    if as_json:
        import msgspec  # noqa: PLC0415

        print_json({"fields": msgspec.to_builtins(found)})
        return
    for one in found:
        kept = (
            f"kept {one.kept_days} days after the case has ended: {one.kept_source}"
            if one.kept_days
            else ("goes when you withdraw or ask for erasure")
        )
        print_lines(
            f"{one.field}  (from {one.asked_from})",
            f"  why     {one.reason}",
            f"  source  {one.source or 'none: our own need'}",
            f"  kept    {kept}",
        )


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """Cases that were handed in, by pseudonym; those that wait longest first.

    Example: safeconduct kyc list
    """
    with connect(data, url, speaker or ANALYST) as client:
        found = client.get("/api/kyc/cases")["items"]
    if as_json:
        print_json({"items": found})
        return
    rows = [
        (
            one["case"],
            one["state"],
            one["level"],
            one.get("organisation") or "",
            one.get("risk") or "",
            f"{one['clock_seconds'] // 86_400} d" + (" overdue" if one["overdue"] else ""),
            ", ".join(one["assigned"]),
            one["kept_out"],
        )
        for one in found
    ]
    print_table(
        ("case", "state", "level", "organisation", "risk", "waiting", "assigned", "you are kept out"),
        rows,
        empty="no case was handed in",
    )


@commands.command()
def show(
    case: Case, data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False
) -> None:
    """Show a case that is assigned to you.

    Example: safeconduct kyc show kyc_abc
    """
    with connect(data, url, speaker or ANALYST) as client:
        found = client.get(f"/api/kyc/cases/{case}")
    if as_json:
        print_json(found)
        return
    _told(found, as_json=False)
    stated = found.get("application") or {}
    assurance = found["assurance"]
    print_lines(
        f"  asks for    {found['level']} {' '.join(found['compartments'])}".rstrip(),
        f"  states      {stated.get('legal_name', '')}, {stated.get('purpose', '')}",
        *(
            f"  document    {one['kind']} of {one['issuer']}, {one['strength']}: {one['verdict']}"
            for one in found["documents"]
        ),
        *(
            [
                f"  amounts to  IAL{assurance['ial']} AAL{assurance['aal']} FAL{assurance['fal']}, {assurance['level']}"
            ]
            if "ial" in assurance
            else [f"  cannot be computed: {assurance['cannot']}"]
        ),
        *(f"  missing     {line}" for line in assurance.get("missing", ())),
        *(f"  alert       {one['text']}" for one in found["alerts"] if "resolved_at" not in one),
    )


@commands.command()
def assign(
    case: Case,
    reviewer: Annotated[
        str | None, typer.Option(help="Id of another reviewer's key (default: your own).", show_default=False)
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Take a case, or give it to another reviewer. Who has a stake in it, or decided it before, is kept out.

    Example: safeconduct kyc assign kyc_abc
    """
    body = {"reviewer": reviewer} if reviewer is not None else {}
    do_on_case(
        "assign", case, body, data=data, url=url, speaker=speaker or ANALYST, as_json=as_json, versioned=False
    )


@commands.command()
def recuse(
    case: Case, data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False
) -> None:
    """Step back from a case, for good.

    Example: safeconduct kyc recuse kyc_abc
    """
    do_on_case(
        "recuse", case, {}, data=data, url=url, speaker=speaker or ANALYST, as_json=as_json, versioned=False
    )


@commands.command("request-info")
def request_info(
    case: Case,
    ask: Annotated[list[str], typer.Option("--ask", help="What is needed; may be repeated.")],
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Ask the applicant for something; the desk's clock stops until they answer.

    Example: safeconduct kyc request-info kyc_abc --ask "A document that has not expired."
    """
    do_on_case(
        "request-information",
        case,
        {"asks": ask},
        data=data,
        url=url,
        speaker=speaker or ANALYST,
        as_json=as_json,
        version=version,
    )


@commands.command()
def rate(
    case: Case,
    risk: Annotated[str, typer.Argument(help="low, standard, high or prohibited.")],
    reason: Reason,
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Rate a case's risk, with reasons. High is renewed every year; prohibited is never approved.

    Example: safeconduct kyc rate kyc_abc standard --reason "Defensive work at a verified organisation."
    """
    do_on_case(
        "rate",
        case,
        {"risk": risk, "reasons": reason},
        data=data,
        url=url,
        speaker=speaker or ANALYST,
        as_json=as_json,
        version=version,
    )


@commands.command()
def inspect(
    case: Case,
    file: Annotated[
        Path,
        typer.Argument(
            help="JSON: document, kind, genuine, country, number, surname, given_names, birth_date, expires."
        ),
    ],
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Record what a pictured document is and what stands on it, having looked at it.

    Example: safeconduct kyc inspect kyc_abc permit.json
    """
    from safeconduct.cli.reading import read_json  # noqa: PLC0415

    with connect(data, url, speaker or ANALYST) as client:
        body = {**read_json(file), "version": _seen(client, case, version)}
        found = client.post(f"/api/kyc/cases/{case}/inspect", body)
    if as_json:
        print_json(found)
    else:
        print_lines(f"{found['document']}: {found['kind']}, {found['strength']}, {found['verdict']}")


@commands.command()
def fetch(
    case: Case,
    document: Annotated[str, typer.Argument(help="Id of the document.")],
    out: Annotated[
        Path, typer.Option(help="File for it (mode 0600); must not exist. Delete it when you are done.")
    ],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Fetch a document as it was handed in, of a case that is assigned to you.

    Example: safeconduct kyc fetch kyc_abc doc_abc --out page.jpg
    """
    from safeconduct.cli.reading import write_new  # noqa: PLC0415

    with connect(data, url, speaker or ANALYST) as client:
        content = client.fetch(f"/api/kyc/cases/{case}/documents/{document}")
    write_new(out, content, private=True)
    if as_json:
        print_json({"file": str(out), "bytes": len(content)})
    else:
        print_lines(f"{out}: {len(content)} bytes")


@commands.command("resolve-alert")
def resolve_alert(
    case: Case,
    alert: Annotated[str, typer.Argument(help="Id of the alert.")],
    rationale: Annotated[str, typer.Option(help="What became of it, and why.")],
    counts: Annotated[
        bool,
        typer.Option(
            "--counts", help="A document that somebody else showed first is this person's after all."
        ),
    ] = False,
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Resolve an alert, with a rationale. Nothing is approved while one is open.

    Example: safeconduct kyc resolve-alert kyc_abc alt_abc --rationale "A married name; the certificate was seen."
    """
    do_on_case(
        "resolve-alert",
        case,
        {"alert": alert, "rationale": rationale, "counts": counts},
        data=data,
        url=url,
        speaker=speaker or ANALYST,
        as_json=as_json,
        version=version,
    )


@commands.command()
def decide(
    case: Case,
    outcome: Annotated[
        str, typer.Argument(help="approved, approved_conditional, rejected or returned_without_action.")
    ],
    reason: Reason,
    level: Annotated[
        str | None, typer.Option(help="A lower level than was asked for.", show_default=False)
    ] = None,
    condition: Annotated[
        list[str] | None, typer.Option("--condition", help="A condition; may be repeated.")
    ] = None,
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Decide a case. C3 and above take two different adjudicators, neither the applicant nor who asked for it.

    Example: safeconduct kyc decide kyc_abc approved --reason "Identity and screening are as C2 asks."
    """
    body: dict[str, Any] = {"outcome": outcome, "reasons": reason, "conditions": condition or []}
    if level is not None:
        body["level"] = level
    do_on_case(
        "decide",
        case,
        body,
        data=data,
        url=url,
        speaker=speaker or ANALYST,
        as_json=as_json,
        version=version,
    )


@commands.command()
def end(
    case: Case,
    action: Annotated[str, typer.Argument(help="suspend, revoke (an adjudicator does) or refresh.")],
    cause: Annotated[str, typer.Option(help="Why; for refresh: document_expiry, list_change, ...")],
    version: Version = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Suspend or revoke what was approved, or ask for a refresh because something happened.

    Example: safeconduct kyc end kyc_abc suspend --cause "An inquiry is under way."
    """
    do_on_case(
        "end",
        case,
        {"action": action, "cause": cause},
        data=data,
        url=url,
        speaker=speaker or (ADJUDICATOR if action == "revoke" else ANALYST),
        as_json=as_json,
        version=version,
    )


@commands.command()
def erase(
    subject: Annotated[str, typer.Argument(help="The person's pseudonym.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Erase a person by destroying their data key. The receipt lists what the law keeps. There is no way back.

    Example: safeconduct kyc erase sub_abc --yes
    """
    if not yes and not typer.confirm(f"Destroy the data key of {subject}, for good?", err=as_json):
        raise typer.Exit(1)
    with connect(data, url, speaker or OPERATOR) as client:
        receipt = client.post(f"/api/kyc/subjects/{subject}/erase", {})
    print_receipt(receipt, as_json=as_json)


def print_receipt(receipt: dict[str, Any], *, as_json: bool) -> None:
    """What an erasure did."""
    if as_json:
        print_json(receipt)
        return
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    if not receipt["erased"]:
        print_lines(
            f"not erased yet: held for {', '.join(receipt['held_for'])}; it is done when the last hold ends"
        )
        return
    print_lines(
        f"erased: {receipt['subject']}",
        f"  deleted  {', '.join(receipt['deleted'])}",
        *(
            f"  kept     {one['field']} until {format_instant(one['until'])[:10]}: {one['source']}"
            for one in receipt["retained"]
        ),
    )


@commands.command()
def hold(
    subject: Annotated[str, typer.Argument(help="The person's pseudonym.")],
    matter: Annotated[str, typer.Option(help="Number of the legal matter.")],
    lift: Annotated[bool, typer.Option("--lift", help="End the hold for this matter.")] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Hold somebody's data for a legal matter: nothing of theirs is deleted until it is lifted.

    Example: safeconduct kyc hold sub_abc --matter matter-17
    """
    with connect(data, url, speaker or ADJUDICATOR) as client:
        changed = client.post(f"/api/kyc/subjects/{subject}/hold", {"matter": matter, "held": not lift})
    if as_json:
        print_json(changed)
    else:
        print_lines(
            f"{changed['subject']}: {'held for' if changed['held'] else 'no longer held for'} {matter}"
        )


@commands.command()
def authorities(
    file: Annotated[Path, typer.Argument(help="Master list, bundle of certificates or revocation list.")],
    sha256: Annotated[
        str | None,
        typer.Option(
            help="Its digest, by which you vouch for it: for the first, and unsigned ones.",
            show_default=False,
        ),
    ] = None,
    revocations: Annotated[bool, typer.Option("--revocations", help="It is a revocation list.")] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Import whose travel documents the desk believes.

    Example: safeconduct kyc authorities master-list.ml --sha256 0f3a...
    """
    import base64  # noqa: PLC0415

    from safeconduct.cli.reading import read_bytes  # noqa: PLC0415

    body: dict[str, Any] = {
        "file": base64.b64encode(read_bytes(file)).decode(),
        "kind": "revocations" if revocations else "list",
    }
    if sha256 is not None:
        body["sha256"] = sha256
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/kyc/authorities", body)
    if as_json:
        print_json(found)
    else:
        print_lines(
            f"{found['certificates']} imported, {found['authorities']} trusted",
            *(f"  skipped: {one}" for one in found["skipped"]),
        )


@commands.command("demo-applicant")
def demo_applicant(
    home: Annotated[
        Path | None,
        typer.Option(
            help="Directory of a running `make run` (default: run when it runs, else a temporary instance).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Walk one made-up person from nothing to a C2 model's answer, through the public API only, and print each step's time.

    The passport is a specimen of a state that does not exist; screening and liveness are development providers, which say so.

    Example: safeconduct kyc demo-applicant
    """
    from safeconduct.cli.sample.demonstration import demonstrate  # noqa: PLC0415

    demonstrate(home, as_json=as_json)
