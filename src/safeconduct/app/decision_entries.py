"""What the entries of a decision log are made of: their bodies, the digests of an interaction, and bytes that stay the same.

Values and encodings only; `decision_log` writes them.
"""

from __future__ import annotations

import hmac

import msgspec

from safeconduct.decision.entry import (
    DecisionRecord,
    DecisionSummary,
)
from safeconduct.kernel.ids import DecisionId, RandomBytes, SubjectId

_DIGESTED_TOGETHER = 16 * 1024

encode = msgspec.json.Encoder(order="sorted").encode


class Refusal(msgspec.Struct, frozen=True, omit_defaults=True):
    """A credential that was not given or not let through, outside of a decision; the open body of a `refusal` entry.

    codes: as told. route: `token_exchange`, `POST /v1/messages` ... asked: the model that was named, if any.
    """

    refusal: str
    codes: tuple[str, ...]
    route: str
    node: str
    now: int
    subject: str | None = None
    passport: str | None = None
    asked: str | None = None


class FailedSource(msgspec.Struct, frozen=True):
    """Failures of one network address, by code."""

    source: str
    codes: dict[str, int]


class FailedAuthentication(msgspec.Struct, frozen=True, omit_defaults=True):
    """Failed authentication at one node in one minute: the one entry there is of it, whoever tries and however often.

    codes: of all together. sources: those with most failures. others, other_sources: failures of the rest, and how many
    addresses those were at least. first, last: seconds since the epoch.
    """

    codes: dict[str, int]
    sources: tuple[FailedSource, ...]
    first: int
    last: int
    node: str
    others: int = 0
    other_sources: int = 0


class CompletionKey(msgspec.Struct, frozen=True):
    """The sealed part of a completion: what the digests were made with, and the request's digest (both hex)."""

    key: str
    request_hmac: str


class Interaction:
    """Digests of one request and its answer under a key of their own, so that "Yes" cannot be guessed from a digest."""

    __slots__ = ("_answer", "_key", "_pieces", "_request_hmac", "_size")

    def __init__(self, request_body: bytes, random: RandomBytes) -> None:
        self._key = random(32)
        # Not hmac.digest: that gives the interpreter away to another thread, however short the text.
        self._request_hmac = hmac.new(self._key, request_body, "sha256").hexdigest()
        self._answer: hmac.HMAC | None = None
        self._pieces: list[bytes] = []
        self._size = 0

    def answered(self, data: bytes) -> None:
        """Take in a piece of the answer."""
        # One call over many pieces costs a fraction of one call each; what is held for it is bounded.
        self._pieces.append(data)
        self._size += len(data)
        if self._size > _DIGESTED_TOGETHER:
            if self._answer is None:
                self._answer = hmac.new(self._key, digestmod="sha256")
            self._answer.update(b"".join(self._pieces))
            self._pieces = []
            self._size = 0

    def digests(self) -> tuple[str, bytes]:
        """Hex HMAC of the answer, and the sealed part that lets an auditor recompute it."""
        rest = b"".join(self._pieces)
        if self._answer is None:
            self._answer = hmac.new(self._key, rest, "sha256")
        else:
            self._answer.update(rest)
        answer = self._answer.hexdigest()
        self._pieces = []
        return answer, b'{"key":"%b","request_hmac":"%b"}' % (
            self._key.hex().encode(),
            self._request_hmac.encode(),
        )


class PreparedDecision:
    """Bytes of a decision's entry that stay the same. record, summary: each in three parts, the id and the time between."""

    __slots__ = ("holder", "jurisdiction", "permit", "record", "summary", "tenant")

    def __init__(
        self,
        *,
        holder: SubjectId,
        permit: bool,
        tenant: str,
        jurisdiction: str,
        record: tuple[bytes, bytes, bytes],
        summary: tuple[bytes, bytes, bytes],
    ) -> None:
        self.holder = holder
        self.permit = permit
        self.tenant = tenant
        self.jurisdiction = jurisdiction
        self.record = record
        self.summary = summary


NO_DECISION = DecisionId("")


def parted(value: DecisionRecord | DecisionSummary) -> tuple[bytes, bytes, bytes]:
    """Canonical JSON around the id and the time, in three parts."""
    # Made from the members, not by looking for a placeholder: a caller's text could spell any placeholder.
    raw = msgspec.json.decode(encode(value), type=dict[str, msgspec.Raw])
    parts = [b""]
    for name in sorted(raw):
        parts[-1] += b"%b%b:" % (b"," if len(parts) > 1 or parts[0] else b"{", encode(name))
        if name == "decision":
            parts[-1] += b'"'
            parts.append(b'"')
        elif name == "now":
            parts.append(b"")
        else:
            parts[-1] += bytes(raw[name])
    before, between, after = parts
    return before, between, after + b"}"
