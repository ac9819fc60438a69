"""HTTP/1.1 requests out of bytes (RFC 9110, RFC 9112), with limits.

Owns framing: what is one request, and what is too long, ambiguous or smuggled. llhttp (through httptools) reads the grammar
and refuses `Transfer-Encoding` beside `Content-Length`, repeated lengths, folded headers and bare line feeds; the rest of
the refusals stand here. Refuses to look into a body or to know a route.
"""

from __future__ import annotations

from typing import Protocol

import httptools
import msgspec

from safeconduct.gateway.known_heads import MAX_FACTS, Facts, KnownHead, KnownHeads


class Limits(msgspec.Struct, frozen=True):
    """How much a client may send. Bytes, counts; timeouts in seconds on a monotonic clock.

    header_seconds: from the connection (or the first byte of a further request) to the end of its headers.
    body_seconds: from there to the end of the body. idle_seconds: between two requests of one connection.
    write_seconds: how long a client may leave an answer unread.
    pipelined, pipelined_bytes: requests that may wait behind the one being answered, and bytes of their bodies; the client
    is not read further until fewer wait.
    connections: held at once, TLS handshakes among them (fewer where the process may not open that many files).
    source_connections: of one source (`gateway.admission`), 0 for no such limit. handshakes: of TLS, under way at once;
    handshake_seconds: how long one may take, handshake_patience: how long when others wait for its place.
    under_way_bytes: request bodies longer than one read, of all connections together, while they arrive. send_buffer: what the
    kernel may hold of an answer that its client does not read.
    """

    header_bytes: int = 64 * 1024
    headers: int = 100
    target_bytes: int = 8 * 1024
    body_bytes: int = 32 * 1024 * 1024
    header_seconds: float = 15.0
    body_seconds: float = 120.0
    idle_seconds: float = 75.0
    write_seconds: float = 60.0
    pipelined: int = 8
    pipelined_bytes: int = 1024 * 1024
    connections: int = 20_000
    source_connections: int = 0
    handshakes: int = 1024
    handshake_seconds: float = 10.0
    handshake_patience: float = 1.0
    under_way_bytes: int = 512 * 1024 * 1024
    send_buffer: int = 128 * 1024


def limits_for(body_bytes: int, source_connections: int = 0) -> Limits:
    """The limits of a listener as its operator asked for: two of the longest bodies may always be under way."""
    usual = Limits()
    return msgspec.structs.replace(
        usual,
        body_bytes=body_bytes,
        under_way_bytes=max(usual.under_way_bytes, 2 * body_bytes),
        source_connections=source_connections,
    )


class BytesUnderWay:
    """What the bodies that are arriving at all connections take together. One per listener.

    A body in one piece is not counted: it is gone again before the next is read.
    """

    __slots__ = ("_limit", "held")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self._limit = limit

    def take(self, size: int) -> bool:
        """Count bytes in; False, and nothing is counted, when there would be too many."""
        if self.held + size > self._limit:
            return False
        self.held += size
        return True

    def give_back(self, size: int) -> None:
        """Count bytes out."""
        self.held -= size


class Refusal(Exception):
    """A request that is not let in, with the HTTP status that says so.

    code: a word for machines; field: what is wrong; remedy: what to do. `close`: the connection cannot be used further.
    retry_after: seconds, 0 to say nothing. Keep it small: the vendor clients obey it to the letter.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str = "",
        remedy: str = "",
        close: bool = False,
        retry_after: int = 0,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.remedy = remedy
        self.close = close
        self.retry_after = retry_after


def too_much() -> Refusal:
    """The refusal of a body for which there is no room now."""
    return Refusal(
        503,
        "too_much_under_way",
        "too many long requests are arriving at once",
        remedy="send it again in a few seconds",
        close=True,
        retry_after=2,
    )


class Head:
    """The head of a request. Header names are lower case; values are bytes as sent.

    headers: first value of each name. repeated: all values of the names that stand more than once.
    length: Content-Length, or -1 for a chunked body. keep_alive: the client lets the connection be used again.
    facts: where others may keep what follows from the head alone; shared by all requests that have the same head, and
    None for one that will not be known again.
    """

    __slots__ = (
        "asked_to_keep_alive",
        "expects_continue",
        "facts",
        "headers",
        "http_1_0",
        "keep_alive",
        "length",
        "method",
        "path",
        "query",
        "repeated",
        "target",
    )

    def __init__(self) -> None:
        self.method = b""
        self.target = b""
        self.path = b""
        self.query = b""
        self.headers: dict[bytes, bytes] = {}
        self.repeated: dict[bytes, list[bytes]] = {}
        self.http_1_0 = False
        self.keep_alive = True
        self.asked_to_keep_alive = True
        self.expects_continue = False
        self.length = 0
        self.facts: Facts | None = None

    def keep_fact(self, name: object, value: object) -> None:
        """Keep something that follows from the head alone (its bytes but for the length's digits)."""
        facts = self.facts
        if facts is not None:
            if len(facts) >= MAX_FACTS:
                facts.clear()
            facts[name] = value

    def get(self, name: bytes) -> bytes | None:
        """The value of a header that may stand once. Raises Refusal when it stands more than once."""
        if name in self.repeated:
            raise Refusal(
                400,
                "header_repeated",
                f"the header {name.decode('ascii', 'replace')} stands more than once",
                field=name.decode("ascii", "replace"),
                remedy="send it once",
            )
        return self.headers.get(name)

    def all(self, name: bytes) -> list[bytes]:
        """Every value of a header, in the order sent."""
        if name in self.repeated:
            return self.repeated[name]
        value = self.headers.get(name)
        return [] if value is None else [value]


class RequestSink(Protocol):
    """Who takes the requests. Called in the order of the bytes; must not raise (but see `head_received`)."""

    def head_received(self, head: Head) -> bool:
        """A head is complete. False: the body is read and thrown away (the answer is already known).

        May raise a Refusal with `close`: nothing further is read.
        """
        ...

    def request_received(self, head: Head, body: bytes) -> None:
        """A request is complete."""
        ...


# RFC 9112 2.2 lets a client send an empty line before a request; more than a few are no HTTP.
_BLANK_BYTES = 256


class RequestReader:
    """Feeds bytes to the parser and complete requests to a sink. One per connection.

    under_way: shared by all readers of a listener; None counts nothing. `close` gives back what is still counted.
    """

    __slots__ = (
        "_body",
        "_body_size",
        "_counted",
        "_head",
        "_head_done",
        "_header_bytes",
        "_header_count",
        "_keep",
        "_known",
        "_learning",
        "_learnt",
        "_limits",
        "_more",
        "_parser",
        "_raw",
        "_refusal",
        "_sink",
        "_under_way",
        "started",
    )

    def __init__(
        self,
        sink: RequestSink,
        limits: Limits,
        known: KnownHeads | None = None,
        *,
        under_way: BytesUnderWay | None = None,
    ) -> None:
        self._sink = sink
        self._known = known
        self._learning = False
        self._learnt: tuple[Head, bytes] | None = None
        self._limits = limits
        self._parser = httptools.HttpRequestParser(self)
        self._head = Head()
        self._head_done = False
        self._header_bytes = 0
        self._header_count = 0
        self._raw = 0
        self._body = b""
        # INVARIANT: a body in pieces costs its bytes, not an object per piece (two-byte chunks would cost 28 times as much).
        self._more: bytearray | None = None
        self._body_size = 0
        self._counted = 0
        self._keep = True
        self._refusal: Refusal | None = None
        self._under_way = under_way
        self.started = False

    @property
    def reading_body(self) -> bool:
        """A head is complete and its body is not."""
        return self._head_done

    def close(self) -> None:
        """Nothing more will be read: what the body has taken so far is given back."""
        self._more = None
        self._body = b""
        if self._counted and self._under_way is not None:
            self._under_way.give_back(self._counted)
        self._counted = 0

    def feed(self, data: bytes) -> None:
        """Read bytes. Raises Refusal (always with `close`) when they are not acceptable HTTP; nothing can follow then."""
        # Only between two messages: there llhttp holds nothing, so it does not miss what it is not shown.
        known = self._known
        if known is not None and not self.started and not self._raw:
            split = known.split(data)
            if split is not None:
                self._feed_whole(known, data, split)
                return
        self._feed(data)

    def _feed(self, data: bytes) -> None:
        self._raw += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            raise self._refusal or Refusal(
                400, "malformed_http", "the request is not well-formed HTTP/1.1", close=True
            ) from None
        if self.started and not self._head_done:
            # llhttp keeps an unfinished header to itself, so what it has not told us about is counted by the raw bytes.
            if self._raw > self._limits.header_bytes:
                raise self._too_large()
        elif not self.started:
            if self._raw > _BLANK_BYTES:
                raise Refusal(400, "malformed_http", "empty lines instead of a request", close=True)
        elif self._raw > 8 * self._body_size + self._limits.header_bytes + (1 << 20):
            raise Refusal(
                400,
                "chunk_overhead",
                "the body's chunks carry more framing than content",
                field="transfer-encoding",
                remedy="send larger chunks without extensions",
                close=True,
            )

    def _feed_whole(self, known: KnownHeads, data: bytes, split: tuple[bytes, int, int]) -> None:
        """Bytes that look like one whole message: as one whose head is known, or by llhttp, which learns it."""
        name, start, length = split
        found = known.find(name)
        if found is not None and length <= self._limits.body_bytes and start <= self._limits.header_bytes:
            head = Head()
            head.method = found.method
            head.target = found.target
            head.path = found.path
            head.query = found.query
            head.headers = found.headers
            head.facts = found.facts
            head.length = length
            keep = self._sink.head_received(head)
            self._sink.request_received(head, data[start:] if keep else b"")
            return
        learnt = self._learn(data)
        if found is not None or learnt is None:
            return
        head, body = learnt
        # INVARIANT: a head is known only when llhttp ended it where we do, and took nothing else from these bytes.
        # What a shared head could not say for every request that has it is not shared.
        if (
            body == data[start:]
            and head.length == length
            and not (self.started or self._raw or head.repeated or head.http_1_0 or head.expects_continue)
            and head.asked_to_keep_alive
        ):
            # The length is each request's own.
            headers = {name: value for name, value in head.headers.items() if name != b"content-length"}
            known.keep(name, KnownHead(head.method, head.target, head.path, head.query, headers))

    def _learn(self, data: bytes) -> tuple[Head, bytes] | None:
        """Feed llhttp; returns the one message that came of it, if it was one."""
        self._learning = True
        self._learnt = None
        try:
            self._feed(data)
        finally:
            self._learning = False
        learnt, self._learnt = self._learnt, None
        return learnt

    # httptools calls these.

    def on_message_begin(self) -> None:
        """A request begins."""
        self.started = True
        self._head = Head()
        self._head_done = False
        self._header_bytes = 0
        self._header_count = 0
        self._body = b""
        self._more = None
        self._body_size = 0
        self._keep = True

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        head = self._head
        head.target = head.target + url if head.target else url
        if len(head.target) > self._limits.target_bytes:
            self._stop(
                Refusal(
                    414, "target_too_long", "the request target is too long", remedy="shorten it", close=True
                )
            )

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header or trailer line."""
        self._header_bytes += len(name) + len(value) + 4
        self._header_count += 1
        if self._header_bytes > self._limits.header_bytes or self._header_count > self._limits.headers:
            self._stop(self._too_large())
        if self._head_done:
            # Trailers are counted and dropped: a header must not arrive after the decision on the headers.
            return
        name = name.lower()
        head = self._head
        if name in head.headers:
            head.repeated.setdefault(name, [head.headers[name]]).append(value)
        else:
            head.headers[name] = value

    def on_headers_complete(self) -> None:
        """The head is complete."""
        head = self._head
        self._head_done = True
        headers = head.headers
        parser = self._parser
        head.method = parser.get_method()
        version = parser.get_http_version()
        if version != "1.1":
            if version != "1.0":
                self._stop(Refusal(505, "http_version", "HTTP/1.1 and HTTP/1.0 are spoken here", close=True))
            head.http_1_0 = True
        elif b"host" not in headers or b"host" in head.repeated:
            # RFC 9112 3.2: a missing or repeated Host is a 400.
            self._stop(
                Refusal(
                    400,
                    "host",
                    "exactly one Host header is needed",
                    field="host",
                    remedy="send it",
                    close=True,
                )
            )
        if parser.should_upgrade():
            # What follows would be another protocol (RFC 9110 7.8), or a tunnel (CONNECT).
            self._stop(
                Refusal(
                    400, "upgrade", "protocol upgrades are not offered", remedy="speak HTTP/1.1", close=True
                )
            )
        head.keep_alive = head.asked_to_keep_alive = parser.should_keep_alive()
        head.path, _, head.query = head.target.partition(b"?")
        if b"transfer-encoding" in headers:
            coding = headers[b"transfer-encoding"]
            # RFC 9112 6.1: only `chunked`, once, never in HTTP/1.0 and never beside a length (llhttp refuses the latter).
            if coding.lower() != b"chunked" or b"transfer-encoding" in head.repeated or head.http_1_0:
                self._stop(
                    Refusal(
                        400,
                        "transfer_encoding",
                        "only `Transfer-Encoding: chunked` is accepted",
                        field="transfer-encoding",
                        remedy="send Content-Length",
                        close=True,
                    )
                )
            head.length = -1
        elif b"content-length" in headers:
            head.length = int(headers[b"content-length"])
            if head.length > self._limits.body_bytes:
                self._stop(self._body_too_large())
        expect = headers.get(b"expect")
        if expect is not None:
            if expect.lower() != b"100-continue":
                self._stop(
                    Refusal(417, "expect", "only `Expect: 100-continue` is known", field="expect", close=True)
                )
            head.expects_continue = not head.http_1_0 and head.length != 0
        try:
            self._keep = self._sink.head_received(head)
        except Refusal as refusal:
            self._stop(refusal)

    def on_body(self, data: bytes) -> None:
        """A piece of the body."""
        self._body_size += len(data)
        if self._body_size > self._limits.body_bytes:
            self._stop(self._body_too_large())
        if not self._keep:
            return
        if not self._body:
            self._body = data
            return
        size = len(data)
        if self._more is None:
            self._more = bytearray(self._body)
            size += len(self._body)
        self._more += data
        if self._under_way is not None:
            if not self._under_way.take(size):
                self._stop(too_much())
            self._counted += size

    def on_message_complete(self) -> None:
        """A request is complete."""
        self.started = False
        self._head_done = False
        self._raw = 0
        if self._more is None:
            body, self._body = self._body, b""
        else:
            body = bytes(self._more)
            self.close()
        if self._learning:
            # More than one message: none is learnt.
            self._learning = False
            self._learnt = (self._head, body) if self._keep else None
        else:
            self._learnt = None
        self._sink.request_received(self._head, body)

    def _stop(self, refusal: Refusal) -> None:
        self._refusal = refusal
        raise refusal

    def _too_large(self) -> Refusal:
        return Refusal(
            431,
            "headers_too_large",
            f"more than {self._limits.headers} headers or {self._limits.header_bytes} bytes of them",
            remedy="send fewer or shorter headers",
            close=True,
        )

    def _body_too_large(self) -> Refusal:
        return Refusal(
            413,
            "body_too_large",
            f"the body is longer than {self._limits.body_bytes} bytes",
            remedy="send a smaller request, or ask the operator to raise the limit",
            close=True,
        )
