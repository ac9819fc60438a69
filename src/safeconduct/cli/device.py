"""`device show|approve|deny`: answers to a device that asks for a mandate, given where the passport's key is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.options import AsJson
from safeconduct.cli.output import print_json, print_lines

if TYPE_CHECKING:
    from safeconduct.sdk.holder import Holder

commands = typer.Typer(help="Devices that wait for your approval (device flow).")
Code = Annotated[str, typer.Argument(help="The code that the device shows.")]
HolderFile = Annotated[Path, typer.Option("--holder", help="Holder file: the passport with its key.")]


def _post(holder: Holder, path: str, body: dict[str, Any]) -> dict[str, Any]:
    from safeconduct.cli.client import post_as_holder  # noqa: PLC0415

    told: dict[str, Any] = post_as_holder(holder, path, body)
    return told


def _lines(asked: dict[str, Any]) -> list[str]:
    return [
        f"device   {asked['name'] or '(no name)'}, asked from {asked['source']}",
        f"models   {', '.join(asked['models'])}",
        f"purpose  {asked['purpose']}" + (f", project {asked['project']}" if asked.get("project") else ""),
        f"key      {asked['key']}",
    ]


@commands.command()
def show(code: Code, holder: HolderFile, as_json: AsJson = False) -> None:
    """What the device behind a code asks for.

    Example: safeconduct device show BCDF-GHJK --holder run/holders/french-annexed.json
    """
    from safeconduct.sdk.holder import Holder  # noqa: PLC0415

    asked = _post(Holder.load(holder), "/api/devices/describe", {"user_code": code})
    if as_json:
        print_json(asked)
    else:
        print_lines(*_lines(asked))


@commands.command()
def approve(
    code: Code,
    holder: HolderFile,
    duration: Annotated[str, typer.Option("--for", help="How long it may call models.")] = "12h",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Sign a mandate for the device: it may call the models it asks for in your name, until the mandate ends.

    Example: safeconduct device approve BCDF-GHJK --holder run/holders/french-annexed.json --for 8h
    """
    from safeconduct.cli.reading import duration as seconds  # noqa: PLC0415
    from safeconduct.kernel.clock import SystemClock  # noqa: PLC0415
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.ids import MandateId, ProjectId, SubjectId, VariantId, new_id  # noqa: PLC0415
    from safeconduct.kernel.jose import parse_jws  # noqa: PLC0415
    from safeconduct.kernel.vocabulary import Purpose, Surface  # noqa: PLC0415
    from safeconduct.passport.mandate import Mandate, Scope  # noqa: PLC0415
    from safeconduct.sdk.holder import Holder  # noqa: PLC0415

    held = Holder.load(holder)
    if held.passport is None:
        raise InvalidInput(
            "an agent cannot approve a device", field="--holder", remedy="use the passport's file"
        )
    asked = _post(held, "/api/devices/describe", {"user_code": code})
    if not yes:
        print_lines(*_lines(asked))
        typer.confirm("Did you start this, and may it do that in your name?", abort=True, err=as_json)
    now = int(SystemClock().now())
    subject = str(parse_jws(held.passport.split("~", 1)[0]).claims()["sub"])
    mandate = Mandate(
        id=MandateId(new_id("mdt")),
        principal=SubjectId(subject),
        agent=SubjectId(asked["agent"]),
        scope=Scope(
            variants=tuple(VariantId(name) for name in asked["models"]),
            purposes=(Purpose(asked["purpose"]),),
            surfaces=(Surface.API, Surface.AGENT),
            valid_from=now,
            valid_until=now + seconds(duration, "--for"),
            project=ProjectId(asked["project"]) if asked.get("project") else None,
        ),
        agent_jwk=asked["jwk"],
        signed_at=now,
    )
    made = _post(held, "/api/devices/approve", {"user_code": code, "mandate": held.sign_mandate(mandate)})
    if as_json:
        print_json(made)
    else:
        print_lines(
            f"approved: {made['mandate']} for {made['agent']}, end it with `safeconduct mandate revoke`"
        )


@commands.command()
def deny(code: Code, holder: HolderFile, as_json: AsJson = False) -> None:
    """Refuse a device that you did not start.

    Example: safeconduct device deny BCDF-GHJK --holder run/holders/french-annexed.json
    """
    from safeconduct.sdk.holder import Holder  # noqa: PLC0415

    asked = _post(Holder.load(holder), "/api/devices/deny", {"user_code": code})
    if as_json:
        print_json(asked)
    else:
        print_lines(f"refused {asked['name'] or asked['agent']}")
