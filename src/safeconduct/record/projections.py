"""What the state holds about each thing the record speaks of. Values only: frozen, no rules, no time.

Owns the shape of the state's entries. Refuses to interpret them: what an entry means for a request is decided elsewhere.
All times are seconds since the epoch.
"""

from __future__ import annotations

from typing import Any

import msgspec
from immutables import Map

from safeconduct.authorization.predicate import Predicate
from safeconduct.kernel.ids import DirectiveId, OrganisationId, PassportId, ProviderId
from safeconduct.kernel.vocabulary import (
    ClearanceState,
    Compartment,
    Level,
    PassportStatus,
    Stage,
    Standing,
)
from safeconduct.record.events.authorizations import (
    ClearanceGranted,
    GrantGiven,
    LicenceGiven,
    ProjectApproved,
)
from safeconduct.record.events.cases import KycCaseChanged, KycCaseOpened
from safeconduct.record.events.holders import (
    GatewayKeyRegistered,
    MandateRegistered,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    SubjectEnrolled,
    SubjectScreened,
    TermsSigned,
)
from safeconduct.record.events.orders import DirectiveImported, OrganisationEntry, OrgListPublished
from safeconduct.record.events.ownership import OwnershipAssessed
from safeconduct.record.events.quotas import MeteringSet
from safeconduct.record.events.registrations import (
    CertificationRecorded,
    DeploymentRegistered,
    FindingRecorded,
    VariantRegistered,
)
from safeconduct.record.events.trust import PackPublished, TrustKeyAdded, TrustKeyRevoked


class TrustedKey(msgspec.Struct, frozen=True, gc=False):
    """A key of the trust list, and its revocation when there is one."""

    added: TrustKeyAdded
    revoked: TrustKeyRevoked | None = None


class InstanceKey(msgspec.Struct, frozen=True):
    """A public key that is or was the instance's own. key: what it signs. until: when it stopped or stops verifying."""

    key: str
    jwk: dict[str, Any]
    since: int
    until: int | None = None


class VariantState(msgspec.Struct, frozen=True, gc=False):
    """A variant with all that follows from its findings and its release.

    required_level, required_compartments, needs_project: what the provider asks for, raised by the findings.
    org_list: the list that a closed stage admits. cohort: the list that a partial restoration admits.
    metering: what its use costs and how long its answers can be, when that was said.
    """

    registered: VariantRegistered
    provider: ProviderId
    findings: tuple[FindingRecorded, ...]
    stage: Stage
    org_list: str | None
    standing: Standing
    cohort: str | None
    required_level: Level
    required_compartments: frozenset[Compartment]
    needs_project: bool
    metering: MeteringSet | None = None


class DeploymentState(msgspec.Struct, frozen=True, gc=False):
    """A deployment; `certifications` holds the latest of each scheme and level."""

    registered: DeploymentRegistered
    retired_at: int | None = None
    certifications: tuple[CertificationRecorded, ...] = ()


class OrganisationState(msgspec.Struct, frozen=True, gc=False):
    """An organisation; `standing` is None until it was verified or screened, `ownership` until an edge or list named it."""

    registered: OrganisationRegistered
    standing: OrganisationStandingChanged | None = None
    ownership: OwnershipAssessed | None = None


class ClearanceHeld(msgspec.Struct, frozen=True, gc=False):
    """The clearance as granted last and the state it is in now."""

    granted: ClearanceGranted
    state: ClearanceState


class SubjectState(msgspec.Struct, frozen=True, gc=False):
    """A subject under its pseudonym. terms: the latest signature of each terms document."""

    enrolled: SubjectEnrolled
    screening: SubjectScreened | None = None
    clearance: ClearanceHeld | None = None
    groups: frozenset[tuple[OrganisationId, str]] = frozenset()
    terms: tuple[TermsSigned, ...] = ()
    passports: tuple[PassportId, ...] = ()


class PassportState(msgspec.Struct, frozen=True, gc=False):
    """A passport and its status; INVALID is final."""

    issued: PassportIssued
    status: PassportStatus = PassportStatus.VALID
    cause: str = ""


class MandateState(msgspec.Struct, frozen=True, gc=False):
    """A mandate and when it was revoked."""

    registered: MandateRegistered
    revoked_at: int | None = None


class GatewayKeyState(msgspec.Struct, frozen=True, gc=False):
    """A gateway key and when it was revoked."""

    registered: GatewayKeyRegistered
    revoked_at: int | None = None


class ProjectState(msgspec.Struct, frozen=True, gc=False):
    """A project and when it ended. members: as a set; empty means everybody of the organisation."""

    approved: ProjectApproved
    ended_at: int | None = None


class GrantState(msgspec.Struct, frozen=True, gc=False):
    """A grant and when it ended."""

    given: GrantGiven
    ended_at: int | None = None


class LicenceState(msgspec.Struct, frozen=True, gc=False):
    """A licence and when it was withdrawn."""

    given: LicenceGiven
    ended_at: int | None = None


class OrgListState(msgspec.Struct, frozen=True, gc=False):
    """The highest version of a list; `organisations` are those of its lines that match exactly, the rest is `unmatched`."""

    published: OrgListPublished
    organisations: frozenset[OrganisationId] = frozenset()
    unmatched: tuple[OrganisationEntry, ...] = ()


class DirectiveState(msgspec.Struct, frozen=True, gc=False):
    """A directive, its annexes resolved to organisations, and the directives that changed it since.

    rescinded_from: when the first rescission that covers all its variants takes effect, else None.
    amended_by: `partially_authorise` directives that name it. rescinded_by: `rescind` directives that name it.
    applies_to, exceptions: the predicates, parsed; `applies_to` is None when it cannot be read (then it applies to all).
    """

    imported: DirectiveImported
    annexes: Map[str, frozenset[OrganisationId]] = Map()
    unmatched: tuple[OrganisationEntry, ...] = ()
    rescinded_from: int | None = None
    amended_by: tuple[DirectiveId, ...] = ()
    rescinded_by: tuple[DirectiveId, ...] = ()
    applies_to: Predicate | None = None
    exceptions: tuple[Predicate, ...] = ()


class PackState(msgspec.Struct, frozen=True, gc=False):
    """A version of a policy pack and its status: draft, active, suspended or rescinded."""

    published: PackPublished
    status: str


class CaseRecorded(msgspec.Struct, frozen=True, gc=False):
    """A KYC case as the record knows it: a pseudonym, and its latest change."""

    opened: KycCaseOpened
    last: KycCaseChanged | None = None
