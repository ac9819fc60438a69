"""`init`, `serve`, `status`, `completion`: the instance as a whole."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_json_line, print_lines, print_table
from safeconduct.cli.session import AUDITOR, connect


def init(
    data: Data = None,
    profile: Annotated[
        str, typer.Option(help="development, or production (which needs --issuer and --officer twice).")
    ] = "development",
    issuer: Annotated[
        str | None, typer.Option(help="Public https URL of this instance.", show_default=False)
    ] = None,
    audience: Annotated[
        str | None, typer.Option(help="Public URL of the gateway.", show_default=False)
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Host part of the logs' names.", show_default=False)
    ] = None,
    officer: Annotated[
        list[Path] | None,
        typer.Option(help="File with an officer's public key (JWK); give two.", show_default=False),
    ] = None,
    provider: Annotated[
        list[str] | None,
        typer.Option(help="Provider to make a role key for; may be repeated.", show_default=False),
    ] = None,
    organisation: Annotated[
        list[str] | None,
        typer.Option(help="Organisation to make a role key for; may be repeated.", show_default=False),
    ] = None,
    authority: Annotated[
        list[str] | None,
        typer.Option(help="Authority to make a key for, as NAME@JURISDICTION.", show_default=False),
    ] = None,
    record: Annotated[
        str | None,
        typer.Option(
            help="Keep the record in PostgreSQL: postgresql://USER@HOST/DATABASE?schema=NAME, without a password "
            "(SAFECONDUCT_RECORD_URL may carry one, PGPASSFILE name a file).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make an instance: data directory, keys, the first entries of its record.

    Example: safeconduct init --data run --provider acme --organisation acme
    """
    from safeconduct.app.initialise import (  # noqa: PLC0415
        DEFAULT_PARTIES,
        authority_party,
        organisation_party,
        provider_party,
    )
    from safeconduct.bootstrap import initialise_instance  # noqa: PLC0415
    from safeconduct.cli.reading import read_json  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415

    settings = read_settings(home=data, record_url=_record_url(record))
    parties = [*DEFAULT_PARTIES]
    parties += [provider_party(one) for one in provider or ()]
    parties += [organisation_party(one) for one in organisation or ()]
    for one in authority or ():
        party, _, jurisdiction = one.partition("@")
        if not party or not jurisdiction:
            raise InvalidInput(
                f"{one!r} names no jurisdiction", field="--authority", remedy="write NAME@JURISDICTION"
            )
        parties.append(authority_party(party, jurisdiction))
    descriptor = initialise_instance(
        settings,
        profile=profile,
        issuer=issuer,
        audience=audience,
        name=name,
        officers=[read_json(path) for path in officer] if officer else None,
        parties=parties,
    )
    made: dict[str, Any] = {
        "data": str(settings.data),
        "keys": str(settings.keys),
        "profile": descriptor.profile,
        "issuer": descriptor.issuer,
        "record": descriptor.record_origin,
        "decisions": descriptor.decision_origin,
        "home": descriptor.record,
    }
    if as_json:
        print_json(made)
        return
    print_lines(*(f"{label:<10} {value}" for label, value in made.items()))
    if descriptor.profile == "development":
        print_lines("Development profile: officers' keys and role keys are files, treated as hardware-bound.")
    print_lines(f"Next: safeconduct serve --data {data or 'run'}")


def _record_url(text: str | None) -> Any:
    """The database of `--record`. Raises InvalidInput when a password stands in it: every user of the machine sees arguments."""
    if text is None:
        return None
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.storage.database_url import DatabaseUrl  # noqa: PLC0415

    url = DatabaseUrl.parse(text, field="--record")
    if url.has_password:
        raise InvalidInput(
            "a password does not belong into an argument",
            field="--record",
            remedy="put the whole URL into SAFECONDUCT_RECORD_URL, or the password into PGPASSFILE",
        )
    return url


def serve_instance(
    data: Data = None,
    api_port: Annotated[
        int | None, typer.Option(help="Port of API and page (default 8781).", show_default=False)
    ] = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of the gateway (default 8780).", show_default=False)
    ] = None,
    api_host: Annotated[
        str | None, typer.Option(help="Address of API and page (default 127.0.0.1).", show_default=False)
    ] = None,
    gateway_host: Annotated[
        str | None, typer.Option(help="Address of the gateway (default 127.0.0.1).", show_default=False)
    ] = None,
    sandbox_port: Annotated[
        int | None,
        typer.Option(help="Also run the sandbox provider there (development only).", show_default=False),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Serve the gateway's port with this many processes of their own (default: all in one process).",
            show_default=False,
        ),
    ] = None,
    simulated: Annotated[
        bool,
        typer.Option(
            "--simulated-clock",
            help="Read the time from standard input, one instant a line; for stories. Refused by production.",
        ),
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Run gateway, API and page in the foreground until Ctrl-C; with --json one line tells when it is ready.

    Example: safeconduct serve --data run
    """
    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.cli.simulation import clock_from_input  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415
    from safeconduct.web.listeners import Addresses  # noqa: PLC0415
    from safeconduct.web.serving import serve  # noqa: PLC0415

    found = InstanceFiles(data).settings
    settings = read_settings(
        data=found.data,
        keys=found.keys,
        api_port=api_port,
        gateway_port=gateway_port,
        api_host=api_host,
        gateway_host=gateway_host,
    )

    def ready(addresses: Addresses) -> None:
        if simulated or as_json:
            print_json_line(
                {"ready": {"api": addresses.api, "gateway": addresses.gateway, "sandbox": addresses.sandbox}}
            )
        else:
            print_lines(f"gateway  {addresses.gateway}", f"API      {addresses.api}", "Ctrl-C stops it.")

    if workers is not None:
        from safeconduct.web.nodes.node import serve_with_workers  # noqa: PLC0415

        if simulated:
            raise InvalidInput(
                "a simulated clock runs in one process", field="--workers", remedy="leave one of the two out"
            )
        raise typer.Exit(
            serve_with_workers(settings, workers=workers, sandbox_port=sandbox_port, ready=ready)
        )
    clock = clock_from_input() if simulated else None
    raise typer.Exit(serve(settings, clock=clock, sandbox_port=sandbox_port, ready=ready))


def status(data: Data = None, url: Url = None, speaker: Speaker = None, as_json: AsJson = False) -> None:
    """What the running instance holds and whether it is ready.

    Example: safeconduct status
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get("/api/status")
        address = client.url
    if as_json:
        print_json(found)
    else:
        rows = [
            ("address", address),
            ("profile", found["profile"] + (", simulated clock" if found["simulated"] else "")),
            ("log", found["origin"]),
            ("record", f"{found['position']} entries"),
            ("ready", "yes" if found["ready"] else "no: " + "; ".join(found["faults"])),
            *found["counts"].items(),
        ]
        print_table(("", ""), rows, empty="nothing")
    if not found["ready"]:
        raise typer.Exit(1)


def completion(
    shell: Annotated[str, typer.Argument(help="bash, zsh, fish or powershell.")] = "bash",
) -> None:
    """Print the completion script of a shell.

    Example: safeconduct completion bash > ~/.local/share/bash-completion/completions/safeconduct
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]  # noqa: PLC0415

    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    shells = ("bash", "zsh", "fish", "powershell")
    if shell not in shells:
        raise InvalidInput(
            f"unknown shell {shell!r}{did_you_mean(shell, shells)}",
            field="SHELL",
            remedy=f"one of: {', '.join(shells)}",
        )
    script = get_completion_script(prog_name="safeconduct", complete_var="_SAFECONDUCT_COMPLETE", shell=shell)
    print_lines(script)


def add_to(application: typer.Typer) -> None:
    """Put these commands at the root."""
    application.command("init")(init)
    application.command("serve")(serve_instance)
    application.command("status")(status)
    application.command("completion")(completion)
