"""Where an upstream is and what passes to it."""

import pytest

from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.upstream import parse_target, relayed_headers, request_head
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Wire


@pytest.mark.parametrize(
    ("url", "tls", "host", "port", "prefix"),
    [
        ("https://api.example.com", True, "api.example.com", 443, b"/v1"),
        ("https://api.example.com/v1", True, "api.example.com", 443, b"/v1"),
        ("https://api.example.com/v1/", True, "api.example.com", 443, b"/v1"),
        ("http://127.0.0.1:8080", False, "127.0.0.1", 8080, b"/v1"),
        ("https://proxy.example.com/lab/v1", True, "proxy.example.com", 443, b"/lab/v1"),
        ("http://[::1]:8080/v1", False, "::1", 8080, b"/v1"),
    ],
)
def test_a_base_url_is_read_with_or_without_v1(url, tls, host, port, prefix):
    target = parse_target(url)
    assert (target.tls, target.host, target.port, target.prefix) == (tls, host, port, prefix)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://a",
        "api.example.com",
        "https://",
        "https://u:p@a/v1",
        "https://a/v1?x=1",
        "https://a/v1#x",
        "https://a:99999/",
        "https://a/v1\r\nx: y",
        "https://a b/",
    ],
)
def test_a_base_url_that_could_mean_something_else_is_refused(url):
    with pytest.raises(InvalidInput):
        parse_target(url)


def test_no_header_of_a_client_decides_where_a_request_goes():
    head = Head()
    head.headers = {b"host": b"evil", b"x-forwarded-host": b"evil", b"accept": b"*/*"}
    written = request_head(
        head,
        wire=Wire.OPENAI,
        target=parse_target("https://lab.example/v1"),
        path=b"/chat/completions",
        credential=b"key",
        body_length=3,
    )
    assert written.startswith(b"POST /v1/chat/completions HTTP/1.1\r\nhost: lab.example\r\n")
    assert b"evil" not in written
    assert written.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("value", "given"),
    [(b"600", b"30"), (b"2", b"2"), (b"Wed, 21 Oct 2026 07:28:00 GMT", b"1"), (b"9" * 50, b"1")],
)
def test_retry_after_is_kept_small(value, given):
    lines, _ = relayed_headers([(b"retry-after", value)], "openai")
    assert lines == b"retry-after: " + given + b"\r\n"
