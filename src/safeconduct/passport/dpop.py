"""Demonstrating proof of possession (RFC 9449): a fresh signature over method and URL with each request.

Owns making and verifying proofs and the memory of proofs already used. Refuses a proof for anything but the very request,
key and token it came with. A proof counts once: the memory is keyed on the key and the proof's `jti`, never on its text.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from safeconduct.kernel.canonical import b64u, b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.jose import check_header, parse_jws, sign_jwt
from safeconduct.kernel.signing import Signer, VerifyingKey, thumbprint

DPOP_TYP = "dpop+jwt"
PROOF_SECONDS = 60
LEEWAY_SECONDS = 5
MAX_PROOF_BYTES = 4096
_KEY_MEMBERS = frozenset({"kty", "crv", "x", "y", "kid", "alg", "use", "key_ops"})
_PORTS = {"https": 443, "http": 80}


class ProofReplays(Protocol):
    """Memory of proofs used. Shared by all workers that accept the same tokens."""

    def first_use(self, key: bytes, now: float) -> bool:
        """True exactly once per key within the time a proof is accepted. Raises VerificationFailed when it is full."""
        ...


class ReplayMemory:
    """Keys used, in this process: two generations, each of which covers the whole time in which a key is accepted.

    Bounded: when full it refuses new proofs rather than forget old ones (forgetting would let them count twice). Only
    proofs whose signature verified get here, so only holders of valid tokens fill it. Thread-safe.
    """

    def __init__(self, limit: int = 1 << 20, *, span: int = PROOF_SECONDS + 2 * LEEWAY_SECONDS) -> None:
        """limit: keys held at most. span: seconds from the first use of a key until it can no longer be accepted."""
        self._limit = limit
        self._span = span
        self._lock = threading.Lock()
        self._began = float("-inf")
        self._current: set[bytes] = set()
        self._previous: set[bytes] = set()

    def first_use(self, key: bytes, now: float) -> bool:
        """True exactly once per key."""
        with self._lock:
            # INVARIANT: a generation ends only when its newest entry was made at least `span` before the next ends.
            if now - self._began >= self._span:
                self._previous = self._current if now - self._began < 2 * self._span else set()
                self._current = set()
                self._began = now
            if key in self._current or key in self._previous:
                return False
            if len(self._current) + len(self._previous) >= self._limit:
                raise VerificationFailed(
                    "too many requests to tell a repeated proof from a new one",
                    step="replay",
                    code="BINDING_MISSING",
                    remedy="try again in a minute",
                )
            self._current.add(key)
            return True


class Proof(msgspec.Struct, frozen=True):
    """A verified proof: the key it was made with (`key.thumbprint` is its jkt)."""

    jkt: str
    key: VerifyingKey
    nonce: str | None


def target(url: str) -> str:
    """`htu` of a URL: scheme, host in lower case, port unless the default one, path; no query or fragment (RFC 9449 4.3).

    Raises InvalidInput when it is not an absolute http(s) URL.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise InvalidInput("not a URL", field="htu") from None
    host = parts.hostname
    if parts.scheme not in _PORTS or not host or parts.username is not None or parts.password is not None:
        raise InvalidInput("not an absolute http(s) URL", field="htu")
    shown = f"[{host}]" if ":" in host else host
    where = shown if port is None or port == _PORTS[parts.scheme] else f"{shown}:{port}"
    return f"{parts.scheme}://{where}{parts.path or '/'}"


def make_proof(
    signer: Signer,
    *,
    method: str,
    url: str,
    now: int,
    random: RandomBytes,
    access_token: str | None = None,
    nonce: str | None = None,
) -> str:
    """A proof for one request. now: seconds; access_token: the token that goes with it, if any."""
    claims: dict[str, Any] = {"jti": b64u(random(16)), "htm": method, "htu": target(url), "iat": now}
    if access_token is not None:
        claims["ath"] = b64u(hashlib.sha256(access_token.encode("ascii")).digest())
    if nonce is not None:
        claims["nonce"] = nonce
    jwk = {name: value for name, value in signer.public_jwk().items() if name in ("kty", "crv", "x", "y")}
    return sign_jwt(claims, typ=DPOP_TYP, signer=signer, header={"jwk": jwk})


def _fail(message: str, *, step: str, field: str = "", remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step=step, code="BINDING_MISSING", field=field, remedy=remedy)


class ProofVerifier:
    """Verifies proofs against one memory of used ones.

    Keeps the keys of proofs that verified, by the text of their header: a client's header is the same each time, and
    building a key costs as much as using it. Bounded. nonce_ok: when given, a proof must carry a nonce it accepts.
    """

    def __init__(
        self,
        replays: ProofReplays,
        *,
        nonce_ok: Callable[[str], bool] | None = None,
        max_keys: int = 16_384,
    ) -> None:
        self._replays = replays
        self._nonce_ok = nonce_ok
        self._max_keys = max_keys
        self._keys: dict[str, VerifyingKey] = {}

    def verify(
        self,
        text: str,
        *,
        method: str,
        url: str,
        now: float,
        jkt: str | None = None,
        access_token: bytes | None = None,
    ) -> Proof:
        """Verify one proof (RFC 9449 4.3) and mark it used.

        jkt: thumbprint that the key must have (None where the proof itself introduces the key, at the token endpoint).
        access_token: the bytes of the token it came with; None where there is none.
        Raises VerificationFailed, code BINDING_MISSING.
        """
        try:
            head, key = self._key_of(text)
            if jkt is not None and key.thumbprint != jkt:
                raise _fail("made with another key than the token is bound to", step="key", field="jwk")
            _, body, tail = text.split(".")
            signature = b64u_decode(tail, field="signature")
            if not key.verify(signature, text[: len(head) + 1 + len(body)].encode("ascii")):
                raise _fail("the signature does not verify", step="signature")
            claims = strict_json(b64u_decode(body, field="payload"), what="the proof")
            if not isinstance(claims, dict):
                raise _fail("the proof is not a JSON object", step="structure")
            jti = self._check_claims(claims, method=method, url=url, now=now, access_token=access_token)
        except InvalidInput as error:
            raise _fail(error.message, step="structure", field=error.field) from None
        nonce = claims.get("nonce")
        if nonce is not None and not isinstance(nonce, str):
            raise _fail("nonce is not a string", step="claims", field="nonce")
        if self._nonce_ok is not None and (nonce is None or not self._nonce_ok(nonce)):
            raise _fail(
                "a nonce of ours is needed", step="nonce", field="nonce", remedy="use the DPoP-Nonce header"
            )
        if head not in self._keys:
            if len(self._keys) >= self._max_keys:
                self._keys.clear()
            self._keys[head] = key
        # Last, so that only a proof that is good in every other way is used up.
        used = hashlib.sha256(f"{key.thumbprint}.{jti}".encode("utf-8", "surrogatepass")).digest()
        if not self._replays.first_use(used, now):
            raise _fail(
                "this proof was used before", step="replay", field="jti", remedy="make a proof per request"
            )
        return Proof(jkt=key.thumbprint, key=key, nonce=nonce)

    def _key_of(self, text: str) -> tuple[str, VerifyingKey]:
        if len(text) > MAX_PROOF_BYTES:
            raise _fail(f"longer than {MAX_PROOF_BYTES} bytes", step="structure")
        if not text.isascii():
            raise _fail("a compact JWS is ASCII", step="structure")
        head, dot, _ = text.partition(".")
        if not dot or text.count(".") != 2:
            raise _fail("a compact JWS has three parts", step="structure")
        known = self._keys.get(head)
        if known is not None:
            return head, known
        try:
            header = parse_jws(text, max_bytes=MAX_PROOF_BYTES).header
            check_header(header, typ=DPOP_TYP, allow_jwk=True)
        except VerificationFailed as error:
            raise _fail(error.message, step=error.step, field=error.field) from None
        jwk = header.get("jwk")
        if not isinstance(jwk, dict):
            raise _fail("the proof carries no key", step="header", field="jwk")
        if not _KEY_MEMBERS.issuperset(jwk):
            # Also "d", "k", "x5c": a private, symmetric or foreign key.
            raise _fail("jwk holds more than a public P-256 key", step="header", field="jwk")
        try:
            key = VerifyingKey(jwk, kid=thumbprint(jwk))
        except InvalidInput as error:
            raise _fail(error.message, step="header", field="jwk") from None
        if key.alg != "ES256":
            raise _fail("the key is not P-256", step="header", field="jwk")
        return head, key

    def _check_claims(
        self, claims: dict[str, Any], *, method: str, url: str, now: float, access_token: bytes | None
    ) -> str:
        jti, htm, htu, iat = claims.get("jti"), claims.get("htm"), claims.get("htu"), claims.get("iat")
        if not isinstance(jti, str) or not 8 <= len(jti) <= 256:
            raise _fail("jti is missing, short or over-long", step="claims", field="jti")
        if htm != method:
            raise _fail("made for another method", step="claims", field="htm")
        if not isinstance(htu, str) or (htu != url and target(htu) != target(url)):
            raise _fail("made for another URL", step="claims", field="htu")
        if type(iat) is not int:
            raise _fail("iat is not a whole number of seconds", step="claims", field="iat")
        if not now - PROOF_SECONDS - LEEWAY_SECONDS <= iat <= now + LEEWAY_SECONDS:
            raise _fail(
                "made too long ago or in the future", step="claims", field="iat", remedy="check the clock"
            )
        if access_token is not None:
            expected = b64u(hashlib.sha256(access_token).digest())
            if claims.get("ath") != expected:
                raise _fail("made for another token", step="claims", field="ath")
        return jti
