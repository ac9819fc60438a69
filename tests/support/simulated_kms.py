"""Simulated key services of AWS, Azure and Google on loopback: they hold keys, check who calls, sign and wrap for real.

Each reads the wire format of its original: AWS checks Signature Version 4 over the headers that the request says it signed, Google
checks the service account's JWT, Azure the client's secret. `defect` makes the answers wrong in a named way.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

SECRET = "canary-kms-secret-7f3a"
ARN = "arn:aws:kms:eu-west-1:111122223333:key/"
RING = "projects/p/locations/l/keyRings/r/cryptoKeys/"


def b64(data):
    return base64.b64encode(data).decode()


def b64u(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64u(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def crc32c(data):
    """Bit by bit, apart from the table that the product uses."""
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value >> 1) ^ 0x82F63B78 if value & 1 else value >> 1
    return str(value ^ 0xFFFFFFFF)


class Refused(Exception):
    def __init__(self, status):
        self.status = status


class SimulatedKms:
    """All three on one port. `url`; `seen` are the paths and operations called; keys are made with `make`."""

    def __init__(self):
        self.keys = {}
        self.seen = []
        self.defect = None
        self.account = rsa.generate_private_key(65537, 2048)
        self.tokens = set()
        self.now = time.time
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_GET(self):
                outer.answer(self)

            def do_POST(self):
                outer.answer(self)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def make(self, name, kind):
        self.keys[name] = {
            "p256": lambda: ec.generate_private_key(ec.SECP256R1()),
            "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
            "ed25519": ed25519.Ed25519PrivateKey.generate,
            "rsa": lambda: rsa.generate_private_key(65537, 2048),
            "aes": lambda: AESGCM(secrets.token_bytes(32)),
        }[kind]()

    def credentials(self):
        """What the instance's credentials file holds."""
        return {
            "aws": {"access_key_id": "AKIDSIMULATED", "secret_access_key": SECRET, "endpoint": self.url},
            "azure": {
                "tenant": "tenant-1",
                "client_id": "client-1",
                "client_secret": SECRET,
                "authority": self.url,
            },
            "gcp": {
                "client_email": "robot@p.iam.example",
                "private_key": self.account.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                ).decode(),
                "token_uri": f"{self.url}/gcp/token",
                "endpoint": self.url,
            },
        }

    # -- one call

    def answer(self, handler):
        body = handler.rfile.read(int(handler.headers.get("content-length") or 0))
        if self.defect == "away":
            handler.connection.shutdown(2)
            handler.close_connection = True
            return
        status = 200
        try:
            if "x-amz-target" in handler.headers:
                members = self.aws(handler, body)
            elif handler.path.startswith("/tenant-1/"):
                members = self.azure_token(body)
            elif handler.path == "/gcp/token":
                members = self.google_token(body)
            elif handler.path.startswith("/keys/"):
                members = self.azure(handler, body)
            else:
                members = self.google(handler, body)
        except Refused as refused:
            status, members = refused.status, {"error": f"refused, and here is a secret: {SECRET}"}
        if self.defect == "redirect":
            handler.send_response(302)
            handler.send_header("location", f"{self.url}/elsewhere")
            handler.send_header("content-length", "0")
            handler.end_headers()
            return
        data = b"<html>" if self.defect == "html" else json.dumps(members).encode()
        handler.send_response(status)
        handler.send_header("content-type", "application/json")
        handler.send_header("content-length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    def key(self, name):
        if name not in self.keys:
            raise Refused(404)
        return self.keys[name]

    def sign(self, name, digest_or_message):
        key = self.key(name)
        if self.defect == "other-key":
            key = ec.generate_private_key(key.curve)
        if isinstance(key, ed25519.Ed25519PrivateKey):
            return key.sign(digest_or_message)
        return key.sign(digest_or_message, ec.ECDSA(Prehashed(hashes.SHA256())))

    # -- AWS

    def check_sigv4(self, handler, body):
        scheme, _, rest = handler.headers["authorization"].partition(" ")
        parts = dict(part.strip().split("=", 1) for part in rest.split(","))
        key_id, day, region, service, end = parts["Credential"].split("/")
        stamp = handler.headers["x-amz-date"]
        names = parts["SignedHeaders"].split(";")
        age = abs(time.mktime(time.strptime(stamp, "%Y%m%dT%H%M%SZ")) - time.timezone - self.now())
        if (
            scheme != "AWS4-HMAC-SHA256"
            or key_id != "AKIDSIMULATED"
            or (service, end, stamp[:8]) != ("kms", "aws4_request", day)
            or not {"host", "x-amz-date", "x-amz-target"} <= set(names)
            or names != sorted(names)
            or age > 300
        ):
            raise Refused(403)
        lines = [handler.command, handler.path, ""]
        lines += [f"{name}:{handler.headers[name].strip()}" for name in names]
        lines += ["", parts["SignedHeaders"], hashlib.sha256(body).hexdigest()]
        text = "\n".join(
            (
                scheme,
                stamp,
                f"{day}/{region}/kms/aws4_request",
                hashlib.sha256("\n".join(lines).encode()).hexdigest(),
            )
        )
        key = ("AWS4" + SECRET).encode()
        for part in (day, region, service, end, text):
            key = hmac.digest(key, part.encode(), "sha256")
        if not hmac.compare_digest(key.hex(), parts["Signature"]):
            raise Refused(403)
        return region

    def aws(self, handler, body):
        region = self.check_sigv4(handler, body)
        operation = handler.headers["x-amz-target"].removeprefix("TrentService.")
        asked = json.loads(body)
        self.seen.append(operation)
        arn = asked["KeyId"]
        assert f":{region}:" in arn
        name = arn.rsplit("/", 1)[1]
        if operation == "GetPublicKey":
            key = self.key(name)
            spki = key.public_key().public_bytes(
                serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            usage = "ENCRYPT_DECRYPT" if isinstance(key, rsa.RSAPrivateKey) else "SIGN_VERIFY"
            return {"KeyId": arn, "PublicKey": b64(spki), "KeyUsage": usage}
        if operation == "Sign":
            message = base64.b64decode(asked["Message"])
            edwards = isinstance(self.key(name), ed25519.Ed25519PrivateKey)
            expected = ("RAW", "ED25519_SHA_512") if edwards else ("DIGEST", "ECDSA_SHA_256")
            if (asked["MessageType"], asked["SigningAlgorithm"]) != expected or len(message) > 4096:
                raise Refused(400)
            return {"KeyId": arn, "Signature": b64(self.sign(name, message)), "SigningAlgorithm": expected[1]}
        context = json.dumps(asked["EncryptionContext"], sort_keys=True).encode()
        if operation == "Encrypt":
            nonce = secrets.token_bytes(12)
            sealed = nonce + self.key(name).encrypt(nonce, base64.b64decode(asked["Plaintext"]), context)
            return {"KeyId": arn, "CiphertextBlob": b64(sealed)}
        if operation == "Decrypt":
            blob = base64.b64decode(asked["CiphertextBlob"])
            return {"KeyId": arn, "Plaintext": b64(self.open(name, blob, context))}
        raise Refused(400)

    def open(self, name, blob, context):
        try:
            return self.key(name).decrypt(blob[:12], blob[12:], context)
        except (InvalidTag, ValueError):
            raise Refused(400) from None

    # -- OAuth

    def give_token(self):
        token = secrets.token_urlsafe(24)
        self.tokens.add(token)
        self.seen.append("token")
        return {"access_token": token, "token_type": "Bearer", "expires_in": 3600}

    def check_bearer(self, handler):
        if handler.headers.get("authorization", "").removeprefix("Bearer ") not in self.tokens:
            raise Refused(401)

    def azure_token(self, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form != {
            "grant_type": "client_credentials",
            "client_id": "client-1",
            "client_secret": SECRET,
            "scope": "https://vault.azure.net/.default",
        }:
            raise Refused(401)
        return self.give_token()

    def google_token(self, body):
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        head, claims, signature = form["assertion"].split(".")
        found = json.loads(unb64u(claims))
        try:
            self.account.public_key().verify(
                unb64u(signature), f"{head}.{claims}".encode(), padding.PKCS1v15(), hashes.SHA256()
            )
        except InvalidSignature:
            raise Refused(401) from None
        if (
            form["grant_type"] != "urn:ietf:params:oauth:grant-type:jwt-bearer"
            or json.loads(unb64u(head))["alg"] != "RS256"
            or found["aud"] != f"{self.url}/gcp/token"
            or found["iss"] != "robot@p.iam.example"
            or not found["iat"] - 60 < self.now() < found["exp"] <= found["iat"] + 3600
        ):
            raise Refused(401)
        return self.give_token()

    # -- Azure

    def azure(self, handler, body):
        self.check_bearer(handler)
        parts = urlsplit(handler.path)
        if parts.query != "api-version=7.4":
            raise Refused(400)
        _, _, name, version, *operation = parts.path.split("/")
        operation = operation[0] if operation else "get"
        self.seen.append(operation)
        kid = f"{self.url}/keys/{name}/{version}"
        if operation == "get":
            key = self.key(name)
            if isinstance(key, ec.EllipticCurvePrivateKey):
                numbers = key.public_key().public_numbers()
                size = key.curve.key_size // 8
                return {
                    "key": {
                        "kid": kid,
                        "kty": "EC",
                        "crv": "P-256" if size == 32 else "P-384",
                        "x": b64u(numbers.x.to_bytes(size, "big")),
                        "y": b64u(numbers.y.to_bytes(size, "big")),
                    }
                }
            return {"key": {"kid": kid, "kty": "RSA"}}
        asked = json.loads(body)
        value = unb64u(asked["value"])
        if operation == "sign":
            if asked["alg"] != "ES256" or len(value) != 32:
                raise Refused(400)
            r, s = decode_dss_signature(self.sign(name, value))
            return {"kid": kid, "value": b64u(r.to_bytes(32, "big") + s.to_bytes(32, "big"))}
        oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None)
        if asked["alg"] != "RSA-OAEP-256":
            raise Refused(400)
        if operation == "wrapkey":
            return {"kid": kid, "value": b64u(self.key(name).public_key().encrypt(value, oaep))}
        try:
            return {"kid": kid, "value": b64u(self.key(name).decrypt(value, oaep))}
        except ValueError:
            raise Refused(400) from None

    # -- Google

    def google(self, handler, body):
        self.check_bearer(handler)
        path = handler.path.removeprefix("/v1/")
        name, _, operation = (
            path.rpartition("/publicKey")[0].partition(":")
            if path.endswith("/publicKey")
            else path.partition(":")
        )
        operation = operation or "publicKey"
        self.seen.append(operation)
        key_name = name.removeprefix(RING).split("/")[0]
        damaged = "1" if self.defect == "damaged" else None
        if operation == "publicKey":
            key = self.key(key_name)
            pem = key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
            if isinstance(key, ed25519.Ed25519PrivateKey):
                algorithm = "EC_SIGN_ED25519"
            elif isinstance(key, rsa.RSAPrivateKey):
                algorithm = "RSA_SIGN_PSS_2048_SHA256"
            else:
                algorithm = "EC_SIGN_P256_SHA256" if key.curve.key_size == 256 else "EC_SIGN_P384_SHA384"
            return {"name": name, "pem": pem.decode(), "algorithm": algorithm}
        asked = json.loads(body)
        if operation == "asymmetricSign":
            what = "data" if "data" in asked else "digest"
            message = base64.b64decode(asked["data"] if what == "data" else asked["digest"]["sha256"])
            if asked[f"{what}Crc32c"] != crc32c(message):
                raise Refused(400)
            signature = self.sign(key_name, message)
            return {
                "name": name,
                "signature": b64(signature),
                "signatureCrc32c": damaged or crc32c(signature),
                f"verified{what.capitalize()}Crc32c": self.defect != "unverified",
            }
        aad = base64.b64decode(asked["additionalAuthenticatedData"])
        if operation == "encrypt":
            nonce = secrets.token_bytes(12)
            sealed = nonce + self.key(key_name).encrypt(nonce, base64.b64decode(asked["plaintext"]), aad)
            return {
                "name": f"{name}/cryptoKeyVersions/1",
                "ciphertext": b64(sealed),
                "ciphertextCrc32c": damaged or crc32c(sealed),
                "verifiedPlaintextCrc32c": self.defect != "unverified",
                "verifiedAdditionalAuthenticatedDataCrc32c": True,
            }
        plain = self.open(key_name, base64.b64decode(asked["ciphertext"]), aad)
        return {"plaintext": b64(plain), "plaintextCrc32c": damaged or crc32c(plain)}
