"""Who speaks to the API: a short-lived JWT signed by a key that the trust list names for a role.

Owns the verification of role tokens and the memory of those that were spent. Refuses to decide what a role may do: that
stands at each route (which role) and in each use case (which objects).

A role token: `typ=role+jwt`, ES256, `kid` in the trust list with `role:<role>` in `may_sign`; `iss` = the party that the key
stands under, `sub` = who holds the key, `aud` = our issuer, `iat`, `exp` at most 300 s later, `jti`.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol

from safeconduct.app.ports import Caller
from safeconduct.kernel.errors import Forbidden, InvalidInput, Unauthenticated, VerificationFailed
from safeconduct.kernel.ids import OrganisationId, ProviderId
from safeconduct.kernel.jose import check_header, check_times, parse_jws
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.trust import TrustKeyAdded, TrustKeyRevoked

ROLE_TOKEN_TYPE = "role+jwt"  # noqa: S105 - a media type
MAX_LIFETIME = 300
MAX_TOKEN_BYTES = 4096
_LEEWAY = 30
_PREFIX = "role:"


class TrustedRoleKey(Protocol):
    """What is read of a trust list entry (`record.state.TrustedKey`)."""

    @property
    def added(self) -> TrustKeyAdded:
        """The entry that added the key."""
        ...

    @property
    def revoked(self) -> TrustKeyRevoked | None:
        """The entry that ended it, if any."""
        ...


class SpentTokens:
    """Token ids that were used for a change, until they expire. Bounded: when full of live ids it refuses new ones."""

    def __init__(self, limit: int = 100_000) -> None:
        self._limit = limit
        self._until: dict[tuple[str, str], float] = {}
        self._lock = threading.Lock()

    def seen(self, key: tuple[str, str], now: float) -> bool:
        """True when the id was spent and has not expired."""
        with self._lock:
            return self._until.get(key, 0.0) > now

    def spend(self, key: tuple[str, str], until: float, now: float) -> bool:
        """Remember the id. False when it was spent before or when there is no room to remember it."""
        with self._lock:
            if self._until.get(key, 0.0) > now:
                return False
            if len(self._until) >= self._limit:
                self._until = {name: end for name, end in self._until.items() if end > now}
                if len(self._until) >= self._limit:
                    return False
            self._until[key] = until
            return True


class RoleAuthenticator:
    """Verifies role tokens against the trust list as it is at the moment of the call."""

    def __init__(
        self, audience: str, *, started: float, production: bool = False, spent: SpentTokens | None = None
    ) -> None:
        """audience: our issuer. started: when this process began to remember spent tokens (seconds).

        production: keys made for development speak for nobody.
        """
        self._audience = audience
        self._production = production
        # A token from before the start may have been spent in a former life of this process, so it may not change anything.
        self._started = int(started)
        self._spent = spent or SpentTokens()

    def authenticate(
        self, token: str, *, trust: Mapping[str, TrustedRoleKey], now: float, changing: bool
    ) -> Caller:
        """The caller behind a role token.

        changing: the call changes state, so the token's `jti` is spent by it; a spent token is good for nothing more.
        Raises Unauthenticated when the token does not verify, Forbidden when its key was not given a role.
        """
        try:
            return self._authenticate(token, trust, now, changing)
        except (VerificationFailed, InvalidInput) as error:
            raise Unauthenticated(
                f"the role token is not accepted: {error.message}",
                field=f"authorization.{error.field}" if error.field else "authorization",
                remedy=error.remedy or "sign a new one with a role key of the trust list",
            ) from None

    def _authenticate(
        self, token: str, trust: Mapping[str, TrustedRoleKey], now: float, changing: bool
    ) -> Caller:
        jws = parse_jws(token, max_bytes=MAX_TOKEN_BYTES)
        check_header(jws.header, typ=ROLE_TOKEN_TYPE)
        claims = jws.claims()
        entry = trust.get(jws.header["kid"])
        if entry is None:
            raise VerificationFailed("its key is not in the trust list", step="signature", field="kid")
        added, revoked = entry.added, entry.revoked
        key = VerifyingKey(added.jwk, kid=added.kid)
        if key.alg != "ES256" or not key.verify(jws.signature, jws.signing_input):
            raise VerificationFailed("the signature does not verify", step="signature")
        check_times(claims, now=now, leeway=_LEEWAY, max_lifetime=MAX_LIFETIME)
        if "iat" not in claims:
            raise VerificationFailed("iat is missing", step="times", field="iat")
        if self._production and added.development:
            raise VerificationFailed("its key is for development only", step="signature", field="kid")
        if not added.valid_from <= now < added.valid_until:
            raise VerificationFailed("its key is not valid at this time", step="signature", field="kid")
        if revoked is not None and now >= revoked.from_:
            raise VerificationFailed("its key was revoked", step="signature", field="kid")
        if claims.get("aud") != self._audience:
            raise VerificationFailed("meant for another audience", step="claims", field="aud")
        if claims.get("iss") != added.party:
            raise VerificationFailed("its key does not speak for that party", step="claims", field="iss")
        for name in ("sub", "jti"):
            value = claims.get(name)
            if not isinstance(value, str) or not 0 < len(value) <= 128:
                raise VerificationFailed(f"{name} is missing or too long", step="claims", field=name)
        role = _role_of(added, claims.get("role"))
        self._check_spent((added.kid, claims["jti"]), claims["iat"], claims["exp"], now, changing)
        return _caller(role, added)

    def _check_spent(self, key: tuple[str, str], iat: int, exp: int, now: float, changing: bool) -> None:
        if not changing:
            if self._spent.seen(key, now):
                raise VerificationFailed("it was used before", step="claims", field="jti")
            return
        if iat < self._started:
            raise VerificationFailed("it is older than this process", step="times", field="iat")
        if not self._spent.spend(key, exp, now):
            raise VerificationFailed("it was used before", step="claims", field="jti")


def _role_of(added: TrustKeyAdded, asked: object) -> Role:
    given = [kind.removeprefix(_PREFIX) for kind in added.may_sign if kind.startswith(_PREFIX)]
    if asked is not None and asked not in given:
        raise Forbidden(
            "the key was not given that role", field="authorization.role", remedy="use a key that was"
        )
    if asked is None and len(given) != 1:
        raise Forbidden(
            "the key was given no role" if not given else "the key has several roles",
            field="authorization.role",
            remedy="use a role key" if not given else "name one in the claim `role`",
        )
    try:
        role = Role(str(asked) if asked is not None else given[0])
    except ValueError:
        raise Forbidden("the key's role is not known to this build", field="authorization.role") from None
    if role is Role.HOLDER:  # holders prove themselves with a passport, never with a role key
        raise Forbidden("holders present their passport", field="authorization.role")
    if role is Role.APPLICANT:  # and applicants with a key that nobody trusts yet
        raise Forbidden("applicants prove their own key", field="authorization.role")
    return role


def _caller(role: Role, added: TrustKeyAdded) -> Caller:
    if role is Role.PROVIDER and added.provider is None:
        raise Forbidden("the key names no provider", remedy="have the trust list say which provider it is of")
    if role is Role.ORGANISATION and added.organisation is None:
        raise Forbidden(
            "the key names no organisation", remedy="have the trust list say which organisation it is of"
        )
    # The id is the key's, which is proved; `sub` is only claimed, and one key must never be two persons to the rule
    # that nobody approves their own request.
    return Caller(
        role=role,
        party=added.party,
        id=added.kid,
        provider=ProviderId(added.provider) if added.provider else None,
        organisation=OrganisationId(added.organisation) if added.organisation else None,
        jurisdiction=added.jurisdiction,
    )
