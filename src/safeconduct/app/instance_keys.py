"""The instance's own public keys as a verifier may use them now: the present one, and those before it for as long as they count.

Owns the rule which key verifies what and until when. Refuses a retired key, and a key under another purpose than its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

from safeconduct.kernel.clock import Clock
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.record.state import State

PUBLISHED = ("issuer", "status", "token")
"""Keys whose public halves others need: in the JWK Set."""
LOG_KEYS = ("record-log", "decision-log")
WORKER_LOG_KEY = "worker-log"
"""The key of the workers' decision logs: theirs alone, so that rotating another finds none of them asleep."""


class _Keys(Protocol):
    def signer(self, name: str) -> Signer: ...

    def leaving(self, name: str) -> Signer | None: ...


class _Source(Protocol):
    @property
    def state(self) -> State: ...


class InstanceKeyRing:
    """Public keys of one purpose by kid, as the record has them at the moment of each question. Thread-safe.

    name: of PUBLISHED. source: the record; keys: for the present key, which the record does not name before its first rotation.
    """

    def __init__(self, name: str, source: _Source, keys: _Keys, clock: Clock) -> None:
        self.name = name
        self._source = source
        self._keys = keys
        self._clock = clock
        self._built: dict[str, VerifyingKey] = {}

    def __call__(self, kid: str) -> VerifyingKey | None:
        """The key of that kid, or None when it is not ours, is retired or is for something else."""
        found = next((jwk for jwk in self._jwks() if jwk["kid"] == kid), None)
        if found is None:
            return None
        known = self._built.get(kid)
        if known is None:
            known = self._built[kid] = VerifyingKey(found)
        return known

    def in_force(self) -> list[VerifyingKey]:
        """All that verify now."""
        return [VerifyingKey(jwk) for jwk in self._jwks()]

    def _jwks(self) -> Iterator[dict[str, Any]]:
        state, now = self._source.state, self._clock.now()
        turned = state.instance_keys
        present = self._keys.signer(self.name).public_jwk()
        leaving = self._keys.leaving(self.name)
        # A key that is just coming or going and that the record does not name yet.
        for jwk in (present, leaving.public_jwk()) if leaving is not None else (present,):
            if jwk["kid"] not in turned:
                yield jwk
        for entry in turned.values():
            if entry.key == self.name and (entry.until is None or now < entry.until):
                yield entry.jwk
        if self.name == "issuer" and state.instance is not None:
            for jwk in state.instance.issuer_keys:
                kid = str(jwk.get("kid"))
                if kid not in turned and kid != present["kid"]:
                    yield VerifyingKey(jwk).jwk
