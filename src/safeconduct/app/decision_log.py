"""Write the decision log: every decision, what became of it, refusals, and failed authentication in aggregate.

Owns how an entry of a decision log is made. What an auditor may read (pseudonymous) is the open body; the whole decision
with its claims and withheld reasons is sealed under the data key of the human it rests on. Refuses to decide, and to wait:
`submit`ted entries are waited for through `Durability`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Protocol

from safeconduct.app.decision_entries import (
    NO_DECISION,
    FailedAuthentication,
    FailedSource,
    PreparedDecision,
    Refusal,
    encode,
    parted,
)
from safeconduct.app.ports import Vault
from safeconduct.decision.entry import (
    COMPLETION_TYPE,
    DECISION_TYPE,
    FAILED_AUTHENTICATION_TYPE,
    REFUSAL_TYPE,
    Completion,
    DecisionRecord,
    DecisionSummary,
)
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Permit, Reason
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import LogUnavailable, NotFound
from safeconduct.kernel.ids import DecisionId, RandomBytes, SubjectId, new_id
from safeconduct.kernel.randomness import BufferedRandom
from safeconduct.record.envelope import open_entry, sealed_entry

# Sources that are told apart while a minute lasts, and those that its entry names: whoever has many addresses neither
# fills the memory nor, minute after minute, the disk.
MAX_SOURCES = 4_096
NAMED_SOURCES = 16
MAX_SOURCE_CHARACTERS = 64
AGGREGATE_SECONDS = 60
# After so many failures from one source since the last aggregate entry, each further one costs it a connection.
FAILURES_BEFORE_CLOSE = 300
_OTHER_SOURCES = "others"
LAZY_SECONDS = 0.005
"""How long an entry that nobody waits for yet may wait for others to share a sync with."""


class EntryLog(Protocol):
    """The decision log as this module uses it (`audit.sequencing.Log`)."""

    size: int
    durable_size: int

    def submit(self, entry: bytes, *, within: float = 0.0) -> int:
        """Queue an entry, return its index. within: seconds that its write may wait for others. Raises LogUnavailable."""
        ...

    def hurry(self) -> None:
        """Somebody waits for what was submitted."""
        ...

    def drive(self, loop: asyncio.AbstractEventLoop) -> bool:
        """Let this event loop, in whose thread this is called, do the writing; False where that is not possible."""
        ...

    def undrive(self) -> None:
        """The loop is about to end."""
        ...

    def on_durable(self, index: int, callback: Callable[[BaseException | None], None]) -> None:
        """Call back, from any thread, when the entry is durable or never will be."""
        ...

    @property
    def failed(self) -> BaseException | None:
        """Why writing has ended, None while it goes on."""
        ...

    @property
    def full(self) -> BaseException | None:
        """Why there is no room for another decision, None while there is."""
        ...


class _Failures:
    __slots__ = ("codes", "count", "first", "last")

    def __init__(self, now: int) -> None:
        self.codes: dict[str, int] = {}
        self.count = 0
        self.first = now
        self.last = now


class DecisionLog:
    """Writer of one node's decision log. Thread-safe: the gateway, the API and the token endpoint share it."""

    def __init__(
        self,
        log: EntryLog,
        vault: Vault,
        clock: Clock,
        *,
        node: str,
        random: RandomBytes | None = None,
    ) -> None:
        self.log = log
        self.node = node
        self._vault = vault
        self._clock = clock
        self._random = random or BufferedRandom()
        self._lock = threading.Lock()
        self._failures: dict[str, _Failures] = {}
        self._flushed = int(clock.now())

    @property
    def failed(self) -> BaseException | None:
        """Why no further decision can be written, None while one can."""
        return self.log.failed or self.log.full

    def _seal(
        self,
        secret: bytes,
        body: bytes,
        *,
        holder: str,
        uid: str,
        type: str,
        tenant: str,
        jurisdiction: str,
        within: float = 0.0,
    ) -> int:
        try:
            key = self._vault.aead(holder, create=True)
        except NotFound:
            # The holder was erased: what may be known of them is the open body.
            return self._open(body, uid=uid, type=type, tenant=tenant, jurisdiction=jurisdiction)
        with self._lock:
            # The lock makes the next size ours: nobody else writes to this log.
            return self.log.submit(
                sealed_entry(
                    secret,
                    aead=key,
                    key=holder,
                    uid=uid,
                    seq=self.log.size,
                    time_ms=int(self._clock.now() * 1000),
                    type=type,
                    tenant=tenant,
                    jurisdiction=jurisdiction,
                    body=body,
                    random=self._random,
                ),
                within=within,
            )

    def _open(self, body: bytes, *, uid: str, type: str, tenant: str = "", jurisdiction: str = "") -> int:
        with self._lock:
            return self.log.submit(
                open_entry(
                    body,
                    uid=uid,
                    seq=self.log.size,
                    time_ms=int(self._clock.now() * 1000),
                    type=type,
                    tenant=tenant,
                    jurisdiction=jurisdiction,
                )
            )

    def prepare(
        self,
        request: DecisionRequest,
        outcome: Decision,
        *,
        position: int,
        route: str,
        asked: str,
        credential: str,
        codes: tuple[str, ...],
        jurisdiction: str,
    ) -> PreparedDecision:
        """All of a decision's entry but its id and time, for a gateway that gives the same decision many times."""
        permit = isinstance(outcome, Permit)
        record = DecisionRecord(
            decision=NO_DECISION,
            now=0,
            position=position,
            request=request,
            outcome=outcome,
            route=route,
            asked=asked,
            credential=credential,
            node=self.node,
        )
        summary = DecisionSummary(
            decision=NO_DECISION,
            outcome="permit" if permit else "deny",
            codes=codes,
            subject=request.subject,
            variant=request.variant,
            deployment=request.deployment,
            purpose=request.purpose,
            project=request.project,
            organisation=request.organisation,
            position=position,
            now=0,
            route=route,
            node=self.node,
            jurisdictions=outcome.jurisdictions,
        )
        return PreparedDecision(
            holder=request.holder,
            permit=permit,
            tenant=request.organisation or "",
            jurisdiction=jurisdiction,
            record=parted(record),
            summary=parted(summary),
        )

    def write(self, prepared: PreparedDecision, now: int, *, within: float = 0.0) -> tuple[DecisionId, int]:
        """Write a prepared decision. now: seconds, as `decide` was given. within: as for `EntryLog.submit`.

        Returns its new id and its index. Raises LogUnavailable; also when a permit could not be sealed because its holder
        was erased.
        """
        if prepared.permit:
            try:
                self._vault.aead(prepared.holder, create=True)
            except NotFound:
                raise LogUnavailable("a permit cannot be recorded: its holder was erased") from None
        decision = DecisionId(new_id("dec", self._random))
        varying = (decision.encode("ascii"), b"%d" % now)
        before, between, after = prepared.record
        secret = b"%b%b%b%b%b" % (before, varying[0], between, varying[1], after)
        before, between, after = prepared.summary
        index = self._seal(
            secret,
            b"%b%b%b%b%b" % (before, varying[0], between, varying[1], after),
            holder=prepared.holder,
            uid=decision,
            type=DECISION_TYPE,
            tenant=prepared.tenant,
            jurisdiction=prepared.jurisdiction,
            within=within,
        )
        return decision, index

    def decision(
        self,
        request: DecisionRequest,
        outcome: Decision,
        *,
        position: int,
        now: int,
        route: str,
        asked: str,
        credential: str,
        codes: tuple[str, ...],
        jurisdiction: str,
    ) -> tuple[DecisionId, int]:
        """Write a decision. codes: those told to the caller. Returns its new id and its index.

        Raises LogUnavailable; also when a permit could not be sealed because its holder was erased.
        """
        prepared = self.prepare(
            request,
            outcome,
            position=position,
            route=route,
            asked=asked,
            credential=credential,
            codes=codes,
            jurisdiction=jurisdiction,
        )
        return self.write(prepared, now)

    def completion(
        self,
        completion: Completion,
        sealed: bytes,
        *,
        holder: SubjectId,
        organisation: str | None,
        jurisdiction: str,
    ) -> int:
        """Write what became of a permitted request. sealed: from `Interaction.digests`. Raises LogUnavailable."""
        return self._seal(
            sealed,
            encode(completion),
            holder=holder,
            uid=f"{completion.decision}.end",
            type=COMPLETION_TYPE,
            tenant=organisation or "",
            jurisdiction=jurisdiction,
            within=LAZY_SECONDS,
        )

    def refusal(
        self,
        codes: tuple[str, ...],
        *,
        route: str,
        now: int,
        reasons: tuple[Reason, ...] = (),
        subject: SubjectId | None = None,
        holder: SubjectId | None = None,
        passport: str | None = None,
        organisation: str | None = None,
        asked: str | None = None,
        jurisdiction: str = "",
    ) -> tuple[str, int]:
        """Write a refusal (a token exchange, a credential used beyond its scope). Returns its id and index.

        reasons are sealed under the holder's data key when the holder is known. Raises LogUnavailable.
        """
        refusal = new_id("ref", self._random)
        body = encode(
            Refusal(
                refusal=refusal,
                codes=codes,
                route=route,
                node=self.node,
                now=now,
                subject=subject,
                passport=passport,
                asked=asked[:200] if asked else None,
            )
        )
        if holder is None:
            return refusal, self._open(body, uid=refusal, type=REFUSAL_TYPE)
        return refusal, self._seal(
            encode(reasons),
            body,
            holder=holder,
            uid=refusal,
            type=REFUSAL_TYPE,
            tenant=organisation or "",
            jurisdiction=jurisdiction,
        )

    def failed_authentication(self, source: str, code: str, now: int) -> int:
        """Count a failed authentication; `flush` writes one entry for all of a minute.

        Returns how many failed from that source since the last flush.
        """
        source = source[:MAX_SOURCE_CHARACTERS]
        with self._lock:
            failures = self._failures.get(source)
            if failures is None:
                if len(self._failures) >= MAX_SOURCES:
                    source = _OTHER_SOURCES
                failures = self._failures.setdefault(source, _Failures(now))
            failures.codes[code] = failures.codes.get(code, 0) + 1
            failures.count += 1
            failures.last = now
            return failures.count

    def fails_too_often(self, source: str) -> bool:
        """Whether this source's failures since the last flush are so many that each further one costs a connection."""
        with self._lock:
            failures = self._failures.get(source[:MAX_SOURCE_CHARACTERS])
            if failures is None and len(self._failures) >= MAX_SOURCES:
                failures = self._failures.get(_OTHER_SOURCES)
            return failures is not None and failures.count > FAILURES_BEFORE_CLOSE

    def flush(self, now: int, *, force: bool = False) -> int:
        """Write the count of failed authentication when a minute has passed, or when forced. Returns entries written.

        Raises LogUnavailable.
        """
        with self._lock:
            if not self._failures or (not force and now - self._flushed < AGGREGATE_SECONDS):
                return 0
            failures, self._failures = self._failures, {}
            self._flushed = now
        beyond = failures.pop(_OTHER_SOURCES, None)
        ranked = sorted(failures.items(), key=lambda one: (-one[1].count, one[0]))
        everybody = [*failures.values(), *([beyond] if beyond is not None else [])]
        rest = [counted for _, counted in ranked[NAMED_SOURCES:]]
        codes: dict[str, int] = {}
        for counted in everybody:
            for code, times in counted.codes.items():
                codes[code] = codes.get(code, 0) + times
        body = encode(
            FailedAuthentication(
                codes=codes,
                sources=tuple(
                    FailedSource(source=source, codes=counted.codes)
                    for source, counted in ranked[:NAMED_SOURCES]
                ),
                first=min(counted.first for counted in everybody),
                last=max(counted.last for counted in everybody),
                node=self.node,
                others=sum(counted.count for counted in rest) + (beyond.count if beyond is not None else 0),
                other_sources=len(rest) + (beyond is not None),
            )
        )
        self._open(body, uid=new_id("fail", self._random), type=FAILED_AUTHENTICATION_TYPE)
        return 1
