"""The packs that ship: per pack a rule in Cedar, its metadata with legal source, and its test cases.

Owns the reading of these files. Refuses to make them run: a pack runs once a `PackPublished` event says so.
"""

from __future__ import annotations

from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

import msgspec

from safeconduct.identity.customer_file import CustomerFile
from safeconduct.identity.ownership.edge import EdgeKind
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.policy.slices import Question
from safeconduct.record.events.trust import PackPublished


class Case(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test case of a pack: a context (what it leaves out has the defaults) and the ids of the policies that forbid."""

    name: str
    context: Question
    forbids: tuple[str, ...]


class CompletenessCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test case of a completeness pack: a customer's file and the members whose sentences are missing."""

    name: str
    file: CustomerFile
    missing: tuple[str, ...]


class OwnershipCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A test case of a regime: edges (owner, owned, percent, kind), listed (node, list, programmes), and what is
    expected of nodes on a day.
    """

    name: str
    edges: tuple[tuple[str, str, str, EdgeKind], ...]
    listed: tuple[tuple[str, str, tuple[str, ...]], ...]
    on: str
    expect: dict[str, Outcome]


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


_CEDAR, _REGIME = "rule.cedar", "rule.json"


def _folders(kind: str, rule: str = "") -> list[Traversable]:
    """Folders of packs of a kind; rule: those that hold such a file, or (empty) no regime."""
    root = resources.files(__package__ or __name__)
    return sorted(
        (
            folder
            for folder in root.iterdir()
            if folder.is_dir()
            and (folder / "pack.json").is_file()
            and _metadata(folder).kind == kind
            and ((folder / rule).is_file() if rule else not (folder / _REGIME).is_file())
        ),
        key=lambda folder: folder.name,
    )


def _metadata(folder: Traversable) -> Metadata:
    return msgspec.json.decode((folder / "pack.json").read_bytes(), type=Metadata)


def _load(kind: str, rule: str, recorded_at: int) -> list[PackPublished]:
    found = []
    for folder in _folders(kind, rule):
        metadata = _metadata(folder)
        policies = (folder / rule).read_text("utf-8")
        found.append(
            PackPublished(
                **msgspec.structs.asdict(metadata),
                policies=policies,
                sha256=sha256_hex(policies.encode()),
                recorded_at=recorded_at,
            )
        )
    return found


def load_shipped(recorded_at: int = 0) -> list[PackPublished]:
    """The shipped decision packs as events, ordered by id. recorded_at: seconds, when they enter the record."""
    return _load("decision", _CEDAR, recorded_at)


def load_regimes(recorded_at: int = 0) -> list[PackPublished]:
    """The shipped ownership regimes as events, ordered by id."""
    return _load("computation", _REGIME, recorded_at)


def load_ownership_cases() -> dict[str, tuple[OwnershipCase, ...]]:
    """The test cases of each shipped regime, by pack id."""
    return {
        folder.name: msgspec.json.decode((folder / "cases.json").read_bytes(), type=tuple[OwnershipCase, ...])
        for folder in _folders("computation", _REGIME)
    }


def load_cases() -> dict[str, tuple[Case, ...]]:
    """The test cases of each shipped decision pack, by pack id."""
    return {
        folder.name: msgspec.json.decode((folder / "cases.json").read_bytes(), type=tuple[Case, ...])
        for folder in _folders("decision")
    }


def load_computations() -> dict[str, tuple[Metadata, tuple[CompletenessCase, ...]]]:
    """The shipped completeness packs with their test cases, by pack id. They run where they are asked, not per request."""
    return {
        folder.name: (
            _metadata(folder),
            msgspec.json.decode((folder / "cases.json").read_bytes(), type=tuple[CompletenessCase, ...]),
        )
        for folder in _folders("computation")
    }
