"""Whom a state's documents are trusted from: country signing authorities (CSCA), master lists, links and revocation lists.

A list is trusted when its signer's chain ends at an authority that is trusted already, or when the operator names the digest
of the file. Owns the store and its formats: CMS master lists (ICAO 9303-12 section 9), LDIF of the ICAO directory, PEM and
DER bundles. Refuses to take an authority's word for itself.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Iterable, Iterator

import msgspec
from asn1crypto import cms, core, crl, pem, x509

from safeconduct.identity.documents.certificates import (
    Certificate,
    check_issued_by,
    check_signature,
    fail,
    read_certificate,
)
from safeconduct.identity.documents.signed_data import read_signed_data
from safeconduct.kernel.errors import InvalidInput, VerificationFailed

MASTER_LIST_OID = "2.23.136.1.1.2"
MAX_LIST = 32 << 20
_LDIF_VALUE = re.compile(
    rb"^(?P<name>userCertificate|cACertificate|certificateRevocationList|pkdMasterListContent|CscaMasterListData)"
    rb"(?:;binary)?:: ?(?P<value>[A-Za-z0-9+/=]+(?:\r?\n [A-Za-z0-9+/=]+)*)",
    re.MULTILINE,
)


class _MasterList(core.Sequence):  # type: ignore[misc]
    class _Certificates(core.SetOf):  # type: ignore[misc]
        _child_spec = x509.Certificate

    _fields = [("version", core.Integer), ("cert_list", _Certificates)]  # noqa: RUF012 - the library's own idiom


class RevocationList(msgspec.Struct, frozen=True):
    """A verified CRL: serial numbers, by issuer. next_update: seconds, None when it does not say."""

    issuer: bytes
    revoked: frozenset[int]
    this_update: int
    next_update: int | None


class Contents(msgspec.Struct, frozen=True):
    """What a file held. skipped: what in it could not be read, in words, one each."""

    certificates: tuple[Certificate, ...]
    revocation_lists: tuple[bytes, ...] = ()
    skipped: tuple[str, ...] = ()


class CscaStore:
    """Trusted authorities and the revocation lists they signed. Unchangeable: every addition gives a new store."""

    def __init__(self, authorities: Iterable[Certificate] = (), lists: Iterable[RevocationList] = ()) -> None:
        self.authorities = tuple({each.sha256: each for each in authorities}.values())
        self.lists = {each.issuer: each for each in lists}
        self._by_name: dict[bytes, list[Certificate]] = {}
        self._by_key: dict[bytes, list[Certificate]] = {}
        for each in self.authorities:
            self._by_name.setdefault(each.subject, []).append(each)
            if each.key_id is not None:
                self._by_key.setdefault(each.key_id, []).append(each)

    def with_authorities(self, authorities: Iterable[Certificate]) -> CscaStore:
        """The store with more authorities, trusted as they are."""
        return CscaStore((*self.authorities, *authorities), self.lists.values())

    def candidates(self, certificate: Certificate) -> list[Certificate]:
        """Authorities that may have signed: by key identifier, then by name."""
        found = list(self._by_key.get(certificate.issuer_key_id or b"", ()))
        found += [each for each in self._by_name.get(certificate.issuer, ()) if each not in found]
        return found

    def issuer_of(self, certificate: Certificate) -> Certificate:
        """The authority that signed the certificate. Raises VerificationFailed (certificate)."""
        candidates = self.candidates(certificate)
        if not candidates:
            raise fail(
                "certificate",
                f"no trusted authority is the issuer of {certificate.name}",
                "import the master list that holds it",
            )
        last: VerificationFailed | None = None
        for each in candidates:
            try:
                check_issued_by(certificate, each)
            except VerificationFailed as failure:
                last = failure
            else:
                return each
        assert last is not None
        raise last

    def linked(self, certificate: Certificate) -> CscaStore:
        """The store with an authority's new key, signed by its old one (9303-12 7.1.1). Raises VerificationFailed."""
        if not certificate.authority:
            raise fail("certificate", "a link certificate is an authority's")
        old = self.issuer_of(certificate)
        if certificate.country and old.country != certificate.country:
            raise fail("country", f"{old.country} cannot vouch for an authority of {certificate.country}")
        return self.with_authorities([certificate])

    def with_revocations(self, der: bytes) -> CscaStore:
        """The store with a CRL that one of its authorities signed. An older list than the one held is refused."""
        read = _read_crl(self, der)
        held = self.lists.get(read.issuer)
        if held is not None and held.this_update > read.this_update:
            raise fail("revocation", "the list is older than the one held")
        return CscaStore(self.authorities, [*self.lists.values(), read])

    def check_revocation(self, certificate: Certificate, now: int) -> str:
        """`good`, or `unknown` without a current list of the issuer. Raises VerificationFailed (revocation)."""
        held = self.lists.get(certificate.issuer)
        if held is not None and certificate.serial in held.revoked:
            raise fail("revocation", f"the certificate {certificate.serial:x} was revoked")
        return (
            "good" if held is not None and (held.next_update is None or now < held.next_update) else "unknown"
        )


def _read_crl(store: CscaStore, der: bytes) -> RevocationList:
    try:
        read = crl.CertificateList.load(der, strict=True)
        body = read["tbs_cert_list"]
        issuer = read.issuer.hashable.encode("utf-8")
        revoked = frozenset(each["user_certificate"].native for each in body["revoked_certificates"] or ())
        this_update = int(body["this_update"].native.timestamp())
        next_update = body["next_update"].native
        signature, data = bytes(read["signature"].native), body.dump()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise fail("structure", f"a revocation list cannot be read ({type(error).__name__})") from None
    for each in store.authorities:
        if each.subject != issuer:
            continue
        try:
            check_signature(each.key(), read["signature_algorithm"], signature, data, step="revocation")
        except VerificationFailed:
            continue
        return RevocationList(
            issuer=issuer,
            revoked=revoked,
            this_update=this_update,
            next_update=int(next_update.timestamp()) if next_update is not None else None,
        )
    raise fail("revocation", "no trusted authority signed the revocation list")


def read_list(data: bytes, store: CscaStore, *, sha256: str | None = None, now: int) -> Contents:
    """Read a master list or bundle and check that it may be trusted.

    sha256: digest (hex) of the file, by which the operator vouches for it; needed for what is not signed, and for a first
    signed list. Raises VerificationFailed, InvalidInput.
    """
    if len(data) > MAX_LIST:
        raise InvalidInput(f"is larger than {MAX_LIST} bytes", field="list", remedy="send one list at a time")
    vouched = sha256 is not None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256.lower():
        raise fail("signature", "the file is not the one whose digest was named")
    if _LDIF_VALUE.search(data[: 1 << 20]) is not None and b"dn:" in data:
        return _read_ldif(data, store, vouched=vouched, now=now)
    if data.lstrip().startswith(b"-----BEGIN"):
        try:
            parts = [(kind, der) for kind, _, der in pem.unarmor(data, multiple=True)]
        except (ValueError, TypeError) as error:
            raise fail("structure", f"the PEM file cannot be read ({type(error).__name__})") from None
        signed = [der for kind, der in parts if kind in ("CMS", "PKCS7")]
        if signed:
            return _read_signed(signed[0], store, vouched=vouched, now=now)
        _need_voucher(vouched)
        return _certificates(der for kind, der in parts if kind == "CERTIFICATE")
    if _is_signed(data):
        return _read_signed(data, store, vouched=vouched, now=now)
    _need_voucher(vouched)
    return _certificates(_split(data))


def _need_voucher(vouched: bool) -> None:
    if not vouched:
        raise fail(
            "signature",
            "the list is not signed",
            "compare its SHA-256 with the one its publisher names, and give that",
        )


def _is_signed(data: bytes) -> bool:
    try:
        return bool(cms.ContentInfo.load(data)["content_type"].native == "signed_data")
    except (ValueError, TypeError, KeyError):
        return False


def _split(data: bytes) -> Iterator[bytes]:
    """Certificates one after another, or one list of them."""
    place = 0
    while place < len(data):
        try:
            value = core.Any.load(data[place:])
            whole = value.dump()
        except (ValueError, TypeError) as error:
            raise fail("structure", f"the list ends in the middle ({type(error).__name__})") from None
        if place == 0 and len(whole) == len(data):
            try:
                yield from (each.dump() for each in _MasterList.load(data, strict=True)["cert_list"])
            except (ValueError, TypeError, KeyError):
                yield whole
            return
        yield whole
        place += len(whole)


def _certificates(ders: Iterable[bytes]) -> Contents:
    found: list[Certificate] = []
    skipped: list[str] = []
    for number, der in enumerate(ders, 1):
        try:
            certificate = read_certificate(der)
        except VerificationFailed as failure:
            skipped.append(f"certificate {number}: {failure.message}")
            continue
        try:
            certificate.key()
        except VerificationFailed as failure:
            skipped.append(f"certificate {number} ({certificate.name}): {failure.message}")
            continue
        found.append(certificate)
    if not found:
        raise fail("structure", "the list holds no certificate that can be used")
    return Contents(tuple(found), skipped=tuple(skipped))


def _read_signed(data: bytes, store: CscaStore, *, vouched: bool, now: int) -> Contents:
    signed = read_signed_data(data, MASTER_LIST_OID)
    signed.check()
    signer = signed.signer
    if not vouched:
        # The signer of a master list is itself certified by its state's authority (9303-12 9.2).
        authority = store.issuer_of(signer)
        for each in (signer, authority):
            if not each.not_before <= now <= each.not_after:
                raise fail("times", f"{each.name} is not valid now")
        store.check_revocation(signer, now)
    try:
        ders = [each.dump() for each in _MasterList.load(signed.content, strict=True)["cert_list"]]
    except (ValueError, TypeError, KeyError) as error:
        raise fail("structure", f"the master list cannot be read ({type(error).__name__})") from None
    return _certificates(ders)


def _read_ldif(data: bytes, store: CscaStore, *, vouched: bool, now: int) -> Contents:
    bare: list[bytes] = []
    lists: list[bytes] = []
    found: dict[str, Certificate] = {}
    skipped: list[str] = []
    for entry in _LDIF_VALUE.finditer(data):
        try:
            value = base64.b64decode(re.sub(rb"\s", b"", entry["value"]), validate=True)
        except binascii.Error:
            skipped.append("a value that is not base64")
            continue
        name = entry["name"]
        if name == b"certificateRevocationList":
            lists.append(value)
        elif name in (b"pkdMasterListContent", b"CscaMasterListData"):
            try:
                inner = _read_signed(value, store, vouched=vouched, now=now)
            except VerificationFailed as failure:
                skipped.append(f"a master list: {failure.message}")
                continue
            found |= {each.sha256: each for each in inner.certificates}
            skipped += inner.skipped
        else:
            bare.append(value)
    if bare:
        _need_voucher(vouched)
        inner = _certificates(bare)
        found |= {each.sha256: each for each in inner.certificates}
        skipped += inner.skipped
    if not found and not lists:
        raise fail("structure", f"nothing in the file can be used: {'; '.join(skipped[:3]) or 'it is empty'}")
    return Contents(tuple(found.values()), tuple(lists), tuple(skipped))
