"""Authenticator records and the assurance each one reaches (SP 800-63B-4).

A passport is bound to one key, so the AAL that counts is that of the authenticator holding this key, not of everything a
person owns. An authenticator that cannot sign (a password, a one-time code) is recorded and reaches no passport.
"""

from __future__ import annotations

import enum
from typing import Any

import msgspec

from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import ES256, VerifyingKey


class AuthenticatorKind(enum.StrEnum):
    """SP 800-63B-4 3.1; `file_key_development` is ours: a key file that a development profile takes for hardware."""

    PASSWORD = "password"  # noqa: S105 - a kind of authenticator
    LOOKUP_SECRET = "lookup_secret"  # noqa: S105
    OUT_OF_BAND = "out_of_band"
    SINGLE_FACTOR_OTP = "single_factor_otp"
    MULTI_FACTOR_OTP = "multi_factor_otp"
    SINGLE_FACTOR_CRYPTOGRAPHIC = "single_factor_cryptographic"
    MULTI_FACTOR_CRYPTOGRAPHIC = "multi_factor_cryptographic"
    FILE_KEY_DEVELOPMENT = "file_key_development"


SIGNING_KINDS = frozenset(
    {
        AuthenticatorKind.SINGLE_FACTOR_CRYPTOGRAPHIC,
        AuthenticatorKind.MULTI_FACTOR_CRYPTOGRAPHIC,
        AuthenticatorKind.FILE_KEY_DEVELOPMENT,
    }
)


class Enrolment(enum.StrEnum):
    """Where the authenticator was bound to the account (SP 800-63A-4 4.3, initial authenticator binding)."""

    REMOTE = "remote"
    ONSITE = "onsite"


class Authenticator(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An authenticator as recorded by the desk that enrolled it. public_jwk: a P-256 key where the kind can sign."""

    kind: AuthenticatorKind
    phishing_resistant: bool
    hardware_bound: bool
    public_jwk: dict[str, Any] | None = None
    enrolled: Enrolment = Enrolment.REMOTE


class BoundKey(msgspec.Struct, frozen=True):
    """A key that may hold a passport. thumbprint: RFC 7638. development: a key file taken for hardware."""

    thumbprint: str
    public_jwk: dict[str, Any]
    kind: AuthenticatorKind
    aal: int
    clause: str
    sentence: str
    development: bool = False


def bound_key(authenticator: Authenticator, *, profile: str, field: str) -> BoundKey | None:
    """The key of an authenticator with the AAL it reaches, or None when its kind cannot sign.

    field: JSON path of the record, for errors. Raises InvalidInput, and UnsafeConfiguration for a development key file
    under any profile but `development`.
    """
    kind = authenticator.kind
    if kind not in SIGNING_KINDS:
        if authenticator.public_jwk is not None:
            raise InvalidInput(f"a {kind} has no public key", field=f"{field}.public_jwk")
        return None
    if kind is AuthenticatorKind.FILE_KEY_DEVELOPMENT and profile != "development":
        raise UnsafeConfiguration(
            "a key file is not a hardware-bound authenticator",
            field=f"{field}.kind",
            remedy="record a hardware authenticator; only a development profile accepts key files",
        )
    if authenticator.public_jwk is None:
        raise InvalidInput(
            "the public key is missing", field=f"{field}.public_jwk", remedy="give a P-256 JWK"
        )
    try:
        key = VerifyingKey(authenticator.public_jwk)
    except InvalidInput as error:
        raise InvalidInput(error.message, field=f"{field}.public_jwk", remedy=error.remedy) from None
    if key.alg != ES256:
        raise InvalidInput(
            "passports are bound to P-256 keys", field=f"{field}.public_jwk.crv", remedy="use P-256"
        )
    aal, clause, sentence = _reached(authenticator)
    return BoundKey(
        thumbprint=key.thumbprint,
        # The kid is ours (the thumbprint): a chosen one could shadow another key's.
        public_jwk=VerifyingKey(
            {name: value for name, value in key.jwk.items() if name != "kid"}, kid=key.thumbprint
        ).jwk,
        kind=kind,
        aal=aal,
        clause=clause,
        sentence=sentence,
        development=kind is AuthenticatorKind.FILE_KEY_DEVELOPMENT,
    )


def _reached(record: Authenticator) -> tuple[int, str, str]:
    """AAL, clause and sentence for an authenticator that can sign."""
    if record.kind is AuthenticatorKind.SINGLE_FACTOR_CRYPTOGRAPHIC:
        return 1, "SP 800-63B-4 2.1.1, 2.2.1", "one factor: AAL2 needs a second one that activates the key"
    if record.kind is AuthenticatorKind.FILE_KEY_DEVELOPMENT:
        # INVARIANT: only reached in a development profile (bound_key refuses it elsewhere).
        return 3, "development profile", "a key file treated as hardware-bound and phishing-resistant"
    if record.hardware_bound and record.phishing_resistant:
        return 3, "SP 800-63B-4 2.3.1, 2.3.2", "multi-factor, hardware-based and phishing-resistant"
    lacking = " and ".join(
        word
        for word, has in (
            ("hardware-based", record.hardware_bound),
            ("phishing-resistant", record.phishing_resistant),
        )
        if not has
    )
    return 2, "SP 800-63B-4 2.2.1", f"multi-factor, but not {lacking}, which AAL3 asks for (2.3.2)"
