"""`run` and `reset`: the whole system with the sample's people and models, for looking at and trying out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from safeconduct.cli.options import AsJson
from safeconduct.cli.output import print_json, print_json_line

if TYPE_CHECKING:
    from safeconduct.settings import Settings
    from safeconduct.web.listeners import Addresses

Home = Annotated[
    Path | None,
    typer.Option("--home", help="Directory for data, keys and the tour (default: run).", show_default=False),
]
_UNFINISHED = "enrolling"
_ENROLLED = "enrolled.json"


def run(
    home: Home = None,
    gateway_port: Annotated[
        int | None, typer.Option(help="Port of the gateway (default 8780).", show_default=False)
    ] = None,
    api_port: Annotated[
        int | None, typer.Option(help="Port of API and page (default 8781).", show_default=False)
    ] = None,
    sandbox_port: Annotated[int, typer.Option(help="Port of the sandbox provider.")] = 8782,
    as_json: AsJson = False,
) -> None:
    """Start everything with the sample of June 2026 (a reconstruction), in the foreground, until Ctrl-C.

    With --json one line tells when it is ready, with addresses, directories and the commands to try; progress goes to
    standard error.

    Example: safeconduct run
    """
    from safeconduct.bootstrap import initialise_instance  # noqa: PLC0415
    from safeconduct.cli.sample.enrolment import parties_of  # noqa: PLC0415
    from safeconduct.cli.sample.reconstruction import read_sample  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415
    from safeconduct.web.listeners import check_free  # noqa: PLC0415
    from safeconduct.web.serving import serve  # noqa: PLC0415

    place = (home or Path("run")).absolute()
    told = sys.stderr if as_json else sys.stdout
    settings = read_settings(home=place, gateway_port=gateway_port, api_port=api_port)
    settings = _ports_kept(place, settings, gateway_port, api_port)
    check_free(settings.gateway_host, settings.gateway_port, "--gateway-port")
    check_free(settings.api_host, settings.api_port, "--api-port")
    if not (place / _ENROLLED).exists():
        check_free("127.0.0.1", sandbox_port, "--sandbox-port")
        if (place / _UNFINISHED).exists():
            _say("The last enrolment was interrupted: starting it again.", to=told)
            _remove(place)
        elif settings.instance_file.exists():
            from safeconduct.kernel.errors import Conflict  # noqa: PLC0415

            raise Conflict(
                "there is an instance here that `run` did not make",
                field=str(place),
                remedy="serve it with `safeconduct serve`, or name another directory with --home",
            )
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        (place / _UNFINISHED).touch()
        _say("Making a development instance: keys, record, decision log ...", to=told)
        initialise_instance(settings, profile="development", parties=parties_of(read_sample()))

    def ready(addresses: Addresses) -> None:
        import threading  # noqa: PLC0415

        # Enrolment speaks to the API of this very process, so it must not stand on its event loop.
        threading.Thread(
            target=_enrol_and_tell, args=(place, settings, addresses, as_json), daemon=True
        ).start()

    raise typer.Exit(serve(settings, sandbox_port=sandbox_port, ready=ready))


def reset(
    home: Home = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Delete the data, keys and tour that `run` keeps. Touches nothing that `run` did not make.

    Example: safeconduct reset --yes
    """
    place = (home or Path("run")).absolute()
    if not place.exists():
        if as_json:
            print_json({"directory": str(place), "deleted": False})
        else:
            _say(f"nothing to delete: {place} does not exist")
        return
    if not (place / _ENROLLED).exists() and not (place / _UNFINISHED).exists():
        from safeconduct.kernel.errors import Conflict  # noqa: PLC0415

        raise Conflict("`run` did not make this directory", field=str(place), remedy="delete it yourself")
    if not yes and not typer.confirm(f"Delete {place} with its record and keys?", err=as_json):
        raise typer.Exit(1)
    _remove(place)
    if as_json:
        print_json({"directory": str(place), "deleted": True})
    else:
        _say(f"deleted {place}")


def _remove(place: Path) -> None:
    import shutil  # noqa: PLC0415

    shutil.rmtree(place)


def _say(*lines: str, to: TextIO | None = None) -> None:
    stream = to or sys.stdout
    stream.writelines(line + "\n" for line in lines)
    stream.flush()


def _ports_kept(place: Path, settings: Settings, gateway_port: int | None, api_port: int | None) -> Settings:
    """An instance keeps the ports it was made for: passports and tokens name its addresses."""
    if not settings.instance_file.exists() or not (place / _ENROLLED).exists():
        return settings
    from urllib.parse import urlsplit  # noqa: PLC0415

    from safeconduct.kernel.errors import Conflict  # noqa: PLC0415
    from safeconduct.settings import read_descriptor, read_settings  # noqa: PLC0415

    descriptor = read_descriptor(settings)
    kept = {
        "gateway_port": urlsplit(descriptor.audience).port or 443,
        "api_port": urlsplit(descriptor.issuer).port or 443,
    }
    for name, given in (("gateway_port", gateway_port), ("api_port", api_port)):
        if given is not None and given != kept[name]:
            raise Conflict(
                f"the instance in {place} was made for port {kept[name]}",
                field=f"--{name.replace('_', '-')}",
                remedy="give --home another directory, or `make reset` first",
            )
    return read_settings(home=place, gateway_port=kept["gateway_port"], api_port=kept["api_port"])


def _enrol_and_tell(place: Path, settings: Settings, addresses: Addresses, as_json: bool) -> None:
    import os  # noqa: PLC0415
    import signal  # noqa: PLC0415

    from safeconduct.kernel.errors import SafeconductError  # noqa: PLC0415

    try:
        _enrol(place, addresses, sys.stderr if as_json else sys.stdout)
    except Exception as error:  # noqa: BLE001 - told below, and the process stops
        # Whatever it was, a process that looks alive without its sample would mislead: say it and stop.
        from safeconduct.cli.output import print_error  # noqa: PLC0415

        if not isinstance(error, SafeconductError):
            error = SafeconductError(
                f"enrolling the sample failed: {error!r}", remedy="make reset, then again"
            )
        print_error(error, as_json=as_json)
        os.kill(os.getpid(), signal.SIGTERM)
        return
    _tell(place, settings, addresses, as_json)


def _enrol(place: Path, addresses: Addresses, told: TextIO) -> None:
    if (place / _ENROLLED).exists():
        return
    import msgspec  # noqa: PLC0415

    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415
    from safeconduct.cli.output import progress  # noqa: PLC0415
    from safeconduct.cli.sample.enrolment import Enrolment  # noqa: PLC0415
    from safeconduct.cli.sample.reconstruction import read_sample  # noqa: PLC0415
    from safeconduct.cli.sample.tour import Tour  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    sample = read_sample()
    holders = place / "holders"
    holders.mkdir(mode=0o700, exist_ok=True)
    enrolment = Enrolment(
        sample,
        InstanceFiles(place),
        api=addresses.api,
        gateway=addresses.gateway,
        sandbox=addresses.sandbox,
        holders=holders,
        clock=SystemClock(),
    )
    steps = 5 + sum(1 for one in sample.subjects if one.kind == "human")
    done = 0
    with progress("enrolling the sample") as advance:

        def step(text: str) -> None:
            nonlocal done
            done += 1
            advance(done, steps)
            if not sys.stderr.isatty():
                _say(f"  {text}", to=told)

        enrolment.enrol(step)
        step("the tour's files")
        Tour(place, sample).write_once(enrolment)
    kept: dict[str, Any] = {"subjects": enrolment.subjects}
    (place / _ENROLLED).write_bytes(msgspec.json.encode(kept))
    (place / _UNFINISHED).unlink()


def _tell(place: Path, settings: Settings, addresses: Addresses, as_json: bool) -> None:
    from safeconduct.cli.sample.reconstruction import read_sample  # noqa: PLC0415
    from safeconduct.cli.sample.tour import Tour  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415

    sample = read_sample()
    tour = Tour(place, sample)
    order = tour.write_order(int(SystemClock().now()))
    commands = tour.lines(order=order)
    if as_json:
        print_json_line(
            {
                "ready": {"api": addresses.api, "gateway": addresses.gateway, "sandbox": addresses.sandbox},
                "data": str(settings.data),
                "logs": str(settings.logs),
                "commands": [{"title": title, "command": command} for title, command in commands],
            }
        )
        return
    _say(
        "",
        f"Safeconduct is ready. {sample.title}.",
        sample.notice,
        "Development profile: a sandbox provider answers, and key files count as hardware-bound.",
        "",
        f"  decisions as they happen   {addresses.api}/",
        f"  gateway                    {addresses.gateway}",
        f"  data, logs                 {settings.data}, {settings.logs}",
        "  start afresh               make reset",
        "",
        "In a second terminal, in this order:",
    )
    for number, (title, command) in enumerate(commands, 1):
        _say("", f"{number}. {title}", f"   {command}")
    _say("", "Ctrl-C stops it; the data stay.")


def add_to(application: typer.Typer) -> None:
    """Put these commands at the root."""
    application.command("run")(run)
    application.command("reset")(reset)
