from __future__ import annotations

import base64

import pytest
from tests.support.log_directories import ORIGIN, log_signer

from safeconduct.audit.checkpoint import LogVerifier, parse_checkpoint, sign_checkpoint
from safeconduct.audit.merkle import EMPTY_ROOT, leaf_hash
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.signing import ES256, FileSigner

SIGNER = log_signer()
VERIFIER = LogVerifier.of(ORIGIN, SIGNER)
ROOT = leaf_hash(b"x")
GOOD = sign_checkpoint(SIGNER, VERIFIER, 1, ROOT).text


def signed(body: bytes, name: str = ORIGIN) -> bytes:
    """Any text, signed by the log's own key."""
    line = base64.b64encode(VERIFIER.key_id + SIGNER.sign(body)).decode()
    return body + f"\n— {name} {line}\n".encode()


def test_a_checkpoint_is_read_as_it_was_signed():
    checkpoint = VERIFIER.verify(GOOD)
    assert (checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.text) == (ORIGIN, 1, ROOT, GOOD)


def test_a_verifier_key_made_elsewhere_is_read():
    # The example key of the Go module golang.org/x/mod/sumdb/note: its hash pins our key id computation.
    text = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
    assert LogVerifier.parse(text).text() == text


@pytest.mark.parametrize(
    "text", ["", "a+b", "name+00000000+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "n+c74f20a3+AQ=="]
)
def test_a_malformed_verifier_key_is_refused(text):
    with pytest.raises(InvalidInput):
        LogVerifier.parse(text)


def test_a_key_of_another_algorithm_cannot_sign_a_log():
    with pytest.raises(InvalidInput):
        LogVerifier.of(ORIGIN, FileSigner.generate(ES256))


@pytest.mark.parametrize("origin", ["", "a b", "a+b", "a\nb", "a\u2003b"])
def test_an_origin_that_cannot_be_a_key_name_is_refused(origin):
    with pytest.raises(InvalidInput):
        LogVerifier.of(origin, SIGNER)


def test_every_flipped_bit_of_a_checkpoint_is_refused():
    for position in range(len(GOOD)):
        for bit in range(8):
            altered = bytearray(GOOD)
            altered[position] ^= 1 << bit
            with pytest.raises(VerificationFailed):
                VERIFIER.verify(bytes(altered))


def test_signatures_of_unknown_keys_are_ignored():
    other = log_signer()
    line = sign_checkpoint(other, LogVerifier.of("witness.example", other), 1, ROOT).text.partition(b"\n\n")[
        2
    ]
    assert len(VERIFIER.verify(GOOD + line).signatures) == 2


def test_the_same_signature_twice_is_refused():
    line = GOOD.partition(b"\n\n")[2]
    with pytest.raises(VerificationFailed, match="two signatures"):
        VERIFIER.verify(GOOD + line)


def test_a_forged_signature_beside_the_good_one_is_refused():
    forged = f"— {ORIGIN} {base64.b64encode(VERIFIER.key_id + bytes(64)).decode()}\n".encode()
    body, _, line = GOOD.partition(b"\n\n")
    for lines in (forged, forged + line, line + forged):
        with pytest.raises(VerificationFailed):
            VERIFIER.verify(body + b"\n\n" + lines)


def test_a_checkpoint_of_another_log_under_the_same_key_is_refused():
    other = LogVerifier.of("test.example/other", SIGNER)
    with pytest.raises(VerificationFailed, match="origin"):
        VERIFIER.verify(sign_checkpoint(SIGNER, other, 1, ROOT).text)


def test_another_key_under_the_same_name_is_refused():
    other = log_signer()
    with pytest.raises(VerificationFailed, match="no signature"):
        VERIFIER.verify(sign_checkpoint(other, LogVerifier.of(ORIGIN, other), 1, ROOT).text)


ENCODED = base64.b64encode(ROOT)
NAME = ORIGIN.encode()


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(NAME + b"\n1\n" + ENCODED + b"\nextension\n", id="extension line"),
        pytest.param(NAME + b"\n01\n" + ENCODED + b"\n", id="leading zero"),
        pytest.param(NAME + b"\n+1\n" + ENCODED + b"\n", id="plus"),
        pytest.param(NAME + b"\n-1\n" + ENCODED + b"\n", id="negative"),
        pytest.param(NAME + b"\n1 \n" + ENCODED + b"\n", id="space"),
        pytest.param(NAME + "\n١\n".encode() + ENCODED + b"\n", id="other digits"),
        pytest.param(NAME + b"\n1\n" + ENCODED[:-1] + b"\n", id="no padding"),
        pytest.param(NAME + b"\n1\n" + base64.b64encode(ROOT[:-1]) + b"\n", id="short root"),
        pytest.param(NAME + b"\n1\n" + base64.b64encode(ROOT + b"x") + b"\n", id="long root"),
        pytest.param(NAME + b"\n1\r\n" + ENCODED + b"\n", id="carriage return"),
        pytest.param(NAME + b"\n0\n" + ENCODED + b"\n", id="empty tree with a root"),
        pytest.param(NAME + b"\n1\n", id="no root"),
        pytest.param(b"\n" + NAME + b"\n1\n" + ENCODED + b"\n", id="empty first line"),
        pytest.param(NAME + b"\n99999999999999999999999\n" + ENCODED + b"\n", id="huge size"),
    ],
)
def test_a_malformed_text_is_refused_although_its_signature_is_good(body):
    with pytest.raises(VerificationFailed):
        VERIFIER.verify(signed(body))


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n\n",
        GOOD[:-1],
        GOOD + b"\n",
        GOOD + b"garbage\n",
        GOOD.replace("—".encode(), b"-"),
        GOOD.replace(b"\n\n", b"\n"),
        GOOD + b"\xff",
        GOOD + b"\x00",
        GOOD.partition(b"\n\n")[0] + b"\n\n",
        b"x" * 100_000,
    ],
)
def test_a_note_that_is_not_one_is_refused(text):
    with pytest.raises(VerificationFailed):
        parse_checkpoint(text)


def test_an_empty_log_has_the_empty_root():
    assert VERIFIER.verify(sign_checkpoint(SIGNER, VERIFIER, 0, EMPTY_ROOT).text).size == 0
