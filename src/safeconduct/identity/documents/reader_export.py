"""What a phone's NFC reader app exports: one JSON object with base64 of EF.SOD and the data groups. Owns its strict reading."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

import msgspec

from safeconduct.identity.documents.epassport import MAX_GROUP, MAX_SOD
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.errors import InvalidInput

MAX_EXPORT = 24 << 20
_GROUP = re.compile(r"dg(?P<number>[1-9]|1[0-6])")
_IGNORED = frozenset({"com", "version", "device", "read_at"})


class ReaderExport(msgspec.Struct, frozen=True):
    """The files of one chip. sod: EF.SOD; groups: number -> bytes."""

    sod: bytes
    groups: dict[int, bytes]


def read_export(data: bytes) -> ReaderExport:
    """Read the JSON: members `sod`, `dg1` to `dg16` (base64, any case). Raises InvalidInput naming the member."""
    if len(data) > MAX_EXPORT:
        raise InvalidInput(
            f"is larger than {MAX_EXPORT} bytes",
            field="export",
            remedy="leave out what is not needed: SOD and DG1 are",
        )
    read = strict_json(data, what="the export")
    if not isinstance(read, dict):
        raise InvalidInput("is not a JSON object", field="export", remedy='send {"sod": "...", "dg1": "..."}')
    sod: bytes | None = None
    groups: dict[int, bytes] = {}
    for name, value in read.items():
        plain = name.lower().removeprefix("ef.")
        group = _GROUP.fullmatch(plain)
        if plain == "sod":
            if sod is not None:
                raise InvalidInput("stands twice", field=name, remedy="send it once")
            sod = _bytes(value, name, MAX_SOD)
        elif group is not None:
            number = int(group["number"])
            if number in groups:
                raise InvalidInput("stands twice", field=name, remedy="send it once")
            groups[number] = _bytes(value, name, MAX_GROUP)
        elif plain not in _IGNORED:
            raise InvalidInput(
                "is no file of a travel document", field=name[:80], remedy="send sod and dg1 to dg16"
            )
    if sod is None:
        raise InvalidInput("is missing", field="sod", remedy="export EF.SOD with the data groups")
    return ReaderExport(sod=sod, groups=groups)


def _bytes(value: Any, name: str, most: int) -> bytes:
    if not isinstance(value, str):
        raise InvalidInput("is not text", field=name, remedy="send base64")
    # Four characters are three bytes: refused before it is decoded.
    if len(value) > most * 4 // 3 + 4:
        raise InvalidInput(
            f"is larger than {most} bytes", field=name, remedy="send the file as it is on the chip"
        )
    try:
        return base64.b64decode(value.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise InvalidInput(
            "is not base64", field=name, remedy="send standard base64 without line breaks"
        ) from None
