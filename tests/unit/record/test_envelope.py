"""The quick way an entry is written is the plain way, byte for byte."""

import hashlib

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.record.envelope import Envelope, read_entry, sealed_entry, unsealed_part

TEXT = st.text(max_size=20)


@given(
    uid=TEXT,
    type=TEXT,
    tenant=TEXT,
    jurisdiction=TEXT,
    key=st.text(max_size=10),
    secret=st.binary(max_size=40),
    body=st.sampled_from([b"", b'{"a":1}', '{"é":"\\u0000"}'.encode()]),
    seq=st.integers(0, 2**53),
)
def test_a_sealed_entry_is_canonical_json_whatever_its_members_hold(
    uid, type, tenant, jurisdiction, key, secret, body, seq
):
    aead = AESGCM(b"k" * 32)
    entry = sealed_entry(
        secret,
        aead=aead,
        key=key,
        uid=uid,
        seq=seq,
        time_ms=seq,
        type=type,
        tenant=tenant,
        jurisdiction=jurisdiction,
        body=body,
    )
    envelope = read_entry(entry)
    assert entry == msgspec.json.Encoder(order="sorted").encode(envelope)
    assert envelope == Envelope(
        uid=uid,
        seq=seq,
        time=seq,
        type=type,
        tenant=tenant,
        jurisdiction=jurisdiction,
        commitment=envelope.commitment,
        body=msgspec.Raw(body),
        sealed=envelope.sealed,
        key=key,
    )
    assert unsealed_part(envelope, aead) == secret
    assert envelope.commitment != hashlib.sha256(secret).hexdigest()
