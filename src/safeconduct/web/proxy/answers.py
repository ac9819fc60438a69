"""The bytes of an answer of the gateway's own: status line, headers and body in one piece. Decides nothing, writes nowhere."""

from __future__ import annotations

from safeconduct.gateway.admission import SOURCE, TOTAL
from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.wires import PHRASES, error_body, request_id_line
from safeconduct.kernel.vocabulary import Wire

NO_RETRY = b"x-should-retry: false\r\n"
CHALLENGE = b'www-authenticate: DPoP algs="ES256", Bearer\r\n'
_JSON = b"content-type: application/json\r\n"


def connection_line(head: Head, *, keep: bool) -> bytes:
    """The Connection header line of the answer to `head`, when one is needed."""
    if not keep:
        return b"connection: close\r\n"
    return b"connection: keep-alive\r\n" if head.http_1_0 else b""


def answer_bytes(
    head: Head, status: int, body: bytes, *, keep: bool, date_line: bytes, lines: bytes
) -> bytes:
    """The whole answer to `head` with a JSON body, without it for HEAD. lines: further header lines, each ended by CRLF."""
    return b"HTTP/1.1 %d %b\r\n%b%b%bcontent-length: %d\r\n%b\r\n%b" % (
        status,
        PHRASES.get(status, b"Status"),
        date_line,
        _JSON,
        lines,
        len(body),
        connection_line(head, keep=keep),
        b"" if head.method == b"HEAD" else body,
    )


def turned_away(request_id: str, date_line: bytes, cause: str = TOTAL) -> bytes:
    """What a client is told that came when there were too many already; nothing of it has been read. cause: as of `Places.take`."""
    message = (
        "too many connections are open from your address"
        if cause == SOURCE
        else "too many connections are open"
    )
    body = error_body(Wire.OPENAI, 503, "too_many_connections", message, request_id=request_id)
    lines = b"retry-after: 2\r\n" + NO_RETRY + request_id_line(Wire.OPENAI, request_id)
    return answer_bytes(Head(), 503, body, keep=False, date_line=date_line, lines=lines)
