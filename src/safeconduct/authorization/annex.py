"""Annexes and lists of organisations as files: JSON lines, one organisation each.

Owns their reading and the check digits of an LEI. Refuses to match by name: a line without an exact identifier names
nobody, and its use case lists it as unmatched.
"""

from __future__ import annotations

import re

import msgspec

from safeconduct.authorization.document import Members
from safeconduct.kernel.canonical import canonical_json, sha256_hex, strict_json
from safeconduct.kernel.errors import InvalidInput

MEDIA_TYPES = frozenset({"application/jsonl", "application/x-ndjson", "application/json-lines"})
MEDIA_TYPE = "application/jsonl"
MAX_BYTES = 1 << 20

_LEI = re.compile(r"[0-9A-Z]{18}[0-9]{2}")


class AnnexLine(msgspec.Struct, frozen=True):
    """One organisation as an authority names it."""

    legal_name: str
    lei: str | None = None
    registry_authority: str | None = None
    registry_number: str | None = None


def check_lei(lei: str, field: str = "lei") -> str:
    """An LEI whose check digits fit (ISO 17442-1 with ISO/IEC 7064 MOD 97-10). Raises InvalidInput."""
    if not _LEI.fullmatch(lei):
        raise InvalidInput(
            f"{lei[:30]!r} is not an LEI", field=field, remedy="give 18 of 0-9 A-Z and two check digits"
        )
    if int("".join(str(int(character, 36)) for character in lei)) % 97 != 1:
        raise InvalidInput(
            f"the check digits of {lei} do not fit", field=field, remedy="compare it with the register"
        )
    return lei


def line_from(value: object, where: str) -> AnnexLine:
    """One line `{legal_name, lei?, registry?: {authority, number}}`. Raises InvalidInput naming the member."""
    members = Members(value, f"{where}.")
    legal_name = members.text("legal_name", limit=300)
    lei = members.take("lei", None)
    if lei is not None:
        if not isinstance(lei, str):
            raise InvalidInput("not an LEI", field=members.path("lei"))
        check_lei(lei, members.path("lei"))
    authority = number = None
    registry = members.take("registry", None)
    if registry is not None:
        entry = Members(registry, f"{where}.registry.")
        authority, number = entry.text("authority", limit=100), entry.text("number", limit=100)
        entry.finish()
    members.finish()
    return AnnexLine(legal_name, lei, authority, number)


def read_annex(data: bytes, sha256: str, *, name: str, media_type: str = MEDIA_TYPE) -> tuple[AnnexLine, ...]:
    """The lines of an annex, its bytes checked against the digest that the signed document gives.

    Raises InvalidInput naming annex, line and member.
    """
    field = f"annexes.{name}"
    found = sha256_hex(data)
    if found != sha256:
        raise InvalidInput(
            f"the annex's SHA-256 is {found}, the signed document says {sha256}",
            field=field,
            remedy="give the very file that was signed; a replaced annex needs a new document",
        )
    if media_type.split(";", maxsplit=1)[0].strip() not in MEDIA_TYPES:
        raise InvalidInput(
            f"media type {media_type[:60]!r} is not read", field=field, remedy=f"use {MEDIA_TYPE}"
        )
    if len(data) > MAX_BYTES:
        raise InvalidInput(f"larger than {MAX_BYTES} bytes", field=field)
    lines = data.split(b"\n")
    read = tuple(
        line_from(strict_json(line, what=f"line {place}"), f"{field}[{place}]")
        for place, line in enumerate(lines, start=1)
        if line.strip()
    )
    if not read:
        raise InvalidInput("the annex names nobody", field=field, remedy="give one JSON object a line")
    return read


def write_annex(lines: tuple[AnnexLine, ...]) -> bytes:
    """The bytes of an annex, to be signed by digest and sent beside the document."""
    out = bytearray()
    for line in lines:
        value: dict[str, object] = {"legal_name": line.legal_name}
        if line.lei is not None:
            value["lei"] = line.lei
        if line.registry_authority is not None and line.registry_number is not None:
            value["registry"] = {"authority": line.registry_authority, "number": line.registry_number}
        out += canonical_json(value) + b"\n"
    return bytes(out)
