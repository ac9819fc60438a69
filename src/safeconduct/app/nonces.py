"""Nonces for key bindings and challenges for passkeys: given to anybody, good once, within minutes, for what they were given.

A nonce carries its own expiry under a MAC of this process, so giving one out takes no memory and nobody without a credential
can fill anything. Only used ones are remembered, and they are only used by presentations whose signatures verified.
After a restart the nonces of before are no longer ours.
"""

from __future__ import annotations

import hashlib
import hmac

from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import RandomBytes
from safeconduct.passport.dpop import ReplayMemory

LIFETIME = 120
_MAC_BYTES = 16


class Nonces:
    """Gives nonces and takes each back once. Thread-safe. lifetime: seconds."""

    def __init__(
        self, clock: Clock, random: RandomBytes, *, limit: int = 1 << 18, lifetime: int = LIFETIME
    ) -> None:
        self._lifetime = lifetime
        self._clock = clock
        self._random = random
        self._key = random(32)
        self._used = ReplayMemory(limit, span=lifetime)

    def give(self, context: str = "") -> tuple[str, int]:
        """A new nonce and its lifetime in seconds. context: what it is for; it is good for nothing else."""
        body = self._random(16) + int(self._clock.now() + self._lifetime).to_bytes(8, "big")
        return b64u(body + self._mac(body, context)), self._lifetime

    def holds(self, nonce: str, context: str = "") -> bool:
        """True for a nonce given for this context that has not expired, used or not."""
        return self._body(nonce, context) is not None

    def use(self, nonce: str, context: str = "") -> bool:
        """True exactly once for each nonce given by this object for this context that has not expired."""
        body = self._body(nonce, context)
        return body is not None and self._used.first_use(body, self._clock.now())

    def _body(self, nonce: str, context: str) -> bytes | None:
        try:
            raw = b64u_decode(nonce)
        except InvalidInput:
            return None
        body, mac = raw[:24], raw[24:]
        if len(raw) != 24 + _MAC_BYTES or not hmac.compare_digest(mac, self._mac(body, context)):
            return None
        return body if self._clock.now() < int.from_bytes(body[16:], "big") else None

    def _mac(self, body: bytes, context: str) -> bytes:
        # The body has a fixed length, so no context can be taken for a part of it.
        return hmac.digest(self._key, body + context.encode(), hashlib.sha256)[:_MAC_BYTES]
