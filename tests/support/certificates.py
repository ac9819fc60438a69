"""Server and client certificates for tests, made on the spot."""

from __future__ import annotations

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from safeconduct.passport.certificate import PeerCertificate, make_certificate

DAY = datetime.timedelta(days=1)


def server_files(directory, name="server", *, key=None, start=-DAY, end=DAY, write_key=True):
    """A self-signed certificate for 127.0.0.1 and localhost: (certificate, key) files, replaced when they are there."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + start)
        .not_valid_after(now + end)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    certificate_file, key_file = directory / "server.crt", directory / "server.key"
    certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    if write_key:
        write_key_file(key_file, key)
    return certificate_file, key_file


def write_key_file(path, key):
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def certificate_of(signer, *, now):
    """The client certificate that the SDK makes over a holder's key, as the other end of a connection sees it."""
    public = serialization.load_pem_private_key(signer.to_pem(), None).public_key()
    return peer_from_pem(make_certificate(public, now=now))


def peer_from_pem(pem):
    return PeerCertificate(x509.load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.DER))


def self_signed(key, *, now):
    """A client certificate over any key, signed by itself."""
    start = datetime.datetime.fromtimestamp(int(now), tz=datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start - DAY)
        .not_valid_after(start + DAY)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
