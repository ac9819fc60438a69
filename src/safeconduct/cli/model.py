"""`model add|credential|list|stage`: put a real model behind the gateway."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

if TYPE_CHECKING:
    from safeconduct.cli.client import ApiClient

commands = typer.Typer(help="Models and where they run.")
BASE_URLS = {"openai": "https://api.openai.com/v1", "anthropic": "https://api.anthropic.com/v1"}
KINDS = ("openai", "anthropic", "openai-compatible", "sandbox")
LEVELS = ("C0", "C1", "C2", "C3", "C4")
STAGES = (
    "internal",
    "government_evaluation",
    "trusted_preview",
    "government_approved_organisations",
    "verified",
    "general",
)


def _credential(key_env: str | None, key_file: Path | None, key_stdin: bool, kind: str) -> str:
    """The upstream's key, from where it does not show in a process list. Raises InvalidInput."""
    from safeconduct.cli.reading import read_text  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if sum((key_env is not None, key_file is not None, key_stdin)) > 1:
        raise InvalidInput(
            "the key comes from one place", field="--key-env", remedy="give one of the options"
        )
    if key_env is not None:
        # The variable is the user's own, named on the command line; settings do not know it.
        text = os.environ.get(key_env, "").strip()
        if not text:
            raise InvalidInput(
                f"the variable {key_env} is empty", field="--key-env", remedy="export it first"
            )
        return text
    if key_file is not None:
        return read_text(key_file)
    if key_stdin:
        return read_text(Path("-"))
    if kind in BASE_URLS:
        raise InvalidInput(
            f"{kind} asks for a key", field="--key-env", remedy="give --key-env, --key-file or --key-stdin"
        )
    return ""


@commands.command()
def add(
    name: Annotated[str, typer.Argument(help="The name that callers use.")],
    provider: Annotated[str, typer.Option(help="Who made and released the model, e.g. openai.")],
    kind: Annotated[str, typer.Option(help="openai, anthropic or openai-compatible.")],
    base_url: Annotated[
        str | None,
        typer.Option(
            help="The upstream's address (openai and anthropic have a default).", show_default=False
        ),
    ] = None,
    upstream_model: Annotated[
        str | None,
        typer.Option(help="The name the upstream knows it by (default: NAME).", show_default=False),
    ] = None,
    key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the upstream's key.", show_default=False)
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the upstream's key.", show_default=False)
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the upstream's key from standard input.")
    ] = False,
    level: Annotated[
        str | None,
        typer.Option(help="Clearance level it asks for, C0 to C4 (default C1).", show_default=False),
    ] = None,
    grant_to: Annotated[
        list[str] | None,
        typer.Option(
            help="Organisation that gets it; may be repeated (development: default every verified one).",
            show_default=False,
        ),
    ] = None,
    purpose: Annotated[
        list[str] | None,
        typer.Option(
            help="Purpose it is granted for; may be repeated (default: all but resale).", show_default=False
        ),
    ] = None,
    duration: Annotated[str, typer.Option("--for", help="How long it is granted, e.g. 90d.")] = "365d",
    organisation: Annotated[
        str | None,
        typer.Option(
            help="The provider's own organisation (default: the provider's name).", show_default=False
        ),
    ] = None,
    country: Annotated[str, typer.Option(help="Country of the provider.")] = "US",
    region: Annotated[str, typer.Option(help="Region the upstream runs in.")] = "global",
    fallback: Annotated[
        str | None,
        typer.Option(help="Variant to ask when this upstream does not answer.", show_default=False),
    ] = None,
    concurrency: Annotated[
        int | None,
        typer.Option(help="Requests under way at once, from each process.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Adopt a model that its provider released to the public. The key is never on the command line.

    Refused for a provider with a role key here: it releases and grants its models itself. Once more for the same model
    adds another upstream, or another organisation.

    Example: safeconduct model add gpt-4o --provider openai --kind openai --key-env OPENAI_API_KEY --grant-to acme
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    for value, known, option in ((kind, KINDS, "--kind"), (level, LEVELS, "--level")):
        if value is not None and value not in known:
            raise InvalidInput(
                f"unknown value {value!r}{did_you_mean(value, known)}",
                field=option,
                remedy=f"one of: {', '.join(known)}",
            )
    address = base_url or BASE_URLS.get(kind)
    if address is None:
        raise InvalidInput(
            f"{kind} has no usual address", field="--base-url", remedy="e.g. http://127.0.0.1:8080/v1"
        )
    body: dict[str, Any] = {
        "variant": name,
        "provider": provider,
        "kind": kind,
        "base_url": address,
        "upstream_model": upstream_model or name,
        "region": region,
        "jurisdiction": country,
        "credential": _credential(key_env, key_file, key_stdin, kind),
        "duration": seconds(duration, "--for"),
    }
    asked = {
        "level": level,
        "grant_to": grant_to,
        "purposes": purpose,
        "organisation": organisation,
        "fallback": fallback,
        "concurrency": concurrency,
    }
    body |= {member: value for member, value in asked.items() if value}
    done: list[str] = []
    with connect(data, url, speaker or OPERATOR) as client:
        _ensure_organisation(client, provider, organisation or provider, country, done)
        made = client.post("/api/models/adopt", body)
        receivers = [one["to_organisation"] for one in made["grants"]]
        _ensure_organisation_keys(client, receivers, done)
    written = [event["type"] for event in made["events"]]
    if "variant_registered" in written:
        done.append(f"model {name}: adopted as released by {provider}, asks for {level or 'C1'}")
    done.append(
        f"deployment {made['deployment']}: {kind} at {address}"
        if "deployment_registered" in written
        else f"deployment {made['deployment']}: stands already, its key was left as it is"
    )
    done += [f"grant {one['grant']}: to organisation {one['to_organisation']}" for one in made["grants"]]
    if not grant_to:
        done.append(
            "no --grant-to: granted to every verified organisation, as this is a development instance"
            if receivers
            else "no grant: no further organisation is verified; later: the same with --grant-to ORGANISATION"
        )
    following = [
        f"safeconduct grant give --as organisation:{one} --model {name} --purpose general --to-subject SUBJECT"
        for one in receivers
    ]
    if as_json:
        print_json({"model": name, **made, "done": done, "next": following})
        return
    print_lines(*done, *(f"Next: {one}" for one in following))


def _ensure_organisation(
    client: ApiClient, provider: str, organisation: str, country: str, done: list[str]
) -> None:
    """A provider stands here with an organisation of its own."""
    if provider in {one["provider"] for one in client.all("/api/providers")}:
        return
    known = {
        one["organisation"] if "organisation" in one else one["registered"]["organisation"]
        for one in client.all("/api/organisations")
    }
    if organisation not in known:
        _import_organisation(client, organisation, country)
        done.append(f"organisation {organisation}: registered, not verified")


def _import_organisation(client: ApiClient, organisation: str, country: str) -> None:
    import secrets  # noqa: PLC0415

    from safeconduct.identity.evidence_import import sign_evidence_import  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    desk = "evidence-desk"
    content = {
        "organisation": {
            "organisation": organisation,
            "legal_name": organisation,
            "country": country,
            "sector": "other",
        }
    }
    text = sign_evidence_import(
        content,
        party=desk,
        audience=client.files.descriptor.issuer,
        jti=secrets.token_hex(16),
        signer=client.files.role_key(desk),
        now=int(SystemClock().now()),
    )
    client.post("/api/evidence", {"jws": text})


def _ensure_organisation_keys(client: ApiClient, organisations: list[str], done: list[str]) -> None:
    """A development instance holds its officers' keys, so organisations' role keys can be made and trusted at once."""
    from safeconduct.app.initialise import BACKDATE, KEY_LIFE, organisation_party  # noqa: PLC0415
    from safeconduct.authorization.trust_change import sign_trust_change  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    trusted = {one["added"]["party"] for one in client.all("/api/trust") if "revoked" not in one}
    parties = [party for one in organisations if (party := organisation_party(one)).party not in trusted]
    if not parties:
        return
    keys = client.files.keys
    if not (keys.has("officers/1") and keys.has("officers/2")):
        done += [
            f"{party.party} has no role key: two officers must add one (safeconduct trust sign --help)"
            for party in parties
        ]
        return
    now = int(SystemClock().now())
    added: list[dict[str, Any]] = []
    for party in parties:
        signer = keys.signer(party.key_name) if keys.has(party.key_name) else keys.make(party.key_name)
        added.append(
            {
                "jwk": signer.public_jwk(),
                "party": party.party,
                "may_sign": list(party.may_sign),
                "organisation": party.organisation,
                "valid_from": now - BACKDATE,
                "valid_until": now + KEY_LIFE,
                "development": client.files.descriptor.profile == "development",
            }
        )
        done.append(f"role key of {party.party}: {keys.file(party.key_name)}")
    change = {
        "origin": client.files.descriptor.record_origin,
        "iat": now,
        "exp": now + 300,
        "add": added,
        "revoke": [],
    }
    import msgspec  # noqa: PLC0415

    document = sign_trust_change(change, [keys.signer("officers/1"), keys.signer("officers/2")])
    client.post("/api/trust", msgspec.Raw(document))


@commands.command()
def credential(
    deployment: Annotated[str, typer.Argument(help="The deployment, as model list shows it.")],
    key_env: Annotated[
        str | None, typer.Option(help="Environment variable with the upstream's key.", show_default=False)
    ] = None,
    key_file: Annotated[
        Path | None, typer.Option(help="File with the upstream's key.", show_default=False)
    ] = None,
    key_stdin: Annotated[
        bool, typer.Option("--key-stdin", help="Read the upstream's key from standard input.")
    ] = False,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Replace the upstream's key of a deployment: the next request carries the new one, those under way end as they began.

    Keep the old key valid at the upstream for a minute. The key is never on the command line.

    Example: safeconduct model credential gpt-4o-1 --key-env OPENAI_API_KEY
    """
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    text = _credential(key_env, key_file, key_stdin, "openai-compatible")
    if not text:
        raise InvalidInput(
            "the key is missing", field="--key-env", remedy="give --key-env, --key-file or --key-stdin"
        )
    with connect(data, url, speaker or OPERATOR) as client:
        made = client.post(f"/api/deployments/{deployment}/credential", {"credential": text})
    if as_json:
        print_json(made)
    else:
        print_lines(f"deployment {deployment}: the next request carries the new key")


@commands.command("list")
def list_(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """List models, what they demand, and how far they are released.

    Example: safeconduct model list
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.all("/api/models")
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["variant"],
            one["provider"],
            " ".join([one["required_level"], *one["required_compartments"]]),
            one["stage"] + (f" ({one['org_list']})" if one.get("org_list") else ""),
            one["standing"],
            one["deployments"],
        )
        for one in found
    ]
    print_table(("model", "provider", "demands", "stage", "standing", "deployments"), rows, empty="no models")


@commands.command()
def stage(
    name: Annotated[str, typer.Argument(help="The variant.")],
    to: Annotated[str, typer.Option("--to", help=f"One of: {', '.join(STAGES)}.")],
    org_list: Annotated[
        str | None, typer.Option(help="The list that a closed stage admits.", show_default=False)
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Move a variant to a release stage, one step at a time through each gate.

    Example: safeconduct model stage swift-1 --to trusted_preview
    """
    from safeconduct.kernel.errors import InvalidInput, NotFound  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    if to not in STAGES:
        raise InvalidInput(
            f"unknown stage {to!r}{did_you_mean(to, STAGES)}",
            field="--to",
            remedy=f"one of: {', '.join(STAGES)}",
        )
    with connect(data, url, AUDITOR) as reader:
        models = {one["variant"]: one for one in reader.all("/api/models")}
    if name not in models:
        raise NotFound(
            f"there is no variant {name!r}{did_you_mean(name, models)}",
            field="NAME",
            remedy="see safeconduct model list",
        )
    at, goal = STAGES.index(models[name]["stage"]), STAGES.index(to)
    steps = range(at + 1, goal + 1) if goal > at else range(at - 1, goal - 1, -1)
    made: list[Any] = []
    with connect(data, url, speaker or f"provider:{models[name]['provider']}") as client:
        for place in steps:
            body = {"variant": name, "stage": STAGES[place]}
            if org_list is not None and STAGES[place] in {STAGES[2], STAGES[3]}:
                body["org_list"] = org_list
            made.append(client.post("/api/stages", body))
            if not as_json:
                print_lines(f"{name}: {STAGES[place]}")
    if as_json:
        print_json(made)
    elif not made:
        print_lines(f"{name}: {to} already")


@commands.command()
def price(
    name: Annotated[str, typer.Argument(help="The variant.")],
    into: Annotated[
        str | None,
        typer.Option("--input", help="For a million tokens in, e.g. 3.00USD.", show_default=False),
    ] = None,
    out: Annotated[
        str | None,
        typer.Option("--output", help="For a million tokens out, e.g. 15.00USD.", show_default=False),
    ] = None,
    request: Annotated[
        str | None, typer.Option("--request", help="For each request, if anything.", show_default=False)
    ] = None,
    longest: Annotated[
        int | None,
        typer.Option("--max-output", help="The longest answer there is, in tokens.", show_default=False),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Say what a variant's use costs, for budgets; replaces what was said before.

    Example: safeconduct model price swift-1 --input 3.00USD --output 15.00USD --max-output 8192
    """
    from safeconduct.cli.reading import money  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    body: dict[str, Any] = {"variant": name}
    if into is not None or out is not None:
        if into is None or out is None:
            raise InvalidInput(
                "a price is for both ways", field="--input", remedy="give --input and --output"
            )
        (read, currency), (written, other) = money(into, "--input"), money(out, "--output")
        each, third = money(request, "--request") if request is not None else (0, currency)
        if not currency == other == third:
            raise InvalidInput("a price has one currency", field="--output")
        body["price"] = {"currency": currency, "input": read, "output": written, "request": each}
    elif request is not None:
        raise InvalidInput(
            "tokens have no price", field="--input", remedy="give --input and --output, 0 if free"
        )
    if longest is not None:
        body["max_output_tokens"] = longest
    with connect(data, url, speaker or OPERATOR) as client:
        made = client.post("/api/metering", body)
    if as_json:
        print_json(made)
    else:
        print_lines(f"{name}: {'priced' if 'price' in made else 'no price'}")
