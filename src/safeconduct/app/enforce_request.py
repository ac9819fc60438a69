"""Enforce a request: authenticate, resolve, decide, record, and keep watch while it runs.

Owns the order in which these happen and what a gateway node holds in memory. Refuses to do I/O: bytes come from and go to
the listener (`web.proxy`), and what must be durable is waited for through `Durability`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, cast

from safeconduct.app.count_use import UseCounter
from safeconduct.app.decide_request import RequestDecider
from safeconduct.app.decision_log import DecisionLog
from safeconduct.app.durability import Durability
from safeconduct.app.known_decisions import Asked, Known
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.ports import Vault
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.gateway.bodies import Pseudonyms
from safeconduct.gateway.circuit import Circuits
from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.gateway.open_requests import Decide, OpenRequest, OpenRequests
from safeconduct.gateway.quota_ledger import MemoryQuotaLedger, QuotaLedger
from safeconduct.gateway.source_networks import SourceNetworks
from safeconduct.gateway.stored_responses import (
    MemoryStoredResponses,
    StoredResponse,
    StoredResponses,
    not_found,
)
from safeconduct.gateway.upstream import TargetCache
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.ids import DeploymentId, RandomBytes, new_id
from safeconduct.kernel.randomness import BufferedRandom, uniform_from
from safeconduct.kernel.vocabulary import Binding
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.principal import Principal
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import (
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
)
from safeconduct.record.state import State

RECHECK_PIECE = 200
"""Open requests decided again in one go, before others get the event loop."""

_CREDENTIAL_EVENTS = DeploymentRegistered | DeploymentRetired | DeploymentCredentialReplaced


class Verifier(Protocol):
    """Verifies the credential that came with a request (`app.verify_credential.CredentialVerifier`)."""

    def verify(
        self,
        *,
        authorization: bytes | None,
        dpop: list[bytes],
        x_api_key: bytes | None,
        method: str,
        url: str,
        source: str,
        now: int,
        peer: PeerCertificate | None = None,
    ) -> Principal:
        """Who is behind the request. Raises VerificationFailed whose `code` is PASSPORT_INVALID or BINDING_MISSING."""
        ...


_PRINCIPAL = "principal"


class GatewayNode(RequestDecider):
    """One node: the state it enforces and everything that is open at it.

    `on_state` may be called from any thread; everything else belongs to the event loop's thread.
    """

    def __init__(
        self,
        settings: NodeSettings,
        *,
        state: State,
        clock: Clock,
        verifier: Verifier,
        decide: Decide,
        decisions: DecisionLog,
        vault: Vault,
        stored: StoredResponses | None = None,
        random: RandomBytes | None = None,
        ledger: QuotaLedger | None = None,
    ) -> None:
        self.settings = settings
        self.stored: StoredResponses = stored or MemoryStoredResponses()
        self.state = state
        self.clock = clock
        self.decisions = decisions
        self.open = OpenRequests()
        self.measures = GatewayMeasures()
        self.pseudonyms = Pseudonyms(settings.pseudonym_key)
        self.targets = TargetCache()
        self.random = random or BufferedRandom()
        self.draining = False
        self._verifier = verifier
        self.uniform = uniform_from(self.random)
        self.quotas = UseCounter(ledger if ledger is not None else MemoryQuotaLedger(), clock)
        self.circuits = Circuits(self.uniform)
        self.decide_on = decide
        self._vault = vault
        self._credentials: dict[DeploymentId, bytes] = {}
        self._networks = SourceNetworks()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._durability: Durability | None = None
        self._recheck_asked = False
        self._known: dict[Asked, Known] = {}
        self._known_state = state
        self._known_epoch = 0
        self._known_circuits = 0

    # -- the event loop ------------------------------------------------------------------------------------------

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Bind the node to the loop its listener runs on; call on that loop's thread."""
        self._loop = loop
        self.decisions.log.drive(loop)
        self._durability = Durability(self.decisions.log, loop)

    def detach(self) -> None:
        """The loop is about to end."""
        self.decisions.log.undrive()

    def when_durable(self, index: int, callback: Callable[[bool], None], *, hurry: bool = True) -> None:
        """Call back once the entry is durable (True) or never will be (False).

        hurry: an answer waits for it. Otherwise it may wait for others to share a sync with, until `hurry` is called.
        """
        assert self._durability is not None, "attach the node to a loop first"
        if hurry:
            self.decisions.log.hurry()
        self._durability.when_durable(index, callback)

    def hurry(self) -> None:
        """An answer waits for an entry."""
        self.decisions.log.hurry()

    def on_state(self, state: State, events: Sequence[Event]) -> None:
        """Take over a new state; open requests are decided again at once. Thread-safe, does not block."""
        self.state = state
        if any(isinstance(event, _CREDENTIAL_EVENTS) for event in events):
            self._credentials = {}
            for event in events:
                if isinstance(event, DeploymentRetired):
                    self.circuits.forget(event.deployment)
        loop = self._loop
        if loop is not None and not self._recheck_asked:
            self._recheck_asked = True
            try:
                loop.call_soon_threadsafe(self._recheck_all)
            except RuntimeError:  # the loop is closed: nothing is open any more
                return

    def _recheck_all(self) -> None:
        # Cleared first: a state that arrives while this runs asks for another round.
        self._recheck_asked = False
        self._recheck(self.open.snapshot())

    def _recheck(self, requests: list[OpenRequest]) -> None:
        self.open.recheck(requests[:RECHECK_PIECE], self.state, int(self.clock.now()), self.decide_on)
        if len(requests) > RECHECK_PIECE:
            assert self._loop is not None
            self._loop.call_soon(self._recheck, requests[RECHECK_PIECE:])

    def tick(self) -> None:
        """A few times a second: permits that ran out by the clock, counts of failed authentication that are due."""
        now = int(self.clock.now())
        expired = self.open.expired(now)
        if expired:
            self._recheck(expired)
        if self.decisions.failed is None:
            self.decisions.flush(now)

    # -- a request -----------------------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether requests can be served: the log writes, the instance is initialised, nothing is shutting down."""
        return self.decisions.failed is None and self.state.instance is not None and not self.draining

    def gauges(self, connections: int = 0, handshakes: int = 0) -> dict[str, float]:
        """How this node stands, by the names of `gateway.measures.GAUGES`. connections, handshakes: at its listener."""
        log = self.decisions.log
        return {
            "safeconduct_open_requests": len(self.open),
            "safeconduct_connections": connections,
            "safeconduct_tls_handshakes": handshakes,
            "safeconduct_ready": int(self.ready),
            "safeconduct_decision_log_entries": log.size,
            "safeconduct_decision_log_durable_entries": log.durable_size,
            "safeconduct_state_position": self.state.position,
            "safeconduct_processes": 1,
        }

    def metrics(self, connections: int = 0, handshakes: int = 0) -> str:
        """What this node counted, and how it stands, as Prometheus text."""
        return self.measures.exposition(self.gauges(connections, handshakes))

    def new_request_id(self) -> str:
        """An id for an answer that rests on no decision."""
        return new_id("req", self.random)

    def authenticate(self, head: Head, source: str, peer: PeerCertificate | None = None) -> Principal:
        """Who sent this; peer: the connection's client certificate. Raises VerificationFailed, or Refusal when a credential header stands twice."""
        now = int(self.clock.now())
        facts = head.facts
        known = facts.get(_PRINCIPAL) if facts is not None else None
        if known is not None:
            position, since, at, principal = known
            # INVARIANT: a credential that was verified is good for the state it was verified on and no other, from the same
            # address, while its own time runs. Only keys: a bound token comes with a proof that counts once.
            if position == self.state.position and at == source and since <= now < principal.expires:
                return cast("Principal", principal)
        path = head.path.decode("ascii", "replace")
        position = self.state.position
        principal = self._verifier.verify(
            authorization=head.get(b"authorization"),
            dpop=head.all(b"dpop"),
            x_api_key=head.get(b"x-api-key"),
            method=head.method.decode("ascii"),
            # Never from the Host header: what a proof was made for is not the client's to say twice.
            url=self.settings.base_url + path,
            source=source,
            now=now,
            peer=peer,
        )
        if principal.binding is Binding.KEY:
            head.keep_fact(_PRINCIPAL, (position, now, source, principal))
        return principal

    def stored_response(self, principal: Principal, response: str | None) -> StoredResponse:
        """An answer of this caller's that a provider keeps. Raises Refusal(404)."""
        stored = self.stored.find(response) if response is not None else None
        if stored is None or stored.subject != principal.subject:
            raise not_found()
        return stored

    def upstream_credential(self, deployment: DeploymentId) -> bytes | None:
        """The deployment's own credential, or None when none is stored (or it could not stand in a header)."""
        known = self._credentials.get(deployment)
        if known is None:
            stored = self._vault.get(CREDENTIAL_KIND, deployment)
            if stored is None:
                return None
            known = stored.strip()
            if not known or not all(32 < mark < 127 for mark in known):
                return None
            self._credentials[deployment] = known
        return known
