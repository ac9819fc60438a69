"""`backup`, `restore`, `upgrade`: keeping an instance's data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data
from safeconduct.cli.output import print_json, print_lines, progress
from safeconduct.cli.session import files_of


def backup(
    target: Annotated[Path, typer.Argument(help="Directory or FILE.tar to write; it must not exist.")],
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Write a verified backup of an instance, also while it runs. No private key is in it: keep those elsewhere.

    Example: safeconduct backup safeconduct-monday.tar
    """
    from safeconduct.maintenance import back_up  # noqa: PLC0415

    files = files_of(data)
    manifest = back_up(files.settings, target, progress=lambda title: progress(title, quiet=as_json))
    told: dict[str, Any] = {
        "backup": str(target),
        "record": manifest.record.size,
        "decisions": manifest.decisions,
        "files": len(manifest.files),
        "bytes": sum(file.size for file in manifest.files),
    }
    if as_json:
        print_json(told)
        return
    print_lines(
        f"backed up  {told['record']} entries of the record, {told['decisions']} decisions, {told['bytes']} bytes",
        f"           {target}",
        f"Not in it  the keys: keep {files.settings.keys} elsewhere, the root key apart from both.",
    )


def restore(
    source: Annotated[Path, typer.Argument(help="Directory or file that `backup` wrote.")],
    known: Annotated[
        list[Path] | None,
        typer.Option(
            help="File with a checkpoint of one of the logs that somebody kept: the backup must hold it. May be repeated.",
            show_default=False,
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Exchange the data that are there; they are kept aside.")
    ] = False,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Put a backup back: every hash and both logs are verified, and nothing that was revoked or erased comes back.

    Refused when the backup's logs are shorter than the last checkpoint that the present data or --known show.

    Example: safeconduct restore safeconduct-monday.tar --replace
    """
    from safeconduct.maintenance import put_back  # noqa: PLC0415
    from safeconduct.settings import read_settings  # noqa: PLC0415
    from safeconduct.storage.restore import read_known  # noqa: PLC0415

    found = files_of(data).settings
    settings = read_settings(data=found.data, keys=found.keys)
    restored = put_back(
        settings,
        source,
        known=[read_known(path) for path in known or ()],
        replace=replace,
        progress=lambda title: progress(title, quiet=as_json),
    )
    told: dict[str, Any] = {
        "data": str(settings.data),
        "record": restored.manifest.record.size,
        "decisions": restored.manifest.decisions,
        "made_at": restored.manifest.made_at,
        "erased": restored.erased,
        "replaced": restored.kept,
    }
    if as_json:
        print_json(told)
        return
    print_lines(
        f"restored   {told['record']} entries of the record, {told['decisions']} decisions",
        f"           {settings.data}",
    )
    if restored.erased:
        print_lines(f"erasures   of {restored.erased} subjects were carried over")
    if restored.kept:
        print_lines(f"replaced   {restored.kept}")


def upgrade(data: Data = None, as_json: AsJson = False) -> None:
    """Bring a data directory that an older release made to this release's format. Back it up first.

    Example: safeconduct upgrade --data run
    """
    from safeconduct.maintenance import upgrade_data  # noqa: PLC0415

    settings = files_of(data).settings
    before, after = upgrade_data(settings)
    if as_json:
        print_json({"data": str(settings.data), "from": before, "to": after})
    elif before == after:
        print_lines(f"{settings.data} is of format {after} already")
    else:
        print_lines(f"{settings.data} was of format {before} and is of format {after} now")


def add_to(application: typer.Typer) -> None:
    """Put these commands at the root."""
    application.command("backup")(backup)
    application.command("restore")(restore)
    application.command("upgrade")(upgrade)
