"""What is asked of a decision. Everything a decision may depend on is here, in the state, or is the time."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import (
    DeploymentId,
    KeyId,
    MandateId,
    OrganisationId,
    PassportId,
    ProjectId,
    SubjectId,
    VariantId,
)
from safeconduct.kernel.vocabulary import Binding, Purpose, SubjectKind, Surface
from safeconduct.passport.claims import Claims


class DecisionRequest(msgspec.Struct, frozen=True, omit_defaults=True, cache_hash=True):
    """One question: may this caller use this variant at this deployment for this purpose?

    Hashable and free of per-request noise (no nonce, no token id), so that the same question gives the same key.

    subject, holder: who asks, and the human whose passport everything rests on (equal unless an agent asks).
    aal, authenticated_at: of the session behind the credential, and when (seconds).
    mandates: from the human's down to the asking agent's; empty for a human.
    variant: as named by the caller; unknown text gives MODEL_UNKNOWN.
    deployment: the resolved deployment, or None in a dry run that asks for any.
    location: ISO 3166-1 alpha-2 (or ISO 3166-2, e.g. `UA-43`) of the network address, as evidence only; None when unknown.
    network_permitted: False when a gateway key came from outside its source-network list.
    """

    subject: SubjectId
    holder: SubjectId
    kind: SubjectKind
    passport: PassportId
    claims: Claims
    aal: int
    authenticated_at: int
    binding: Binding
    purpose: Purpose | None
    variant: VariantId
    deployment: DeploymentId | None = None
    organisation: OrganisationId | None = None
    mandates: tuple[MandateId, ...] = ()
    project: ProjectId | None = None
    surface: Surface = Surface.API
    location: str | None = None
    gateway_key: KeyId | None = None
    network_permitted: bool = True
