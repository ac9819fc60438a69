"""Deployments: where a variant runs. Refuses an upstream address that would send a credential in the clear."""

from __future__ import annotations

import ipaddress
from collections.abc import Collection
from urllib.parse import urlsplit

from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.vocabulary import Wire

MAX_CONCURRENCY = 10_000

KINDS: dict[str, frozenset[Wire]] = {
    "openai": frozenset({Wire.OPENAI}),
    "anthropic": frozenset({Wire.ANTHROPIC}),
    "openai-compatible": frozenset({Wire.OPENAI}),
    "sandbox": frozenset({Wire.OPENAI, Wire.ANTHROPIC}),
}


def check_deployment(kind: str, base_url: str, wires: Collection[Wire], *, production: bool) -> None:
    """Check kind, address and wires of a deployment. Raises InvalidInput, UnsafeConfiguration."""
    if kind not in KINDS:
        raise InvalidInput(
            f"unknown kind {kind[:40]!r}", field="kind", remedy=f"use one of {', '.join(KINDS)}"
        )
    if kind == "sandbox" and production:
        raise UnsafeConfiguration(
            "the sandbox provider is for development",
            field="kind",
            remedy="name a real provider, or use a development profile",
        )
    if not wires or not KINDS[kind].issuperset(wires):
        raise InvalidInput(
            f"{kind} speaks {', '.join(sorted(KINDS[kind]))}",
            field="wires",
            remedy="name one or more of them",
        )
    check_base_url(base_url)


def check_concurrency(concurrency: int | None) -> int | None:
    """Return how many requests may be under way at once, when that is said. Raises InvalidInput."""
    if concurrency is not None and not 1 <= concurrency <= MAX_CONCURRENCY:
        raise InvalidInput(f"not within 1 to {MAX_CONCURRENCY}", field="concurrency")
    return concurrency


def check_base_url(base_url: str) -> None:
    """Https with a host, or http to loopback; no credentials, query or fragment in it. Raises InvalidInput."""
    try:
        parts = urlsplit(base_url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise InvalidInput("not a URL", field="base_url") from None
    if not host or any(character <= " " or character == "\x7f" for character in base_url):
        raise InvalidInput("the URL names no host", field="base_url", remedy="give https://host[/path]")
    if parts.username is not None or parts.password is not None:
        raise InvalidInput(
            "a credential stands in the URL", field="base_url", remedy="give it as the upstream's credential"
        )
    if parts.query or parts.fragment:
        raise InvalidInput("a base URL has no query and no fragment", field="base_url")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(host)):
        raise InvalidInput(
            "plain HTTP would show the upstream's credential to the network",
            field="base_url",
            remedy="use https, or http to a loopback address",
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
