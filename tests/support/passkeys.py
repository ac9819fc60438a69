"""A made-up maker of security keys: a root, batch certificates, and keys that answer the ceremonies, honestly or not."""

from __future__ import annotations

import datetime
import hashlib
import json
import secrets

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from safeconduct.identity.webauthn import cbor
from safeconduct.identity.webauthn.attestation import read_attestation_roots
from safeconduct.identity.webauthn.ceremony import RelyingParty
from safeconduct.kernel.canonical import b64u

RP = RelyingParty(id="127.0.0.1", name="Safeconduct", origins=("http://127.0.0.1:8781",))
ORIGIN = RP.origins[0]
AAGUID = "0a0b0c0d-1111-2222-3333-444455556666"
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80
AT_TIME = datetime.datetime(2026, 6, 11, 12, tzinfo=datetime.UTC)
NOW = int(AT_TIME.timestamp())
YEAR = datetime.timedelta(days=365)


class Maker:
    """A root and what it signs. Everything about it is made up."""

    def __init__(self, name="Sample Keys"):
        self.name = name
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.root = self._certificate(f"{name} root", self.key, None, self.key, authority=True)

    def _certificate(
        self,
        name,
        key,
        issuer,
        signer,
        *,
        authority,
        unit=None,
        aaguid=None,
        critical=False,
        start=-YEAR,
        end=10 * YEAR,
    ):
        names = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
        if unit:
            names.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, unit))
        subject = x509.Name(names)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.subject if issuer is not None else subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(AT_TIME + start)
            .not_valid_after(AT_TIME + end)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        )
        if aaguid is not None:
            value = b"\x04\x10" + bytes.fromhex(aaguid.replace("-", ""))
            extension = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4"), value)
            builder = builder.add_extension(extension, critical=critical)
        return builder.sign(signer, hashes.SHA256())

    def batch(self, *, unit="Authenticator Attestation", authority=False, **given):
        """A batch key and its chain (DER, leaf first)."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self._certificate(
            f"{self.name} batch",
            key,
            self.root,
            self.key,
            authority=authority,
            unit=unit,
            **{"aaguid": AAGUID, **given},
        )
        return key, [leaf.public_bytes(serialization.Encoding.DER)]

    def roots(self, **more):
        pem = self.root.public_bytes(serialization.Encoding.PEM).decode()
        return read_attestation_roots(
            json.dumps({"roots": [{"name": self.name, "certificate": pem, **more}]}).encode()
        )


class SecurityKey:
    """One credential. Attributes may be set to make it lie: flags, origin, rp_id, count, aaguid, client."""

    def __init__(self, batch=None, *, flags=UP | UV, aaguid=AAGUID, origin=ORIGIN):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.credential = secrets.token_bytes(32)
        self.batch = batch
        self.flags = flags
        self.aaguid = aaguid
        self.origin = origin
        self.rp_id = None
        self.count = 0
        self.step = 1
        self.client = {}
        self.handle = None
        self.statement = None
        self.format = None
        self.extensions = b""

    @property
    def id(self):
        return b64u(self.credential)

    def cose(self):
        numbers = self.key.public_key().public_numbers()
        x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
        return {1: 2, 3: -7, -1: 1, -2: x, -3: y}

    def _client_data(self, ceremony, challenge):
        members = {
            "type": ceremony,
            "challenge": challenge,
            "origin": self.origin,
            "crossOrigin": False,
            **self.client,
        }
        return json.dumps(members).encode()

    def _data(self, rp_id, flags):
        rp = hashlib.sha256((self.rp_id or rp_id).encode()).digest()
        return rp + bytes([self.flags | flags]) + self.count.to_bytes(4, "big")

    def create(self, options):
        client = self._client_data("webauthn.create", options["challenge"])
        self.handle = options["user"]["id"]
        data = (
            self._data(options["rp"]["id"], AT | (ED if self.extensions else 0))
            + bytes.fromhex(self.aaguid.replace("-", ""))
            + len(self.credential).to_bytes(2, "big")
            + self.credential
            + cbor.encode(self.cose())
            + self.extensions
        )
        signed = data + hashlib.sha256(client).digest()
        if self.statement is not None:
            form, statement = self.format or "packed", self.statement
        elif self.batch == "self":
            form, statement = "packed", {"alg": -7, "sig": self.key.sign(signed, ec.ECDSA(hashes.SHA256()))}
        elif self.batch is not None:
            key, chain = self.batch
            signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
            form, statement = "packed", {"alg": -7, "sig": signature, "x5c": chain}
        else:
            form, statement = "none", {}
        attestation = cbor.encode({"fmt": self.format or form, "attStmt": statement, "authData": data})
        return self._response({"clientDataJSON": b64u(client), "attestationObject": b64u(attestation)})

    def get(self, options):
        self.count += self.step
        client = self._client_data("webauthn.get", options["challenge"])
        data = self._data(options["rpId"], 0)
        signature = self.key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        return self._response(
            {
                "clientDataJSON": b64u(client),
                "authenticatorData": b64u(data),
                "signature": b64u(signature),
                "userHandle": self.handle,
            }
        )

    def _response(self, inner):
        return {
            "id": self.id,
            "rawId": self.id,
            "type": "public-key",
            "response": inner,
            "clientExtensionResults": {},
        }
