"""Verifying a presented passport (SD-JWT with key binding, RFC 9901 7; SD-JWT VC).

Owns the order of the checks and the name of the step that failed: structure, header, signature, times, disclosures,
key_binding, status. Refuses to fetch anything: the issuer's key, the nonce and the status come from the caller.
Strict where the RFC leaves a choice: only members that our issuer writes are accepted, every disclosure must be
referenced once, nothing may be disclosed over what the issuer signed in the open, nesting is bounded and walked without
recursion.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import msgspec

from safeconduct.kernel.canonical import b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import PassportId, SubjectId
from safeconduct.kernel.jose import Jws, check_header, check_times, parse_jws
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.passport.claims import Claims
from safeconduct.passport.facts import FACT_NAMES, from_facts
from safeconduct.passport.issuance import KEY_BINDING_TYP, PASSPORT_TYP, VCT, digest

MAX_PRESENTATION_BYTES = 64 * 1024
MAX_DISCLOSURES = 256
MAX_NESTING = 8
MAX_CHARACTERS_OF_NONCE = 200
KEY_BINDING_SECONDS = 300

_OPEN_MEMBERS = frozenset(
    {"iss", "sub", "jti", "iat", "nbf", "exp", "vct", "cnf", "status", "_sd_alg", "_sd"}
)
_HOLDER_KEY_MEMBERS = frozenset({"kty", "crv", "x", "y"})
_FACTS = frozenset(FACT_NAMES)


class VerifiedPassport(msgspec.Struct, frozen=True):
    """What a presentation proved. Times are seconds; `bound_at` and `nonce` are those of the key binding.

    holder_jwk, holder_thumbprint: the key that signed the key binding.
    """

    passport: PassportId
    subject: SubjectId
    issuer: str
    claims: Claims
    holder_jwk: dict[str, Any]
    holder_thumbprint: str
    status_uri: str
    status_index: int
    valid_from: int
    valid_until: int
    bound_at: int
    nonce: str


def _fail(step: str, message: str, *, field: str = "", remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step=step, field=field, remedy=remedy)


def verify_passport(
    presentation: str,
    *,
    issuer: str,
    issuer_key: Callable[[str], VerifyingKey | None],
    audience: str,
    nonce: str | Callable[[str], bool],
    status: Callable[[PassportId, str, int], PassportStatus],
    now: float,
    leeway: int = 30,
) -> VerifiedPassport:
    """Verify a presentation in the fixed order and return what it proved.

    issuer: the pinned `iss`; issuer_key(kid) gives its pinned key or None.
    audience: what the key binding must be for, exactly. nonce: the expected one, or a function that says whether a nonce is
    ours and takes it out of use; it is asked last of the key binding, so an unproven presentation uses no nonce up.
    status(passport, uri, index) gives the status; it raises VerificationFailed(step="status") when it cannot tell.
    Raises VerificationFailed; its `step` is the first that failed, its code PASSPORT_INVALID, BINDING_MISSING or
    PASSPORT_REVOKED.
    """
    # Step 1, structure.
    signed, disclosures, binding = _split(presentation)
    jws = parse_jws(signed, max_bytes=MAX_PRESENTATION_BYTES)
    payload = jws.claims()
    _check_shape(payload)
    # Step 2, header.
    check_header(jws.header, typ=PASSPORT_TYP)
    # Step 3, signature against the pinned issuer: never a key that the message brought or named by address.
    _check_signature(jws, payload, issuer, issuer_key)
    # Step 4, times.
    for name in ("iat", "nbf", "exp"):
        if name not in payload:
            raise _fail("times", f"{name} is missing", field=name)
    check_times(payload, now=now, leeway=leeway)
    # Step 5, disclosures.
    claims = _read_disclosures(payload, disclosures)
    # Step 6, key binding.
    try:
        holder = VerifyingKey(payload["cnf"]["jwk"])
    except InvalidInput as error:
        raise _fail("key_binding", error.message, field="cnf.jwk") from None
    bound_at, used_nonce = _check_binding(
        binding,
        bound=presentation[: len(presentation) - len(binding)],
        holder=holder,
        audience=audience,
        nonce=nonce,
        now=now,
        leeway=leeway,
    )
    # Step 7, status.
    place = payload["status"]["status_list"]
    found = status(PassportId(payload["jti"]), place["uri"], place["idx"])
    if found is not PassportStatus.VALID:
        word = "suspended" if found is PassportStatus.SUSPENDED else "revoked"
        raise VerificationFailed(
            f"the passport is {word}",
            step="status",
            code="PASSPORT_REVOKED",
            remedy="ask the issuer for its cause; an appeal goes to another reviewer",
        )
    return VerifiedPassport(
        passport=PassportId(payload["jti"]),
        subject=SubjectId(payload["sub"]),
        issuer=issuer,
        claims=claims,
        holder_jwk=payload["cnf"]["jwk"],
        holder_thumbprint=holder.thumbprint,
        status_uri=place["uri"],
        status_index=place["idx"],
        valid_from=payload["nbf"],
        valid_until=payload["exp"],
        bound_at=bound_at,
        nonce=used_nonce,
    )


def _split(presentation: str) -> tuple[str, list[str], str]:
    if len(presentation) > MAX_PRESENTATION_BYTES:
        raise _fail("structure", f"longer than {MAX_PRESENTATION_BYTES} bytes")
    parts = presentation.split("~")
    if len(parts) < 2:
        raise _fail("structure", "not an SD-JWT: no ~", remedy="send <jwt>~<disclosures>~<key binding>")
    if len(parts) - 2 > MAX_DISCLOSURES:
        raise _fail("structure", f"more than {MAX_DISCLOSURES} disclosures")
    return parts[0], parts[1:-1], parts[-1]


def _check_shape(payload: dict[str, Any]) -> None:
    """The members in the open: all of ours, none that we do not write."""
    for name in payload:
        if name not in _OPEN_MEMBERS:
            raise _fail("structure", f"member {name[:80]!r} is not one of a passport", field=name[:80])
    for name in ("iss", "sub", "jti"):
        if not isinstance(payload.get(name), str) or not payload[name]:
            raise _fail("structure", f"{name} is missing", field=name)
    if payload.get("vct") != VCT:
        raise _fail("structure", "another type of credential", field="vct")
    # RFC 9901 4.1.1: our issuer always names the algorithm; another one (or none) is a downgrade.
    if payload.get("_sd_alg") != "sha-256":
        raise _fail("structure", "_sd_alg is not sha-256", field="_sd_alg")
    cnf = payload.get("cnf")
    if not isinstance(cnf, dict) or set(cnf) != {"jwk"} or not isinstance(cnf["jwk"], dict):
        raise _fail("structure", "cnf is not one jwk", field="cnf")
    if not _HOLDER_KEY_MEMBERS.issuperset(cnf["jwk"]):
        raise _fail("structure", "cnf.jwk holds more than a public P-256 key", field="cnf.jwk")
    status = payload.get("status")
    place = status.get("status_list") if isinstance(status, dict) and len(status) == 1 else None
    if not isinstance(place, dict) or set(place) != {"idx", "uri"}:
        raise _fail("structure", "status is not one status_list reference", field="status")
    if type(place["idx"]) is not int or place["idx"] < 0 or not isinstance(place["uri"], str):
        raise _fail("structure", "status_list needs a whole idx and a uri", field="status.status_list")


def _check_signature(
    jws: Jws,
    payload: dict[str, Any],
    issuer: str,
    issuer_key: Callable[[str], VerifyingKey | None],
) -> None:
    if payload["iss"] != issuer:
        raise _fail("signature", "another issuer", field="iss", remedy="present a passport of this issuer")
    key = issuer_key(jws.header["kid"])
    if key is None:
        raise _fail("signature", "signed with a key that is not the issuer's", field="kid")
    if key.alg != "ES256" or not key.verify(jws.signature, jws.signing_input):
        raise _fail("signature", "the issuer's signature does not verify")


def _decode_disclosures(texts: list[str]) -> dict[str, list[Any]]:
    by_digest: dict[str, list[Any]] = {}
    for place, text in enumerate(texts):
        where = f"disclosures[{place}]"
        try:
            parts = strict_json(b64u_decode(text), what="a disclosure")
        except InvalidInput as error:
            raise _fail("disclosures", error.message, field=where) from None
        if not isinstance(parts, list) or len(parts) not in (2, 3) or not isinstance(parts[0], str):
            raise _fail("disclosures", "a disclosure is [salt, name, value] or [salt, value]", field=where)
        if len(parts) == 3 and (not isinstance(parts[1], str) or parts[1] in ("_sd", "...")):
            # RFC 9901 7.1 3.c: these names would be read as structure.
            raise _fail("disclosures", "a disclosure may not carry this name", field=where)
        found = digest(text)
        if found in by_digest:
            raise _fail("disclosures", "a disclosure stands twice", field=where)
        by_digest[found] = parts
    return by_digest


def _read_disclosures(payload: dict[str, Any], texts: list[str]) -> Claims:
    """Put disclosures where their digests stand (RFC 9901 7.1) and read the facts. `payload` keeps its open members."""
    waiting = _decode_disclosures(texts)
    facts: dict[str, Any] = {"_sd": payload.get("_sd", [])}
    seen: set[str] = set()
    # INVARIANT: a work list, not recursion: an issuer's or attacker's nesting costs memory that the size limit bounds,
    # never the interpreter's stack.
    work: list[tuple[Any, int]] = [(facts, 0)]
    while work:
        value, depth = work.pop()
        if depth > MAX_NESTING:
            raise _fail("disclosures", f"nested deeper than {MAX_NESTING}")
        if isinstance(value, dict):
            _fill_object(value, waiting, seen, top=value is facts)
            work.extend((part, depth + 1) for part in value.values() if isinstance(part, dict | list))
        else:
            _fill_array(value, waiting, seen)
            work.extend((part, depth + 1) for part in value if isinstance(part, dict | list))
    if waiting:
        raise _fail("disclosures", "a disclosure is not referenced by what the issuer signed")
    try:
        return from_facts(facts)
    except InvalidInput as error:
        raise _fail("disclosures", error.message, field=error.field) from None


def _take(found: Any, waiting: dict[str, list[Any]], seen: set[str], length: int) -> list[Any] | None:
    if not isinstance(found, str):
        raise _fail("disclosures", "a digest is not a string", field="_sd")
    if found in seen:
        raise _fail("disclosures", "a digest stands twice", field="_sd")
    seen.add(found)
    parts = waiting.pop(found, None)
    if parts is not None and len(parts) != length:
        raise _fail("disclosures", "a disclosure of a member stands in an array, or the other way round")
    return parts


def _fill_object(value: dict[str, Any], waiting: dict[str, list[Any]], seen: set[str], *, top: bool) -> None:
    digests = value.pop("_sd", [])
    if not isinstance(digests, list):
        raise _fail("disclosures", "_sd is not an array", field="_sd")
    if "..." in value or "_sd_alg" in value:
        raise _fail("disclosures", "a reserved name stands where a member is expected")
    for found in digests:
        parts = _take(found, waiting, seen, 3)
        if parts is None:
            continue  # not disclosed, or a decoy
        name = parts[1]
        if name in value or (top and name in _OPEN_MEMBERS):
            raise _fail("disclosures", f"a disclosure would replace {name[:80]!r}", field=name[:80])
        if top and name not in _FACTS:
            raise _fail("disclosures", f"{name[:80]!r} is not a fact of a passport", field=name[:80])
        value[name] = parts[2]


def _fill_array(value: list[Any], waiting: dict[str, list[Any]], seen: set[str]) -> None:
    kept: list[Any] = []
    for part in value:
        if not isinstance(part, dict) or "..." not in part:
            kept.append(part)
            continue
        if len(part) != 1:
            raise _fail("disclosures", "a digest in an array has company")
        parts = _take(part["..."], waiting, seen, 2)
        if parts is not None:
            kept.append(parts[1])
    value[:] = kept


def _check_binding(
    binding: str,
    *,
    bound: str,
    holder: VerifyingKey,
    audience: str,
    nonce: str | Callable[[str], bool],
    now: float,
    leeway: int,
) -> tuple[int, str]:
    """RFC 9901 7.3 step 5. Returns when it was signed and the nonce."""
    if not binding:
        raise VerificationFailed(
            "the key binding is missing",
            step="key_binding",
            code="BINDING_MISSING",
            remedy="sign a kb+jwt with the passport's key",
        )
    try:
        jws = parse_jws(binding, max_bytes=4096)
        check_header(jws.header, typ=KEY_BINDING_TYP, need_kid=False)
        claims = jws.claims()
        if not holder.verify(jws.signature, jws.signing_input):
            raise _fail("signature", "not signed with the passport's key")
        check_times(claims, now=now, leeway=leeway, need_exp=False)
    except VerificationFailed as error:
        raise _fail("key_binding", error.message, field=error.field) from None
    iat, used = claims.get("iat"), claims.get("nonce")
    if iat is None:
        raise _fail("key_binding", "iat is missing", field="iat")
    if now - iat > KEY_BINDING_SECONDS + leeway:
        raise _fail(
            "key_binding", f"signed more than {KEY_BINDING_SECONDS} s ago", field="iat", remedy="sign anew"
        )
    # One string: an array would let one presentation serve at several verifiers (RFC 9901 4.3).
    if not isinstance(claims.get("aud"), str) or claims["aud"] != audience:
        raise _fail("key_binding", "meant for another audience", field="aud")
    sd_hash = claims.get("sd_hash")
    if not isinstance(sd_hash, str) or not hmac.compare_digest(
        sd_hash.encode("utf-8", "surrogatepass"), digest(bound).encode()
    ):
        raise _fail("key_binding", "made over another set of disclosures", field="sd_hash")
    if not isinstance(used, str) or not 0 < len(used) <= MAX_CHARACTERS_OF_NONCE:
        raise _fail("key_binding", "nonce is missing", field="nonce")
    if not (nonce(used) if callable(nonce) else nonce == used):
        raise _fail(
            "key_binding", "the nonce is not ours, or was used", field="nonce", remedy="fetch a new nonce"
        )
    return iat, used
