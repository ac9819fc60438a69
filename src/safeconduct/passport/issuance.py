"""Signing a passport (SD-JWT VC, RFC 9901) and presenting it.

Owns what stands in a passport and which part of it can be held back. Refuses to verify (`verification` does) and to know
what a fact is needed for. `iss sub jti iat nbf exp vct cnf status` are never disclosable separately: they always show.

Every fact is a disclosure of its own. `compartments`, `caveats` and `us_person` are disclosures whose parts are disclosures
again (RFC 9901 6.3): the number of compartments shows only when the list is disclosed, and each compartment only when it is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Any

import msgspec

from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json, strict_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import PassportId, RandomBytes, SubjectId
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import Signer, VerifyingKey
from safeconduct.passport.claims import Claims
from safeconduct.passport.facts import to_facts

PASSPORT_TYP = "dc+sd-jwt"
KEY_BINDING_TYP = "kb+jwt"
VCT = "urn:safeconduct:vct:passport:1"

_SPLIT_LISTS = ("compartments", "caveats")
_SPLIT_OBJECTS = ("us_person", "deemed_export")


def digest(disclosure: str) -> str:
    """base64url SHA-256 over the ASCII of a disclosure as sent (RFC 9901 4.2.3)."""
    return b64u(hashlib.sha256(disclosure.encode("ascii")).digest())


class _Disclosures:
    """Collects disclosures while a payload is built."""

    def __init__(self, random: RandomBytes) -> None:
        self._random = random
        self.texts: list[str] = []

    def add(self, *rest: Any) -> str:
        # 128 bits of salt: RFC 9901 9.3.
        text = b64u(canonical_json([b64u(self._random(16)), *rest]))
        self.texts.append(text)
        return digest(text)


def issue(
    claims: Claims,
    *,
    passport: PassportId,
    subject: SubjectId,
    holder_jwk: dict[str, Any],
    issuer: str,
    status_uri: str,
    status_index: int,
    signer: Signer,
    valid_from: int,
    valid_until: int,
    random: RandomBytes,
) -> str:
    """The passport with all its disclosures, `<jwt>~<disclosure>~...~`.

    holder_jwk: the holder's public P-256 key; status_index: place in the status list at `status_uri`.
    valid_from, valid_until: seconds, [from, until). Raises InvalidInput for a key or an interval that cannot serve.
    """
    if valid_until <= valid_from:
        raise InvalidInput("ends before it begins", field="valid_until", remedy="give a later instant")
    key = VerifyingKey(holder_jwk)
    if key.alg != "ES256":
        raise InvalidInput("the holder's key must be P-256", field="holder_jwk", remedy="use an EC P-256 key")
    made = _Disclosures(random)
    digests: list[str] = []
    for name, value in to_facts(claims).items():
        if name in _SPLIT_LISTS:
            digests.append(made.add(name, [{"...": made.add(part)} for part in value]))
        elif name in _SPLIT_OBJECTS:
            digests.append(made.add(name, {"_sd": sorted(made.add(part, value[part]) for part in value)}))
        else:
            digests.append(made.add(name, value))
    payload = {
        "iss": issuer,
        "sub": subject,
        "jti": passport,
        "iat": valid_from,
        "nbf": valid_from,
        "exp": valid_until,
        "vct": VCT,
        "cnf": {"jwk": {part: key.jwk[part] for part in ("kty", "crv", "x", "y")}},
        "status": {"status_list": {"idx": status_index, "uri": status_uri}},
        "_sd_alg": "sha-256",
        # Sorted, so that their order says nothing about which fact is which (RFC 9901 4.2.4.1).
        "_sd": sorted(digests),
    }
    signed = sign_jwt(payload, typ=PASSPORT_TYP, signer=signer)
    return "~".join((signed, *made.texts, ""))


class HeldPassport(msgspec.Struct, frozen=True):
    """A passport as its holder keeps it: the signed part, and for each disclosure its path.

    paths: pairs (path, disclosure), parents before children; a path is `level`, `us_person` or `us_person.ear`.
    """

    signed: str
    paths: tuple[tuple[str, str], ...]

    def names(self) -> tuple[str, ...]:
        """All that can be disclosed."""
        return tuple(path for path, _ in self.paths)


def open_passport(sd_jwt: str) -> HeldPassport:
    """Read one's own passport (no verification). Raises InvalidInput when the text is not a passport with disclosures."""
    signed, *disclosures = sd_jwt.split("~")
    if not disclosures or disclosures[-1]:
        raise InvalidInput(
            "not a passport as issued", field="passport", remedy="give the text that was issued"
        )
    by_digest: dict[str, tuple[str, list[Any]]] = {}
    for text in disclosures[:-1]:
        parts = strict_json(b64u_decode(text, field="passport"), what="disclosure")
        if not isinstance(parts, list) or len(parts) not in (2, 3):
            raise InvalidInput("a disclosure is not an array of two or three", field="passport")
        by_digest[digest(text)] = (text, parts)
    found: list[tuple[str, str]] = []
    children: set[str] = set()
    for text, parts in by_digest.values():
        if len(parts) != 3 or not isinstance(parts[1], str):
            continue
        below = _children(parts[2])
        if below:
            found.append((parts[1], text))
        for each in below:
            if each in by_digest:
                child, child_parts = by_digest[each]
                children.add(child)
                found.append((f"{parts[1]}.{child_parts[1]}", child))
    top = [
        (parts[1], text)
        for text, parts in by_digest.values()
        if len(parts) == 3 and text not in children and not _children(parts[2])
    ]
    return HeldPassport(signed, tuple(top + found))


def _children(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [each for each in value.get("_sd", ()) if isinstance(each, str)]
    if isinstance(value, list):
        return [each["..."] for each in value if isinstance(each, dict) and "..." in each]
    return []


def present(
    sd_jwt: str,
    disclose: Collection[str] | None,
    holder: Signer,
    *,
    audience: str,
    nonce: str,
    now: int,
) -> str:
    """A presentation: the signed part, the chosen disclosures and a key-binding JWT (RFC 9901 4.3).

    disclose: paths (`level`, `us_person.ear`, `compartments.CYB`; a parent's name takes all its parts), or None for all.
    now: seconds. Raises InvalidInput naming a path that this passport does not hold.
    """
    held = open_passport(sd_jwt)
    chosen = [text for path, text in held.paths if disclose is None or _wanted(path, disclose)]
    if disclose is not None:
        known = set(held.names())
        for path in disclose:
            if path not in known:
                raise InvalidInput(
                    f"the passport holds no {path[:80]!r}",
                    field="disclose",
                    remedy=f"choose of {', '.join(sorted(known)) or 'nothing'}",
                )
    bound = "~".join((held.signed, *chosen, ""))
    claims = {"iat": now, "aud": audience, "nonce": nonce, "sd_hash": digest(bound)}
    return bound + sign_jwt(claims, typ=KEY_BINDING_TYP, signer=holder)


def _wanted(path: str, disclose: Collection[str]) -> bool:
    parent = path.partition(".")[0]
    # A child needs its parent to be found; a wanted parent brings its children.
    return path in disclose or parent in disclose or any(each.startswith(f"{path}.") for each in disclose)
