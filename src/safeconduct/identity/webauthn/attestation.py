"""Attestation (WebAuthn 3 section 8): whether a maker that the operator trusts vouches for the authenticator.

Owns the question "is this key bound to hardware", answered by `packed` statements whose certificate leads to a configured
root. Everything else is honest and vouches for nothing: no statement, a self-signed one, an unknown root, and formats whose
statement this build does not verify (`tpm`, `apple`, `android-key` ...). A statement that is there and wrong is refused.
"""

from __future__ import annotations

import datetime as dt
import enum
import re
from typing import Any

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from safeconduct.identity.webauthn.authenticator_data import ES256_COSE, AuthenticatorData
from safeconduct.kernel.canonical import b64u_decode, sha256_hex, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed

MAX_CHAIN = 4
MAX_CERTIFICATE = 16 * 1024
MAX_ROOTS = 256
_RS256_COSE = -257
# id-fido-gen-ce-aaguid (8.2.1): an OCTET STRING inside the extension's own.
_AAGUID_OID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")
_DER = serialization.Encoding.DER
# What reading somebody else's certificate may raise: each means that it cannot be relied on.
_UNREADABLE = (
    ValueError,
    TypeError,
    OverflowError,
    InvalidSignature,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
_AAGUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class AttestationType(enum.StrEnum):
    """Who vouches (WebAuthn 3 section 6.5.3); `unverified`: a statement in a format that this build does not check."""

    NONE = "none"
    SELF = "self"
    BASIC = "basic"
    UNVERIFIED = "unverified"


class AttestationRoot(msgspec.Struct, frozen=True):
    """A maker's root that the operator trusts for hardware. aaguids: models it counts for, None for every one."""

    name: str
    certificate: bytes
    aaguids: frozenset[str] | None = None


class Attestation(msgspec.Struct, frozen=True):
    """What the statement came to. root: name of the trusted root behind it, None when nobody trusted vouches."""

    format: str
    type: AttestationType
    root: str | None = None


class _RootEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    name: str
    certificate: str
    aaguids: tuple[str, ...] | None = None


class _RootFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    roots: tuple[_RootEntry, ...]


def aaguid_text(aaguid: bytes) -> str:
    """An AAGUID as makers print it."""
    text = aaguid.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def read_attestation_roots(data: bytes) -> tuple[AttestationRoot, ...]:
    """Read `{"roots":[{"name","certificate" (PEM),"aaguids"?}]}`. Raises InvalidInput naming the member."""
    try:
        read = msgspec.convert(strict_json(data, what="the attestation roots"), _RootFile)
    except msgspec.ValidationError as error:
        raise InvalidInput(str(error), field="attestation_roots") from None
    if len(read.roots) > MAX_ROOTS:
        raise InvalidInput(f"more than {MAX_ROOTS} roots", field="roots")
    return tuple(_root(entry, f"roots[{place}]") for place, entry in enumerate(read.roots))


def _root(entry: _RootEntry, where: str) -> AttestationRoot:
    if not entry.name or len(entry.name) > 100 or not entry.name.isprintable():
        raise InvalidInput("is not 1 to 100 printable characters", field=f"{where}.name")
    try:
        certificate = x509.load_pem_x509_certificate(entry.certificate.encode())
        authority = _is_authority(certificate)
    except _UNREADABLE:
        raise InvalidInput("not a PEM certificate", field=f"{where}.certificate") from None
    if not authority:
        raise InvalidInput("not an authority's certificate (basicConstraints)", field=f"{where}.certificate")
    for place, aaguid in enumerate(entry.aaguids or ()):
        if not _AAGUID.fullmatch(aaguid):
            raise InvalidInput(
                "not an AAGUID",
                field=f"{where}.aaguids[{place}]",
                remedy="write it in lower case as 8-4-4-4-12 hexadecimal digits",
            )
    return AttestationRoot(
        name=entry.name,
        certificate=certificate.public_bytes(_DER),
        aaguids=None if entry.aaguids is None else frozenset(entry.aaguids),
    )


def verify_attestation(
    format: str,
    statement: Any,
    data: AuthenticatorData,
    client_data_hash: bytes,
    *,
    roots: tuple[AttestationRoot, ...],
    now: int,
) -> Attestation:
    """Verify a statement over a new credential. now: seconds. Raises VerificationFailed(step="attestation").

    An unknown root is no failure: the credential is genuine, and nobody vouches for its hardware.
    """
    if not isinstance(statement, dict):
        raise _fail("the statement is not a map")
    if format == "none":
        if statement:
            raise _fail("the format `none` has a statement")  # 8.7
        return Attestation(format, AttestationType.NONE)
    if format != "packed":
        # Nothing rests on it, so nothing is gained by forging one.
        return Attestation(format[:32], AttestationType.UNVERIFIED)
    return _packed(statement, data, client_data_hash, roots, now)


def _fail(message: str, remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step="attestation", code="ASSURANCE_LOW", remedy=remedy)


def _packed(
    statement: dict[Any, Any],
    data: AuthenticatorData,
    client_data_hash: bytes,
    roots: tuple[AttestationRoot, ...],
    now: int,
) -> Attestation:
    """Section 8.2."""
    assert data.attested is not None
    algorithm, signature, chain = statement.get("alg"), statement.get("sig"), statement.get("x5c")
    if not isinstance(signature, bytes) or set(statement) - {"alg", "sig", "x5c"}:
        raise _fail("not a packed statement")
    signed = data.raw + client_data_hash
    if chain is None:
        # Self attestation: the credential's own key, so it proves possession only.
        if algorithm != ES256_COSE:
            raise _fail("alg is not that of the credential")
        if not verify_es256_der(data.attested.jwk, signature, signed):
            raise _fail("the self attestation does not verify")
        return Attestation("packed", AttestationType.SELF)
    certificates = _chain(chain)
    leaf = certificates[0]
    if not _signed_by(leaf, algorithm, signature, signed):
        raise _fail("the attestation's signature does not verify")
    _check_leaf(leaf, data.attested.aaguid)
    root = _trusted(certificates, aaguid_text(data.attested.aaguid), roots, now)
    return Attestation("packed", AttestationType.BASIC, root=root)


def verify_es256_der(jwk: dict[str, Any], signature: bytes, data: bytes) -> bool:
    """True when `signature` (ASN.1 DER, as WebAuthn 6.5.5 writes ES256) over `data` is this key's."""
    # The point was checked when the credential was read.
    x, y = (int.from_bytes(b64u_decode(jwk[name]), "big") for name in ("x", "y"))
    numbers = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1())
    try:
        numbers.public_key().verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except (InvalidSignature, ValueError):
        return False
    return True


def _chain(chain: Any) -> list[x509.Certificate]:
    if not isinstance(chain, list) or not 1 <= len(chain) <= MAX_CHAIN:
        raise _fail(f"x5c does not hold 1 to {MAX_CHAIN} certificates")
    found = []
    for der in chain:
        if not isinstance(der, bytes) or len(der) > MAX_CERTIFICATE:
            raise _fail("x5c holds something that is no certificate")
        try:
            found.append(x509.load_der_x509_certificate(der))
        except _UNREADABLE:
            raise _fail("a certificate in x5c cannot be read") from None
    return found


def _signed_by(leaf: x509.Certificate, algorithm: Any, signature: bytes, data: bytes) -> bool:
    try:
        key = leaf.public_key()
        if (
            algorithm == ES256_COSE
            and isinstance(key, ec.EllipticCurvePublicKey)
            and isinstance(key.curve, ec.SECP256R1)
        ):
            key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
        elif algorithm == _RS256_COSE and isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048:
            key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
        else:
            raise _fail("the attestation is signed with an algorithm that is not accepted")
    except _UNREADABLE:
        return False
    return True


def _check_leaf(leaf: x509.Certificate, aaguid: bytes) -> None:
    """Section 8.2.1, certificate requirements."""
    try:
        units = leaf.subject.get_attributes_for_oid(x509.NameOID.ORGANIZATIONAL_UNIT_NAME)
        version3, authority = leaf.version is x509.Version.v3, _is_authority(leaf)
        extensions = leaf.extensions
    except _UNREADABLE:
        raise _fail("the attestation certificate cannot be read") from None
    if not version3:
        raise _fail("the attestation certificate is not of version 3")
    if [unit.value for unit in units] != ["Authenticator Attestation"]:
        raise _fail("the attestation certificate is not one for authenticators (subject OU)")
    if authority:
        raise _fail("the attestation certificate is an authority's")
    try:
        found = extensions.get_extension_for_oid(_AAGUID_OID)
    except x509.ExtensionNotFound:
        return
    value = found.value
    assert isinstance(value, x509.UnrecognizedExtension)
    if found.critical or value.value != b"\x04\x10" + aaguid:
        raise _fail("the attestation certificate is for another model (AAGUID)")


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except x509.ExtensionNotFound:
        return False


def _trusted(
    chain: list[x509.Certificate], aaguid: str, roots: tuple[AttestationRoot, ...], now: int
) -> str | None:
    """Name of the trusted root that the chain leads to, or None. RFC 5280 6 without policies or name constraints."""
    for place, certificate in enumerate(chain):
        if place and not (_may_issue(certificate, place - 1) and _issued(chain[place - 1], certificate)):
            return None
        if not _in_force(certificate, now):
            return None
    last = chain[-1]
    for root in roots:
        if root.aaguids is not None and aaguid not in root.aaguids:
            continue
        anchor = x509.load_der_x509_certificate(root.certificate)
        # Makers send the chain with or without its root.
        same = len(chain) > 1 and sha256_hex(last.public_bytes(_DER)) == sha256_hex(root.certificate)
        if same or (_may_issue(anchor, len(chain) - 1) and _in_force(anchor, now) and _issued(last, anchor)):
            return root.name
    return None


def _may_issue(certificate: x509.Certificate, below: int) -> bool:
    """below: how many authorities stand between it and the leaf."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False
    try:
        if not certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign:
            return False
    except x509.ExtensionNotFound:
        pass
    return constraints.ca and (constraints.path_length is None or below <= constraints.path_length)


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except _UNREADABLE:
        return False
    return True


def _in_force(certificate: x509.Certificate, now: int) -> bool:
    at = dt.datetime.fromtimestamp(now, dt.UTC)
    return certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc
