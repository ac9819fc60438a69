"""Signed heartbeats of a log: which tree was the newest, and when, provable to a follower who trusts no network in between.

Owns the two messages of a following and the reckoning of age. Refuses a message of another log, of another start of the
sender, or for another follower; and any reckoning by wall clocks.

A follower sends a nonce and notes its own steady clock (`asked`). The greeting signs the nonce, the sender's start (`boot`)
and the sender's steady clock. Each heartbeat signs `boot`, the sender's steady clock, size and root. The greeting cannot have
been made before `asked`, so a heartbeat made d milliseconds of the sender's clock after the greeting was made at or after
`asked + d`: whoever holds messages back only makes them look as old as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.merkle import HASH_SIZE
from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.jose import check_header, parse_jws, sign_jwt
from safeconduct.kernel.signing import EDDSA, Signer

GREETING = "log-greeting+jwt"
HEARTBEAT = "log-heartbeat+jwt"
MAX_BYTES = 32 * 1024
_Message = TypeVar("_Message", "Greeting", "Heartbeat")


class Greeting(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first message of a following. iss: the log's origin; aud: the follower's party; at: milliseconds of the sender's
    steady clock. issuer, audience, profile, token_keys: what a gateway needs beside the record, from the same signer.
    """

    iss: str
    aud: str
    nonce: str
    boot: str
    at: int
    issuer: str
    audience: str
    profile: str
    token_keys: tuple[dict[str, Any], ...]


class Heartbeat(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At `at` the tree of `size` entries under `root` (base64url) was the newest. time: the sender's wall clock then, in
    milliseconds since the epoch.
    """

    iss: str
    boot: str
    at: int
    time: int
    size: int
    root: str

    @property
    def root_hash(self) -> bytes:
        """The 32 bytes of the root. Raises VerificationFailed."""
        try:
            root = b64u_decode(self.root, field="root")
        except InvalidInput as error:
            raise VerificationFailed(error.message, step="structure", code="", field="root") from None
        if len(root) != HASH_SIZE:
            raise VerificationFailed("a root is 32 bytes", step="structure", code="", field="root")
        return root


def sign_greeting(greeting: Greeting, signer: Signer) -> str:
    """A compact JWS under the log's key."""
    return sign_jwt(msgspec.to_builtins(greeting), typ=GREETING, signer=signer)


def sign_heartbeat(
    signer: Signer, *, origin: str, boot: str, at: int, time: int, size: int, root: bytes
) -> str:
    """A compact JWS under the log's key."""
    beat = Heartbeat(iss=origin, boot=boot, at=at, time=time, size=size, root=b64u(root))
    return sign_jwt(msgspec.to_builtins(beat), typ=HEARTBEAT, signer=signer)


def _read(
    text: str, typ: str, form: type[_Message], verifier: LogVerifier, *, older: bool = False
) -> _Message:
    jws = parse_jws(text, max_bytes=MAX_BYTES)
    check_header(jws.header, typ=typ, alg=EDDSA, need_kid=False)
    # The key is pinned: whatever kid the header names, only this key counts. One that was replaced says nothing new.
    keys = [verifier.key, *(one.key for one in verifier.older)] if older else [verifier.key]
    if not any(key.verify(jws.signature, jws.signing_input) for key in keys):
        raise VerificationFailed("the signature does not verify", step="signature", code="")
    try:
        message = msgspec.convert(jws.claims(), form)
    except msgspec.ValidationError as error:
        raise VerificationFailed(str(error), step="structure", code="") from None
    if message.iss != verifier.name:
        raise VerificationFailed("it is of another log", step="claims", code="", field="iss")
    return message


def read_greeting(text: str, verifier: LogVerifier) -> Greeting:
    """A greeting that was accepted once and kept, its signature verified again. Raises VerificationFailed."""
    return _read(text, GREETING, Greeting, verifier, older=True)


class Following:
    """One following as its follower reckons it. asked: the follower's steady clock before it sent `nonce`.

    verifier: of the record's present key; replaced when the key history grows.
    """

    def __init__(self, verifier: LogVerifier, *, party: str, nonce: str, asked: float) -> None:
        self.verifier = verifier
        self._party = party
        self._nonce = nonce
        self._asked = asked
        self.greeting: Greeting | None = None

    def greeted(self, text: str) -> Greeting:
        """Take the greeting. Raises VerificationFailed."""
        greeting = _read(text, GREETING, Greeting, self.verifier)
        if greeting.nonce != self._nonce or greeting.aud != self._party:
            raise VerificationFailed("the greeting is for another follower", step="claims", code="")
        self.greeting = greeting
        return greeting

    def heartbeat(self, text: str) -> tuple[Heartbeat, float]:
        """Take a heartbeat: it, and the earliest instant of the follower's steady clock at which it can have been made.

        Raises VerificationFailed.
        """
        greeting = self.greeting
        if greeting is None:
            raise VerificationFailed("a heartbeat came before the greeting", step="structure", code="")
        beat = _read(text, HEARTBEAT, Heartbeat, self.verifier)
        if beat.boot != greeting.boot:
            raise VerificationFailed(
                "the heartbeat is of another start of the sender", step="claims", code=""
            )
        return beat, self._asked + (beat.at - greeting.at) / 1000


def token_keys_of(jwks: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Public keys as a greeting carries them, ordered by kid."""
    return tuple(sorted((dict(jwk) for jwk in jwks), key=lambda jwk: str(jwk["kid"])))
