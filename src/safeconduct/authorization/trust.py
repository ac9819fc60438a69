"""The trust list: which key may sign what.

Owns verification of signed documents against it, and the change of the list itself, which two different officers sign.
Refuses documents of unknown, expired or revoked keys and of keys that the list does not let sign that. What a key signed
before it was revoked stays as it is: `flag` says so, nothing is dropped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import Forbidden, InvalidInput, UnsafeConfiguration, VerificationFailed
from safeconduct.kernel.ids import ProviderId, VariantId
from safeconduct.kernel.jose import check_header, check_times, parse_jws
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import DirectiveKind, Role

DOCUMENT_KINDS = frozenset(
    {"licence", "org_list", "misuse_signal", "evidence_import", "passport", "enclave_attestation"}
)
MAY_SIGN = (
    DOCUMENT_KINDS
    | frozenset(f"directive:{kind}" for kind in DirectiveKind)
    # An applicant has no key that anybody trusts: that is what the case is for.
    | frozenset(f"role:{role}" for role in Role if role is not Role.APPLICANT)
)


class KeyScope(Protocol):
    """A key with its scope; the record's `TrustKeyAdded` has this shape."""

    @property
    def kid(self) -> str:
        """Names the key in JOSE headers."""
        ...

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key (RFC 7517)."""
        ...

    @property
    def party(self) -> str:
        """Whose key it is: `authority:us-bis`, `provider:anthropic`, `operator`."""
        ...

    @property
    def may_sign(self) -> tuple[str, ...]:
        """Values of MAY_SIGN."""
        ...

    @property
    def jurisdiction(self) -> str | None:
        """Where it has a say; None for no limit."""
        ...

    @property
    def variants(self) -> tuple[VariantId, ...]:
        """What it may name; empty for no limit."""
        ...

    @property
    def provider(self) -> ProviderId | None:
        """Whose models it may name; None for no limit."""
        ...

    @property
    def valid_from(self) -> int:
        """First second at which it may sign."""
        ...

    @property
    def valid_until(self) -> int:
        """First second at which it may no longer."""
        ...

    @property
    def development(self) -> bool:
        """A key that a production profile refuses."""
        ...


class Revocation(Protocol):
    """The end of a key; the record's `TrustKeyRevoked` has this shape."""

    @property
    def from_(self) -> int:
        """From when on it may sign no more."""
        ...

    @property
    def successor(self) -> str | None:
        """The party that may rescind what this party ordered."""
        ...


class TrustedKey(Protocol):
    """An entry of the trust list as the state holds it."""

    @property
    def added(self) -> KeyScope:
        """The key and its scope."""
        ...

    @property
    def revoked(self) -> Revocation | None:
        """Set once it is revoked."""
        ...


TrustList = Mapping[str, TrustedKey]


class VariantScope(msgspec.Struct, frozen=True):
    """What a key's scope is held against: a variant's provider and where it can be reached.

    jurisdictions: of the provider and of every deployment of the variant.
    """

    provider: ProviderId
    jurisdictions: frozenset[str]


class SignedDocument(msgspec.Struct, frozen=True):
    """A document whose signature and signer were checked. sha256: of the text as signed, in hex."""

    claims: dict[str, Any]
    text: str
    sha256: str
    kid: str
    party: str
    scope: KeyScope


def verify_document(text: str, *, typ: str, trust: TrustList, now: int, production: bool) -> SignedDocument:
    """Verify a compact JWS of that `typ` by a key of the trust list that may sign at `now`.

    What the key may sign is checked afterwards, with `check_may_sign`, when the document's own kind is known.
    Raises VerificationFailed (structure, header, signature, times), Forbidden (unknown, not yet valid, expired or revoked
    key; another issuer), UnsafeConfiguration (a development key in production), InvalidInput.
    """
    jws = parse_jws(text)
    check_header(jws.header, typ=typ)
    kid = jws.header["kid"]
    entry = trust.get(kid)
    if entry is None:
        raise Forbidden(
            f"the key {kid[:80]!r} is not in the trust list",
            field="kid",
            remedy="two officers must add it to the trust list first",
        )
    key = VerifyingKey(entry.added.jwk, kid=kid)
    if key.alg != "ES256" or not key.verify(jws.signature, jws.signing_input):
        raise VerificationFailed("the signature does not verify", step="signature", field="signature")
    check_may_sign_at(entry, now, production=production)
    claims = jws.claims()
    check_times(claims, now=now, need_exp=False)
    if claims.get("iss") != entry.added.party:
        raise Forbidden(
            f"the key belongs to {entry.added.party!r}, which is not the issuer that the document names",
            field="iss",
            remedy=f"set iss to {entry.added.party!r}, or sign with the issuer's key",
        )
    if claims.get("iat") is None:
        raise InvalidInput("the member is missing", field="iat", remedy="say when it was signed")
    return SignedDocument(
        claims=claims,
        text=text,
        sha256=sha256_hex(text.encode("ascii")),
        kid=kid,
        party=entry.added.party,
        scope=entry.added,
    )


def check_may_sign_at(entry: TrustedKey, now: int, *, production: bool) -> None:
    """Check that a key may sign at all at `now`. Raises Forbidden, UnsafeConfiguration."""
    added, revoked = entry.added, entry.revoked
    if revoked is not None and now >= revoked.from_:
        # Its own `iat` proves nothing: whoever stole the key writes that too. So an old date does not help.
        raise Forbidden(
            f"the key {added.kid!r} is revoked from {format_instant(revoked.from_)} on",
            field="kid",
            remedy="sign with a key in force",
        )
    if not added.valid_from <= now < added.valid_until:
        raise Forbidden(
            f"the key {added.kid!r} is valid from {format_instant(added.valid_from)} "
            f"until {format_instant(added.valid_until)}",
            field="kid",
            remedy="sign with a key in force",
        )
    if added.development and production:
        raise UnsafeConfiguration(
            f"the key {added.kid!r} is for development", field="kid", remedy="sign with a production key"
        )


def check_may_sign(
    scope: KeyScope,
    kind: str,
    *,
    variants: Mapping[VariantId, VariantScope] | None = None,
    field: str = "kind",
) -> None:
    """Check that the trust list lets a key sign this kind of document about these variants.

    A key limited to a jurisdiction reaches a variant whose provider or a deployment is there, or which its entry names.
    Raises Forbidden naming what is out of scope.
    """
    if kind not in scope.may_sign:
        raise Forbidden(
            f"the key {scope.kid!r} may not sign {kind}",
            field=field,
            remedy=f"it may sign {', '.join(scope.may_sign) or 'nothing'}; officers can widen it",
        )
    for variant, reach in (variants or {}).items():
        if scope.variants and variant not in scope.variants:
            raise Forbidden(
                f"the key {scope.kid!r} may not name variant {variant!r}",
                field="variants",
                remedy=f"it may name {', '.join(scope.variants)}",
            )
        if scope.provider is not None and reach.provider != scope.provider:
            raise Forbidden(
                f"variant {variant!r} is not of provider {scope.provider!r}, which the key is limited to",
                field="variants",
                remedy=f"name variants of {scope.provider!r}",
            )
        if (
            scope.jurisdiction is not None
            and variant not in scope.variants
            and scope.jurisdiction not in reach.jurisdictions
        ):
            raise Forbidden(
                f"variant {variant!r} has neither its provider nor a deployment in {scope.jurisdiction}, "
                "which the key is limited to",
                field="variants",
                remedy="officers can name the variant in the key's entry",
            )


def may_act_for(party: str, issuer: str, trust: TrustList) -> bool:
    """True when `party` may amend or rescind what `issuer` ordered: itself, or the successor named when its key ended.

    A successor's successor counts as well.
    """
    reached, waiting = {issuer}, [issuer]
    while waiting:
        before = waiting.pop()
        for entry in trust.values():
            if entry.added.party == before and entry.revoked is not None and entry.revoked.successor:
                after = entry.revoked.successor
                if after not in reached:
                    reached.add(after)
                    waiting.append(after)
    return party in reached


def flag(kid: str, recorded_at: int, trust: TrustList) -> str:
    """What to say of a document recorded at that time under that key: "" when nothing is wrong with the key.

    A document stays in force whatever this says (domain.md 4): dropping it would lift an order because of a theft.
    """
    entry = trust.get(kid)
    if entry is None:
        return f"signed with {kid}, which is not in the trust list"
    if entry.revoked is None:
        return ""
    since = format_instant(entry.revoked.from_)
    if recorded_at >= entry.revoked.from_:
        return f"signed with {kid} at a time from which on the key is revoked ({since}): review it"
    return f"signed with {kid}, which was revoked later ({since})"
