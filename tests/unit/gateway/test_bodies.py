"""Reading a body once, and writing the one that goes upstream."""

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.bodies import Pseudonyms, check_body_headers, read_body, upstream_body
from safeconduct.gateway.http_messages import Refusal
from safeconduct.gateway.routes import INFERENCE, Route

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)
OTHERS = st.dictionaries(st.text(min_size=1).map(lambda name: f"x_{name}"), VALUES, max_size=5)


@given(OTHERS)
def test_what_goes_upstream_is_what_came_but_for_what_is_ours(others):
    folded = {name.casefold() for name in others}
    if len(folded) != len(others) or "file_id" in json.dumps(others):
        return
    body = {"model": "model-x", "messages": [], **others}
    try:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError:
        return
    ask = read_body(data)
    sent, injected = upstream_body(
        ask, inference=INFERENCE[Route.CHAT], kind="openai", upstream_model="up", pseudonym="u-1"
    )
    expected = {**body, "model": "up", "user": "u-1", "safety_identifier": "u-1"}
    assert json.loads(sent) == expected
    assert not injected


@given(VALUES.filter(lambda value: not isinstance(value, str) or not value))
def test_only_text_names_a_model(value):
    with pytest.raises(Refusal) as caught:
        read_body(json.dumps({"model": value}).encode())
    assert caught.value.status == 400


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing(data):
    with contextlib.suppress(Refusal):
        read_body(data)


@pytest.mark.parametrize("depth", [1, 3, 10])
def test_a_duplicate_is_found_however_deep_it_lies(depth):
    inner = '{"a":1,"a":2}'
    for _ in range(depth):
        inner = f'[{{"b":{inner}}}]'
    with pytest.raises(Refusal, match="more than once"):
        read_body(f'{{"model":"x","tools":{inner}}}'.encode())


def test_usage_is_asked_for_on_streams_only_and_other_options_stay():
    ask = read_body(
        b'{"model":"x","stream":true,"stream_options":{"include_obfuscation":false,"include_usage":false}}'
    )
    sent, injected = upstream_body(
        ask, inference=INFERENCE[Route.CHAT], kind="openai-compatible", upstream_model="x", pseudonym="u"
    )
    assert injected
    assert json.loads(sent)["stream_options"] == {"include_obfuscation": False, "include_usage": True}
    ask = read_body(b'{"model":"x","stream":true}')
    sent, injected = upstream_body(
        ask, inference=INFERENCE[Route.MESSAGES], kind="anthropic", upstream_model="x", pseudonym="u"
    )
    assert not injected
    assert json.loads(sent)["metadata"] == {"user_id": "u"}


def test_a_pseudonym_is_stable_differs_by_provider_and_is_not_the_subject():
    names = Pseudonyms(b"k" * 32)
    assert names.of("a", "ann") == Pseudonyms(b"k" * 32).of("a", "ann")
    assert (
        len(
            {
                names.of("a", "ann"),
                names.of("b", "ann"),
                names.of("a", "bob"),
                Pseudonyms(b"x" * 32).of("a", "ann"),
            }
        )
        == 4
    )
    assert names.of("a", "nn") != names.of("aa", "n") != names.of("a\0", "nn")


@pytest.mark.parametrize(
    "given", [b"application/json", b"Application/JSON ; charset=utf-8", b'application/json;charset="UTF-8"']
)
def test_json_is_json_in_any_spelling(given):
    check_body_headers(given, None)
    check_body_headers(given, b"identity")
