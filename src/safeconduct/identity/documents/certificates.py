"""Certificates of travel documents (ICAO 9303-12): reading them, their keys in every odd form, and checking signatures.

`asn1crypto` reads, `cryptography` verifies. A key whose curve is spelled out (RFC 3279 2.3.5) is held against the table of
named curves and rewritten. Owns what counts as a good signature; refuses curves and algorithms it cannot verify by name.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import msgspec
from asn1crypto import algos, keys, x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from safeconduct.identity.documents.curves import CURVES, Curve
from safeconduct.kernel.errors import VerificationFailed

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey

MAX_CERTIFICATE = 64 * 1024
MIN_RSA_BITS = 2048
_MAX_RSA_BITS = 8192

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    # SHA-1: roots and signers from before 2010 are still in chips that are valid.
    "sha1": hashes.SHA1,
    "sha224": hashes.SHA224,
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}
_CURVES: dict[str, type[ec.EllipticCurve]] = {
    "prime192v1": ec.SECP192R1,
    "secp224r1": ec.SECP224R1,
    "prime256v1": ec.SECP256R1,
    "secp384r1": ec.SECP384R1,
    "secp521r1": ec.SECP521R1,
    "brainpoolP256r1": ec.BrainpoolP256R1,
    "brainpoolP384r1": ec.BrainpoolP384R1,
    "brainpoolP512r1": ec.BrainpoolP512R1,
}
_BY_OID = {curve.oid: curve for curve in CURVES}


def fail(step: str, message: str, remedy: str = "") -> VerificationFailed:
    """The failure of a document's verification."""
    return VerificationFailed(message, step=step, remedy=remedy)


class Certificate(msgspec.Struct, frozen=True):
    """A certificate as read; nothing in it is verified by reading. Instants are seconds.

    country: upper-case C of its subject, as written. usage_until: end of the private key's use (RFC 3280 4.2.1.4).
    """

    der: bytes
    subject: bytes
    issuer: bytes
    country: str
    name: str
    serial: int
    key_id: bytes | None
    issuer_key_id: bytes | None
    not_before: int
    not_after: int
    usage_from: int | None
    usage_until: int | None
    authority: bool

    @property
    def sha256(self) -> str:
        """Fingerprint (hex)."""
        return hashlib.sha256(self.der).hexdigest()

    @property
    def self_issued(self) -> bool:
        """Subject and issuer are the same."""
        return self.subject == self.issuer

    def parsed(self) -> x509.Certificate:
        """The certificate's structure."""
        return x509.Certificate.load(self.der, strict=True)

    def key(self) -> PublicKey:
        """Its public key. Raises VerificationFailed (certificate) when it cannot be used."""
        return public_key(self.parsed().public_key)


def read_certificate(der: bytes) -> Certificate:
    """Read one certificate (DER). Raises VerificationFailed (structure)."""
    if len(der) > MAX_CERTIFICATE:
        raise fail("structure", f"a certificate of more than {MAX_CERTIFICATE} bytes")
    try:
        read = x509.Certificate.load(der, strict=True)
        tbs = read["tbs_certificate"]
        validity = tbs["validity"]
        extensions = {each["extn_id"].dotted: each["extn_value"] for each in tbs["extensions"]}
        usage = _usage(extensions.get("2.5.29.16"))
        basic = read.basic_constraints_value
        return Certificate(
            der=der,
            # Names are compared as PKIs of states write them: by content, not by encoding.
            subject=_name(read.subject),
            issuer=_name(read.issuer),
            country=str(read.subject.native.get("country_name", "")).upper(),
            name=read.subject.human_friendly,
            serial=read.serial_number,
            key_id=read.key_identifier,
            issuer_key_id=read.authority_key_identifier,
            not_before=_seconds(validity["not_before"].native),
            not_after=_seconds(validity["not_after"].native),
            usage_from=usage[0],
            usage_until=usage[1],
            authority=bool(basic is not None and basic["ca"].native),
        )
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError) as error:
        raise fail("structure", f"a certificate cannot be read ({type(error).__name__})") from None


def _seconds(moment: dt.datetime) -> int:
    return int(moment.timestamp())


def _name(name: x509.Name) -> bytes:
    return bytes(name.hashable.encode("utf-8"))


def _usage(value: Any) -> tuple[int | None, int | None]:
    """The private key usage period, both ends optional."""
    if value is None:
        return None, None
    read = x509.PrivateKeyUsagePeriod.load(
        bytes(value.native) if not hasattr(value, "parsed") else value.parsed.dump()
    )
    first, last = read["not_before"].native, read["not_after"].native
    return (
        _seconds(first) if first is not None else None,
        _seconds(last) if last is not None else None,
    )


def public_key(info: keys.PublicKeyInfo) -> PublicKey:
    """The key, with spelled-out curve parameters replaced by the curve's name. Raises VerificationFailed (certificate)."""
    try:
        if info.algorithm in ("rsa", "rsassa_pss"):
            numbers = info["public_key"].parsed.native
            size = numbers["modulus"].bit_length()
            if not MIN_RSA_BITS <= size <= _MAX_RSA_BITS:
                raise fail("certificate", f"an RSA key of {size} bits")
            return rsa.RSAPublicNumbers(numbers["public_exponent"], numbers["modulus"]).public_key()
        if info.algorithm == "ec":
            curve = _curve_of(info["algorithm"]["parameters"])
            if not curve.usable:
                raise fail("certificate", f"signatures on {curve.name} cannot be verified here")
            return ec.EllipticCurvePublicKey.from_encoded_point(
                _CURVES[curve.name](), bytes(info["public_key"].native)
            )
        raise fail("certificate", f"a key of kind {info.algorithm}")
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise fail("certificate", f"the public key is unusable ({type(error).__name__})") from None


def _curve_of(parameters: Any) -> Curve:
    if parameters.name == "named":
        named = _BY_OID.get(parameters.chosen.dotted)
        if named is None:
            raise fail("certificate", f"the curve {parameters.chosen.dotted} is not known")
        return named
    if parameters.name != "specified":
        raise fail("certificate", "the key names no curve")
    given = parameters.chosen
    field = given["field_id"]
    if field["field_type"].native != "prime_field":
        raise fail("certificate", "a curve over another field than a prime's")
    p = int(field["parameters"].native)
    a, b = (int.from_bytes(given["curve"][name].native, "big") for name in ("a", "b"))
    base, order = bytes(given["base"].contents), int(given["order"].native)
    cofactor = given["cofactor"].native
    same_prime = [curve for curve in CURVES if curve.p == p]
    for curve in same_prime:
        if (
            (a, b, order) == (curve.a, curve.b, curve.n)
            and base in _encodings(curve)
            and cofactor in (None, curve.h)
        ):
            return curve
    if same_prime:
        # INVARIANT: whoever chooses the generator can make any signature verify.
        raise fail("certificate", f"the parameters of {same_prime[0].name} were altered")
    raise fail("certificate", "the curve is none that travel documents use")


def _encodings(curve: Curve) -> tuple[bytes, bytes]:
    """The generator, uncompressed and compressed (SEC 1 2.3.3)."""
    size = (curve.p.bit_length() + 7) // 8
    x, y = curve.x.to_bytes(size, "big"), curve.y.to_bytes(size, "big")
    return b"\x04" + x + y, bytes([2 + (curve.y & 1)]) + x


def hash_named(name: str) -> hashes.HashAlgorithm:
    """The hash of this name. Raises VerificationFailed (signature)."""
    found = _HASHES.get(name)
    if found is None:
        raise fail("signature", f"the hash {name} is not accepted")
    return found()


def check_signature(
    key: PublicKey,
    algorithm: algos.SignedDigestAlgorithm,
    signature: bytes,
    data: bytes,
    *,
    digest: str | None = None,
    step: str = "signature",
) -> None:
    """Verify one signature. digest: the hash where the algorithm does not say (CMS). Raises VerificationFailed (step)."""
    try:
        kind = algorithm.signature_algo
    except ValueError:
        raise fail(step, f"the signature algorithm {algorithm['algorithm'].dotted} is not accepted") from None
    try:
        hash_ = hash_named(_digest_of(algorithm, kind, digest))
        if isinstance(key, ec.EllipticCurvePublicKey):
            if kind != "ecdsa":
                raise fail(step, f"a signature of kind {kind} with an EC key")
            key.verify(signature, data, ec.ECDSA(hash_))
        elif kind == "rsassa_pss":
            given = algorithm["parameters"]
            mask = given["mask_gen_algorithm"]["parameters"]["algorithm"].native
            key.verify(
                signature,
                data,
                padding.PSS(padding.MGF1(hash_named(mask)), int(given["salt_length"].native)),
                hash_,
            )
        elif kind == "rsassa_pkcs1v15":
            key.verify(signature, data, padding.PKCS1v15(), hash_)
        else:
            raise fail(step, f"a signature of kind {kind} with an RSA key")
    except InvalidSignature:
        raise fail(step, "the signature does not verify") from None
    except (ValueError, TypeError, KeyError, UnsupportedAlgorithm) as error:
        raise fail(step, f"the signature cannot be verified ({type(error).__name__})") from None


def _digest_of(algorithm: algos.SignedDigestAlgorithm, kind: str, digest: str | None) -> str:
    if kind == "rsassa_pss":
        return str(algorithm["parameters"]["hash_algorithm"]["algorithm"].native)
    try:
        return str(algorithm.hash_algo)
    except ValueError:
        if digest is None:
            raise
        return digest


def check_issued_by(certificate: Certificate, authority: Certificate) -> None:
    """Verify that `authority`'s key signed `certificate`. Raises VerificationFailed (certificate)."""
    if not authority.authority:
        raise fail("certificate", f"{authority.name} may not issue certificates")
    try:
        read = certificate.parsed()
        algorithm = read["signature_algorithm"]
        same = read["tbs_certificate"]["signature"].dump() == algorithm.dump()
        signature, signed = bytes(read["signature_value"].native), read["tbs_certificate"].dump()
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise fail("certificate", f"the certificate cannot be read ({type(error).__name__})") from None
    if not same:
        raise fail("certificate", "the certificate names two signature algorithms")
    check_signature(authority.key(), algorithm, signature, signed, step="certificate")
