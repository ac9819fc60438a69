"""Passive authentication of electronic travel documents (ICAO 9303-11 5.1): what the chip holds was signed by its state.

The order of checks is the standard's: security object, its signature, data groups, the signer's chain and times, revocation.
Owns the verdict; a clone of a whole chip passes it (that is what chip authentication is for), so it says that the data are
genuine, never that the holder is in the room.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping

import msgspec
from asn1crypto import core

from safeconduct.identity.documents.certificates import Certificate, fail
from safeconduct.identity.documents.csca import CscaStore
from safeconduct.identity.documents.mrz import MachineReadableZone, read_mrz
from safeconduct.identity.documents.nationality_codes import SPECIMEN, same_state
from safeconduct.identity.documents.signed_data import read_signed_data
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import InvalidInput

SECURITY_OBJECT_OID = "2.23.136.1.1.1"
MAX_SOD = 256 * 1024
MAX_GROUP = 8 << 20
_SOD_TAG = 0x77
_DG1_TAG = 0x61
_MRZ_TAG = 0x5F1F


class _GroupHash(core.Sequence):  # type: ignore[misc]
    _fields = [("number", core.Integer), ("value", core.OctetString)]  # noqa: RUF012 - the library's own idiom


class _GroupHashes(core.SequenceOf):  # type: ignore[misc]
    _child_spec = _GroupHash


class _Algorithm(core.Sequence):  # type: ignore[misc]
    _fields = [("algorithm", core.ObjectIdentifier), ("parameters", core.Any, {"optional": True})]  # noqa: RUF012


class _SecurityObject(core.Sequence):  # type: ignore[misc]
    _fields = [  # noqa: RUF012
        ("version", core.Integer),
        ("hash_algorithm", _Algorithm),
        ("hashes", _GroupHashes),
        ("lds_version", core.Any, {"optional": True}),
    ]


_HASH_OIDS = {
    "1.3.14.3.2.26": "sha1",
    "2.16.840.1.101.3.4.2.4": "sha224",
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}


class GenuineDocument(msgspec.Struct, frozen=True):
    """The verdict on a document that passed.

    zone: the MRZ from data group 1. groups: numbers that were given and whose hashes fit. signer, authority: the chain.
    signed_at: seconds, None when the object does not say. revocation: `good`, or `unknown` without a current list.
    specimen: issued by Utopia; never a real document.
    """

    zone: MachineReadableZone
    groups: tuple[int, ...]
    signer: Certificate
    authority: Certificate
    signed_at: int | None
    revocation: str
    specimen: bool


def authenticate_document(
    sod: bytes, groups: Mapping[int, bytes], store: CscaStore, *, now: int, year: int
) -> GenuineDocument:
    """Verify the security object over the data groups read from the chip.

    sod: EF.SOD. groups: number -> the file's bytes; 1 must be there. now: seconds; year: of the reading, four digits.
    Raises VerificationFailed whose step is structure, signature, data_group, certificate, times, revocation or country.
    """
    if len(sod) > MAX_SOD:
        raise fail(
            "structure", f"EF.SOD is larger than {MAX_SOD} bytes", "send the file as it is on the chip"
        )
    for number, data in groups.items():
        if len(data) > MAX_GROUP:
            raise fail("structure", f"data group {number} is larger than {MAX_GROUP} bytes")
    if 1 not in groups:
        raise fail("structure", "data group 1 is missing", "send DG1 with EF.SOD")
    signed = read_signed_data(_inside(sod), SECURITY_OBJECT_OID)
    signed.check()
    _check_groups(signed.content, groups)
    signer = signed.signer
    authority = store.issuer_of(signer)
    _check_times(signer, authority, signed.signing_time, now)
    revocation = store.check_revocation(signer, now)
    zone = read_document(groups[1], year=year)
    if signer.country != authority.country:
        raise fail("country", f"a signer of {signer.country} under an authority of {authority.country}")
    if not same_state(zone.issuer.code, signer.country):
        raise fail("country", f"a document of {zone.issuer.code} signed by {signer.country}")
    return GenuineDocument(
        zone=zone,
        groups=tuple(sorted(groups)),
        signer=signer,
        authority=authority,
        signed_at=signed.signing_time,
        revocation=revocation,
        specimen=zone.issuer.code == SPECIMEN,
    )


def read_document(data: bytes, *, year: int) -> MachineReadableZone:
    """The MRZ in EF.DG1 (9303-10 4.7.1). Raises VerificationFailed (structure)."""
    try:
        text = _element(_element(data, _DG1_TAG), _MRZ_TAG).decode("ascii")
        return read_mrz(text, year=year)
    except (InvalidInput, UnicodeDecodeError) as error:
        raise fail("structure", f"data group 1 holds no machine readable zone: {error}") from None


def _inside(sod: bytes) -> bytes:
    """The CMS object in EF.SOD; the tag 77 around it may be missing in what reader apps export."""
    return _element(sod, _SOD_TAG) if sod[:1] == bytes([_SOD_TAG]) else sod


def _element(data: bytes, tag: int) -> bytes:
    """The value of the one BER-TLV element `data` is. Raises VerificationFailed (structure)."""
    wanted = tag.to_bytes((tag.bit_length() + 7) // 8, "big")
    if not data.startswith(wanted):
        raise fail("structure", f"the element {tag:X} is not where it should be")
    place = len(wanted)
    if place >= len(data):
        raise fail("structure", f"the element {tag:X} ends early")
    length = data[place]
    place += 1
    if length > 0x80:
        count = length & 0x7F
        if count > 4 or place + count > len(data):
            raise fail("structure", f"the length of element {tag:X} is malformed")
        length = int.from_bytes(data[place : place + count], "big")
        place += count
    elif length == 0x80:
        raise fail("structure", f"the length of element {tag:X} is indefinite")
    # Chips pad files with zero bytes; anything else behind the element does not belong there.
    if place + length > len(data) or data[place + length :].strip(b"\0"):
        raise fail("structure", f"the element {tag:X} is cut off or has something behind it")
    return data[place : place + length]


def _check_groups(content: bytes, groups: Mapping[int, bytes]) -> None:
    try:
        read = _SecurityObject.load(content, strict=True)
        oid = read["hash_algorithm"]["algorithm"].dotted
        known = [(int(each["number"].native), bytes(each["value"].native)) for each in read["hashes"]]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise fail("structure", f"the security object cannot be read ({type(error).__name__})") from None
    name = _HASH_OIDS.get(oid)
    if name is None:
        raise fail("data_group", f"the hash {oid} is not accepted")
    hashes = dict(known)
    if len(hashes) != len(known):
        raise fail("data_group", "a data group stands twice")
    for number, data in sorted(groups.items()):
        given = hashes.get(number)
        if given is None:
            raise fail("data_group", f"data group {number} is not in the security object")
        if not hmac.compare_digest(given, hashlib.new(name, data).digest()):
            raise fail("data_group", f"data group {number} was changed", "read the chip again")


def _check_times(signer: Certificate, authority: Certificate, signed_at: int | None, now: int) -> None:
    # 9303-12 4.1: an expired signer is normal, what counts is the moment of signing. Without one the signer must be valid
    # now; its term is made to cover the documents it signs.
    moment = now if signed_at is None else signed_at
    if moment > now + 86_400:
        raise fail("times", f"signed in the future ({format_instant(moment)})")
    if not signer.not_before <= moment <= signer.not_after:
        raise fail("times", f"{signer.name} was not valid at {format_instant(moment)}")
    if signed_at is not None and signer.usage_until is not None and signed_at > signer.usage_until:
        raise fail("times", f"the key of {signer.name} was no longer in use at {format_instant(signed_at)}")
    if not authority.not_before <= signer.not_before <= authority.not_after:
        raise fail("times", f"{authority.name} was not valid when it certified the signer")
    if now > authority.not_after:
        raise fail(
            "times",
            f"{authority.name} has expired, and with it every document below it",
            "ask for a new document",
        )
