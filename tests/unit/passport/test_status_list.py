"""Token Status List: vectors of the draft, writing, and the guards it leaves to its users."""

from __future__ import annotations

import json
import os
import re
import zlib
from pathlib import Path

import pytest
from tests.support.holders import ISSUER_KEY, NOW, OTHER_KEY, issuer_key

from safeconduct.kernel.canonical import b64u
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.vocabulary import PassportStatus
from safeconduct.passport.status_list import (
    MAX_LIST_BYTES,
    StatusList,
    StatusLists,
    decode,
    encode,
    pack,
    sign_status_list,
)

SHARED = Path(os.environ.get("SAFECONDUCT_SHARED", Path(__file__).resolve().parents[3].parent / "shared"))
DATA = SHARED / "data" / "status-list"
URI = "https://issuer.example/status/0"

# draft-ietf-oauth-status-list, appendix "Test vectors": indexes and values; the rest of 2^20 entries is 0.
ONE_BIT = dict.fromkeys((0, 1993, 25460, 159495, 495669, 554353, 645645, 723232, 854545, 934534, 1000345), 1)
TWO_BITS = {
    0: 1, 1993: 2, 25460: 1, 159495: 3, 495669: 1, 554353: 1, 645645: 2, 723232: 1, 854545: 1, 934534: 2, 1000345: 3
}  # fmt: skip
FOUR_BITS = {
    0: 1, 1993: 2, 35460: 3, 459495: 4, 595669: 5, 754353: 6, 845645: 7, 923232: 8, 924445: 9, 934534: 10,
    1004534: 11, 1000345: 12, 1030203: 13, 1030204: 14, 1030205: 15
}  # fmt: skip


def member(name: str) -> dict[str, object]:
    path = DATA / name
    if not path.exists():
        pytest.skip(f"needs {path.name} of the shared data")
    text = path.read_text()
    found = json.loads(re.sub(r"\s*\n\s*", "", text[text.index("{") :]))
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [("encoding1_long.md", ONE_BIT), ("encoding2_long.md", TWO_BITS), ("encoding4.md", FOUR_BITS)],
)
def test_the_drafts_long_vectors_are_read(name: str, expected: dict[int, int]) -> None:
    read = decode(member(name))
    assert len(read) == 1 << 20
    found = (
        {index: value for index in range(1 << 20) if (value := read.value(index))} if read.bits == 1 else None
    )
    if found is not None:
        assert found == expected
    for index, value in expected.items():
        assert read.value(index) == value
        assert index + 1 in expected or read.value(index + 1) == 0


def test_the_drafts_short_vector_is_read() -> None:
    read = decode(member("encoding2.md"))
    assert read.packed == bytes([0xC9, 0x44, 0xF9])
    assert [read.value(index) for index in range(12)] == [1, 2, 0, 3, 0, 1, 0, 1, 1, 2, 3, 3]


def test_the_drafts_eight_bit_vector_is_read() -> None:
    read = decode(member("encoding8.md"))
    assert read.bits == 8
    assert len(read) == 1 << 20
    # Each value stands at its own byte: 255 other ones than zero.
    assert {value for value in read.packed} == set(range(256))


def test_what_is_written_is_read_back() -> None:
    written = pack(
        [(0, PassportStatus.INVALID), (5, PassportStatus.SUSPENDED), (11, PassportStatus.INVALID)], 12
    )
    read = decode(encode(written))
    assert [read.status(index).value for index in range(12)] == [1, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1]


def test_a_later_status_of_an_index_replaces_the_earlier() -> None:
    assert (
        pack([(1, PassportStatus.SUSPENDED), (1, PassportStatus.INVALID)], 4).status(1)
        is PassportStatus.INVALID
    )


@pytest.mark.parametrize("index", [-1, 12, 1 << 20])
def test_an_index_outside_the_list_refuses(index: int) -> None:
    with pytest.raises(VerificationFailed) as failed:
        pack([], 12).status(index)
    assert failed.value.step == "status"


def test_a_number_without_meaning_refuses() -> None:
    with pytest.raises(VerificationFailed):
        StatusList(2, b"\xff").status(0)


@pytest.mark.parametrize("bits", [0, 3, 16, True, "2", None])
def test_other_widths_are_refused(bits: object) -> None:
    with pytest.raises(InvalidInput):
        decode({"bits": bits, "lst": b64u(zlib.compress(b"\0"))})


def test_a_bomb_is_not_unpacked() -> None:
    with pytest.raises(InvalidInput):
        decode({"bits": 2, "lst": b64u(zlib.compress(b"\0" * (MAX_LIST_BYTES + 1)))})


@pytest.mark.parametrize("tail", [b"x", b""])
def test_truncated_and_trailing_bytes_are_refused(tail: bytes) -> None:
    data = zlib.compress(b"\0" * 100) + tail
    with pytest.raises(InvalidInput):
        decode({"bits": 2, "lst": b64u(data if tail else data[:-3])})


def signed(now: int, status: PassportStatus, **changes: object) -> str:
    given = {"uri": URI, "signer": ISSUER_KEY, **changes}
    return sign_status_list(pack([(3, status)], 16), now=now, **given)  # type: ignore[arg-type]


def test_an_older_list_does_not_come_back() -> None:
    lists = StatusLists(issuer_key)
    old, new = signed(NOW, PassportStatus.VALID), signed(NOW + 5, PassportStatus.INVALID)
    lists.accept(old, uri=URI, now=NOW + 5)
    lists.accept(new, uri=URI, now=NOW + 5)
    with pytest.raises(VerificationFailed) as failed:
        lists.accept(old, uri=URI, now=NOW + 6)
    assert failed.value.field == "iat"
    assert lists.status(URI, 3, now=NOW + 6) is PassportStatus.INVALID


@pytest.mark.parametrize(
    "text",
    [
        signed(NOW, PassportStatus.VALID, uri="https://issuer.example/status/1"),
        signed(NOW, PassportStatus.VALID, signer=OTHER_KEY),
        signed(NOW - 7200, PassportStatus.VALID),
        signed(NOW + 600, PassportStatus.VALID),
        "not.a.list",
    ],
)
def test_a_list_that_is_foreign_expired_or_from_the_future_is_refused(text: str) -> None:
    with pytest.raises(VerificationFailed) as failed:
        StatusLists(issuer_key).accept(text, uri=URI, now=NOW)
    assert failed.value.step == "status"


def test_without_a_list_or_past_its_end_nothing_is_valid() -> None:
    lists = StatusLists(issuer_key)
    with pytest.raises(VerificationFailed):
        lists.status(URI, 0, now=NOW)
    lists.accept(signed(NOW, PassportStatus.VALID), uri=URI, now=NOW)
    assert lists.status(URI, 0, now=NOW) is PassportStatus.VALID
    with pytest.raises(VerificationFailed):
        lists.status(URI, 0, now=NOW + 3600)
