"""AWS KMS: `awskms:<key ARN>`. Requests are signed with Signature Version 4; the key never leaves the service.

A wrapped secret is the service's CiphertextBlob with our context as its encryption context. Ed25519 keys are ECC_NIST_EDWARDS25519
(`ED25519_SHA_512` over the raw message), P-256 keys ECC_NIST_P256 (`ECDSA_SHA_256` over the digest, answered in DER).
"""

from __future__ import annotations

import base64
import binascii
import datetime
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from safeconduct.custody.cloud import KeyService, check_endpoint, needed
from safeconduct.custody.signature import RemoteSigner, public_key_from_der, raw_from_der
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.signing import ES256, KeyWrapper, Signer, VerifyingKey

_ARN = re.compile(
    r"arn:(aws|aws-cn|aws-us-gov):kms:([a-z0-9-]{4,32}):(\d{12}):(key/[A-Za-z0-9-]{1,64}|alias/[A-Za-z0-9/_-]{1,200})"
)
_DOMAIN = {"aws": "amazonaws.com", "aws-us-gov": "amazonaws.com", "aws-cn": "amazonaws.com.cn"}
_CONTENT_TYPE = "application/x-amz-json-1.1"


def _utc() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def sigv4(
    *,
    host: str,
    region: str,
    target: str,
    body: bytes,
    access_key_id: str,
    secret_access_key: str,
    session_token: str | None,
    at: datetime.datetime,
) -> dict[str, str]:
    """Headers of a signed POST to `/` (AWS Signature Version 4, service `kms`)."""
    stamp = at.strftime("%Y%m%dT%H%M%SZ")
    headers = {"content-type": _CONTENT_TYPE, "host": host, "x-amz-date": stamp, "x-amz-target": target}
    if session_token is not None:
        headers["x-amz-security-token"] = session_token
    names = sorted(headers)
    signed = ";".join(names)
    canonical = "\n".join(
        (
            "POST",
            "/",
            "",
            *(f"{name}:{headers[name]}" for name in names),
            "",
            signed,
            hashlib.sha256(body).hexdigest(),
        )
    )
    scope = f"{stamp[:8]}/{region}/kms/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = f"AWS4{secret_access_key}".encode()
    for part in (stamp[:8], region, "kms", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    headers["authorization"] = (
        f"AWS4-HMAC-SHA256 Credential={access_key_id}/{scope}, SignedHeaders={signed}, Signature={signature}"
    )
    return headers


def _bytes(answer: Mapping[str, Any], name: str) -> bytes:
    try:
        return base64.b64decode(answer[name], validate=True)
    except (KeyError, TypeError, ValueError, binascii.Error):
        raise UnsafeConfiguration(f"AWS KMS gave no {name}", field="awskms") from None


class AwsKeys:
    """Keys of AWS KMS. credentials: `access_key_id`, `secret_access_key`, `session_token`?, `endpoint`?."""

    def __init__(
        self, credentials: Mapping[str, Any], *, utc: Callable[[], datetime.datetime] = _utc
    ) -> None:
        self._id = needed(credentials, "access_key_id", "aws")
        self._secret = needed(credentials, "secret_access_key", "aws")
        self._session = (
            needed(credentials, "session_token", "aws") if "session_token" in credentials else None
        )
        self._endpoint = (
            check_endpoint(str(credentials["endpoint"]), "aws.endpoint")
            if "endpoint" in credentials
            else None
        )
        self._utc = utc
        self._service = KeyService("AWS KMS")

    def call(self, arn: str, operation: str, members: Mapping[str, Any]) -> dict[str, Any]:
        """One operation on the key. Raises UnsafeConfiguration."""
        partition, region = arn.split(":")[1], arn.split(":")[3]
        url = self._endpoint or f"https://kms.{region}.{_DOMAIN[partition]}"
        body = canonical_json({"KeyId": arn, **members})
        headers = sigv4(
            host=urlsplit(url).netloc,
            region=region,
            target=f"TrentService.{operation}",
            body=body,
            access_key_id=self._id,
            secret_access_key=self._secret,
            session_token=self._session,
            at=self._utc(),
        )
        return self._service.call(
            "POST",
            f"{url}/",
            headers=headers,
            body=body,
            what=f"awskms {operation}",
            unwrapping=operation == "Decrypt",
        )

    def signer(self, reference: str, alg: str) -> Signer:
        """See `KeyCustody.signer`."""
        arn = _arn(reference)
        answer = self.call(arn, "GetPublicKey", {})
        if answer.get("KeyUsage") != "SIGN_VERIFY":
            raise InvalidInput(
                "the key is not for signatures", field="awskms", remedy="use a SIGN_VERIFY key"
            )
        return _AwsSigner(self, arn, public_key_from_der(_bytes(answer, "PublicKey"), alg))

    def wrapper(self, reference: str) -> KeyWrapper:
        """See `KeyCustody.wrapper`."""
        return _AwsWrapper(self, _arn(reference))


def _arn(reference: str) -> str:
    arn = reference.removeprefix("awskms:")
    if not _ARN.fullmatch(arn):
        raise InvalidInput(
            "not the ARN of a key",
            field="awskms",
            remedy="awskms:arn:aws:kms:REGION:ACCOUNT:key/ID",
        )
    return arn


class _AwsSigner(RemoteSigner):
    def __init__(self, service: AwsKeys, arn: str, public: VerifyingKey) -> None:
        super().__init__(public)
        self._service = service
        self._arn = arn

    def _sign(self, data: bytes) -> bytes:
        digested = self.alg == ES256
        message = hashlib.sha256(data).digest() if digested else data
        answer = self._service.call(
            self._arn,
            "Sign",
            {
                "Message": base64.b64encode(message).decode(),
                "MessageType": "DIGEST" if digested else "RAW",
                "SigningAlgorithm": "ECDSA_SHA_256" if digested else "ED25519_SHA_512",
            },
        )
        signature = _bytes(answer, "Signature")
        return raw_from_der(signature) if digested else signature


class _AwsWrapper:
    def __init__(self, service: AwsKeys, arn: str) -> None:
        self._service = service
        self._arn = arn

    def __repr__(self) -> str:
        return "<AwsWrapper>"

    @staticmethod
    def _context(context: bytes) -> dict[str, str]:
        return {"safeconduct": base64.b64encode(context).decode()}

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        plain = base64.b64encode(secret).decode()
        answer = self._service.call(
            self._arn, "Encrypt", {"Plaintext": plain, "EncryptionContext": self._context(context)}
        )
        return _bytes(answer, "CiphertextBlob")

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        blob = base64.b64encode(wrapped).decode()
        answer = self._service.call(
            self._arn, "Decrypt", {"CiphertextBlob": blob, "EncryptionContext": self._context(context)}
        )
        return _bytes(answer, "Plaintext")
