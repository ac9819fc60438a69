"""The quick reading of a body lets nothing through that the strict one refuses."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from safeconduct.gateway.bodies import _plainly_sound, read_body
from safeconduct.gateway.http_messages import Refusal

NAMES = st.sampled_from(["model", "messages", "a", "a:b", ":", "é", "file_id", "user"])
LEAVES = (
    st.none() | st.booleans() | st.integers(-5, 10**18) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(alphabet=st.sampled_from(list('ab:"\\/\n\u00e9\u2028\U0001f600{}[],')), max_size=8)


class Pairs(list):
    """Members of an object, in order; a name may stand twice."""


VALUES = st.recursive(
    LEAVES | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.lists(st.tuples(NAMES | TEXTS, inner), max_size=4).map(Pairs)
    ),
    max_leaves=12,
)


def written(value, escape, blank):
    if isinstance(value, Pairs):
        members = (
            f"{text_of(name, escape)}{blank}:{blank}{written(each, escape, blank)}" for name, each in value
        )
        return "{" + f"{blank},".join(members) + "}"
    if isinstance(value, list):
        return "[" + ",".join(written(each, escape, blank) for each in value) + "]"
    return text_of(value, escape) if isinstance(value, str) else json.dumps(value)


def text_of(text, escape):
    if not escape:
        return json.dumps(text, ensure_ascii=False)
    return (
        '"'
        + "".join(f"\\u{ord(mark):04x}" if mark in ":a" else json.dumps(mark)[1:-1] for mark in text)
        + '"'
    )


def repeats(value):
    if isinstance(value, Pairs):
        names = [name for name, _ in value]
        return len(set(names)) != len(names) or any(repeats(each) for _, each in value)
    return isinstance(value, list) and any(map(repeats, value))


def names_file(value):
    if isinstance(value, Pairs):
        return any(name == "file_id" or names_file(each) for name, each in value)
    return isinstance(value, list) and any(map(names_file, value))


@given(
    st.lists(st.tuples(NAMES | TEXTS, VALUES), max_size=5).map(Pairs),
    st.booleans(),
    st.sampled_from(["", " ", "\n"]),
)
def test_a_body_with_a_repeated_member_or_a_file_is_never_plainly_sound(value, escape, blank):
    sound = _plainly_sound(written(value, escape, blank).encode())
    if repeats(value) or names_file(value):
        assert not sound
    elif not escape:
        assert sound


@given(
    st.lists(st.tuples(NAMES, VALUES), max_size=4)
    .map(Pairs)
    .map(lambda value: written(value, False, " ").encode()),
    st.lists(
        st.tuples(
            st.integers(0, 300),
            st.sampled_from([b"", b'"', b":", b"\\", b"{", b"}", b",", b"\xff", b"\x01", b"1"]),
        ),
        min_size=1,
        max_size=4,
    ),
)
@example(b'{"a":1}', [(7, b"\x00")])
def test_damaged_bytes_that_are_plainly_sound_are_sound_to_the_strict_reader_too(data, cuts):
    for cut, put in cuts:
        at = cut % (len(data) + 1)
        data = data[:at] + put + data[at + 1 :]
    if not _plainly_sound(data):
        return

    def once(pairs):
        names = [name for name, _ in pairs]
        assert len(set(names)) == len(names)
        assert "file_id" not in names
        return dict(pairs)

    assert isinstance(json.loads(data.decode("utf-8", "strict"), object_pairs_hook=once), dict)


@pytest.mark.parametrize(
    "body",
    [
        b'{"model":"a","x":1,"x":1}',
        b'{"model":"a","x":"\\u003a","x":1}',
        b'{"model":"a","x":"\\u003A","x":1}',
        b'{"model":"a","deep":[{"b":{"c":1,"c":1}}]}',
        b'{"model":"a","x":":::","x":"\\u003a\\u003a\\u003a\\u003a"}',
    ],
)
def test_a_colon_written_as_an_escape_does_not_hide_a_repeated_member(body):
    with pytest.raises(Refusal) as refused:
        read_body(body)
    assert refused.value.code == "duplicate_member"
