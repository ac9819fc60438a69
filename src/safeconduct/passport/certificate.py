"""Client certificates as the second way to bind an access token (RFC 8705), and the anchor that lets anybody make one.

Owns the thumbprints that tokens and connections are compared by, and the making of a holder's own certificate. A certificate says
nothing by its chain: what counts is that the peer holds the private key (TLS proved it) and that this key is the passport's `cnf` key
(the token exchange checks it). That is RFC 8705 2.2, self-signed certificates.

Python's `ssl` cannot ask a peer for a certificate without verifying a chain. So certificates chain to an anchor whose private key is no
secret: it is derived from a constant below, and everybody can sign with it. Whoever reads it gains nothing, since nothing is trusted
because the anchor signed it.
"""

from __future__ import annotations

import datetime
import hashlib
import secrets
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.signing import VerifyingKey

if TYPE_CHECKING:
    from safeconduct.passport.tokens import AccessToken

CERTIFICATE_DAYS = 397
_P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ANCHOR_SEED = b"safeconduct: the open anchor of client certificates, which proves nothing. v1"
_ANCHOR_NAME = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Safeconduct open anchor v1")])
_SKEW = datetime.timedelta(hours=1)


class PeerCertificate:
    """The certificate that the other end of a TLS connection proved to hold the key of. Lives as long as its connection.

    thumbprint: `x5t#S256`, base64url of the SHA-256 of its DER form (RFC 8705 3.1). known: the token last accepted on the
    connection with its text and the record's position: what was verified once costs one comparison after that.
    """

    __slots__ = ("der", "known", "thumbprint")

    def __init__(self, der: bytes) -> None:
        self.der = der
        self.thumbprint = b64u(hashlib.sha256(der).digest())
        self.known: tuple[bytes, int, AccessToken] | None = None

    def __repr__(self) -> str:
        return f"<PeerCertificate {self.thumbprint}>"

    def key(self) -> VerifyingKey:
        """Its public key. Raises InvalidInput when that is no P-256 key."""
        try:
            key = x509.load_der_x509_certificate(self.der).public_key()
        except ValueError:
            raise InvalidInput("the client certificate cannot be read", field="certificate") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise InvalidInput(
                "the client certificate's key is not on P-256",
                field="certificate",
                remedy="make it over the passport's key",
            )
        numbers = key.public_numbers()
        return VerifyingKey(
            {
                "kty": "EC",
                "crv": "P-256",
                "x": b64u(numbers.x.to_bytes(32, "big")),
                "y": b64u(numbers.y.to_bytes(32, "big")),
            }
        )


def _anchor_key() -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(_ANCHOR_SEED).digest(), "big") % (_P256_ORDER - 1) + 1
    return ec.derive_private_key(number, ec.SECP256R1())


def open_anchor() -> bytes:
    """The anchor's certificate (PEM), always the same bytes: what a listener accepts client certificates under."""
    key = _anchor_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_ANCHOR_NAME)
        .issuer_name(_ANCHOR_NAME)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(9999, 12, 31, 23, 59, 59, tzinfo=datetime.UTC))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256(), ecdsa_deterministic=True)
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def make_certificate(public: ec.EllipticCurvePublicKey, *, now: float, days: int = CERTIFICATE_DAYS) -> bytes:
    """A client certificate (PEM) over a holder's public key, good for TLS and for nothing else. It names nobody."""
    start = datetime.datetime.fromtimestamp(int(now), tz=datetime.UTC)
    anchor = _anchor_key()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Safeconduct holder")]))
        .issuer_name(_ANCHOR_NAME)
        .public_key(public)
        .serial_number(int.from_bytes(secrets.token_bytes(19), "big") + 1)
        .not_valid_before(start - _SKEW)
        .not_valid_after(start + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(anchor.public_key()), critical=False
        )
        .sign(anchor, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM)


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
