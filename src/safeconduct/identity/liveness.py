"""Liveness and selfie matching are a provider's work; here is the signed result that any of them has to give.

A vendor sends a webhook: a JSON body and a signature over timestamp and body in a header. Which members mean what is
configured (JSON Pointer, RFC 6901), so that a vendor's own form of body fits without code. Owns the checks of one message:
signature, time, members, a final outcome. Refuses to say whose session it was, or whether it was used: that is the desk's to know.
"""

from __future__ import annotations

import binascii
import enum
import hashlib
import hmac
import re
from typing import Any

import msgspec

from safeconduct.identity.evidence import Outcome, Verification, VerificationMethod
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import check_name
from safeconduct.kernel.signing import EDDSA, Secret, VerifyingKey

MAX_BODY = 64 * 1024
TOLERANCE = 300
"""Seconds that a message may be old, or its sender's clock ahead."""
MAX_KEYS = 4
_MAX_HEADER = 1024
_MIN_SECRET = 16
_MAX_ID = 200
_HEADER_NAME = re.compile(r"[a-z0-9-]{1,64}")
DEVELOPMENT_VENDOR = "development-liveness"


class Scheme(enum.StrEnum):
    """How a vendor signs.

    hmac_timestamped, ed25519_timestamped: header `t=<seconds>,v1=<signature>` (further v1 while keys change), over
    `<seconds>.<body>`. hmac: the header is the signature over the body alone, so the time stands in the body.
    Signatures are hexadecimal.
    """

    HMAC_TIMESTAMPED = "hmac-sha256-timestamped"
    ED25519_TIMESTAMPED = "ed25519-timestamped"
    HMAC = "hmac-sha256"


class Members(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where in the body what stands. nonce: what the session was opened with. at: when the vendor came to its result."""

    event: str = "/event"
    case: str = "/case"
    nonce: str = "/nonce"
    liveness: str = "/liveness"
    match: str = "/selfie_match"
    at: str = "/at"


class LivenessVendor(msgspec.Struct, frozen=True):
    """A configured provider. secrets: HMAC keys, keys: Ed25519 public keys; the newest and those still accepted.

    passed, failed: the vendor's words; any other word is no final result. development: refused by production.
    """

    name: str
    scheme: Scheme
    header: str
    secrets: tuple[Secret, ...] = ()
    keys: tuple[VerifyingKey, ...] = ()
    members: Members = Members()
    passed: frozenset[str] = frozenset({"pass"})
    failed: frozenset[str] = frozenset({"fail"})
    development: bool = False


class LivenessResult(msgspec.Struct, frozen=True):
    """What a vendor found. event: its id of the message. at, sent: seconds. sha256: of the body, hex."""

    vendor: str
    event: str
    case: str
    nonce: str
    liveness: Outcome
    match: Outcome
    at: int
    sha256: str
    development: bool = False

    @property
    def outcome(self) -> Outcome:
        """Both a living person and the person on the document, or a failure."""
        both = self.liveness is Outcome.PASS and self.match is Outcome.PASS
        return Outcome.PASS if both else Outcome.FAIL


def verification_of(result: LivenessResult, evidence: str) -> Verification:
    """The result as the verification that assurance is computed from (SP 800-63A-4 2.5.1, automated facial comparison)."""
    return Verification(
        evidence=evidence, method=VerificationMethod.FACIAL_AUTOMATED, outcome=result.outcome, at=result.at
    )


class _Entry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    scheme: Scheme
    header: str
    secrets: tuple[str, ...] = ()
    keys: tuple[dict[str, Any], ...] = ()
    members: Members = Members()
    passed: tuple[str, ...] = ("pass",)
    failed: tuple[str, ...] = ("fail",)


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    vendors: tuple[_Entry, ...]


def read_vendors(data: bytes) -> tuple[LivenessVendor, ...]:
    """Read `{"vendors":[...]}`. Raises InvalidInput that names the member and never shows a secret."""
    try:
        read = msgspec.convert(strict_json(data, what="the vendors"), _File)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field="liveness_vendors") from None
    vendors = tuple(_vendor(entry, f"vendors[{place}]") for place, entry in enumerate(read.vendors))
    if len({vendor.name for vendor in vendors}) != len(vendors):
        raise InvalidInput("a vendor stands twice", field="vendors", remedy="give each its own name")
    return vendors


def _vendor(entry: _Entry, where: str) -> LivenessVendor:
    check_name(entry.name, f"{where}.name")
    if entry.name == DEVELOPMENT_VENDOR:
        raise InvalidInput("is the development provider's name", field=f"{where}.name")
    if not _HEADER_NAME.fullmatch(entry.header):
        raise InvalidInput("is not a header's name in lower case", field=f"{where}.header")
    signed = entry.scheme is Scheme.ED25519_TIMESTAMPED
    used, unused = ("keys", "secrets") if signed else ("secrets", "keys")
    if not 1 <= len(getattr(entry, used)) <= MAX_KEYS or getattr(entry, unused):
        raise InvalidInput(f"1 to {MAX_KEYS} {used} are expected, and no {unused}", field=f"{where}.{used}")
    if any(len(secret.encode()) < _MIN_SECRET for secret in entry.secrets):
        raise InvalidInput(f"a secret has less than {_MIN_SECRET} bytes", field=f"{where}.secrets")
    keys = tuple(VerifyingKey(jwk) for jwk in entry.keys)
    if any(key.alg != EDDSA for key in keys):
        raise InvalidInput("a key is not Ed25519", field=f"{where}.keys")
    if not entry.passed or set(entry.passed) & set(entry.failed):
        raise InvalidInput("the words for pass and fail overlap, or there are none", field=f"{where}.passed")
    for name in Members.__struct_fields__:
        pointer = getattr(entry.members, name)
        if not pointer.startswith("/") or len(pointer) > 300:
            raise InvalidInput("is not a JSON Pointer", field=f"{where}.members.{name}")
    return LivenessVendor(
        name=entry.name,
        scheme=entry.scheme,
        header=entry.header,
        secrets=tuple(map(Secret, entry.secrets)),
        keys=keys,
        members=entry.members,
        passed=frozenset(entry.passed),
        failed=frozenset(entry.failed),
    )


def verify_result(vendor: LivenessVendor, header: str | None, body: bytes, *, now: int) -> LivenessResult:
    """Verify a vendor's message. header: the value of `vendor.header`. now: seconds.

    Raises VerificationFailed whose step is structure, signature, times or claims.
    """
    if len(body) > MAX_BODY:
        raise _fail("structure", f"is larger than {MAX_BODY} bytes", "body")
    if header is None or len(header) > _MAX_HEADER:
        raise _fail("structure", "the signature is missing", vendor.header)
    if vendor.scheme is Scheme.HMAC:
        sent, signatures, signed = None, [_signature(header, vendor)], body
    else:
        sent, signatures = _timestamped(header, vendor)
        signed = str(sent).encode() + b"." + body
    # Every key and every signature, so that time does not tell which one was near.
    matches = [_verifies(key, one, signed) for key in _keys(vendor) for one in signatures]
    if not any(matches):
        raise _fail("signature", "is not this vendor's over this body", vendor.header)
    result = _read(vendor, body)
    for moment in (result.at,) if sent is None else (sent,):
        if not now - TOLERANCE <= moment <= now + TOLERANCE:
            raise _fail("times", f"more than {TOLERANCE} s from now", vendor.header)
    if result.at > now + TOLERANCE:
        raise _fail("times", "a result of the future", vendor.members.at)
    return result


def sign_timestamped(secret: Secret, body: bytes, *, at: int) -> str:
    """The header of scheme `hmac-sha256-timestamped`."""
    signed = hmac.digest(secret.reveal().encode(), str(at).encode() + b"." + body, hashlib.sha256)
    return f"t={at},v1={signed.hex()}"


def _fail(step: str, message: str, field: str = "") -> VerificationFailed:
    return VerificationFailed(message, step=step, code="ASSURANCE_LOW", field=field)


def _keys(vendor: LivenessVendor) -> tuple[Secret | VerifyingKey, ...]:
    return vendor.keys if vendor.scheme is Scheme.ED25519_TIMESTAMPED else vendor.secrets


def _verifies(key: Secret | VerifyingKey, signature: bytes, signed: bytes) -> bool:
    if isinstance(key, VerifyingKey):
        return key.verify(signature, signed)
    return hmac.compare_digest(hmac.digest(key.reveal().encode(), signed, hashlib.sha256), signature)


def _timestamped(header: str, vendor: LivenessVendor) -> tuple[int, list[bytes]]:
    times: list[str] = []
    signatures: list[bytes] = []
    for part in header.replace(" ", ",").split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            times.append(value)
        elif name == "v1":
            signatures.append(_signature(value, vendor))
    if len(times) != 1 or not re.fullmatch(r"[1-9][0-9]{0,11}", times[0]):
        raise _fail("structure", "one time in whole seconds is expected: t=", vendor.header)
    if not 1 <= len(signatures) <= 2 * MAX_KEYS:
        raise _fail("structure", "a signature is expected: v1=", vendor.header)
    return int(times[0]), signatures


def _signature(text: str, vendor: LivenessVendor) -> bytes:
    try:
        return binascii.unhexlify(text.strip().encode("ascii"))
    except (binascii.Error, ValueError):
        raise _fail("structure", "the signature is not hexadecimal", vendor.header) from None


def _read(vendor: LivenessVendor, body: bytes) -> LivenessResult:
    try:
        value = strict_json(body, what="the body")
    except InvalidInput as error:
        raise _fail("structure", error.message, error.field or "body") from None
    members = vendor.members
    return LivenessResult(
        vendor=vendor.name,
        event=_text(value, members.event),
        case=_text(value, members.case),
        nonce=_text(value, members.nonce),
        liveness=_outcome(vendor, value, members.liveness),
        match=_outcome(vendor, value, members.match),
        at=_instant(value, members.at),
        sha256=hashlib.sha256(body).hexdigest(),
        development=vendor.development,
    )


def _member(value: Any, pointer: str) -> Any:
    """RFC 6901 4. Raises VerificationFailed when there is nothing."""
    for part in pointer[1:].split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, dict) and name in value:
            value = value[name]
        elif isinstance(value, list) and re.fullmatch(r"0|[1-9][0-9]{0,3}", name) and int(name) < len(value):
            value = value[int(name)]
        else:
            raise _fail("claims", "is missing", pointer)
    return value


def _text(value: Any, pointer: str) -> str:
    found = _member(value, pointer)
    if not isinstance(found, str) or not 1 <= len(found) <= _MAX_ID or not found.isprintable():
        raise _fail("claims", f"is not text of 1 to {_MAX_ID} characters", pointer)
    return found


def _outcome(vendor: LivenessVendor, value: Any, pointer: str) -> Outcome:
    found = _member(value, pointer)
    if isinstance(found, str) and found in vendor.passed:
        return Outcome.PASS
    if isinstance(found, str) and found in vendor.failed:
        return Outcome.FAIL
    raise _fail("claims", "is no final result", pointer)


def _instant(value: Any, pointer: str) -> int:
    found = _member(value, pointer)
    if isinstance(found, int) and not isinstance(found, bool) and 0 <= found < 1 << 40:
        return found
    if isinstance(found, str) and len(found) <= 40:
        try:
            return parse_instant(found)
        except (ValueError, OverflowError):
            pass
    raise _fail("claims", "is not an instant (seconds, or RFC 3339)", pointer)
