"""Misuse signals: a lab or operator says that somebody misused a variant (`misuse_signal+jwt`, domain.md 4).

Owns their reading, and the wording that ties a suspension to the signals behind it: a passport comes back only when every
signal that suspended it, and every other cause, is gone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from safeconduct.authorization.document import Members
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId, SubjectId, VariantId, check_name
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer

TYP = "misuse_signal+jwt"

_BETWEEN = "; "
_SIGNAL = "misuse "
_UPHELD = " upheld: "


class MisuseSignal(msgspec.Struct, frozen=True):
    """A signal as read: exactly one of subject and organisation. evidence: SHA-256 in hex."""

    sender: str
    signal: str
    subject: SubjectId | None
    organisation: OrganisationId | None
    variant: VariantId
    kind: str
    evidence: str


def sign_misuse_signal(claims: Mapping[str, Any], signer: Signer) -> str:
    """Sign a signal at the sender's desk, having read it first. Raises InvalidInput."""
    read_misuse_signal(dict(claims))
    return sign_jwt(dict(claims), typ=TYP, signer=signer)


def read_misuse_signal(claims: Mapping[str, Any]) -> MisuseSignal:
    """Read `iss iat signal subject|organisation variant kind evidence`. Raises InvalidInput naming the member."""
    members = Members(claims)
    sender = members.text("iss", limit=100)
    members.instant("iat")
    signal = members.text("signal", limit=100)
    subject = members.text_or("subject", "", limit=100)
    organisation = members.text_or("organisation", "", limit=100)
    variant = members.text("variant", limit=100)
    kind = check_name(members.text("kind", limit=96), "kind")
    evidence = members.digest("evidence")
    members.finish()
    if bool(subject) == bool(organisation):
        raise InvalidInput("name a subject or an organisation, not both", field="subject")
    if _BETWEEN.strip() in signal or _BETWEEN.strip() in sender:
        raise InvalidInput("`;` is not accepted in the signal's number", field="signal")
    return MisuseSignal(
        sender=sender,
        signal=signal,
        subject=SubjectId(subject) if subject else None,
        organisation=OrganisationId(organisation) if organisation else None,
        variant=VariantId(variant),
        kind=kind,
        evidence=evidence,
    )


def cause_of(sender: str, signal: str) -> str:
    """The cause under which this signal suspends."""
    return f"{_SIGNAL}{sender}/{signal}"


def with_cause(causes: str, cause: str) -> str:
    """The causes of a suspension with one more."""
    known = [one for one in causes.split(_BETWEEN) if one]
    return _BETWEEN.join(dict.fromkeys([*known, cause]))


def without_cause(causes: str, cause: str) -> str:
    """The causes of a suspension without that one; "" when none is left."""
    return _BETWEEN.join(one for one in causes.split(_BETWEEN) if one and one != cause)


def has_cause(causes: str, cause: str) -> bool:
    """True when that cause is among them."""
    return cause in causes.split(_BETWEEN)


def cause_when_upheld(cause: str, rationale: str) -> str:
    """What a revocation says when an adjudicator upheld that signal."""
    return f"{cause}{_UPHELD}{rationale}"


def was_upheld(causes: str, cause: str) -> bool:
    """True when a revocation says that this signal was upheld."""
    return causes.startswith(cause + _UPHELD)


def open_signal(causes: str) -> str:
    """The first misuse signal among the causes of a suspension, or "": while there is one, only its adjudication lifts it."""
    return next((one for one in causes.split(_BETWEEN) if one.startswith(_SIGNAL)), "")
