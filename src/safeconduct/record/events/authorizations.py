"""Events about clearances, projects, grants and licences. Times are seconds since the epoch."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import (
    GrantId,
    LicenceId,
    OrganisationId,
    ProjectId,
    ProviderId,
    SubjectId,
    VariantId,
)
from safeconduct.kernel.vocabulary import ClearanceState, Compartment, Condition, Level, Purpose, Surface


class ClearanceGranted(msgspec.Struct, frozen=True, gc=False, tag="clearance_granted", tag_field="type"):
    """A subject's clearance as computed and adjudicated; replaces the last one.

    adjudicators: ids of who decided; two different ones for C3 and up. evidence: SHA-256 (hex) of the signed import.
    """

    subject: SubjectId
    level: Level
    compartments: tuple[Compartment, ...]
    caveats: tuple[str, ...]
    state: ClearanceState
    valid_from: int
    valid_until: int
    adjudicators: tuple[str, ...]
    evidence: str


class ClearanceChanged(msgspec.Struct, frozen=True, gc=False, tag="clearance_changed", tag_field="type"):
    """Suspended, reinstated, revoked or expired; level and compartments stay as they were."""

    subject: SubjectId
    state: ClearanceState
    cause: str
    by: str
    at: int


class ProjectApproved(msgspec.Struct, frozen=True, gc=False, tag="project_approved", tag_field="type"):
    """A project of an organisation (or of one person without one): the need to know.

    members: subjects who work on it; empty means everybody of the organisation.
    """

    project: ProjectId
    organisation: OrganisationId | None
    owner: SubjectId | None
    purposes: tuple[Purpose, ...]
    compartments: tuple[Compartment, ...]
    members: tuple[SubjectId, ...]
    valid_from: int
    valid_until: int
    approved_by: tuple[str, ...]
    requested_by: str
    targets: tuple[str, ...] = ()
    end_users: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    downstream_use: str = ""
    autonomy: str = ""


class ProjectEnded(msgspec.Struct, frozen=True, gc=False, tag="project_ended", tag_field="type"):
    """A project closed."""

    project: ProjectId
    at: int


class GrantGiven(msgspec.Struct, frozen=True, gc=False, tag="grant_given", tag_field="type"):
    """One link of the chain. Exactly one grantor and one grantee are set.

    A provider grants to an organisation (or to a subject that has none); an organisation grants to a subject or a group
    of its own, always under a `parent`: the provider's grant it narrows.
    variants, purposes, surfaces, regions: an empty tuple of regions means every region; the others are never empty.
    valid_from is the moment of approval. fallback: a variant to ask when none of these answers; it is no grant of it.
    """

    grant: GrantId
    by_provider: ProviderId | None
    by_organisation: OrganisationId | None
    to_organisation: OrganisationId | None
    to_group: str | None
    to_subject: SubjectId | None
    variants: tuple[VariantId, ...]
    purposes: tuple[Purpose, ...]
    surfaces: tuple[Surface, ...]
    regions: tuple[str, ...]
    valid_from: int
    valid_until: int
    approved_by: tuple[str, ...]
    requested_by: str
    parent: GrantId | None = None
    conditions: tuple[Condition, ...] = ()
    fallback: VariantId | None = None


class GrantEnded(msgspec.Struct, frozen=True, gc=False, tag="grant_ended", tag_field="type"):
    """A grant ended; so do its children."""

    grant: GrantId
    by: str
    at: int


class LicenceGiven(msgspec.Struct, frozen=True, gc=False, tag="licence_given", tag_field="type"):
    """An authority licenses what its order otherwise forbids.

    annex: organisations it names; empty means that it names persons by class only.
    person_classes: `us_person`, `foreign_national`, `employee_of_provider`, or empty for all.
    document: SHA-256 (hex) of the signed licence.
    """

    licence: LicenceId
    authority: str
    instrument: str
    jurisdiction: str
    annex: tuple[OrganisationId, ...]
    subjects: tuple[SubjectId, ...]
    person_classes: tuple[str, ...]
    variants: tuple[VariantId, ...]
    regions: tuple[str, ...]
    purposes: tuple[Purpose, ...]
    valid_from: int
    valid_until: int
    conditions: tuple[Condition, ...]
    document: str
    recorded_at: int


class LicenceEnded(msgspec.Struct, frozen=True, gc=False, tag="licence_ended", tag_field="type"):
    """A licence was withdrawn."""

    licence: LicenceId
    by: str
    at: int
