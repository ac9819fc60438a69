from __future__ import annotations

import hashlib

import pytest
from tests.support.authorities import lei

from safeconduct.authorization.annex import AnnexLine, check_lei, read_annex, write_annex
from safeconduct.kernel.errors import InvalidInput


def read(data, sha256=None, **more):
    return read_annex(data, sha256 or hashlib.sha256(data).hexdigest(), name="a", **more)


def test_lines_are_read_back_as_written():
    lines = (
        AnnexLine("Sample One", lei=lei("one")),
        AnnexLine("Sample Two", registry_authority="RA000001", registry_number="42"),
        AnnexLine("Named only"),
    )
    assert read(write_annex(lines)) == lines


def test_a_single_changed_byte_is_refused():
    data = write_annex((AnnexLine("Sample One", lei=lei("one")),))
    digest = hashlib.sha256(data).hexdigest()
    for place in range(0, len(data), 7):
        changed = bytearray(data)
        changed[place] ^= 1
        with pytest.raises(InvalidInput) as caught:
            read(bytes(changed), digest)
        assert digest in caught.value.message


# Check digits worked out by hand from ISO/IEC 7064 MOD 97-10 would prove little; these two are public LEIs of
# organisations that issue and oversee LEIs, whose digits anybody can look up.
@pytest.mark.parametrize("value", ["506700GE1G29325QX363", "213800WAVVOPS85N2205"])
def test_registered_leis_pass(value):
    assert check_lei(value) == value


@pytest.mark.parametrize(
    "value", ["506700GE1G29325QX364", "506700GE1G29325QX36", "506700ge1g29325qx363", "", "é" * 20]
)
def test_an_lei_whose_check_digits_do_not_fit_is_refused(value):
    with pytest.raises(InvalidInput):
        check_lei(value)


def test_every_digit_taken_for_another_and_every_letter_for_another_is_caught():
    good = lei("sample")
    for place, right in enumerate(good):
        for wrong in "0123456789" if right.isdigit() else "ABCDEFGHIJKLMNOPQRSTUVWXYZ":
            if wrong != right:
                with pytest.raises(InvalidInput):
                    check_lei(good[:place] + wrong + good[place + 1 :])


@pytest.mark.parametrize(
    ("line", "field"),
    [
        (b'{"lei":"x"}', "annexes.a[1].legal_name"),
        (b'{"legal_name":""}', "annexes.a[1].legal_name"),
        (b'{"legal_name":"x","lei":7}', "annexes.a[1].lei"),
        (b'{"legal_name":"x","country":"XA"}', "annexes.a[1].country"),
        (b'{"legal_name":"x","registry":{"authority":"r"}}', "annexes.a[1].registry.number"),
        (b'{"legal_name":"x","legal_name":"y"}', "legal_name"),
        (b"[]", "annexes.a[1]"),
        (b"\n\n", "annexes.a"),
    ],
)
def test_a_malformed_line_is_named(line, field):
    with pytest.raises(InvalidInput) as caught:
        read(line)
    assert caught.value.field == field


def test_another_media_type_is_refused():
    with pytest.raises(InvalidInput):
        read(b'{"legal_name":"x"}', media_type="text/csv")
