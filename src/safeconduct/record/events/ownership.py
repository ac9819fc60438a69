"""Events about ownership: files that were imported, and what they amount to for an organisation.

All times are seconds since the epoch. The files themselves lie in the vault under their digest: gateways need the outcome only.
"""

from __future__ import annotations

import msgspec

from safeconduct.identity.ownership.regime import Outcome, Span
from safeconduct.kernel.ids import OrganisationId


class OwnershipImported(msgspec.Struct, frozen=True, tag="ownership_imported", tag_field="type"):
    """A file of edges or designations was imported. kind: `edges | designations`; form: `csv | json`.

    sha256 (hex) of the file. rows: how many. number: 1 for the first file of this record, and so on.
    lists: of designations, the lists that the file replaces, and the version of each.
    """

    sha256: str
    kind: str
    form: str
    rows: int
    number: int
    by: str
    recorded_at: int
    lists: tuple[tuple[str, str], ...] = ()


class OwnershipFinding(msgspec.Struct, frozen=True, gc=False):
    """What one regime at one version says. spans: when it denies, and as what; empty when it is clear.

    source: where the regime is laid down. list: the most restrictive list that reaches the organisation.
    """

    regime: str
    version: str
    source: str
    outcome: Outcome
    spans: tuple[Span, ...] = ()
    list: str | None = None


class OwnershipAssessed(msgspec.Struct, frozen=True, gc=False, tag="ownership_assessed", tag_field="type"):
    """What the regimes say of an organisation; replaces what was there.

    inputs: SHA-256 (hex) over the digests of all files and the names and versions of all regimes that it was computed from.
    """

    organisation: OrganisationId
    findings: tuple[OwnershipFinding, ...]
    inputs: str
    at: int
