"""Claims that the issuer keeps, encrypted in the vault, and what the record says of them: a salted commitment.

Kinds: `claims` (of a passport), `key-claims` (disclosed when a gateway key was registered), `mandate-claims` (disclosed when
a chain's first mandate was registered). A document is a 32-byte salt and the facts as canonical JSON.
Refuses to keep anything unencrypted or to hand out claims that no longer fit their commitment.
"""

from __future__ import annotations

import hashlib

from safeconduct.app.ports import Vault
from safeconduct.kernel.errors import NotFound, VerificationFailed
from safeconduct.kernel.ids import RandomBytes, SubjectId
from safeconduct.passport.claims import Claims
from safeconduct.passport.facts import decode_claims, encode_claims

PASSPORT_CLAIMS = "claims"
KEY_CLAIMS = "key-claims"
MANDATE_CLAIMS = "mandate-claims"
_SALT_BYTES = 32


def keep_claims(
    vault: Vault, kind: str, name: str, *, subject: SubjectId, claims: Claims, random: RandomBytes
) -> str:
    """Store claims under the subject's data key; returns the commitment SHA-256(salt || facts) in hex."""
    document = random(_SALT_BYTES) + encode_claims(claims)
    vault.put(kind, name, subject, document)
    return hashlib.sha256(document).hexdigest()


def read_claims(vault: Vault, kind: str, name: str, *, commitment: str | None = None) -> Claims | None:
    """The stored claims, or None when there are none or their subject was erased.

    commitment: when given, what the record says; VerificationFailed is raised when the document does not fit it.
    """
    try:
        document = vault.get(kind, name)
    except NotFound:
        return None
    if document is None:
        return None
    if commitment is not None and hashlib.sha256(document).hexdigest() != commitment:
        raise VerificationFailed("stored claims do not fit the record", step="claims", field=kind)
    return decode_claims(document[_SALT_BYTES:])
