"""Enforce requests where the record is followed and not kept: the state, how old it is, and what that forbids.

Owns the fold of a followed record at one worker, and the rule that a request is decided by nothing older than what any worker
of the node has taken in. Refuses to act on a state beyond its budget: new requests are denied `STATE_STALE`, open ones end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.record_keeper import read_events
from safeconduct.app.shared_record import SharedRecordKeeper
from safeconduct.app.verdict import Verdict
from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.reader import Fetch, PublishedLog
from safeconduct.decision.evaluation import terminal
from safeconduct.decision.response import Permit, Reason
from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.freshness import Freshness
from safeconduct.gateway.http_messages import Head, Refusal
from safeconduct.gateway.resolution import NO_DEPLOYMENT
from safeconduct.gateway.routes import Route
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import SafeconductError
from safeconduct.kernel.ids import DeploymentId, VariantId
from safeconduct.kernel.vocabulary import Code, Level, Wire
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.principal import Principal
from safeconduct.record.bulk import fold_many
from safeconduct.record.events import Event
from safeconduct.record.state import State, fold

REMEDY = "the gateway has lost the control plane, or cannot reach it in time; it recovers by itself"
_COMPLAIN_SECONDS = 5.0

_logger = logging.getLogger(__name__)


class KnownPosition(Protocol):
    """Where the record stands, as far as this node knows (`storage.position_page.Position`)."""

    @property
    def size(self) -> int:
        """Entries."""
        ...

    @property
    def as_of(self) -> float:
        """Seconds of the machine's steady clock at which that was the newest."""
        ...


AT_ONCE = 20_000
"""Entries from which catching up is a fold of the record and no longer a series of changes."""


class FollowedRecord:
    """The fold of a published log that somebody else keeps up to date; verified here again, entry by entry.

    fetch: reads the log's files. position: where the record stands. own_keys: kids of this gateway's keys, of which one at least
    must be in force on the trust list; None where the record's keeper serves itself.
    Not thread-safe: it belongs to one event loop.
    """

    def __init__(
        self,
        fetch: Fetch,
        verifier: LogVerifier,
        position: Callable[[], KnownPosition | None],
        clock: Clock,
        *,
        own_keys: Callable[[], Sequence[str]] | None = None,
    ) -> None:
        self.state = State.empty()
        self.freshness = Freshness()
        self._log = PublishedLog(fetch, verifier)
        self._position = position
        self._clock = clock
        self._own_keys = own_keys
        self._complained = float("-inf")
        self._subscribers: list[Callable[[State, Sequence[Event]], None]] = []

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        """Call back with each new state; must not block."""
        self._subscribers.append(callback)

    def catch_up(self) -> None:
        """Take in whatever the node knows and we do not. Costs two microseconds when there is nothing. Never raises:
        what cannot be verified is not taken in, and the state goes stale.
        """
        position = self._position()
        if position is None:
            return
        if position.size > self.state.position:
            try:
                self._fold()
            except (SafeconductError, OSError) as error:
                present = self._clock.monotonic()
                if present - self._complained > _COMPLAIN_SECONDS:
                    self._complained = present
                    _logger.error("the record could not be followed: %s", error)  # noqa: TRY400 - no defect, so no trace
        if self.state.position >= position.size:
            self.freshness.confirm(position.as_of, self._clock.monotonic())

    def _fold(self) -> None:
        start = self.state.position
        size = self._log.refresh().size
        events: Sequence[Event] = ()
        if size - start > AT_ONCE:
            # A whole record, when a gateway begins: packed as it is folded, and of no use as a list of changes.
            self.state = state = fold_many(read_events(self._log.entries(start, size), start), self.state)
        else:
            events = list(read_events(self._log.entries(start, size), start))
            self.state = state = fold(events, self.state)
        if self._own_keys is not None:
            entries = [state.trust.get(kid) for kid in self._own_keys()]
            self.freshness.withdrawn = all(entry is None or entry.revoked is not None for entry in entries)
        for subscriber in self._subscribers:
            subscriber(state, events)


class FollowedState(Protocol):
    """What a node that follows asks of its source."""

    freshness: Freshness

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        """Call back with each new state."""
        ...

    def catch_up(self) -> None:
        """Take in what is known here, and how current that is. Never raises."""
        ...


class KeptRecord:
    """A record that this process keeps together with others (`app.shared_record`): its state comes by itself, but grows old
    while the others cannot be asked.
    """

    def __init__(self, record: SharedRecordKeeper, clock: Clock) -> None:
        self.freshness = Freshness()
        self._record = record
        self._clock = clock
        self.catch_up()

    def subscribe(self, callback: Callable[[State, Sequence[Event]], None]) -> None:
        """Call back with each new state, from the record's thread."""
        self._record.subscribe(callback)

    def catch_up(self) -> None:
        """Note up to when the state is current."""
        now = self._clock.monotonic()
        self.freshness.confirm(self._record.current_at(now), now)


class FollowingNode(GatewayNode):
    """A gateway node whose record is elsewhere. `watch` belongs on a short timer of its loop."""

    def __init__(self, *given: Any, source: FollowedState, **named: Any) -> None:
        """Arguments as for `GatewayNode`, and what it follows."""
        super().__init__(*given, **named)
        self._source = source
        self._stale: tuple[Level, ...] = ()
        source.subscribe(self.on_state)

    @property
    def ready(self) -> bool:
        """Whether anything can be served."""
        return super().ready and not self._is_stale(Level.C0)

    def _is_stale(self, level: Level) -> bool:
        return self._source.freshness.stale(level, self.clock.monotonic())

    def _level(self, variant: VariantId) -> Level:
        known = self.state.variants.get(variant)
        return known.required_level if known is not None else Level.C0

    def watch(self) -> None:
        """Catch up, and end what rests on a state that has become too old for it."""
        self._source.catch_up()
        stale = tuple(level for level in Level if self._is_stale(level))
        if stale == self._stale:
            return
        fresh, self._stale = not self._stale, stale
        if not stale:
            _logger.warning("the state is current again")
            return
        if fresh:
            _logger.warning("the state is stale for %s", ", ".join(level.name for level in stale))
        deny = terminal(Code.STATE_STALE, self.state, int(self.clock.now()), detail=self._why())
        for each in self.open.snapshot():
            if self._level(each.request.variant) in stale:
                self.open.remove(each)
                each.cut(deny)

    def _why(self) -> str:
        if self._source.freshness.withdrawn:
            return "this gateway is no longer enrolled"
        return "the state of authorizations is too old for this model"

    def forget_credentials(self) -> None:
        """Read upstream credentials from the vault again: whoever fetches them may be later than the event that says so."""
        self._credentials = {}

    def authenticate(self, head: Head, source: str, peer: PeerCertificate | None = None) -> Principal:
        """As in `GatewayNode`, by a state that is current at least for C0."""
        self._source.catch_up()
        if self._is_stale(Level.C0):
            raise Refusal(503, Code.STATE_STALE.value, self._why(), remedy=REMEDY)
        return super().authenticate(head, source, peer)

    def decide(
        self,
        principal: Principal,
        head: Head,
        *,
        route: Route,
        wire: Wire,
        asked: str,
        source: str,
        only: DeploymentId | None = None,
        ask: Ask | None = None,
    ) -> Verdict:
        """As in `GatewayNode`, unless the state is too old for the model: then a refusal, `STATE_STALE`."""
        variant = VariantId(asked)
        stale = self.stale(variant)
        if stale is not None:
            now = int(self.clock.now())
            project, purpose = self.declared(head, principal)
            question = self.question(
                principal,
                variant=variant,
                deployment=NO_DEPLOYMENT,
                project=project,
                purpose=purpose,
                network_permitted=True,
            )
            # Re-running `decide` at this position would not find it stale, so it is recorded as a refusal.
            return self.refuse(
                principal,
                question,
                Permit(valid_until=now + 1, position=self.state.position),
                stale,
                route=route,
                asked=asked,
                deployment=None,
                now=now,
            )
        return super().decide(
            principal, head, route=route, wire=wire, asked=asked, source=source, only=only, ask=ask
        )

    def stale(self, variant: VariantId) -> Reason | None:
        """Why the state is too old for a variant."""
        if variant not in self.state.variants or not self._is_stale(self._level(variant)):
            return None
        return terminal(Code.STATE_STALE, self.state, int(self.clock.now()), detail=self._why()).reasons[0]

    def may_use(self, principal: Principal, head: Head, variant: VariantId, wire: Wire, source: str) -> bool:
        """As in `GatewayNode`; what the state is too old for may not be used."""
        return not self._is_stale(self._level(variant)) and super().may_use(
            principal, head, variant, wire, source
        )
