"""What is fuzzed, and what must hold for every input: each target takes bytes and raises when a promise is broken.

The oracles do not come from the code under test: genuine texts are remembered as they were made, framing is compared with
another library's reading, and whatever is cut into pieces must give what the whole gives.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import h11
import msgspec
from hypothesis import strategies as st
from tests.fuzz import lists
from tests.fuzz.mutations import near
from tests.support.holders import (
    HOLDER_KEY,
    ISSUER,
    ISSUER_KEY,
    NONCE,
    NOW,
    issuer_key,
    make_passport,
    make_presentation,
    sign_raw,
    verify,
)

from safeconduct.audit.wal import (
    HEADER_SIZE,
    SegmentHeader,
    decode_segment,
    encode_frame,
    encode_segment_header,
    join_segments,
    segment_path,
)
from safeconduct.gateway.bodies import read_body, upstream_body
from safeconduct.gateway.http_messages import Head, Limits, Refusal, RequestReader
from safeconduct.gateway.known_heads import KnownHeads
from safeconduct.gateway.metering import UsageMeter
from safeconduct.gateway.routes import INFERENCE, Route
from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import LogCorrupt, VerificationFailed
from safeconduct.kernel.jose import check_header, parse_jws, verify_jwt
from safeconduct.passport.issuance import digest


class Target(msgspec.Struct, frozen=True):
    """check: raises on a broken promise. strategy: inputs near to good ones. seeds: good ones, and such as found defects."""

    name: str
    check: Callable[[bytes], None]
    seeds: tuple[bytes, ...]
    words: tuple[bytes, ...] = ()

    @property
    def strategy(self) -> st.SearchStrategy[bytes]:
        return near(self.seeds, self.words)


def require(holds: bool, promise: str) -> None:
    if not holds:
        raise AssertionError(promise)


# -- presentations of passports

GENUINE = tuple(
    map(make_presentation, (None, (), ("level",), ("us_person.ear",), ("compartments.CYB", "ial")))
)
_STEPS = frozenset({"structure", "header", "signature", "times", "disclosures", "key_binding", "status"})
_PARTS = b"\x1e"
_SIGNED, *_DISCLOSED = make_passport().split("~")
_DISCLOSED = _DISCLOSED[:-1]


def _resigned(data: bytes) -> str:
    """A presentation that the issuer and the holder signed, whatever it says: payload, then disclosures."""
    payload, *disclosures = data.split(_PARTS)[:64]
    header = b64u_decode(_SIGNED.split(".")[0])
    start = "~".join((sign_raw(header, payload, ISSUER_KEY), *(b64u(each) for each in disclosures), ""))
    binding = {"iat": NOW, "aud": ISSUER, "nonce": NONCE, "sd_hash": digest(start)}
    return start + sign_raw({"typ": "kb+jwt", "alg": "ES256"}, binding, HOLDER_KEY)


def check_presentation(data: bytes) -> None:
    """Nothing but VerificationFailed, at a named step; what is accepted is a text that was made, to the letter."""
    ours = data[:1] == b"R"
    text = _resigned(data[1:]) if ours else data.decode("latin-1")
    try:
        verified = verify(text)
    except VerificationFailed as error:
        require(error.step in _STEPS, f"an unknown step {error.step!r}")
        return
    if not ours:
        require(text in GENUINE, "a presentation that nobody made was accepted")
        return
    payload = json.loads(b64u_decode(text.split(".")[1]))
    require(
        payload["iss"] == ISSUER and payload["exp"] > NOW,
        "another issuer's or an expired passport was accepted",
    )
    require(payload["cnf"]["jwk"] == verified.holder_jwk, "the holder is not the one who was signed")
    shown = [json.loads(b64u_decode(each)) for each in text.split("~")[1:-1]]
    require(len({json.dumps(each) for each in shown}) == len(shown), "a disclosure counted twice")
    if verified.claims.level is not None:
        stated = [each[2] for each in shown if len(each) == 3 and each[1] == "level"]
        require(stated == [verified.claims.level.name], "the level is not the one disclosed")


def _presentation_seeds() -> tuple[bytes, ...]:
    payload = b64u_decode(_SIGNED.split(".")[1])
    resigned = [
        b"R" + _PARTS.join((payload, *(b64u_decode(each) for each in shown)))
        for shown in (_DISCLOSED, _DISCLOSED[:3], [])
    ]
    return (*(each.encode() for each in GENUINE), *resigned)


# -- signed texts

_CLAIMS = {
    "iss": ISSUER,
    "sub": "sub_sample",
    "aud": ISSUER,
    "iat": NOW,
    "nbf": NOW,
    "exp": NOW + 300,
    "jti": "j-1",
}
_HEADER = {"typ": "at+jwt", "alg": "ES256", "kid": ISSUER_KEY.kid}
_TOKENS = (
    sign_raw(_HEADER, _CLAIMS, ISSUER_KEY),
    sign_raw(_HEADER, {**_CLAIMS, "aud": [ISSUER, "x"]}, ISSUER_KEY),
)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len(dict(pairs)) == len(pairs), "a member that stands twice was accepted")
    return dict(pairs)


def check_jws(data: bytes) -> None:
    """Nothing but VerificationFailed; what is accepted was signed by the issuer, says what it must, and is unambiguous."""
    ours = data[:1] == b"R"
    if ours:
        header, _, payload = data[1:].partition(_PARTS)
        text = sign_raw(header, payload, ISSUER_KEY)
    else:
        text = data.decode("latin-1")
    try:
        parsed = parse_jws(text)
        check_header(parsed.header, typ="at+jwt")
        claims, _ = verify_jwt(
            text,
            typ="at+jwt",
            key_for=lambda kid, _: issuer_key(kid),
            now=NOW,
            audience=ISSUER,
            issuer=ISSUER,
            max_lifetime=300,
        )
    except VerificationFailed:
        return
    if not ours:
        require(text in _TOKENS, "a token that nobody made was accepted")
    seen = json.loads(b64u_decode(text.split(".")[0]), object_pairs_hook=_no_duplicates)
    require(seen["alg"] == "ES256" and seen["kid"] == ISSUER_KEY.kid, "another algorithm or key was accepted")
    require(
        not {"jwk", "jku", "x5u", "crit", "b64", "zip"} & set(seen), "a header that brings a key was accepted"
    )
    again = json.loads(b64u_decode(text.split(".")[1]), object_pairs_hook=_no_duplicates)
    require(again == claims, "the claims read are not the claims signed")
    require(
        type(claims["exp"]) is int and NOW < claims["exp"] <= NOW + 300 + 30,
        "an end that is none was accepted",
    )


# -- the write-ahead log

_ORIGIN = "fuzz.example/log"


def _segment(number: int, groups: list[list[bytes]]) -> bytes:
    salt = bytes([number]) * 16
    data = encode_segment_header(SegmentHeader(_ORIGIN, salt, 1, 0, 0))
    index = 0
    for group in groups:
        data += encode_frame(salt, index, group)
        index += len(group)
    return data


_GROUPS: dict[bytes, list[list[bytes]]] = {
    bytes([1]) * 16: [[b"a"], [b"bb", b"", b"cccc"], [b"d" * 70]],
    bytes([2]) * 16: [[b"\xf7SCF" * 4], [b""] * 5],
    bytes([3]) * 16: [],
}
_SEGMENTS = tuple(_segment(salt[0], groups) for salt, groups in _GROUPS.items())
_WAL_PATH = segment_path(1, 0)


def _framed(data: bytes) -> bytes:
    """A segment whose last frame has a right checksum around whatever it says."""
    salt = bytes([1]) * 16
    first, count, claimed = struct.unpack(">BHH", (data + bytes(5))[:5])
    body = data[5:]
    fields = struct.pack(">4sIQI", b"\xf7SCF", len(body) if claimed < 40_000 else claimed, first, count)
    crc = zlib.crc32(body, zlib.crc32(fields, zlib.crc32(salt)))
    return _SEGMENTS[0][:HEADER_SIZE] + fields + crc.to_bytes(4, "big") + body


def check_wal(data: bytes) -> None:
    """Nothing but LogCorrupt; what is read is a beginning of what was written, and reading it again gives the same."""
    forged = data[:1] == b"F"
    if forged:
        data = _framed(data[1:])
    try:
        read = decode_segment(data, _WAL_PATH, _ORIGIN)
    except LogCorrupt:
        return
    require(read.valid_bytes + read.torn_bytes == len(data), "bytes were lost count of")
    if not forged:
        written = [entry for group in _GROUPS.get(read.header.salt, []) for entry in group]
        require(read.header.salt in _GROUPS, "the segment of a writer that never was")
        require(
            read.entries == written[: len(read.entries)], "entries that nobody wrote, or in another order"
        )
        ends = [0]
        for group in _GROUPS[read.header.salt]:
            ends.append(ends[-1] + len(group))
        require(len(read.entries) in ends, "a part of a group was read")
    again = decode_segment(data[: read.valid_bytes], _WAL_PATH, _ORIGIN)
    require(
        (again.entries, again.torn_bytes) == (read.entries, 0), "the valid part reads differently by itself"
    )
    try:
        require(join_segments([read]).entries == read.entries, "one segment joined is another")
    except LogCorrupt:
        return


# -- requests


class _Taken:
    def __init__(self) -> None:
        self.requests: list[tuple[Any, ...]] = []

    def head_received(self, head: Head) -> bool:
        return bool(head.method)

    def request_received(self, head: Head, body: bytes) -> None:
        # The length is not kept with a head that was read before: what it says shows in the body.
        names = sorted((name, tuple(head.all(name))) for name in head.headers if name != b"content-length")
        self.requests.append((head.method, head.target, tuple(names), head.keep_alive, body))


_LIMITS = Limits(header_bytes=4096, body_bytes=8192, target_bytes=512, headers=40)
# Which of these is met first depends on where the bytes are cut; that one is met does not.
_BY_SIZE = frozenset(
    {"headers_too_large", "chunk_overhead", "target_too_long", "body_too_large", "malformed_http"}
)


def _read(
    data: bytes, sizes: list[int], known: KnownHeads | None = None
) -> tuple[list[tuple[Any, ...]], str | None]:
    taken = _Taken()
    reader = RequestReader(taken, _LIMITS, known)
    at = turn = 0
    try:
        while at < len(data):
            size = sizes[turn % len(sizes)]
            reader.feed(data[at : at + size])
            at += size
            turn += 1
    except Refusal as refusal:
        require(refusal.close, "bytes that cannot be followed leave the connection open")
        return taken.requests, refusal.code
    return taken.requests, None


def _as_h11(data: bytes) -> tuple[bytes, bytes, bytes] | None:
    """Method, target and body of the first request as another library reads it; None when it refuses or wants more."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    body = b""
    head: h11.Request | None = None
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                return bytes(head.method), bytes(head.target), body
            else:
                return None
    except h11.RemoteProtocolError:
        return None


def check_requests(data: bytes) -> None:
    """Nothing but Refusal; the same requests however the bytes are cut; never another body than another reader sees."""
    sizes = [1 + each % 37 for each in data[:6]] or [1]
    data = data[6:]
    whole, refused = _read(data, [len(data) or 1])
    for cut in (sizes, [1]):
        pieces, refused_too = _read(data, cut)
        same = min(len(whole), len(pieces))
        require(whole[:same] == pieces[:same], "cutting the bytes changed a request")
        if refused != refused_too:
            require(
                {refused, refused_too} <= _BY_SIZE | {None},
                f"{refused} in one piece, {refused_too} in several",
            )
        if refused is None and refused_too is None:
            require(whole == pieces, "cutting the bytes lost or added a request")
    known = KnownHeads()
    for _ in range(2):
        require(
            _read(data, [len(data) or 1], known) == (whole, refused), "a head read before is read otherwise"
        )
    if whole:
        method, target, _, _, body = whole[0]
        other = _as_h11(data)
        if other is not None:
            require(other == (method, target, body), f"read as {whole[0]!r}, by another reader as {other!r}")


_REQUESTS = (
    b"POST /v1/messages?beta=true HTTP/1.1\r\nHost: a\r\nX-One: 1\r\nContent-Length: 5\r\n\r\nhello",
    b"POST /v1/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-Late: 1\r\n\r\n",
    b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nPOST /c HTTP/1.0\r\nContent-Length: 1\r\n\r\nx",
    b"\r\nPOST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 0\r\n\r\n",
)
_REQUEST_WORDS = (
    b"Content-Length: 5\r\n", b"Content-Length: 0\r\n", b"Transfer-Encoding: chunked\r\n", b"Transfer-Encoding", b"chunked",
    b"identity", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"\0", b" ", b"\t", b"\x0b", b",", b":", b";", b"0\r\n\r\n", b"ffffffffffffffff",
    b"HTTP/1.1", b"HTTP/1.0", b"Host: b\r\n", b"Connection: close\r\n", b"Upgrade: x\r\n", b"Connection: upgrade\r\n", b"+5", b"-5", b"0x5",
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
)  # fmt: skip


# -- bodies


def check_body(data: bytes) -> None:
    """Nothing but Refusal(400); what is decided on is what every reader of the body sent upstream sees."""
    try:
        ask = read_body(data)
        asked = ask.model
        sent, _ = upstream_body(
            ask,
            inference=INFERENCE[Route.CHAT],
            kind="openai",
            upstream_model="the-upstream-s",
            pseudonym="u-1",
        )
    except Refusal as refusal:
        require(refusal.status == 400, f"a body is refused with {refusal.status}")
        return
    given = json.loads(data, object_pairs_hook=_no_duplicates)
    require(given["model"] == asked, "another model was decided on than the body names")
    seen = json.loads(sent, object_pairs_hook=_no_duplicates)
    require(seen["model"] == "the-upstream-s", "the upstream reads another model")
    require(
        [name for name in seen if name.casefold() == "model"] == ["model"], "a second model is in the body"
    )
    require(seen.get("user") == "u-1", "the end user is not ours to say")
    ours = {"model", "user", "safety_identifier", "metadata", "stream_options"}
    left = {name: value for name, value in given.items() if name not in ours}
    passed = {name: value for name, value in seen.items() if name not in ours}
    require(
        json.dumps(left, sort_keys=True) == json.dumps(passed, sort_keys=True),
        "a member was changed on the way",
    )


_BODIES = (
    b'{"model":"model-x","messages":[{"role":"user","content":"hi \\u00e9"}],"stream":true,"user":"me"}',
    b'{"model":"m","metadata":{"user_id":"x","k":1},"stream_options":{"include_usage":false},"temperature":1.0e0}',
    b' { "model" : "m" , "a":[[],{},null,true,-1.5e9,"\\"model\\":"] } ',
)
_BODY_WORDS = (
    b'"model":"y",', b'"Model":"y",', b'"mod\\u0065l":"y",', b'"user":', b'"\\u0075ser":"z",', b'"file_id":"f"', b"{", b"}", b"[", b"]", b",",
    b'"', b"\\", b"\\u0000", b"\xef\xbb\xbf", b"\xff", b"NaN", b"1e999", b"\x00", b'"metadata":null,', b'"stream":null,', b"\xed\xa0\x80",
    b'"\\ud800":1,', "\u017f".encode(),
)  # fmt: skip


# -- event streams


def _metered(data: bytes, sizes: list[int], *, hide: bool) -> tuple[bytes, Any, Any, bool]:
    meter = UsageMeter(stream=True, hide_usage_event=hide)
    out = b""
    at = turn = 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        out += meter.feed(data[at : at + size])
        at += size
        turn += 1
    out += meter.finish()
    return out, meter.input_tokens, meter.output_tokens, meter.failed


def check_stream(data: bytes) -> None:
    """No exception; every byte is handed on; what is found does not depend on where the bytes are cut."""
    sizes = [1 + each % 53 for each in data[:6]] or [1]
    data = data[6:]
    for hide in (False, True):
        whole = _metered(data, [len(data) or 1], hide=hide)
        for cut in (sizes, [1]):
            pieces = _metered(data, cut, hide=hide)
            require(pieces[1:] == whole[1:], "cutting the stream changed what is found in it")
            # An empty line before an event that is taken out goes with it or stays: it says nothing.
            require(pieces[0].split() == whole[0].split(), "cutting the stream changed what is handed on")
            require(hide or pieces[0] == data, "the stream was changed")
        if not hide:
            require(whole[0] == data, "the stream was changed")
        elif whole[0] != data:
            require(
                b'"usage"' in data and len(whole[0]) < len(data), "something other than usage was taken out"
            )
    plain = UsageMeter(stream=False)
    require(plain.feed(data) == data and plain.finish() == b"", "an answer was changed")


_STREAMS = (
    (
        b'data: {"choices":[{"delta":{"content":"event: error"}}],"usage":null}\n\n: ping\n\n'
        b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\ndata: [DONE]\n\n'
    ),
    (
        b'event: message_start\r\ndata: {"message":{"usage":{"input_tokens":5,"output_tokens":1}}}\r\n\r\n'
        b'event: message_delta\r\ndata: {"usage":{"output_tokens":9}}\r\n\r\nevent: error\r\ndata: {}\r\n\r\n'
    ),
    b'data: {"choices":[],\ndata: "usage":{"prompt_tokens":1,"completion_tokens":2}}\n\ndata: {"error":{"message":"x"}}\n\n',
)
_STREAM_WORDS = (
    b"\n", b"\r\n", b"\n\n", b"\r\n\r\n", b"\n\r\n", b"\r", b"data: ", b"data:", b"event: error\n", b'"usage"', b'{"error"', b"[DONE]",
    b'data: {"choices":[],"usage":{"prompt_tokens":1}}\n\n', b'"choices":[]', b"null", b": \n\n",
)  # fmt: skip

_CUTS = b"\x05\x00\x11\x01\x24\x02"

TARGETS = {
    each.name: each
    for each in (
        Target(
            "presentation",
            check_presentation,
            _presentation_seeds(),
            (b"~", b".", b"=", b'"_sd":[]', b'"..."', _PARTS, b'{"a":', b"null"),
        ),
        Target(
            "jws",
            check_jws,
            (
                *(each.encode() for each in _TOKENS),
                b"R" + json.dumps(_HEADER).encode() + _PARTS + json.dumps(_CLAIMS).encode(),
            ),
            (
                b".",
                b"=",
                b'"alg":"none",',
                b'"jwk":{},',
                b'"crit":[],',
                b'"exp":1e99,',
                b'"exp":true,',
                b'"aud":[],',
                b'"kid":1,',
                b"\\u0000",
                b"[" * 8,
                _PARTS,
            ),
        ),
        Target(
            "wal",
            check_wal,
            (*_SEGMENTS, b"F\x00\x00\x02\x00\x00\x00\x01\x00\x01ab", b"F\x01\x00\x00\x00\x00"),
            (b"\xf7SCF", bytes(4), b"\xff" * 4),
        ),
        Target("requests", check_requests, tuple(_CUTS + each for each in _REQUESTS), _REQUEST_WORDS),
        Target("body", check_body, _BODIES, _BODY_WORDS),
        Target("stream", check_stream, tuple(_CUTS + each for each in _STREAMS), _STREAM_WORDS),
        Target("lists", lists.check_lists, lists.SEEDS, lists.WORDS),
    )
}
"""By name."""
