"""Who is behind a request, once the credential has been verified: the meeting point of token and gateway key."""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import (
    KeyId,
    MandateId,
    OrganisationId,
    PassportId,
    ProjectId,
    SubjectId,
    VariantId,
)
from safeconduct.kernel.vocabulary import Binding, Purpose, SubjectKind
from safeconduct.passport.claims import Claims


class Principal(msgspec.Struct, frozen=True):
    """A verified caller.

    subject: who asks (a human, or an agent). holder: the human whose passport everything rests on; the same as
    `subject` unless an agent asks.
    aal, authenticated_at: authenticator assurance of the session that signed (for an agent: of the human when the
    mandate was signed) and when that was.
    mandates: from the human's down to the one the caller holds; empty for a human.
    project, purpose: the defaults that the credential carries.
    variants: when not empty, the only variants this credential may be used for.
    expires: seconds since the epoch after which the credential is no longer accepted.
    credential: digest or id that names the credential in records; never the secret itself.
    networks: CIDR list that the source address must lie in, or empty.
    """

    subject: SubjectId
    holder: SubjectId
    kind: SubjectKind
    passport: PassportId
    claims: Claims
    aal: int
    authenticated_at: int
    binding: Binding
    expires: int
    credential: str
    organisation: OrganisationId | None = None
    mandates: tuple[MandateId, ...] = ()
    project: ProjectId | None = None
    purpose: Purpose | None = None
    variants: tuple[VariantId, ...] = ()
    gateway_key: KeyId | None = None
    networks: tuple[str, ...] = ()
