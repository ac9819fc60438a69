"""What the gateway needs of an upstream: where it is, how a request to it is written, and the port that sends it.

Owns which headers pass in either direction: a list of what may, not of what may not. Refuses to take any part of the
address from a caller.
"""

from __future__ import annotations

from typing import Protocol
from urllib.parse import urlsplit

import msgspec

from safeconduct.gateway.http_messages import Head
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Wire
from safeconduct.record.events.registrations import DeploymentRegistered

KINDS = frozenset({"openai", "anthropic", "openai-compatible", "sandbox"})
# Without these no call is made: the upstream would refuse it, and nothing else may ever be sent in their place.
NEEDS_CREDENTIAL = frozenset({"openai", "anthropic"})

# Forwarded byte for byte, every value. Everything else a client sends stays here: credentials, cookies, `forwarded`,
# `x-safeconduct-*`, `anthropic-user-profile-id`, `openai-organization`, `idempotency-key` (it would be shared by all
# tenants behind one upstream credential), hop-by-hop headers.
_FORWARDED = (b"accept", b"anthropic-version", b"anthropic-beta", b"openai-beta")

_RELAYED = frozenset(
    {
        b"content-type",
        b"content-encoding",
        b"cache-control",
        b"openai-processing-ms",
        b"openai-version",
        b"x-should-retry",
    }
)
_REQUEST_IDS = (b"x-request-id", b"request-id")
MAX_RETRY_AFTER = 30


class Target(msgspec.Struct, frozen=True):
    """Where a deployment answers. prefix: path before `/chat/completions`, `/messages` and so on.

    lane, concurrency: a deployment with a limit of its own has connections of its own; empty and None share the host's.
    """

    tls: bool
    host: str
    port: int
    authority: bytes
    prefix: bytes
    lane: str = ""
    concurrency: int | None = None


def parse_target(base_url: str) -> Target:
    """Read a deployment's base URL: with or without the `/v1` at its end. Raises InvalidInput."""
    remedy = "write it like https://api.example.com/v1"
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise InvalidInput("the base URL cannot be read", field="base_url", remedy=remedy) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidInput("the base URL is not http(s)", field="base_url", remedy=remedy)
    if parts.username or parts.password or parts.query or parts.fragment:
        raise InvalidInput("the base URL carries a user, query or fragment", field="base_url", remedy=remedy)
    if not base_url.isascii() or any(ord(mark) <= 32 for mark in base_url):
        raise InvalidInput("the base URL holds blanks or other characters", field="base_url", remedy=remedy)
    tls = parts.scheme == "https"
    prefix = parts.path.rstrip("/")
    if not prefix.endswith("/v1"):
        prefix += "/v1"
    return Target(
        tls=tls,
        host=parts.hostname,
        port=port or (443 if tls else 80),
        authority=parts.netloc.encode("ascii"),
        prefix=prefix.encode("ascii"),
    )


def request_head(
    head: Head,
    *,
    wire: Wire,
    target: Target,
    path: bytes,
    credential: bytes | None,
    body_length: int,
    method: bytes = b"POST",
) -> bytes:
    """The head of the request to the upstream. path: below the target's prefix, with the query."""
    facts = head.facts
    key = (_FACT, target.authority, path, method)
    known = facts.get(key) if facts is not None else None
    if known is None or known[0] is not target or known[1] is not credential:
        parts = _head_parts(head, wire=wire, target=target, path=path, credential=credential, method=method)
        known = target, credential, *parts
        head.keep_fact(key, known)
    before: bytes
    after: bytes
    _, _, before, after = known
    return (
        b"%bcontent-length: %d\r\n%b" % (before, body_length, after) if method == b"POST" else before + after
    )


_FACT = "upstream head"


def _head_parts(
    head: Head, *, wire: Wire, target: Target, path: bytes, credential: bytes | None, method: bytes
) -> tuple[bytes, bytes]:
    """What stands before and after the length."""
    before = b"%b %b%b HTTP/1.1\r\nhost: %b\r\naccept-encoding: identity\r\nuser-agent: safeconduct\r\n%b" % (
        method,
        target.prefix,
        path,
        target.authority,
        b"content-type: application/json\r\n" if method == b"POST" else b"",
    )
    lines: list[bytes] = []
    for name in _FORWARDED:
        if name in head.headers:
            for value in head.all(name):
                lines += (name, b": ", value, b"\r\n")
    if credential is not None:
        lines += (
            b"x-api-key: " if wire is Wire.ANTHROPIC else b"authorization: Bearer ",
            credential,
            b"\r\n",
        )
    lines.append(b"\r\n")
    return before, b"".join(lines)


def relayed_headers(headers: list[tuple[bytes, bytes]], kind: str) -> tuple[bytes, str | None]:
    """Header lines of the upstream's answer that the client gets, and the upstream's own request id."""
    lines: list[bytes] = []
    request_id: str | None = None
    typed = False
    for name, value in headers:
        if name in _RELAYED:
            if name == b"content-type":
                # The first one decided how the answer is read here: the client is not offered another.
                if typed:
                    continue
                typed = True
            lines += (name, b": ", value, b"\r\n")
        elif name == b"retry-after":
            # The vendor clients obey it literally: ten minutes would hang the caller.
            seconds = int(value) if value.isdigit() and len(value) < 6 else 1
            lines.append(b"retry-after: %d\r\n" % min(seconds, MAX_RETRY_AFTER))
        elif name in _REQUEST_IDS:
            request_id = value[:128].decode("ascii", "replace")
        elif name == b"x-safeconduct-sandbox" and kind == "sandbox":
            lines.append(b"x-safeconduct-sandbox: true\r\n")
    return b"".join(lines), request_id


class ResponseSink(Protocol):
    """Who takes an upstream's answer. Called on the event loop, in order; nothing after end, failure or cancel."""

    def upstream_head(self, status: int, headers: list[tuple[bytes, bytes]], length: int | None) -> None:
        """The head. Names are lower case; length is None when it is not known before the end."""
        ...

    def upstream_data(self, data: bytes) -> None:
        """A piece of the body, as it came."""
        ...

    def upstream_end(self) -> None:
        """The body is complete."""
        ...

    def upstream_failed(self, failure: str) -> None:
        """No answer, or not all of it: `connect | connect_timeout | tls | busy | timeout | closed | protocol | shutdown`.

        The first four: nothing of the request was sent.
        """
        ...


class Call(Protocol):
    """A request under way. sent: some of it may have reached the upstream."""

    sent: bool

    def cancel(self) -> None:
        """Give up: the connection to the upstream is closed at once. No callback follows. Idempotent."""
        ...

    def pause(self) -> None:
        """Stop reading the answer."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...


class Upstreams(Protocol):
    """Sends requests; redirects are never followed, and whether to try again is the sender's to say."""

    def send(self, target: Target, head: bytes, body: bytes, sink: ResponseSink) -> Call:
        """Send one request. Returns at once; the answer goes to `sink`, never before this returns."""
        ...


class TargetCache:
    """Targets of deployments, parsed once."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[str | tuple[str, str, int], Target] = {}

    def of(self, deployment: DeploymentRegistered) -> Target:
        """The deployment's target. Raises InvalidInput when its base URL is unusable."""
        limit = deployment.concurrency
        key = deployment.base_url if limit is None else (deployment.base_url, deployment.deployment, limit)
        target = self._known.get(key)
        if target is None:
            target = parse_target(deployment.base_url)
            if limit is not None:
                target = msgspec.structs.replace(target, lane=deployment.deployment, concurrency=limit)
            self._known[key] = target
        return target
