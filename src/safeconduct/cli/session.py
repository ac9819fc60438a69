"""What every command that talks to an instance starts with. Heavy imports happen here, not when help is shown."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from safeconduct.cli.client import ApiClient, InstanceFiles

OPERATOR = "operator"
ADJUDICATOR = "adjudicator"
ANALYST = "analyst"
AUDITOR = "auditor"


def files_of(data: Path | None) -> InstanceFiles:
    """The files of the instance. Raises InvalidInput, UnsafeConfiguration."""
    from safeconduct.cli.client import InstanceFiles  # noqa: PLC0415

    return InstanceFiles(data)


def connect(data: Path | None, url: str | None, speaker: str) -> ApiClient:
    """A client of the instance's API that speaks for a party."""
    from safeconduct.cli.client import ApiClient, InstanceFiles  # noqa: PLC0415

    return ApiClient(InstanceFiles(data), speaker, url=url)
