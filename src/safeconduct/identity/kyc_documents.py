"""What a document that was handed in amounts to: strength, validity and facts, from a chip, a zone's text, or an image.

Owns that only a verified chain to an authority makes SUPERIOR evidence, that a zone's text by itself is never more than FAIR and
validated by nobody, and that an image file is one thing only. Refuses to decode images: nobody's decoder runs on them here.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import zlib
from collections.abc import Iterator

import msgspec

from safeconduct.identity.documents.csca import CscaStore
from safeconduct.identity.documents.epassport import authenticate_document
from safeconduct.identity.documents.mrz import MachineReadableZone, PartialDate, read_mrz
from safeconduct.identity.documents.nationality_codes import REFUGEE, SPECIMEN
from safeconduct.identity.documents.reader_export import read_export
from safeconduct.identity.evidence import AttributeSource, Outcome, Strength, ValidationMethod
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import Forbidden, InvalidInput

MAX_IMAGE = 3 << 20
MAX_PIXELS = 12_000


class Examined(msgspec.Struct, frozen=True):
    """A document as examined. method: how it was found genuine, None when that is still to be done. expires: seconds."""

    kind: str
    sha256: str
    strength: Strength
    verdict: str
    method: ValidationMethod | None = None
    attributes: AttributeSource = AttributeSource.NONE
    outcome: Outcome = Outcome.PASS
    issuer: str = ""
    number: str = ""
    expires: int | None = None
    surname: str = ""
    given_names: str = ""
    country: str | None = None
    refugee: bool = False
    birth_date: str = ""
    personal_number: str = ""
    authority: str = ""
    specimen: bool = False


def examine_chip(data: bytes, store: CscaStore, *, now: int, specimens: bool) -> Examined:
    """A reader's export, by passive authentication (ICAO 9303-11 5.1). specimens: a development profile takes them.

    Raises InvalidInput (not an export), VerificationFailed naming the step, Forbidden (a specimen, an expired document).
    """
    read = read_export(data)
    year = dt.datetime.fromtimestamp(now, tz=dt.UTC).year
    found = authenticate_document(read.sod, read.groups, store, now=now, year=year)
    zone = found.zone
    if found.specimen and not specimens:
        raise Forbidden("a specimen is no document", field="document", remedy="hand in a real document")
    expires = _in_date(zone, now)
    examined = Examined(
        kind="passport",
        sha256=hashlib.sha256(data).hexdigest(),
        strength=Strength.SUPERIOR,
        verdict=f"signed by {found.signer.name} under {found.authority.name}, revocation {found.revocation}",
        method=ValidationMethod.CRYPTOGRAPHIC,
        attributes=AttributeSource.SIGNED,
        expires=expires,
        authority=found.authority.sha256,
        specimen=found.specimen,
    )
    return _with_facts(examined, zone)


def examine_zone(text: str, *, now: int, specimens: bool) -> Examined:
    """The text of a zone: FAIR, and validated by nobody, since check digits find slips and not forgeries.

    Raises InvalidInput, Forbidden.
    """
    zone = read_mrz(text, year=dt.datetime.fromtimestamp(now, tz=dt.UTC).year)
    if not zone.consistent:
        raise InvalidInput(
            f"check digits do not fit: {', '.join(zone.failed())}",
            field="zone",
            remedy="compare it with the document",
        )
    if zone.issuer.code == SPECIMEN and not specimens:
        raise Forbidden("a specimen is no document", field="document", remedy="hand in a real document")
    expires = _in_date(zone, now)
    examined = Examined(
        kind="zone",
        sha256=hashlib.sha256(text.encode()).hexdigest(),
        strength=Strength.FAIR,
        verdict="the zone's text only: its digits fit, which says nothing about the document",
        expires=expires,
        specimen=zone.issuer.code == SPECIMEN,
    )
    return _with_facts(examined, zone)


def _with_facts(examined: Examined, zone: MachineReadableZone) -> Examined:
    return msgspec.structs.replace(
        examined,
        issuer=zone.issuer.code,
        number=zone.document_number,
        surname=zone.surname,
        given_names=zone.given_names,
        country=zone.nationality.country if zone.nationality.citizen else None,
        refugee=zone.nationality.code in REFUGEE,
        birth_date=zone.birth_date.text(),
        personal_number=next((one for one in zone.optional if any(char.isalnum() for char in one)), ""),
    )


def _in_date(zone: MachineReadableZone, now: int) -> int | None:
    """When the document ends, None for never. Raises Forbidden when it has."""
    if zone.expires is None:
        return None
    end = last_moment(zone.expires)
    if end is not None and end <= now:
        raise Forbidden(
            f"the document expired on {format_instant(end)[:10]}",
            field="document",
            remedy="bring a current one",
        )
    return end


def last_moment(date: PartialDate) -> int | None:
    """The end of the day that a partial date names, as early as it can be read; None when not even the year is known."""
    if date.year is None:
        return None
    first = dt.datetime(date.year, date.month or 1, date.day or 1, tzinfo=dt.UTC)
    return int(first.timestamp()) + 86_400


def examine_image(data: bytes) -> Examined:
    """A picture of a document, for a reviewer's eyes. JPEG or PNG, whole, and nothing else in the file. Raises InvalidInput."""
    if len(data) > MAX_IMAGE:
        raise InvalidInput(f"larger than {MAX_IMAGE} bytes", field="image", remedy="send a smaller picture")
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        width, height = _check_png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        width, height = _check_jpeg(data)
    else:
        raise InvalidInput(
            "neither a JPEG nor a PNG",
            field="image",
            remedy="send a photograph; PDF and other files are not read",
        )
    if not (0 < width <= MAX_PIXELS and 0 < height <= MAX_PIXELS):
        raise InvalidInput(f"wider or higher than {MAX_PIXELS} pixels, or empty", field="image")
    return Examined(
        kind="image",
        sha256=hashlib.sha256(data).hexdigest(),
        strength=Strength.FAIR,
        verdict=f"a picture of {width} by {height} pixels, not looked at yet",
    )


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 8
    while place < len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        kind, body = data[place + 4 : place + 8], data[place + 8 : place + 8 + length]
        sum_ = data[place + 8 + length : place + 12 + length]
        if len(sum_) != 4 or zlib.crc32(kind + body) != int.from_bytes(sum_, "big"):
            raise InvalidInput("the PNG is damaged", field="image", remedy="take the picture again")
        yield kind, body
        place += 12 + length
        if kind == b"IEND":
            break
    if place != len(data):
        raise InvalidInput(
            "something stands behind the picture", field="image", remedy="send the picture alone"
        )


def _check_png(data: bytes) -> tuple[int, int]:
    chunks = list(_png_chunks(data))
    if not chunks or chunks[0][0] != b"IHDR" or len(chunks[0][1]) != 13 or chunks[-1][0] != b"IEND":
        raise InvalidInput("the PNG is damaged", field="image", remedy="take the picture again")
    header = chunks[0][1]
    return int.from_bytes(header[:4], "big"), int.from_bytes(header[4:8], "big")


_NO_LENGTH = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})


def _check_jpeg(data: bytes) -> tuple[int, int]:
    """Walk the markers to the end of the image; it must be the end of the file."""
    place, size = 2, (0, 0)
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker = data[place + 1]
        if marker in _NO_LENGTH:
            place += 2
            continue
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        if marker in _FRAMES and length >= 8:
            size = (
                int.from_bytes(data[place + 7 : place + 9], "big"),
                int.from_bytes(data[place + 5 : place + 7], "big"),
            )
        place += 2 + length
        if marker == 0xDA:
            place = _behind_scan(data, place)
            if data[place : place + 2] == b"\xff\xd9":
                if place + 2 != len(data):
                    raise InvalidInput(
                        "something stands behind the picture", field="image", remedy="send the picture alone"
                    )
                return size
    raise InvalidInput("the JPEG is damaged", field="image", remedy="take the picture again")


def _behind_scan(data: bytes, place: int) -> int:
    """Where the entropy-coded data end: the next marker that is not stuffing or a restart."""
    while True:
        place = data.find(b"\xff", place)
        if place < 0 or place + 1 >= len(data):
            raise InvalidInput("the JPEG is damaged", field="image", remedy="take the picture again")
        if data[place + 1] == 0x00 or data[place + 1] in range(0xD0, 0xD8):
            place += 2
            continue
        return place
