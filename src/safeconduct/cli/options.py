"""Options that commands share, so that each has one name, one meaning and one help text."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    Path | None,
    typer.Option(
        "--data",
        help="The instance's data directory, or the directory that holds data/ and keys/ (default: run).",
        show_default=False,
        rich_help_panel="Instance",
    ),
]
Url = Annotated[
    str | None,
    typer.Option(
        "--url",
        help="Address of the running instance's API (default: where the instance says it listens).",
        show_default=False,
        rich_help_panel="Instance",
    ),
]
Speaker = Annotated[
    str | None,
    typer.Option(
        "--as",
        help="Party whose role key signs the call, e.g. operator, provider:anthropic, organisation:acme.",
        show_default=False,
        rich_help_panel="Instance",
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON on standard output.")]
