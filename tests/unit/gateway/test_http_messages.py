"""Requests out of bytes, however the bytes are cut."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.http_messages import Limits, Refusal, RequestReader

PLAIN = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nX-ONE: 2\r\nContent-Length: 5\r\n\r\nhello"
    b"POST /two HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\n\r\n"
    b"GET /three HTTP/1.1\r\nHost: a\r\n\r\n"
)


class Taken:
    def __init__(self, keep=True):
        self.heads, self.requests, self.keep = [], [], keep

    def head_received(self, head):
        self.heads.append(head)
        return self.keep

    def request_received(self, head, body):
        self.requests.append((head, body))


@given(st.lists(st.integers(1, 40), min_size=1, max_size=40))
def test_the_same_bytes_give_the_same_requests_however_they_are_cut(sizes):
    taken = Taken()
    reader = RequestReader(taken, Limits())
    rest, turn = PLAIN, 0
    while rest:
        size = sizes[turn % len(sizes)]
        reader.feed(rest[:size])
        rest, turn = rest[size:], turn + 1
    assert [(head.method, head.path, head.query, body) for head, body in taken.requests] == [
        (b"POST", b"/v1/messages", b"beta=true", b"hello"),
        (b"POST", b"/two", b"", b"abcde"),
        (b"GET", b"/three", b"", b""),
    ]
    assert taken.heads[0].all(b"x-one") == [b"1", b"2"]
    assert b"x-late" not in taken.heads[1].headers
    with pytest.raises(Refusal, match="more than once"):
        taken.heads[0].get(b"x-one")


def test_a_body_that_nobody_wants_is_not_kept():
    taken = Taken(keep=False)
    RequestReader(taken, Limits()).feed(PLAIN)
    assert [body for _, body in taken.requests] == [b"", b"", b""]


@given(st.binary(max_size=300))
def test_no_bytes_make_the_reader_fail_otherwise_than_by_refusing(data):
    with contextlib.suppress(Refusal):
        RequestReader(Taken(), Limits()).feed(b"GET / HTTP/1.1\r\n" + data)


def test_chunks_that_are_mostly_framing_are_refused():
    reader = RequestReader(Taken(), Limits())
    reader.feed(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"1;" + b"x" * 10_000 + b"\r\na\r\n"
    for _ in range(100):
        reader.feed(chunk)
    with pytest.raises(Refusal, match="framing"):
        reader.feed(chunk * 100)
