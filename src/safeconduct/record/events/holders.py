"""Events about organisations, subjects, passports, mandates, gateway keys and misuse signals.

All times are seconds since the epoch. Subjects appear by pseudonym only; organisations are legal persons and may be named.
"""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import (
    KeyId,
    MandateId,
    OrganisationId,
    PassportId,
    ProjectId,
    ProviderId,
    SubjectId,
    VariantId,
)
from safeconduct.kernel.vocabulary import (
    Level,
    PassportStatus,
    Purpose,
    Screening,
    Sector,
    SubjectKind,
    Surface,
)


class RegistryNumber(msgspec.Struct, frozen=True, gc=False):
    """An entry in a commercial register: the register's authority and the number there."""

    authority: str
    number: str


class OrganisationRegistered(
    msgspec.Struct, frozen=True, gc=False, tag="organisation_registered", tag_field="type"
):
    """An organisation became known. `provider` is set when it is a model provider's own organisation.

    parent: the organisation that owns it, for showing only: nothing is inherited from it.
    """

    organisation: OrganisationId
    legal_name: str
    country: str
    sector: Sector
    lei: str | None = None
    registry: RegistryNumber | None = None
    provider: ProviderId | None = None
    parent: OrganisationId | None = None


class OrganisationStandingChanged(
    msgspec.Struct, frozen=True, gc=False, tag="organisation_standing_changed", tag_field="type"
):
    """Verification and screening of an organisation as computed from evidence; replaces what was there.

    verified_until: 0 when not verified. list_digests: SHA-256 (hex) of the lists it was screened against.
    evidence: SHA-256 (hex) of the signed import it rests on. cause: why it is suspended, "" otherwise.
    """

    organisation: OrganisationId
    verified_until: int
    screening: Screening
    screened_at: int
    list_digests: tuple[str, ...]
    evidence: str
    suspended: bool = False
    cause: str = ""


class SubjectEnrolled(msgspec.Struct, frozen=True, gc=False, tag="subject_enrolled", tag_field="type"):
    """A subject got a pseudonym. For an agent: its accountable human and the digest of its software type."""

    subject: SubjectId
    kind: SubjectKind
    organisation: OrganisationId | None = None
    accountable: SubjectId | None = None
    software: str | None = None


class SubjectScreened(msgspec.Struct, frozen=True, gc=False, tag="subject_screened", tag_field="type"):
    """Screening of a subject; replaces the last one."""

    subject: SubjectId
    screening: Screening
    screened_at: int
    list_digests: tuple[str, ...]


class TermsSigned(msgspec.Struct, frozen=True, gc=False, tag="terms_signed", tag_field="type"):
    """A subject signed terms: `document` is their SHA-256 (hex). `until` is None when they do not lapse."""

    subject: SubjectId
    terms: str
    document: str
    signed_at: int
    until: int | None = None


class GroupMembershipChanged(
    msgspec.Struct, frozen=True, gc=False, tag="group_membership_changed", tag_field="type"
):
    """A subject joined or left a group of its organisation. Group names are scoped by organisation."""

    organisation: OrganisationId
    group: str
    subject: SubjectId
    member: bool


class PassportIssued(msgspec.Struct, frozen=True, gc=False, tag="passport_issued", tag_field="type"):
    """A passport was signed. `commitment` is SHA-256(salt || claims) in hex; the claims stay with the issuer.

    status_index: the entry in the status list. key: RFC 7638 thumbprint of the holder's key.
    hardware_bound: what the record of that authenticator says; aal: what the authenticator reaches.
    """

    passport: PassportId
    subject: SubjectId
    status_index: int
    key: str
    valid_from: int
    valid_until: int
    commitment: str
    aal: int
    supersedes: PassportId | None = None


class PassportStatusChanged(
    msgspec.Struct, frozen=True, gc=False, tag="passport_status_changed", tag_field="type"
):
    """Suspended, reinstated (VALID) or revoked (INVALID, for good)."""

    passport: PassportId
    status: PassportStatus
    cause: str
    by: str
    at: int


class MandateRegistered(msgspec.Struct, frozen=True, gc=False, tag="mandate_registered", tag_field="type"):
    """A delegation: `agent` may act for `principal` within this scope.

    principal: a human for the first link, else the agent above; parent: the mandate above, None for the first link.
    passport, aal, signed_at: of the human at the top when the chain's first mandate was signed.
    key: RFC 7638 thumbprint of the agent's own key. status_index: entry in the status list.
    depth: 1 for the first link, at most 4.
    """

    mandate: MandateId
    agent: SubjectId
    principal: SubjectId
    human: SubjectId
    passport: PassportId
    variants: tuple[VariantId, ...]
    purposes: tuple[Purpose, ...]
    project: ProjectId | None
    surfaces: tuple[Surface, ...]
    valid_from: int
    valid_until: int
    key: str
    aal: int
    signed_at: int
    status_index: int
    depth: int
    parent: MandateId | None = None


class MandateRevoked(msgspec.Struct, frozen=True, gc=False, tag="mandate_revoked", tag_field="type"):
    """A mandate ended; so do all below it."""

    mandate: MandateId
    by: str
    at: int


class GatewayKeyRegistered(
    msgspec.Struct, frozen=True, gc=False, tag="gateway_key_registered", tag_field="type"
):
    """An opaque key for tools that can send nothing else. Only the SHA-256 (hex) of the secret is kept.

    aal, authenticated_at: of the session that made it. networks: CIDRs it may come from.
    loopback_only: it is good only at a gateway that listens on loopback.
    claims_commitment: SHA-256(salt || claims) in hex of the claims disclosed then.
    """

    key: KeyId
    subject: SubjectId
    passport: PassportId
    project: ProjectId | None
    purpose: Purpose | None
    secret_sha256: str
    networks: tuple[str, ...]
    aal: int
    authenticated_at: int
    valid_from: int
    valid_until: int
    claims_commitment: str
    level_limit: Level = Level.C2
    loopback_only: bool = False


class GatewayKeyRevoked(msgspec.Struct, frozen=True, gc=False, tag="gateway_key_revoked", tag_field="type"):
    """A gateway key ended."""

    key: KeyId
    by: str
    at: int


class MisuseSignalReceived(
    msgspec.Struct, frozen=True, gc=False, tag="misuse_signal_received", tag_field="type"
):
    """A lab or operator signalled misuse: suspends the subject's passports or the organisation until adjudicated.

    evidence: SHA-256 (hex). signal: the sender's own number, used once per sender.
    """

    signal: str
    sender: str
    subject: SubjectId | None
    organisation: OrganisationId | None
    variant: VariantId
    kind: str
    evidence: str
    document: str
    received_at: int
