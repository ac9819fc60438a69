"""Nonces for key bindings: given to anybody, good once, within two minutes.

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
    """Gives nonces and takes each back once. Thread-safe."""

    def __init__(self, clock: Clock, random: RandomBytes, *, limit: int = 1 << 18) -> None:
        self._clock = clock
        self._random = random
        self._key = random(32)
        self._used = ReplayMemory(limit, span=LIFETIME)

    def give(self) -> tuple[str, int]:
        """A new nonce and its lifetime in seconds."""
        body = self._random(16) + int(self._clock.now() + LIFETIME).to_bytes(8, "big")
        return b64u(body + self._mac(body)), LIFETIME

    def use(self, nonce: str) -> bool:
        """True exactly once for each nonce given by this object that has not expired."""
        try:
            raw = b64u_decode(nonce)
        except InvalidInput:
            return False
        body, mac = raw[:24], raw[24:]
        if len(raw) != 24 + _MAC_BYTES or not hmac.compare_digest(mac, self._mac(body)):
            return False
        now = self._clock.now()
        return now < int.from_bytes(body[16:], "big") and self._used.first_use(body, now)

    def _mac(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, hashlib.sha256)[:_MAC_BYTES]
