"""The envelope of every logged entry, of the record and of decision logs alike (formats.md 5).

`uid seq time type tenant jurisdiction commitment body?|sealed?` as canonical JSON. The bytes as stored are what is hashed:
nothing here re-serialises an entry to verify it.

An entry without a sealed part carries `commitment = SHA-256(body)`. A sealed part is AES-256-GCM under the data key of the
subject it is about, with the uid as additional data; its plaintext is a 32-byte random salt and the secret, and
`commitment = SHA-256(salt || secret)`: once the data key is destroyed neither can be recovered nor guessed. An entry with a
sealed part may have an open body beside it, which the leaf's hash protects.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import secrets
from functools import lru_cache

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import RandomBytes
from safeconduct.kernel.signing import unseal


class Envelope(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry. `time` is milliseconds since the epoch; `seq` is the entry's index in its log.

    key: the subject whose data key sealed `sealed`. body: JSON as written, raw.
    """

    uid: str
    seq: int
    time: int
    type: str
    tenant: str
    jurisdiction: str
    commitment: str
    body: msgspec.Raw = msgspec.Raw(b"")
    sealed: str = ""
    key: str = ""


_sha256 = hashlib.sha256
_encoder = msgspec.json.Encoder(order="sorted")
_decoder = msgspec.json.Decoder(Envelope)


def open_entry(
    body: bytes, *, uid: str, seq: int, time_ms: int, type: str, tenant: str = "", jurisdiction: str = ""
) -> bytes:
    """Bytes of an entry with a readable body (canonical JSON)."""
    return _encoder.encode(
        Envelope(
            uid=uid,
            seq=seq,
            time=time_ms,
            type=type,
            tenant=tenant,
            jurisdiction=jurisdiction,
            commitment=hashlib.sha256(body).hexdigest(),
            body=msgspec.Raw(body),
        )
    )


def sealed_entry(
    secret: bytes,
    *,
    aead: AESGCM,
    key: str,
    uid: str,
    seq: int,
    time_ms: int,
    type: str,
    tenant: str = "",
    jurisdiction: str = "",
    body: bytes = b"",
    random: RandomBytes = secrets.token_bytes,
) -> bytes:
    """Bytes of an entry with a part that only the holder of the data key `aead` can read, and an optional open body."""
    # A gateway writes two of these per request, and most of each is the same every time: only what differs is encoded here.
    # The members stand in the order that `_encoder` gives them; a test holds the two against each other.
    noise = random(44)
    plaintext = noise[:32] + secret
    nonce = noise[32:]
    about, behind = _constant_members(type, tenant, jurisdiction, key)
    name = _encoder.encode(uid)
    return b'{%b"commitment":"%b"%b"sealed":"%b","seq":%d%b"time":%d%b"uid":%b}' % (
        b'"body":%b,' % body if body else b"",
        hashlib.sha256(plaintext).hexdigest().encode(),
        about[0],
        binascii.b2a_base64(nonce + aead.encrypt(nonce, plaintext, uid.encode()), newline=False),
        seq,
        about[1],
        time_ms,
        behind,
        name,
    )


@lru_cache(maxsize=4096)
def _constant_members(
    type: str, tenant: str, jurisdiction: str, key: str
) -> tuple[tuple[bytes, bytes], bytes]:
    quoted = [_encoder.encode(value) for value in (jurisdiction, key, tenant, type)]
    named = b',"key":%b' % quoted[1] if key else b""
    return (
        b',"jurisdiction":%b%b,' % (quoted[0], named),
        b',"tenant":%b,' % quoted[2],
    ), b',"type":%b,' % quoted[3]


def read_entry(entry: bytes) -> Envelope:
    """Parse an entry. Raises InvalidInput."""
    try:
        return _decoder.decode(entry)
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"not an entry: {error}") from None


def open_body(envelope: Envelope) -> bytes:
    """The readable body, checked against its commitment. Raises InvalidInput when there is none or it was altered."""
    body = bytes(envelope.body)
    if not body:
        raise InvalidInput("the body is sealed", field=envelope.uid, remedy="give the unwrapping key")
    if not envelope.sealed and _sha256(body).hexdigest() != envelope.commitment:
        raise InvalidInput("the body does not fit its commitment", field=envelope.uid)
    return body


def unsealed_part(envelope: Envelope, aead: AESGCM) -> bytes:
    """The sealed part, decrypted and checked against its commitment. Raises InvalidInput."""
    try:
        sealed = base64.b64decode(envelope.sealed, validate=True)
    except ValueError:
        raise InvalidInput("the sealed body is not base64", field=envelope.uid) from None
    plaintext = unseal(aead, sealed, envelope.uid.encode())
    if hashlib.sha256(plaintext).hexdigest() != envelope.commitment:
        raise InvalidInput("the body does not fit its commitment", field=envelope.uid)
    return plaintext[32:]
