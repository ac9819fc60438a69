"""Compact JWS (RFC 7515) and JWT (RFC 7519), strictly.

The general-purpose libraries leave hygiene to their callers, so it stands here once for every signed text we read:
the key and its algorithm are pinned by the caller, never taken from the message; `none`, HMAC, `jwk`/`jku`/`x5c`/`x5u`
headers (except `jwk` where a DPoP proof carries it), unknown `crit`, `b64`, duplicate members, padding, stray bits, over-long
signatures, a missing `exp` and a foreign `typ` are refused. Sources: RFC 7515 4-5, RFC 8725 3.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import Signer, VerifyingKey

MAX_JWS_BYTES = 1 << 20
_FORBIDDEN_HEADERS = ("jku", "x5u", "x5c", "x5t", "b64", "zip", "enc", "cty")


class Jws(msgspec.Struct, frozen=True):
    """A parsed, not yet verified, compact JWS."""

    header: dict[str, Any]
    payload: bytes
    signing_input: bytes
    signature: bytes

    def claims(self) -> dict[str, Any]:
        """The payload as a JSON object, duplicate members refused."""
        return _object(self.payload, "payload")


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        value = strict_json(data, what=what)
    except InvalidInput as error:
        raise VerificationFailed(error.message, step="structure", field=error.field or what) from None
    if not isinstance(value, dict):
        raise VerificationFailed(f"{what} is not a JSON object", step="structure", field=what)
    return value


def parse_jws(text: str, *, max_bytes: int = MAX_JWS_BYTES) -> Jws:
    """Split and decode a compact JWS. Raises VerificationFailed(step="structure")."""
    if len(text) > max_bytes:
        raise VerificationFailed(f"longer than {max_bytes} bytes", step="structure")
    parts = text.split(".")
    if len(parts) != 3:
        raise VerificationFailed("a compact JWS has three parts", step="structure")
    try:
        header_bytes, payload, signature = (b64u_decode(part) for part in parts)
    except InvalidInput as error:
        raise VerificationFailed(error.message, step="structure") from None
    header = _object(header_bytes, "header")
    return Jws(
        header=header,
        payload=payload,
        signing_input=text[: len(parts[0]) + 1 + len(parts[1])].encode("ascii"),
        signature=signature,
    )


def check_header(
    header: dict[str, Any], *, typ: str, alg: str = "ES256", allow_jwk: bool = False, need_kid: bool = True
) -> None:
    """Check every header parameter that could change what the signature means.

    need_kid: False where the key is already known from elsewhere (a key-binding JWT: `cnf` names it).
    Raises VerificationFailed(step="header").
    """
    found = header.get("typ")
    # RFC 7515 4.1.9: an "application/" prefix may be left out, and media types ignore case.
    if not isinstance(found, str) or found.lower().removeprefix("application/") != typ:
        raise VerificationFailed(f"typ is not {typ}", step="header", field="typ")
    if header.get("alg") != alg:
        raise VerificationFailed(f"alg is not {alg}", step="header", field="alg")
    if "crit" in header:
        raise VerificationFailed(
            "an extension marked critical is not understood", step="header", field="crit"
        )
    for name in _FORBIDDEN_HEADERS:
        if name in header:
            raise VerificationFailed(f"header parameter {name} is not accepted", step="header", field=name)
    if "jwk" in header and not allow_jwk:
        raise VerificationFailed("a key inside the message is not accepted", step="header", field="jwk")
    if need_kid and not allow_jwk and not isinstance(header.get("kid"), str):
        raise VerificationFailed("kid is missing", step="header", field="kid")


def check_times(
    claims: dict[str, Any],
    *,
    now: float,
    leeway: int = 30,
    max_lifetime: int | None = None,
    need_exp: bool = True,
) -> None:
    """Check `iat`, `nbf`, `exp` (whole seconds; RFC 7519 4.1). Raises VerificationFailed(step="times").

    leeway: seconds a clock may be off; max_lifetime: refuse exp - iat beyond it.
    """
    for name in ("iat", "nbf", "exp"):
        if name not in claims:
            continue
        value = claims[name]
        # A null is a time that says nothing, not a time left out.
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 40:
            raise VerificationFailed(f"{name} is not a whole number of seconds", step="times", field=name)
    iat, nbf, exp = claims.get("iat"), claims.get("nbf"), claims.get("exp")
    if need_exp and exp is None:
        raise VerificationFailed("exp is missing", step="times", field="exp")
    if exp is not None and now >= exp:
        raise VerificationFailed("expired", step="times", field="exp", remedy="get a new one")
    if nbf is not None and now + leeway < nbf:
        raise VerificationFailed("not valid yet", step="times", field="nbf")
    if iat is not None and now + leeway < iat:
        raise VerificationFailed("issued in the future", step="times", field="iat", remedy="check the clock")
    if max_lifetime is not None and exp is not None and (iat is None or exp - iat > max_lifetime):
        raise VerificationFailed(f"lives longer than {max_lifetime} s", step="times", field="exp")


def verify_jwt(
    text: str,
    *,
    typ: str,
    key_for: Callable[[str, dict[str, Any]], VerifyingKey | None],
    now: float,
    audience: str | None = None,
    issuer: str | None = None,
    max_lifetime: int | None = None,
    need_exp: bool = True,
    leeway: int = 30,
) -> tuple[dict[str, Any], VerifyingKey]:
    """Verify a JWT signed with ES256 and return its claims and the key that signed it.

    key_for(kid, unverified_claims) gives the pinned key, or None when nobody known has that kid.
    audience: when given, `aud` must be that one string or a list that holds it.
    Raises VerificationFailed whose step is structure, header, signature, times or claims.
    """
    jws = parse_jws(text)
    check_header(jws.header, typ=typ)
    claims = jws.claims()
    key = key_for(jws.header["kid"], claims)
    if key is None:
        raise VerificationFailed("signed with an unknown key", step="signature", field="kid")
    if key.alg != "ES256" or not key.verify(jws.signature, jws.signing_input):
        raise VerificationFailed("the signature does not verify", step="signature")
    check_times(claims, now=now, leeway=leeway, max_lifetime=max_lifetime, need_exp=need_exp)
    if issuer is not None and claims.get("iss") != issuer:
        raise VerificationFailed("another issuer", step="claims", field="iss")
    if audience is not None:
        aud = claims.get("aud")
        if aud != audience and not (isinstance(aud, list) and audience in aud):
            raise VerificationFailed("meant for another audience", step="claims", field="aud")
    return claims, key


def sign_jws(payload: bytes, *, typ: str, signer: Signer, header: dict[str, Any] | None = None) -> str:
    """A compact JWS over raw payload bytes, with `typ`, `alg` and `kid`."""
    full = {"typ": typ, "alg": signer.alg, "kid": signer.kid, **(header or {})}
    signing_input = f"{b64u(canonical_json(full))}.{b64u(payload)}"
    return f"{signing_input}.{b64u(signer.sign(signing_input.encode('ascii')))}"


def sign_jwt(
    claims: dict[str, Any], *, typ: str, signer: Signer, header: dict[str, Any] | None = None
) -> str:
    """A signed JWT; claims are encoded canonically."""
    return sign_jws(canonical_json(claims), typ=typ, signer=signer, header=header)
