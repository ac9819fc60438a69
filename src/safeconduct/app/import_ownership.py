"""Use cases: take in a file of ownership edges, or of designations.

Owns that the file is kept, the import recorded and everybody whom it reaches assessed in one commit: there is no moment in which
the record knows the file and not what follows from it.
"""

from __future__ import annotations

from typing import Final

import msgspec

from safeconduct.app.assess_ownership import (
    DESIGNATIONS,
    EDGES,
    VAULT_KIND,
    VAULT_SUBJECT,
    day_of,
    designations_of,
    ownership_events,
    parse,
    remember,
)
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.ownership.designation import Designation
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.ownership import OwnershipAssessed, OwnershipImported
from safeconduct.record.state import State, fold

_LEAST_LEFT: Final = (2, 3)
"""A list that keeps less than this part of its designations is taken for half a file."""


class ImportOwnership(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """format: `csv` or `json`. document: the file's text.

    allow_fewer: of designations, admit a file in which a list has lost more than a third of its entries.
    """

    format: str
    document: str
    allow_fewer: bool = False


class OwnershipImportResult(msgspec.Struct, frozen=True):
    """assessed: the organisations whose outcome under a regime changed, each with (regime, outcome) pairs."""

    imported: OwnershipImported
    assessed: tuple[tuple[OrganisationId, tuple[tuple[str, str], ...]], ...]


def import_edges(instance: Instance, caller: Caller, ask: ImportOwnership) -> OwnershipImportResult:
    """By an operator. Raises Forbidden, InvalidInput naming line and column, Conflict (imported already), LogUnavailable."""
    return _import(instance, caller, ask, EDGES)


def import_designations(instance: Instance, caller: Caller, ask: ImportOwnership) -> OwnershipImportResult:
    """By an operator. A file replaces what was known of every list that it names.

    Raises Forbidden, InvalidInput, Conflict (imported already; a list lost more than a third), LogUnavailable.
    """
    return _import(instance, caller, ask, DESIGNATIONS)


def _import(instance: Instance, caller: Caller, ask: ImportOwnership, kind: str) -> OwnershipImportResult:
    require_role(caller, Role.OPERATOR)
    now = instant(instance)
    data = ask.document.encode()
    rows = parse(kind, data, ask.format, today=day_of(now))
    sha256 = sha256_hex(data)
    lists = tuple(sorted({(one.list, one.version) for one in rows if isinstance(one, Designation)}))

    def check(state: State) -> list[Event]:
        if sha256 in state.ownership_files:
            raise Conflict(
                "this very file was imported before",
                field="document",
                remedy="state what changed in a new file, with a later as_of",
            )
        if kind == DESIGNATIONS and not ask.allow_fewer:
            _check_whole(instance, state, rows, now)
        imported = OwnershipImported(
            sha256=sha256,
            kind=kind,
            form=ask.format,
            rows=len(rows),
            number=len(state.ownership_files) + 1,
            by=caller.id,
            recorded_at=now,
            lists=lists,
        )
        # Kept before the record names it: a crash in between leaves a file that nothing refers to, never the reverse.
        instance.vault.put(VAULT_KIND, sha256, VAULT_SUBJECT, data)
        remember(sha256, rows)
        return [imported, *ownership_events(instance, fold([imported], state), now)]

    events = commit_checked(instance, check)
    imported, *assessed = events
    assert isinstance(imported, OwnershipImported)
    return OwnershipImportResult(
        imported,
        tuple(
            (one.organisation, tuple((finding.regime, finding.outcome.value) for finding in one.findings))
            for one in assessed
            if isinstance(one, OwnershipAssessed)
        ),
    )


def _check_whole(instance: Instance, state: State, rows: tuple[object, ...], now: int) -> None:
    before: dict[str, int] = {}
    for one in designations_of(instance, state, now):
        before[one.list] = before.get(one.list, 0) + 1
    after: dict[str, int] = {}
    for row in rows:
        if isinstance(row, Designation):
            after[row.list] = after.get(row.list, 0) + 1
    part, whole = _LEAST_LEFT
    for name, count in sorted(after.items()):
        if count * whole < before.get(name, 0) * part:
            raise Conflict(
                f"list {name!r} would have {count} designations, it has {before[name]}",
                field="document",
                remedy="check that the file is whole; say `allow_fewer` when it is",
            )
