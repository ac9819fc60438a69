"""Bringing the data directory of an older release to this one's format, step by step.

Owns the steps; what the databases need is their migrations'. Refuses a directory of a newer format, by the release's name, and
one that a process has open. The old descriptor is kept beside the new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Step = Callable[[dict[str, Any]], dict[str, Any]]


def _name_the_home(descriptor: dict[str, Any]) -> dict[str, Any]:
    """Format 1 kept every record in files and did not say so."""
    return {**descriptor, "record": "files"}


STEPS: dict[int, Step] = {1: _name_the_home}
"""From a format to the next one."""


def upgraded(descriptor: dict[str, Any], before: int, after: int, release: str) -> dict[str, Any]:
    """The descriptor's members in format `after`."""
    for number in range(before, after):
        descriptor = {**STEPS[number](descriptor), "format": number + 1}
    return {**descriptor, "release": release}
