"""`connect`: a local endpoint for tools that can only send an API key."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeconduct.cli.options import AsJson
from safeconduct.cli.output import print_json, print_json_line, print_lines

if TYPE_CHECKING:
    from safeconduct.sdk.holder import Holder

DEFAULT_PORT = 8790


def connect(
    holder: Annotated[
        Path | None,
        typer.Option(help="Holder file: passport or mandate with its key.", show_default=False),
    ] = None,
    issuer: Annotated[
        str | None,
        typer.Option(help="Sign this machine in at an issuer instead (device flow).", show_default=False),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Model to ask for; may be repeated.", show_default=False),
    ] = None,
    purpose: Annotated[str | None, typer.Option(help="Purpose of the requests.", show_default=False)] = None,
    project: Annotated[str | None, typer.Option(help="Project.", show_default=False)] = None,
    name: Annotated[
        str, typer.Option(help="With --issuer: what this machine is called to its human.")
    ] = "connect",
    save: Annotated[
        Path,
        typer.Option(help="With --issuer: where the signed-in holder file is kept."),
    ] = Path("connect.json"),
    port: Annotated[int, typer.Option(help="Port on 127.0.0.1.")] = DEFAULT_PORT,
    print_env: Annotated[
        bool, typer.Option("--print-env", help="Print the variables for tools, and stop.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Hold the passport's key here and give tools of this machine an API key of their own, until Ctrl-C.

    Every tool that takes a base URL and an API key works unchanged, for models that ask for a bound token too.

    Example: safeconduct connect --holder run/holders/french-annexed.json --purpose vuln_triage
    """
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.sdk.connect import environment  # noqa: PLC0415
    from safeconduct.sdk.holder import Holder  # noqa: PLC0415

    if (holder is None) == (issuer is None):
        raise InvalidInput("give one of --holder and --issuer", field="--holder")
    place = holder or save
    key = _local_key(place)
    if print_env:
        values = environment(port, key)
        if as_json:
            print_json(values)
        else:
            print_lines(*(f"export {variable}={value}" for variable, value in values.items()))
        return
    if issuer is not None and not place.exists():
        _sign_in(issuer, model or [], purpose, project, name, as_json=as_json).save(place)
    raise typer.Exit(
        _serve(Holder.load(place), key, place, port, model or [], purpose, project, as_json=as_json)
    )


def _local_key(place: Path) -> str:
    """The key that tools of this machine send: made once, kept beside the holder file."""
    import secrets  # noqa: PLC0415

    from safeconduct.sdk.holder import write_private  # noqa: PLC0415
    from safeconduct.storage.key_directory import read_private  # noqa: PLC0415

    path = place.with_suffix(".connect-key")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_private(path, f"local_{secrets.token_urlsafe(32)}\n".encode())
    return read_private(path).decode("ascii").strip()


def _sign_in(
    issuer: str, models: list[str], purpose: str | None, project: str | None, name: str, *, as_json: bool
) -> Holder:
    from safeconduct.kernel.errors import Forbidden, InvalidInput  # noqa: PLC0415
    from safeconduct.sdk.sign_in import DeviceSignIn, SignInRefused  # noqa: PLC0415

    if not models or purpose is None:
        raise InvalidInput("signing in needs --model and --purpose", field="--model")
    sign_in = DeviceSignIn(issuer, models=models, purpose=purpose, project=project, name=name)
    try:
        code, page = sign_in.begin()
        if as_json:
            print_json_line({"user_code": code, "verification_uri": page})
        else:
            print_lines(
                f"Approve this machine with the code {code} (see {page}), where your passport's key is:",
                f"  safeconduct device approve {code} --holder passport.json",
            )
            sys.stdout.flush()
        return sign_in.finish()
    except SignInRefused as refused:
        raise Forbidden(
            f"not signed in: {refused}", remedy="start again and approve within ten minutes"
        ) from None


def _serve(
    holder: Holder,
    key: str,
    place: Path,
    port: int,
    models: list[str],
    purpose: str | None,
    project: str | None,
    *,
    as_json: bool,
) -> int:
    import asyncio  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from safeconduct.kernel.errors import Conflict  # noqa: PLC0415
    from safeconduct.sdk.auth import AgentAuth, PassportAuth  # noqa: PLC0415
    from safeconduct.sdk.connect import LocalEndpoint  # noqa: PLC0415

    kind = PassportAuth if holder.passport is not None else AgentAuth
    auth = kind(holder, models=models, purpose=purpose, project=project)

    async def run() -> None:
        endpoint = LocalEndpoint(auth, key)
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(one, stop.set)
        try:
            bound = await endpoint.start(port)
        except OSError as error:
            raise Conflict(
                f"port {port} cannot be bound: {error.strerror}", field="--port", remedy="choose another"
            ) from None
        if as_json:
            print_json_line({"ready": f"http://127.0.0.1:{bound}", "gateway": holder.gateway})
        else:
            option = f"--holder {place}" + ("" if bound == DEFAULT_PORT else f" --port {bound}")
            # The key itself is printed on request only: terminals are scrolled back and shared.
            print_lines(
                f"http://127.0.0.1:{bound} passes requests on to {holder.gateway}",
                f'In another terminal: eval "$(safeconduct connect {option} --print-env)"',
                "Ctrl-C stops it.",
            )
            sys.stdout.flush()
        await stop.wait()
        await endpoint.close()

    asyncio.run(run())
    return 0


def add_to(application: typer.Typer) -> None:
    """Put this command at the root."""
    application.command("connect")(connect)
