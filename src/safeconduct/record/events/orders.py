"""Events about what authorities order: directives and lists of organisations. Times are seconds since the epoch."""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.kernel.ids import DirectiveId, VariantId
from safeconduct.kernel.vocabulary import DirectiveKind, Force, InFlight, Visibility


class OrganisationEntry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an annex or list. Matched only by exact LEI or by exact (registry_authority, registry_number)."""

    legal_name: str
    lei: str | None = None
    registry_authority: str | None = None
    registry_number: str | None = None


class Annex(msgspec.Struct, frozen=True):
    """An annex as received: its file's media type and SHA-256 (hex), and its lines."""

    name: str
    media_type: str
    sha256: str
    entries: tuple[OrganisationEntry, ...]


class DirectiveImported(msgspec.Struct, frozen=True, tag="directive_imported", tag_field="type"):
    """A directive whose signature, authority, number and annexes were verified on import.

    applies_to, except_: predicates as data (formats.md 4: {"all"|"any"|"not"} over facts), checked on import;
    amends: directive ids that a partially_authorise narrows or a rescind ends.
    packs: ids of policy packs that read this directive (it cites them).
    effective_from/effective_until: when it is in force; recorded_at: when we knew (both time axes).
    jws: the directive as signed; document: its SHA-256 (hex).
    """

    directive: DirectiveId
    authority: str
    jurisdiction: str
    number: str
    version: int
    kind: DirectiveKind
    force: Force
    visibility: Visibility
    variants: tuple[VariantId, ...]
    applies_to: dict[str, Any]
    except_: tuple[dict[str, Any], ...]
    amends: tuple[DirectiveId, ...]
    effective_from: int
    effective_until: int | None
    in_flight: InFlight
    annexes: tuple[Annex, ...]
    legal_source: str
    packs: tuple[str, ...]
    title: str
    jws: str
    document: str
    signed_with: str
    recorded_at: int


class OrgListPublished(msgspec.Struct, frozen=True, tag="org_list_published", tag_field="type"):
    """One signed list of organisations; a higher version replaces the lower one.

    sha256: of the entries' file; document: of the signed list.
    """

    list: str
    version: int
    authority: str
    sha256: str
    entries: tuple[OrganisationEntry, ...]
    valid_from: int
    valid_until: int | None
    document: str
    recorded_at: int
