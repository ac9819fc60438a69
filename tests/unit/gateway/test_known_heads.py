"""A head is taken as known only when llhttp read the same bytes, and is then what llhttp would make of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.http_messages import Limits, Refusal, RequestReader
from safeconduct.gateway.known_heads import KnownHeads


class Sink:
    def __init__(self, keep=True):
        self.heads = []
        self.requests = []
        self.keep = keep

    def head_received(self, head):
        self.heads.append(head)
        return self.keep

    def request_received(self, head, body):
        self.requests.append(
            (head.method, head.target, head.path, head.query, _names(head), head.length, body)
        )


def _names(head):
    return {name: head.all(name) for name in head.headers if name != b"content-length"}


def read(known, pieces):
    """What a fresh connection's reader makes of the bytes: requests, or the refusal's code."""
    sink = Sink()
    reader = RequestReader(sink, Limits(), known)
    try:
        for piece in pieces:
            reader.feed(piece)
    except Refusal as refusal:
        return sink.requests, refusal.code
    return sink.requests, None


def post(body=b"{}", *lines, length=None, target="/v1/messages"):
    head = [
        f"POST {target} HTTP/1.1",
        "Host: a",
        *lines,
        f"Content-Length: {len(body) if length is None else length}",
    ]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def test_the_second_request_with_the_same_head_shares_facts_but_not_its_length():
    known = KnownHeads()
    sink = Sink()
    reader = RequestReader(sink, Limits(), known)
    for body in (b"{}", b'{"a":1}', b'{"a":1,"b":2}'):
        reader.feed(post(body))
    assert [request[-2:] for request in sink.requests] == [
        (2, b"{}"),
        (7, b'{"a":1}'),
        (13, b'{"a":1,"b":2}'),
    ]
    first, second, third = sink.heads
    assert first.facts is None
    assert second.facts is third.facts is not None
    second.keep_alive = False
    assert third.keep_alive


@pytest.mark.parametrize(
    "data",
    [
        post(b"{}", "Transfer-Encoding: chunked"),
        post(b"{}", "Content-Length: 2"),
        post(b"{}", "Content-Length: 3"),
        post(b"{}", "X: 1", "Content-Length : 2"),
        post(b"{}", "X: a\nContent-Length: 9"),
        post(b"{}", "X: a\n\nGET / HTTP/1.1"),
        post(b"{}", " folded"),
        post(b"{}", "X: a\r b"),
        post(b"{}", length="+2"),
        post(b"{}", length="02"),
        post(b"{}", length="2,2"),
        post(b"{}", length="2 "),
        post(b"{}", "Connection: close"),
        post(b"{}", "Upgrade: x", "Connection: upgrade"),
        post(b"{}", "Expect: 100-continue"),
        post(b"{}").replace(b"Host: a\r\n", b""),
        post(b"{}", "Host: b"),
        post(b"{}").replace(b"HTTP/1.1", b"HTTP/1.0"),
        post(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", length="0"),
        post(b"{}") + post(b"{}"),
        b"\r\n" + post(b"{}"),
    ],
)
def test_what_llhttp_makes_of_it_is_what_is_made_of_it_the_third_time(data):
    alone = read(None, [data])
    known = KnownHeads()
    # A sound request with the same lines but for the length, so that something is known.
    read(known, [post(b"{}", "X: 1")])
    for _ in range(3):
        assert read(known, [data]) == alone


ATOMS = st.sampled_from(
    [
        b"POST /v1/messages HTTP/1.1\r\n",
        b"Host: a\r\n",
        b"Content-Length: 2\r\n",
        b"content-length: 3\r\n",
        b"X: y\r\n",
    ]
    + [
        b"\r\n",
        b"{}",
        b"{}x",
        b"\n",
        b" ",
        b"Transfer-Encoding: chunked\r\n",
        b"0\r\n\r\n",
        b"Connection: close\r\n",
    ]
)


@given(st.lists(st.lists(ATOMS, min_size=1, max_size=9).map(b"".join), min_size=1, max_size=5))
def test_knowing_heads_never_changes_what_any_bytes_mean(pieces):
    alone = read(None, pieces)
    known = KnownHeads()
    for _ in range(3):
        assert read(known, [post(b"{}"), *pieces])[1] == read(None, [post(b"{}"), *pieces])[1]
        assert read(known, pieces) == alone


def test_digits_are_not_mistaken_for_another_heads_by_where_they_stand():
    known = KnownHeads()
    one = KnownHeads.split(known, post(b"x" * 12))
    other = KnownHeads.split(known, post(b"x" * 12, "X: Content-Length: 12"))
    assert one is not None
    assert other is not None
    assert one[0] != other[0]
