"""Use case: a device without the passport's key asks, and its human approves from where that key is (RFC 8628).

The device makes a key of its own and gets a short code. The human reads with it what the device asks for and signs a
mandate for exactly that key; from then on the device is an agent of theirs and ends with its mandate. Pending requests live
in memory for ten minutes. Refuses to hand a mandate to anybody but the holder of the key that asked.
"""

from __future__ import annotations

import secrets
import threading
from typing import Any

import msgspec

from safeconduct.app.check_presentation import PresentationDesk, check_proof
from safeconduct.app.commit import instant
from safeconduct.app.register_mandate import register_mandate
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound, SafeconductError, VerificationFailed
from safeconduct.kernel.ids import ProjectId, RandomBytes, SubjectId, VariantId, new_id
from safeconduct.kernel.jose import parse_jws
from safeconduct.kernel.signing import thumbprint
from safeconduct.kernel.vocabulary import Purpose
from safeconduct.passport.dpop import Proof, ProofReplays, ProofVerifier
from safeconduct.passport.token_requests import DEVICE_PATH, TOKEN_PATH
from safeconduct.passport.tokens import read_access_asked
from safeconduct.record.events.holders import MandateRegistered

LIFETIME = 600
INTERVAL = 5
MAX_PENDING = 4096
# RFC 8628 6.1: no vowels (no words), no letters that are mistaken for one another. 20^8 codes, ten minutes each.
_ALPHABET = "BCDFGHJKLMNPQRSTVWXZ"
_CODE_LETTERS = 8
MAX_WRONG_CODES = 20
"""Wrong codes that one human may try in ten minutes."""
_MAX_NAME = 80


class DevicePending(SafeconductError):
    """The device asks again later. error: `authorization_pending`, `slow_down`, `access_denied` or `expired_token`."""

    kind = "invalid_input"

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message, field="device_code")
        self.error = error


class DeviceRequest(msgspec.Struct, frozen=True):
    """What a device asks for. agent: the id it will have. key: thumbprint of its key. source: the address it asked from."""

    user_code: str
    agent: SubjectId
    name: str
    models: tuple[VariantId, ...]
    purpose: Purpose
    project: ProjectId | None
    jwk: dict[str, Any]
    key: str
    source: str
    expires: int


class _Pending:
    __slots__ = ("asked", "denied", "mandate", "next_poll", "wait")

    def __init__(self, asked: DeviceRequest) -> None:
        self.asked = asked
        self.mandate: str | None = None
        self.denied = False
        self.next_poll = 0.0
        self.wait = INTERVAL


class DeviceDesk:
    """Pending device requests of one process. Thread-safe."""

    def __init__(
        self, desk: PresentationDesk, replays: ProofReplays, random: RandomBytes = secrets.token_bytes
    ) -> None:
        self._desk = desk
        self._random = random
        self._proofs = ProofVerifier(replays)
        self._by_device: dict[str, _Pending] = {}
        self._by_code: dict[str, _Pending] = {}
        self._wrong: dict[SubjectId, tuple[int, int]] = {}
        self._lock = threading.Lock()

    def begin(
        self, dpop: tuple[str, ...], details: Any, *, name: str, source: str
    ) -> tuple[str, DeviceRequest]:
        """Start a request (RFC 8628 3.1): the device's secret code, and what stands under its user code.

        dpop: one proof, which introduces the device's key. details: `authorization_details` with models and a purpose.
        Raises InvalidInput, CredentialRefused (the proof), Conflict (too many are pending).
        """
        now = instant(self._desk.instance)
        proof = self._prove(dpop, DEVICE_PATH, now)
        asked = read_access_asked(details)
        if not asked.models:
            raise InvalidInput("names no models", field="authorization_details[0].models", remedy="name them")
        if asked.purpose is None:
            raise InvalidInput(
                "names no purpose", field="authorization_details[0].purpose", remedy="name one"
            )
        if len(name) > _MAX_NAME or not name.isprintable():
            raise InvalidInput(f"is not up to {_MAX_NAME} printable characters", field="name")
        with self._lock:
            self._forget_old(now)
            if len(self._by_code) >= MAX_PENDING:
                raise Conflict("too many devices wait for approval", remedy="try again in a few minutes")
            code = self._new_code()
            request = DeviceRequest(
                user_code=code,
                agent=SubjectId(new_id("agt", self._random)),
                name=name,
                models=asked.models,
                purpose=asked.purpose,
                project=asked.project,
                jwk={member: proof.key.jwk[member] for member in ("kty", "crv", "x", "y")},
                key=proof.jkt,
                source=source,
                expires=now + LIFETIME,
            )
            device = new_id("dvc", self._random) + self._random(32).hex()
            self._by_device[device] = self._by_code[code] = _Pending(request)
        return device, request

    def describe(self, presentation: str, user_code: str) -> DeviceRequest:
        """What the device behind a code asks for, to a human who presents a passport. Raises NotFound, CredentialRefused."""
        now = instant(self._desk.instance)
        human = self._desk.check(presentation, now=now)
        with self._lock:
            return self._pending(user_code, human.subject, now).asked

    def approve(self, presentation: str, user_code: str, mandate: str) -> MandateRegistered:
        """Register the mandate that the human signed for the device. Raises NotFound, InvalidInput, CredentialRefused."""
        now = instant(self._desk.instance)
        human = self._desk.check(presentation, now=now)
        with self._lock:
            pending = self._pending(user_code, human.subject, now)
        asked = pending.asked
        try:
            claims = parse_jws(mandate).claims()
            jwk = claims["cnf"]["jwk"]
            scope = claims["scope"]
            fits = (
                thumbprint(jwk) == asked.key
                and claims["sub"] == asked.agent
                and set(scope["variants"]) <= set(asked.models)
                and scope["purposes"] == [asked.purpose.value]
                and scope.get("project") == asked.project
            )
        except (KeyError, TypeError, InvalidInput, VerificationFailed):
            fits = False
        if not fits:
            raise InvalidInput(
                "the mandate is not for this device, or for more than it asked",
                field="mandate",
                remedy="sign what `device show` tells",
            )
        registered = register_mandate(self._desk, mandate=mandate, presentation=human)
        with self._lock:
            pending.mandate = mandate
            self._by_code.pop(asked.user_code, None)
        return registered

    def deny(self, presentation: str, user_code: str) -> DeviceRequest:
        """Refuse a device. Raises NotFound, CredentialRefused."""
        now = instant(self._desk.instance)
        human = self._desk.check(presentation, now=now)
        with self._lock:
            pending = self._pending(user_code, human.subject, now)
            pending.denied = True
            self._by_code.pop(pending.asked.user_code, None)
            return pending.asked

    def collect(self, dpop: tuple[str, ...], device_code: str) -> tuple[str, SubjectId]:
        """The mandate and the agent's id, once (RFC 8628 3.4). Raises DevicePending, CredentialRefused."""
        now = instant(self._desk.instance)
        proof = self._prove(dpop, TOKEN_PATH, now)
        with self._lock:
            self._forget_old(now)
            pending = self._by_device.get(device_code)
            if pending is None or pending.asked.key != proof.jkt:
                raise DevicePending("expired_token", "the code is not known, or not any more")
            if pending.denied:
                del self._by_device[device_code]
                raise DevicePending("access_denied", "the human refused")
            if pending.mandate is not None:
                del self._by_device[device_code]
                return pending.mandate, pending.asked.agent
            early = now < pending.next_poll
            if early:
                pending.wait += INTERVAL
            pending.next_poll = now + pending.wait - 1
        if early:
            raise DevicePending("slow_down", f"ask every {pending.wait} seconds")
        raise DevicePending("authorization_pending", "not approved yet")

    # -- inside ------------------------------------------------------------------------------------------------

    def _prove(self, dpop: tuple[str, ...], path: str, now: int) -> Proof:
        return check_proof(self._proofs, dpop, url=self._desk.instance.issuer + path, now=now)

    def _pending(self, user_code: str, human: SubjectId, now: int) -> _Pending:
        self._forget_old(now)
        pending = None
        tries, since = self._wrong.get(human, (0, now))
        if tries < MAX_WRONG_CODES:
            typed = "".join(letter for letter in user_code.upper() if letter.isalpha())
            pending = self._by_code.get(typed)
        if pending is None:
            self._wrong[human] = (tries + 1, since)
            raise NotFound(
                "there is no device waiting under this code",
                field="user_code",
                remedy="type the code the device shows; it lives ten minutes",
            )
        return pending

    def _forget_old(self, now: int) -> None:
        for device in [name for name, each in self._by_device.items() if each.asked.expires <= now]:
            self._by_code.pop(self._by_device.pop(device).asked.user_code, None)
        for human in [name for name, (_, since) in self._wrong.items() if since + LIFETIME <= now]:
            del self._wrong[human]

    def _new_code(self) -> str:
        while True:
            letters: list[str] = []
            while len(letters) < _CODE_LETTERS:
                # 240 is the largest multiple of 20 below 256: every letter is as likely.
                letters += [_ALPHABET[byte % 20] for byte in self._random(16) if byte < 240]
            code = "".join(letters[:_CODE_LETTERS])
            if code not in self._by_code:
                return code
