"""The newest entries of the decision log, as the page and the API show them.

Owns a bounded window over the log and the search for one decision. Refuses to tell withheld reasons: what is shown as told
is what the caller was told. Reads durable entries only.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.decision.entry import (
    COMPLETION_TYPE,
    DECISION_TYPE,
    REFUSAL_TYPE,
    Completion,
    DecisionRecord,
    DecisionSummary,
)
from safeconduct.decision.response import Deny, Reason
from safeconduct.kernel.errors import InvalidInput, NotFound, SafeconductError
from safeconduct.record.envelope import Envelope, read_entry, unsealed_part

WINDOW = 500
_SCAN = 256
_MAX_CATCH_UP = 20_000


class EntrySource(Protocol):
    """A log open for reading (`audit.sequencing.Log`)."""

    durable_size: int

    def read(self, start: int, end: int) -> Iterator[bytes]:
        """Durable entries [start, end)."""
        ...


class SeenDecision(msgspec.Struct, frozen=True):
    """One decision or refusal. time: milliseconds since the epoch; version grows when its completion arrives.

    outcome: `permit`, `deny`, or `refused` for a token that was not given. reasons: as told; None while sealed or erased.
    """

    index: int
    version: int
    time: int
    id: str
    outcome: str
    codes: tuple[str, ...]
    subject: str
    model: str
    purpose: str
    project: str
    organisation: str
    route: str
    reasons: tuple[Reason, ...] | None = None
    completion: Completion | None = None


class _RefusalBody(msgspec.Struct, frozen=True):
    refusal: str
    codes: tuple[str, ...]
    route: str
    subject: str | None = None
    asked: str | None = None


_summaries = msgspec.json.Decoder(DecisionSummary)
_completions = msgspec.json.Decoder(Completion)
_refusals = msgspec.json.Decoder(_RefusalBody)
_records = msgspec.json.Decoder(DecisionRecord)
_reasons = msgspec.json.Decoder(tuple[Reason, ...])


class DecisionFeed:
    """The last `window` decisions of a log. Thread-safe."""

    def __init__(
        self,
        source: EntrySource,
        key_for: Callable[[str], AESGCM],
        told: Callable[[Deny], tuple[Reason, ...]],
        *,
        window: int = WINDOW,
    ) -> None:
        """key_for(subject): the data key, raising NotFound when it was erased. told: what a denial tells its caller."""
        self._source = source
        self._key_for = key_for
        self._told = told
        self._window = window
        self._lock = threading.Lock()
        self._seen: OrderedDict[str, SeenDecision] = OrderedDict()
        self._version = 0
        self._next = max(0, source.durable_size - _MAX_CATCH_UP)

    def refresh(self) -> int:
        """Take in what has become durable. Returns the feed's version: it grows whenever something is new."""
        with self._lock:
            size = self._source.durable_size
            if size > self._next:
                for index, entry in enumerate(self._source.read(self._next, size), self._next):
                    self._take(index, entry)
                self._next = size
            return self._version

    def recent(self, limit: int = 100) -> list[SeenDecision]:
        """The newest first."""
        self.refresh()
        with self._lock:
            return list(self._seen.values())[: -limit - 1 : -1]

    def since(self, version: int) -> list[SeenDecision]:
        """What is newer than `version`, oldest first."""
        self.refresh()
        with self._lock:
            return sorted(
                (seen for seen in self._seen.values() if seen.version > version),
                key=lambda seen: seen.version,
            )

    def find(self, decision: str) -> tuple[Envelope, int]:
        """The entry of a decision and its index, searched from the newest back. Raises NotFound."""
        self.refresh()
        with self._lock:
            known = self._seen.get(decision)
        if known is not None:
            entry = next(iter(self._source.read(known.index, known.index + 1)))
            return read_entry(entry), known.index
        end = self._source.durable_size
        wanted = decision.encode()
        while end > 0:
            start = max(0, end - _SCAN)
            for offset, entry in enumerate(self._source.read(start, end)):
                if wanted in entry:
                    envelope = read_entry(entry)
                    if envelope.uid == decision and envelope.type == DECISION_TYPE:
                        return envelope, start + offset
            end = start
        raise NotFound(
            "there is no such decision", field="decision", remedy="take the id of a denial or answer"
        )

    def record_of(self, envelope: Envelope) -> DecisionRecord:
        """The whole decision. Raises NotFound when the subject's data key was destroyed, InvalidInput when altered."""
        return _records.decode(unsealed_part(envelope, self._key_for(envelope.key)))

    def _take(self, index: int, entry: bytes) -> None:
        try:
            envelope = read_entry(entry)
            if envelope.type == DECISION_TYPE:
                self._add(self._decision(index, envelope))
            elif envelope.type == REFUSAL_TYPE:
                self._add(self._refusal(index, envelope))
            elif envelope.type == COMPLETION_TYPE:
                self._complete(_completions.decode(envelope.body))
        except (InvalidInput, msgspec.MsgspecError):
            # The log's own verification names damaged entries; a page must not stop because of one.
            return

    def _decision(self, index: int, envelope: Envelope) -> SeenDecision:
        summary = _summaries.decode(envelope.body)
        reasons: tuple[Reason, ...] | None = ()
        if summary.outcome == "deny":
            try:
                outcome = self.record_of(envelope).outcome
                reasons = self._told(outcome) if isinstance(outcome, Deny) else ()
            except (SafeconductError, msgspec.MsgspecError):
                reasons = None
        return SeenDecision(
            index=index,
            version=0,
            time=envelope.time,
            id=summary.decision,
            outcome=summary.outcome,
            codes=summary.codes,
            subject=summary.subject,
            model=summary.variant,
            purpose=summary.purpose or "",
            project=summary.project or "",
            organisation=summary.organisation or "",
            route=summary.route,
            reasons=reasons,
        )

    def _refusal(self, index: int, envelope: Envelope) -> SeenDecision:
        body = _refusals.decode(envelope.body)
        reasons: tuple[Reason, ...] | None = None
        if envelope.sealed:
            try:
                reasons = _reasons.decode(unsealed_part(envelope, self._key_for(envelope.key)))
            except (SafeconductError, msgspec.MsgspecError):
                reasons = None
        return SeenDecision(
            index=index,
            version=0,
            time=envelope.time,
            id=body.refusal,
            outcome="refused",
            codes=body.codes,
            subject=body.subject or "",
            model=body.asked or "",
            purpose="",
            project="",
            organisation="",
            route=body.route,
            reasons=self._told(Deny(reasons=reasons, valid_until=0, position=0)) if reasons else reasons,
        )

    def _add(self, seen: SeenDecision) -> None:
        self._version += 1
        self._seen[seen.id] = msgspec.structs.replace(seen, version=self._version)
        if len(self._seen) > self._window:
            self._seen.popitem(last=False)

    def _complete(self, completion: Completion) -> None:
        known = self._seen.get(completion.decision)
        if known is not None:
            self._version += 1
            self._seen[known.id] = msgspec.structs.replace(
                known, completion=completion, version=self._version
            )
