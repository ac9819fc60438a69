"""Bytes that two readers could take for different requests: refused, or one clean request at the upstream and nothing beside it.

Every case is judged by the bytes that reached a provider which reads them without any parser of ours.
"""

import socket

import msgspec
import pytest
from tests.support.gateways import KEY, chat, read_answers, request
from tests.support.recording_upstreams import RecordingUpstream, gateway_before

from safeconduct.gateway.http_messages import Limits

PATH = "/v1/chat/completions"
BODY = msgspec.json.encode(chat())
HEAD = (
    f"POST {PATH} HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/json\r\n"
).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b"Transfer-Encoding: chunked\r\n"
# What an attacker would like the upstream (or the next client's answer) to be.
SMUGGLED = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: evil.example\r\nContent-Type: application/json\r\n"
    b'Content-Length: 24\r\n\r\n{"model":"smuggled-one"}'
)


def chunks(body, size=50, extension=b""):
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    return b"".join(b"%x%b\r\n%b\r\n" % (len(each), extension, each) for each in pieces) + b"0\r\n\r\n"


@pytest.fixture(scope="module")
def upstream():
    with RecordingUpstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(tmp_path_factory, upstream):
    limits = Limits(header_seconds=5.0, body_seconds=5.0, body_bytes=1 << 20)
    with gateway_before(tmp_path_factory.mktemp("gateway"), upstream, limits=limits) as running:
        yield running
        assert running.reported == []


@pytest.fixture(autouse=True)
def _clean(upstream):
    upstream.clear()


# Two lengths, or a length and chunks: in whatever order and spelling, nothing may reach the upstream.
AMBIGUOUS = {
    "cl.te": LENGTH + CHUNKED,
    "te.cl": CHUNKED + LENGTH,
    "cl.te: the coding in capitals": LENGTH + b"TRANSFER-ENCODING: CHUNKED\r\n",
    "cl.te: tab before the coding": LENGTH + b"Transfer-Encoding:\tchunked\r\n",
    "cl.te: vertical tab before the coding": LENGTH + b"Transfer-Encoding:\x0bchunked\r\n",
    "cl.te: form feed after the coding": LENGTH + b"Transfer-Encoding: chunked\x0c\r\n",
    "cl.te: space before the colon": LENGTH + b"Transfer-Encoding : chunked\r\n",
    "cl.te: tab before the colon": LENGTH + b"Transfer-Encoding\t: chunked\r\n",
    "cl.te: line that begins with a space": LENGTH + b" Transfer-Encoding: chunked\r\n",
    "cl.te: folded": LENGTH + b"Transfer-Encoding:\r\n chunked\r\n",
    "cl.te: folded with a tab": LENGTH + b"X: a\r\n\tTransfer-Encoding: chunked\r\n",
    "cl.te: behind a bare line feed": LENGTH + b"X: a\nTransfer-Encoding: chunked\r\n",
    "cl.te: behind a bare carriage return": LENGTH + b"X: a\rTransfer-Encoding: chunked\r\n",
    "cl.te: behind two carriage returns": LENGTH + b"X: a\r\r\nTransfer-Encoding: chunked\r\n",
    "cl.te: NUL after the coding": LENGTH + b"Transfer-Encoding: chunked\0\r\n",
    "cl.te: NUL in the name": LENGTH + b"Transfer\0-Encoding: chunked\r\n",
    "cl.te: empty coding": LENGTH + b"Transfer-Encoding:\r\n",
    "cl.te: identity": LENGTH + b"Transfer-Encoding: identity\r\n",
    "te.te: twice": CHUNKED + CHUNKED,
    "te.te: chunked, identity": b"Transfer-Encoding: chunked, identity\r\n",
    "te.te: identity, chunked": b"Transfer-Encoding: identity, chunked\r\n",
    "te.te: chunked and another line": CHUNKED + b"Transfer-Encoding: x\r\n",
    "te.te: another line and chunked": b"Transfer-Encoding: x\r\n" + CHUNKED,
    "te.te: quoted": b'Transfer-Encoding: "chunked"\r\n',
    "te.te: prefix": b"Transfer-Encoding: xchunked\r\n",
    "te.te: parameter": b"Transfer-Encoding: chunked;q=1\r\n",
    "te.te: empty element": b"Transfer-Encoding: ,chunked\r\n",
    "te.te: gzip": b"Transfer-Encoding: gzip, chunked\r\n",
    "cl.cl: two lengths that differ": LENGTH + b"Content-Length: 5\r\n",
    "cl.cl: two equal lengths": LENGTH + LENGTH,
    "cl.cl: comma": b"Content-Length: %d, %d\r\n" % (len(BODY), len(BODY)),
    "cl.cl: comma and another": b"Content-Length: %d, 5\r\n" % len(BODY),
    "length with a plus": b"Content-Length: +%d\r\n" % len(BODY),
    "length with a minus": b"Content-Length: -%d\r\n" % len(BODY),
    "length in hex": b"Content-Length: 0x%x\r\n" % len(BODY),
    "length with an underscore": b"Content-Length: 1_0\r\n",
    "length with a dot": b"Content-Length: %d.0\r\n" % len(BODY),
    "length with an exponent": b"Content-Length: 1e2\r\n",
    "length in other digits": "Content-Length: \uff11\uff10\r\n".encode(),
    "length of nothing": b"Content-Length:\r\n",
    "length of blanks": b"Content-Length:   \r\n",
    "length of two numbers": b"Content-Length: 1 0\r\n",
    "length beyond 64 bits": b"Content-Length: %d\r\n" % (len(BODY) + 2**64),
    "length of a thousand digits": b"Content-Length: " + b"9" * 1000 + b"\r\n",
    "length with a vertical tab": b"Content-Length: \x0b%d\r\n" % len(BODY),
    "space before the colon of a length": b"Content-Length : %d\r\n" % len(BODY),
    "length folded": b"Content-Length:\r\n %d\r\n" % len(BODY),
    "bare line feeds end the head": LENGTH + b"\n",
    "NUL in a value": LENGTH + b"X: a\0b\r\n",
    "control character in a value": LENGTH + b"X: a\x01b\r\n",
    "name with a blank": LENGTH + b"X Y: a\r\n",
    "name with a high byte": LENGTH + b"X\xe9: a\r\n",
    "line without a colon": LENGTH + b"nonsense\r\n",
    "line without a name": LENGTH + b": a\r\n",
    "two hosts": LENGTH + b"Host: evil.example\r\n",
    "a host after a fold": LENGTH + b"X: a\r\n Host: evil.example\r\n",
}


@pytest.mark.parametrize("payload", ["chunks", "body"])
@pytest.mark.parametrize("lines", AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_ambiguous_framing_never_reaches_the_upstream(gateway, upstream, lines, payload):
    body = chunks(BODY) if payload == "chunks" else BODY
    answers = gateway.send(HEAD + lines + b"\r\n" + body + SMUGGLED, until_close=True)
    assert [each.status for each in answers] == [400]
    assert answers[0].headers["connection"] == "close"
    assert upstream.connections == [] or upstream.raw == b""


CHUNKING = {
    "size beyond 64 bits": b"1" + b"0" * 15 + b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size with 0x": b"0x%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size with a minus": b"-%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size with a plus": b"+%x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size behind a blank": b" %x\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size before a blank": b"%x \r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "no size": b"\r\n" + BODY + b"\r\n0\r\n\r\n",
    "extension without a size": b";a=b\r\n" + BODY + b"\r\n0\r\n\r\n",
    "size line ends with a bare line feed": b"%x\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "size line ends with a bare carriage return": b"%x\r" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "data end with a bare line feed": b"%x\r\n" % len(BODY) + BODY + b"\n0\r\n\r\n",
    "data end without a line": b"%x\r\n" % len(BODY) + BODY + b"0\r\n\r\n",
    "data longer than the size": b"%x\r\n" % (len(BODY) - 1) + BODY + b"\r\n0\r\n\r\n",
    "line feed in an extension": b"%x;a\nb\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "carriage return in an extension": b"%x;a\rb\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "NUL in an extension": b"%x;a\0b\r\n" % len(BODY) + BODY + b"\r\n0\r\n\r\n",
    "an extension's quote holds a line end": b'%x;a="\r\n' % len(BODY) + BODY + b'"\r\n0\r\n\r\n',
    "last chunk ends with a bare line feed": b"%x\r\n" % len(BODY) + BODY + b"\r\n0\n\n",
    "trailer with a length": b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nContent-Length: 5\r\n\r\n",
    "trailer with a coding": b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "trailer folded": b"%x\r\n" % len(BODY) + BODY + b"\r\n0\r\nX: a\r\n b\r\n\r\n",
}


@pytest.mark.parametrize("body", CHUNKING.values(), ids=CHUNKING)
def test_malformed_chunks_never_reach_the_upstream(gateway, upstream, body):
    answers = gateway.send(HEAD + CHUNKED + b"\r\n" + body + SMUGGLED, until_close=True)
    assert [each.status for each in answers] == [400]
    assert upstream.raw == b""


HARMLESS = {
    "a length": LENGTH + b"\r\n" + BODY,
    "a length with zeros before it": b"Content-Length: 000%d\r\n\r\n" % len(BODY) + BODY,
    "a length between blanks": b"Content-Length: \t%d \r\n\r\n" % len(BODY) + BODY,
    "chunks": CHUNKED + b"\r\n" + chunks(BODY),
    "chunks of one byte": CHUNKED + b"\r\n" + chunks(BODY, 1),
    "chunks with extensions": CHUNKED + b"\r\n" + chunks(BODY, 9, b";a=b;c"),
    "chunk sizes with zeros before them": CHUNKED
    + b"\r\n"
    + b"0" * 40
    + b"%x\r\n" % len(BODY)
    + BODY
    + b"\r\n000\r\n\r\n",
    "a name with an underscore is not the name": b"Transfer_Encoding: chunked\r\nContent_Length: 3\r\n"
    + LENGTH
    + b"\r\n"
    + BODY,
    "hop-by-hop names": b"Connection: content-length, authorization\r\nTE: trailers\r\nTrailer: X\r\n"
    + LENGTH
    + b"\r\n"
    + BODY,
    "an upgrade that was not asked for": b"Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n"
    + LENGTH
    + b"\r\n"
    + BODY,
    "trailers": CHUNKED
    + b"\r\n%x\r\n" % len(BODY)
    + BODY
    + b"\r\n0\r\nX-Api-Key: other\r\nHost: evil.example\r\n\r\n",
}


@pytest.mark.parametrize("rest", HARMLESS.values(), ids=HARMLESS)
def test_what_is_well_formed_reaches_the_upstream_as_one_request_with_a_length(gateway, upstream, rest):
    assert gateway.send(HEAD + rest)[0].status == 200
    upstream.check(1)
    assert upstream.requests[0].json["model"] == "model-x-upstream"
    assert b"evil" not in upstream.raw
    assert b"other" not in upstream.raw


def test_a_request_inside_a_body_stays_in_the_body(gateway, upstream):
    text = SMUGGLED.decode() + "\r\n0\r\n\r\n" + SMUGGLED.decode()
    assert gateway.post(PATH, text=text).status == 200
    upstream.check(1)
    assert upstream.requests[0].json["messages"][0]["content"] == text


@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_however_the_bytes_are_cut_the_upstream_gets_the_same(gateway, upstream, size):
    data = HEAD + CHUNKED + b"\r\n" + chunks(BODY, 11)
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(0, len(data), size):
            connection.sendall(data[at : at + size])
        assert read_answers(connection)[0].status == 200
    upstream.check(1)
    cut = upstream.requests[0].raw
    upstream.clear()
    gateway.send(HEAD + LENGTH + b"\r\n" + BODY)
    assert upstream.requests[0].raw == cut


@pytest.mark.parametrize("version", ["1.0", "0.9", "1.2", "2.0", "9.9", "1.1.1", "1"])
def test_chunks_are_refused_in_every_version_but_1_1(gateway, upstream, version):
    data = HEAD.replace(b"HTTP/1.1", f"HTTP/{version}".encode()) + CHUNKED + b"\r\n" + chunks(BODY)
    answers = gateway.send(data, until_close=True)
    assert [each.status for each in answers] in ([400], [505])
    assert upstream.raw == b""


TARGETS = [
    "http://evil.example/v1/chat/completions",
    "http://gateway.test/v1/chat/completions",
    "https://gateway.test:443/v1/chat/completions",
    "//evil.example/v1/chat/completions",
    "evil.example:80",
    "/v1%2fchat%2fcompletions",
    "/v1/chat%2Fcompletions",
    "/v1/chat/%2e%2e/chat/completions",
    "/v1/./chat/completions",
    "/v1/chat/../chat/completions",
    "/v1/chat/completions/.",
    "/v1/chat/completions/..;/admin",
    "/v1/chat/completions;x=1",
    "/v1/chat/completions%00",
    "/v1/chat/completions%0d%0aX:%20a",
    "/v1/chat/completions%20HTTP/1.1%0d%0aHost:%20evil",
    "/v1/chat/completions#fragment",
    "/%76%31/chat/completions",
    "/v1\\chat\\completions",
    "\\v1/chat/completions",
    "/v1/chat/completions\\",
    "/./v1/chat/completions",
    "/?/v1/chat/completions",
    "*",
]


@pytest.mark.parametrize("target", TARGETS)
def test_another_spelling_of_a_target_is_another_route(gateway, upstream, target):
    answers = gateway.send(request("POST", target, BODY))
    assert answers[0].status in (400, 404)
    if answers[0].status == 404:
        assert answers[0].code == "ROUTE_UNKNOWN"
    assert upstream.raw == b""


def test_a_target_with_blanks_inside_is_no_target(gateway, upstream):
    for line in (
        b"POST /v1/chat/completions evil HTTP/1.1",
        b"POST\t/v1/chat/completions\tHTTP/1.1",
        b"POST /v1/chat/completions",
    ):
        data = HEAD.replace(HEAD.split(b"\r\n")[0], line) + LENGTH + b"\r\n" + BODY
        answers = gateway.send(data, until_close=True)
        assert [each.status for each in answers] in ([400], [505])
    assert upstream.raw == b""


def test_a_query_never_travels_on(gateway, upstream):
    for query in (
        "?beta=true",
        "?api-version=1&x=%0d%0aHost:evil",
        "?" + "a" * 4000,
        "?\u00e9".encode().decode("latin-1"),
    ):
        gateway.send(request("POST", PATH + query, BODY), until_close=False)
    for each in upstream.requests:
        assert each.line == b"POST /v1/chat/completions HTTP/1.1"
    assert upstream.raw == b"".join(each.raw for each in upstream.requests)


def test_two_requests_in_one_packet_are_two_requests_at_the_upstream(gateway, upstream):
    data = b"".join(
        request("POST", PATH, msgspec.json.encode(chat(text=f"number {number}"))) for number in range(6)
    )
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=20) as connection:
        connection.sendall(data)
        assert [each.status for each in read_answers(connection, count=6)] == [200] * 6
    upstream.check(6)
    asked = [each.json["messages"][0]["content"] for each in upstream.requests]
    assert asked == [f"number {number}" for number in range(6)]
