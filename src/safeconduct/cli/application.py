"""The command line: one file per noun, put together here.

Owns exit statuses (0 done, 1 refused or failed, 2 wrong use) and the form of errors. Refuses to print a stack trace for an
error that has a remedy.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from safeconduct import __version__
from safeconduct.cli import (
    audit,
    backup,
    connect,
    country,
    decisions,
    device,
    directive,
    document,
    evidence,
    gateway,
    grant,
    instance,
    key,
    kyc,
    kyc_applicant,
    kyc_matches,
    lists,
    mandate,
    misuse,
    model,
    organisation,
    ownership,
    passport,
    quota,
    screen,
    trust,
)
from safeconduct.cli.sample import command as sample
from safeconduct.cli.story import command as story

application = typer.Typer(
    name="safeconduct",
    help="Decides, enforces and proves who may use a frontier AI model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

for noun, commands in (
    ("audit", audit.commands),
    ("country", country.commands),
    ("device", device.commands),
    ("directive", directive.commands),
    ("document", document.commands),
    ("evidence", evidence.commands),
    ("grant", grant.commands),
    ("key", key.commands),
    ("kyc", kyc.commands),
    ("lists", lists.commands),
    ("mandate", mandate.commands),
    ("misuse", misuse.commands),
    ("model", model.commands),
    ("organisation", organisation.commands),
    ("ownership", ownership.commands),
    ("passport", passport.commands),
    ("quota", quota.commands),
    ("story", story.commands),
    ("trust", trust.commands),
):
    application.add_typer(commands, name=noun, no_args_is_help=True)

kyc_applicant.add_to(kyc.commands)
kyc_matches.add_to(kyc.commands)
instance.add_to(application)
connect.add_to(application)
decisions.add_to(application)
screen.add_to(application)
backup.add_to(application)
gateway.add_to(application)
sample.add_to(application)


def _print_version(value: bool) -> None:
    if value:
        sys.stdout.write(f"safeconduct {__version__}\n")
        raise typer.Exit


@application.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


def run(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    from safeconduct.kernel.errors import SafeconductError  # noqa: PLC0415

    try:
        status = application(words, standalone_mode=True)
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except SafeconductError as error:
        from safeconduct.cli.output import print_error  # noqa: PLC0415

        return print_error(error, as_json="--json" in words)
    except BrokenPipeError:
        # Whoever read our output has left; nothing more to say to them.
        sys.stdout = None
        return 1
    return status if isinstance(status, int) else 0
