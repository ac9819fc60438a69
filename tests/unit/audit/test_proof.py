from __future__ import annotations

import base64

import pytest
from tests.support.log_directories import ORIGIN, log_signer
from tests.support.log_roots import naive_node, naive_root

from safeconduct.audit.checkpoint import LogVerifier, sign_checkpoint
from safeconduct.audit.merkle import inclusion_proof
from safeconduct.audit.proof import encode_proof, parse_proof, verify_proof
from safeconduct.kernel.errors import VerificationFailed

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
ENTRIES = [b"entry %d" % number for number in range(11)]
CHECKPOINT = sign_checkpoint(SIGNER, VERIFIER, len(ENTRIES), naive_root(ENTRIES)).text


def proof_of(index: int, extra: bytes | None = None) -> bytes:
    return encode_proof(
        index, inclusion_proof(naive_node(ENTRIES), index, len(ENTRIES)), CHECKPOINT, extra=extra
    )


def test_the_text_has_the_lines_of_the_specification():
    lines = proof_of(10, b"seen").split(b"\n")
    assert lines[0] == b"c2sp.org/tlog-proof@v1"
    assert lines[1] == b"extra " + base64.b64encode(b"seen")
    assert lines[2] == b"index 10"
    assert proof_of(10).partition(b"\n\n")[2] == CHECKPOINT
    assert b"extra" not in proof_of(10)


@pytest.mark.parametrize("index", range(11))
def test_every_entry_s_proof_verifies(index):
    proof = verify_proof(proof_of(index), ENTRIES[index], VERIFIER)
    assert (proof.index, proof.checkpoint.size, proof.extra) == (index, 11, None)


def test_extra_data_is_carried_and_may_be_empty():
    assert verify_proof(proof_of(3, b""), ENTRIES[3], VERIFIER).extra == b""
    assert verify_proof(proof_of(3, b"\x00\n"), ENTRIES[3], VERIFIER).extra == b"\x00\n"


def test_a_proof_for_another_entry_is_refused():
    with pytest.raises(VerificationFailed, match="inclusion"):
        verify_proof(proof_of(3), ENTRIES[4], VERIFIER)


def test_a_leaf_hash_or_a_node_does_not_pass_for_an_entry():
    node = b"\x01" + b"".join(inclusion_proof(naive_node(ENTRIES), 0, 2))
    for entry in (node, b"\x00" + ENTRIES[3], b""):
        with pytest.raises(VerificationFailed):
            verify_proof(proof_of(3), entry, VERIFIER)


def test_a_proof_of_another_log_is_refused():
    other = log_signer()
    with pytest.raises(VerificationFailed, match="checkpoint"):
        verify_proof(proof_of(3), ENTRIES[3], LogVerifier.of(ORIGIN, other))


def test_every_flipped_bit_of_a_proof_is_refused():
    text = proof_of(5)
    for position in range(len(text)):
        altered = bytearray(text)
        altered[position] ^= 1 << position % 8
        with pytest.raises(VerificationFailed):
            verify_proof(bytes(altered), ENTRIES[5], VERIFIER)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"index 5", b"index 05"),
        (b"index 5", b"index +5"),
        (b"index 5", b"index  5"),
        (b"index 5", b"index 5\nindex 5"),
        (b"index 5", b"extra YQ=="),
        (b"index 5", b"index 5\nextra YQ=="),
        (b"index 5", b"extra YQ=\nindex 5"),
        (b"index 5", b"extra YR==\nindex 5"),
        (b"index 5\n", b""),
        (b"@v1", b"@v2"),
        (b"=\n\n", b"=\n"),
    ],
)
def test_other_spellings_are_refused(old, new):
    text = proof_of(5)
    assert old in text
    with pytest.raises(VerificationFailed):
        parse_proof(text.replace(old, new, 1))
