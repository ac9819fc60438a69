"""`gateway`, `gateway enrol`, `control`: the data plane and the control plane as processes of their own."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data
from safeconduct.cli.output import print_json, print_json_line, print_lines

commands = typer.Typer(
    help="A gateway that is not the control plane: it follows the record and serves models.",
    invoke_without_command=True,
)

Home = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The gateway's own directory: data/ and keys/ lie below it (default: gateway).",
        show_default=False,
    ),
]
ControlCa = Annotated[
    Path | None,
    typer.Option(
        "--control-ca",
        help="PEM file of the authorities that alone may sign the control plane's certificate "
        "(default: those kept at enrolment, else those of the system).",
        show_default=False,
    ),
]
_HOME = Path("gateway")


@commands.callback()
def run(
    context: typer.Context,
    data: Home = None,
    control: Annotated[
        str | None,
        typer.Option(help="Address of the control plane, when it is not as enrolled.", show_default=False),
    ] = None,
    control_ca: ControlCa = None,
    workers: Annotated[int, typer.Option(help="Processes that serve the port together.")] = 1,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of the gateway (default 8780).", show_default=False)
    ] = None,
    gateway_host: Annotated[
        str | None, typer.Option(help="Address of the gateway (default 127.0.0.1).", show_default=False)
    ] = None,
    public_url: Annotated[
        str | None,
        typer.Option(help="What clients call (default: the instance's gateway URL).", show_default=False),
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            help="Port on 127.0.0.1 that tells metrics (GET /metrics) to whoever is on this machine (default: none).",
            show_default=False,
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run an enrolled gateway in the foreground until Ctrl-C. It holds no database credential and no right to change the record.

    Example: safeconduct gateway --data gateway --workers 2
    """
    if context.invoked_subcommand is not None:
        return
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.settings import check_issuer, read_settings  # noqa: PLC0415
    from safeconduct.web.nodes.node import run_gateway  # noqa: PLC0415

    settings = read_settings(home=data or _HOME, gateway_port=gateway_port, gateway_host=gateway_host)
    if metrics_port is not None and not 1 <= metrics_port <= 65_535:
        raise InvalidInput("a port, 1 to 65535", field="--metrics-port")

    def ready(url: str) -> None:
        if as_json:
            print_json_line({"ready": {"gateway": url}})
        else:
            print_lines(f"gateway  {url}", "Ctrl-C stops it.")

    raise typer.Exit(
        run_gateway(
            settings,
            workers=workers,
            control=control,
            control_ca=control_ca,
            public_url=check_issuer(public_url, "--public-url") if public_url else "",
            metrics_port=metrics_port,
            ready=ready,
        )
    )


def _published(control: str, control_ca: Path | None) -> dict[str, Any]:
    """What the control plane says of itself: over TLS, or on this machine."""
    import httpx2  # noqa: PLC0415
    import msgspec  # noqa: PLC0415

    from safeconduct.cli.client import TIMEOUT, Unreachable  # noqa: PLC0415
    from safeconduct.upstreams.control_plane import (  # noqa: PLC0415
        UNTRUSTED_REMEDY,
        control_tls,
        untrusted,
    )

    try:
        answer = httpx2.get(
            f"{control}/.well-known/safeconduct",
            timeout=TIMEOUT,
            follow_redirects=False,
            trust_env=False,
            verify=control_tls(control_ca) if control_ca is not None else True,
        )
        found: dict[str, Any] = msgspec.json.decode(answer.content)
        return {"issuer": found["issuer"], "key": found["logs"]["record"]["key"], "profile": found["profile"]}
    except (httpx2.HTTPError, msgspec.MsgspecError, KeyError, TypeError) as error:
        if untrusted(error):
            raise Unreachable(
                f"the certificate at {control} is not trusted", remedy=UNTRUSTED_REMEDY
            ) from None
        raise Unreachable(
            f"no control plane answers at {control} ({type(error).__name__})",
            remedy="start it with `safeconduct control`, or correct --control",
        ) from None


@commands.command()
def enrol(
    name: Annotated[str, typer.Argument(help="Name of the gateway, e.g. edge-1.")],
    control: Annotated[str, typer.Option(help="Address of the control plane's API.")],
    control_ca: ControlCa = None,
    data: Home = None,
    record_key: Annotated[
        str | None,
        typer.Option(
            help="Verifier key of the record's log, as its operator told you (default: as the control plane says).",
            show_default=False,
        ),
    ] = None,
    days: Annotated[int, typer.Option(help="For how long the enrolment is asked.")] = 365,
    as_json: AsJson = False,
) -> None:
    """Make a gateway's directory and keys, and the change of the trust list that two officers sign to let it in.

    Example: safeconduct gateway enrol edge-1 --control https://control.example.org --data gateway
    """
    from safeconduct.kernel.canonical import canonical_json  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.settings import check_issuer, read_settings  # noqa: PLC0415
    from safeconduct.web.nodes.home import enrolment_of, make_home, write_whole  # noqa: PLC0415

    if not 1 <= days <= 3650:
        raise InvalidInput("1 to 3650 days", field="--days")
    control = check_issuer(control.rstrip("/"), "--control")
    if control_ca is not None and not control.startswith("https:"):
        raise InvalidInput("is for a control plane that is reached over https", field="--control-ca")
    published = _published(control, control_ca)
    if record_key is not None and record_key.strip() != published["key"]:
        raise InvalidInput(
            "the control plane publishes another key of the record",
            field="--record-key",
            remedy="find out which of the two is right before you go on",
        )
    settings = read_settings(home=data or _HOME)
    home = make_home(
        settings,
        name=name,
        control=control,
        issuer=published["issuer"],
        record_key=published["key"],
        control_ca=control_ca,
    )
    change = enrolment_of(
        home,
        now=int(SystemClock().now()),
        seconds=days * 86_400,
        development=published["profile"] == "development",
    )
    file = settings.data / "enrolment.json"
    write_whole(file, canonical_json(change) + b"\n")
    made = {
        "name": name,
        "party": home.descriptor.party,
        "data": str(settings.data),
        "keys": str(settings.keys),
        "record_key": home.descriptor.record_key,
        "enrolment": str(file),
    }
    if as_json:
        print_json(made)
        return
    print_lines(
        *(f"{label:<11} {value}" for label, value in made.items()),
        "Compare record_key with what the operator of the control plane told you.",
        f"Next, where the officers are: safeconduct trust sign {file} --out change.jws",
        "then: safeconduct trust change change.jws; then here: safeconduct gateway",
    )


@commands.command()
def rotate(
    name: Annotated[str, typer.Argument(help="node, decision-log or root.")],
    data: Home = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="For node: write the change of the trust list here, for two officers to sign.",
            show_default=False,
        ),
    ] = None,
    overlap: Annotated[
        str, typer.Option(help="For node: how long the present key may still sign, e.g. 1h.")
    ] = "1h",
    finish: Annotated[
        bool,
        typer.Option(
            "--finish", help="For node: the change is handed in and the gateway did not run; use the new key."
        ),
    ] = False,
    compromised: Annotated[
        bool, typer.Option("--compromised", help="The present key counts no more from now on.")
    ] = False,
    control_ca: ControlCa = None,
    as_json: AsJson = False,
) -> None:
    """Replace a key that this gateway holds itself; what was signed with the old one stays verifiable.

    Example: safeconduct gateway rotate decision-log --data gateway
    """
    import asyncio  # noqa: PLC0415

    from safeconduct.cli.reading import duration, write_new  # noqa: PLC0415
    from safeconduct.kernel.canonical import canonical_json  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput, NotFound  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415
    from safeconduct.storage.key_directory import ROOT  # noqa: PLC0415
    from safeconduct.web.nodes import own_keys  # noqa: PLC0415
    from safeconduct.web.nodes.home import LOG_KEY, NODE_KEY, open_home  # noqa: PLC0415

    if name not in own_keys.OWN_KEYS:
        raise NotFound(
            f"a gateway has no key {name[:60]!r}{did_you_mean(name, own_keys.OWN_KEYS)}",
            field="NAME",
            remedy=f"one of: {', '.join(own_keys.OWN_KEYS)}",
        )
    if name != NODE_KEY:
        for given, option in ((out, "--out"), (finish, "--finish")):
            if given:
                raise InvalidInput("is for the key node", field=option)
    elif (out is None) != finish:
        raise InvalidInput("give one of --out and --finish", field="--out")
    home = open_home(read_settings(home=data or _HOME), control_ca=control_ca)
    clock = SystemClock()
    if name == LOG_KEY:
        before, after = own_keys.rotate_log_key(home, clock, compromised=compromised)
        told: dict[str, Any] = {"key": name, "kid": after.kid, "previous": before.kid}
        lines = [
            f"{name}: {after.kid} signs from now on",
            f"{before.kid} verifies for the trees as they were",
        ]
    elif name == ROOT:
        changed = own_keys.rotate_root_key(home)
        told = {"key": name, "data_keys": changed}
        lines = [f"root: {changed} data keys are wrapped by the new root key; keep a copy of it elsewhere"]
    elif out is not None:
        change = own_keys.node_key_change(
            home,
            now=int(clock.now()),
            overlap=duration(overlap, "--overlap"),
            compromised=compromised,
        )
        write_new(out, canonical_json(change) + b"\n")
        following = [
            f"safeconduct trust sign {out} --out change.jws (where the officers are)",
            "safeconduct trust change change.jws",
        ]
        told = {"key": name, "file": str(out), "next": following}
        lines = [
            *(f"Next: {one}" for one in following),
            "A gateway that runs takes the new key up by itself then; else: safeconduct gateway rotate node --finish",
        ]
    else:
        kid = asyncio.run(own_keys.finish_node_key(home, clock))
        told = {"key": name, "kid": kid}
        lines = [f"{name}: {kid} signs from now on"]
    if as_json:
        print_json(told)
    else:
        print_lines(*lines)


def serve_control_plane(
    data: Data = None,
    api_port: Annotated[
        int | None, typer.Option(help="Port of API and page (default 8781).", show_default=False)
    ] = None,
    api_host: Annotated[
        str | None, typer.Option(help="Address of API and page (default 127.0.0.1).", show_default=False)
    ] = None,
    sandbox_port: Annotated[
        int | None,
        typer.Option(help="Also run the sandbox provider there (development only).", show_default=False),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Run API, record, tokens and page without a gateway, in the foreground until Ctrl-C.

    Example: safeconduct control --data run
    """
    import msgspec  # noqa: PLC0415

    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415
    from safeconduct.web.serving import serve_control  # noqa: PLC0415

    found = InstanceFiles(data).settings
    settings = read_settings(data=found.data, keys=found.keys, api_port=api_port, api_host=api_host)

    def ready(text: str) -> None:
        addresses = msgspec.json.decode(text)
        if as_json:
            print_json_line({"ready": addresses})
        else:
            print_lines(f"API      {addresses['api']}", "Ctrl-C stops it.")

    raise typer.Exit(serve_control(settings, sandbox_port=sandbox_port, ready=ready))


def add_to(application: typer.Typer) -> None:
    """Put these commands at the root."""
    application.add_typer(commands, name="gateway")
    application.command("control")(serve_control_plane)
