"""The packs that ship: per pack a rule in Cedar, its metadata with legal source, and its test cases.

Owns the reading of these files. Refuses to make them run: a pack runs once a `PackPublished` event says so.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from safeconduct.kernel.canonical import sha256_hex
from safeconduct.policy.slices import Question
from safeconduct.record.events.trust import PackPublished


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test case of a pack: a context (what it leaves out has the defaults) and the ids of the policies that forbid."""

    name: str
    context: Question
    forbids: tuple[str, ...]


class Metadata(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`pack.json`. Times are seconds since the epoch."""

    pack: str
    version: str
    kind: str
    title: str
    legal_source: str
    jurisdiction: str
    status: str
    effective_from: int
    effective_until: int | None
    parameters: dict[str, Any]


def _folders() -> list[Traversable]:
    root = resources.files(__package__ or __name__)
    return sorted(
        (folder for folder in root.iterdir() if folder.is_dir() and (folder / "pack.json").is_file()),
        key=lambda folder: folder.name,
    )


def load_shipped(recorded_at: int = 0) -> list[PackPublished]:
    """The shipped packs as events, ordered by id. recorded_at: seconds, when they enter the record."""
    found = []
    for folder in _folders():
        metadata = msgspec.json.decode((folder / "pack.json").read_bytes(), type=Metadata)
        policies = (folder / "rule.cedar").read_text("utf-8")
        found.append(
            PackPublished(
                **msgspec.structs.asdict(metadata),
                policies=policies,
                sha256=sha256_hex(policies.encode()),
                recorded_at=recorded_at,
            )
        )
    return found


def load_cases() -> dict[str, tuple[Case, ...]]:
    """The test cases of each shipped pack, by pack id."""
    return {
        folder.name: msgspec.json.decode((folder / "cases.json").read_bytes(), type=tuple[Case, ...])
        for folder in _folders()
    }
