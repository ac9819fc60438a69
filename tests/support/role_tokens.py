"""Role keys and the tokens signed with them."""

from __future__ import annotations

import itertools

from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import FileSigner
from safeconduct.record.events.trust import TrustKeyAdded

_numbers = itertools.count()
FAR = 4_000_000_000


def role_key(
    role: str,
    *,
    kid: str | None = None,
    provider=None,
    organisation=None,
    jurisdiction=None,
    party=None,
    **more,
) -> tuple[FileSigner, TrustKeyAdded]:
    """A new key and the entry of the trust list that gives it the role."""
    signer = FileSigner.generate(kid=kid)
    scope = provider or organisation
    fields = {
        "kid": signer.kid,
        "jwk": signer.public_jwk(),
        "party": party or (f"{role}:{scope}" if scope else role),
        "may_sign": (f"role:{role}",),
        "jurisdiction": jurisdiction,
        "variants": (),
        "provider": provider,
        "valid_from": 0,
        "valid_until": FAR,
        "officers": (),
        "recorded_at": 0,
        "organisation": organisation,
    }
    return signer, TrustKeyAdded(**{**fields, **more})


def role_token(signer, *, party, audience, now, typ="role+jwt", drop=(), **more) -> str:
    """A token good for a minute, with any claim replaced by `more` or left out by `drop`."""
    claims = {
        "iss": party,
        "sub": "tester",
        "aud": audience,
        "iat": int(now),
        "exp": int(now) + 60,
        "jti": f"j{next(_numbers)}",
        **more,
    }
    return sign_jwt({k: v for k, v in claims.items() if k not in drop}, typ=typ, signer=signer)
