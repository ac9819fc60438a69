"""When a request may be sent once more: before anything of an answer was passed on, and only where sending twice is safe.

Owns which failures are of that kind and how long to wait. Refuses whatever the provider may have begun to work on: its
answer costs money, and a model's answer is not idempotent (RFC 9110 9.2.2).
"""

from __future__ import annotations

import msgspec

from safeconduct.gateway.circuit import Uniform

SAME_TARGET = frozenset({"connect", "connect_timeout", "declined", "closed", "timeout"})
"""Failures that a moment may mend: the same target is asked again before another one is."""
NOT_SENT = frozenset({"connect", "connect_timeout", "tls", "busy", "open", "address", "credential"})
"""Failures after which it is certain that no byte of the request went out."""
UNFINISHED = frozenset({"closed", "timeout", "protocol"})
"""Failures after which the provider may have worked on it."""
DECLINED = frozenset({429, 502, 503, 529})
"""Statuses with which a provider, or what stands before it, says that it did not take the request on."""
TROUBLE = frozenset({500, 502, 503, 504, 529})
"""Statuses that count against a deployment's circuit. 429 does not: it is about us."""


class RetryLimits(msgspec.Struct, frozen=True):
    """retries: of one deployment, beside the first try. first_seconds: bound of the first wait, doubled for each further.

    longest_wait: a `Retry-After` beyond this is the client's to obey. targets: deployments tried for one request.
    kept_bytes: a body longer than this is not kept for another try; kept_in_all: nor one that makes all together more.
    """

    retries: int = 2
    first_seconds: float = 0.1
    longest_wait: float = 2.0
    targets: int = 4
    kept_bytes: int = 1024 * 1024
    kept_in_all: int = 64 * 1024 * 1024


def may_repeat(failure: str, *, idempotent: bool) -> bool:
    """Whether a request that failed so may be sent again, here or elsewhere."""
    return failure in NOT_SENT or (idempotent and failure in UNFINISHED)


def asked_wait(headers: list[tuple[bytes, bytes]]) -> float | None:
    """Seconds of `Retry-After`; 0 when there is none, None when it is a date or no number: then nobody knows."""
    for name, value in headers:
        if name == b"retry-after":
            return float(int(value)) if value.isdigit() and len(value) < 7 else None
    return 0.0


def wait_before(retry: int, asked: float, limits: RetryLimits, uniform: Uniform) -> float:
    """Seconds to wait before retry number `retry` (from 0): what was asked for, and some more so that not all come at once."""
    return asked + uniform(0.0, limits.first_seconds * 2**retry)
