"""Enforce a request: authenticate, resolve, decide, record, and keep watch while it runs.

Owns the order in which these happen and what a gateway node holds in memory. Refuses to do I/O: bytes come from and go to
the listener (`web.proxy`), and what must be durable is waited for through `Durability`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Protocol, cast

import msgspec

from safeconduct.app.count_use import UseCounter
from safeconduct.app.decision_log import LAZY_SECONDS, DecisionLog, Durability, PreparedDecision
from safeconduct.app.ports import Vault
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.verdict import Verdict
from safeconduct.decision.explanation import told
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny, Permit, Reason
from safeconduct.gateway.bodies import Ask, Pseudonyms
from safeconduct.gateway.circuit import Circuits
from safeconduct.gateway.http_messages import Head, Refusal
from safeconduct.gateway.measures import GatewayMeasures
from safeconduct.gateway.open_requests import Decide, OpenRequest, OpenRequests
from safeconduct.gateway.quota_ledger import MemoryQuotaLedger, QuotaLedger
from safeconduct.gateway.quotas import FREE, Bill, Counted, bill_for, counted_on, missing_quota
from safeconduct.gateway.quoting import quotable
from safeconduct.gateway.resolution import NO_DEPLOYMENT, deployments_for, next_retirement
from safeconduct.gateway.routes import Route
from safeconduct.gateway.source_networks import SourceNetworks
from safeconduct.gateway.stored_responses import (
    MemoryStoredResponses,
    StoredResponse,
    StoredResponses,
    not_found,
)
from safeconduct.gateway.upstream import TargetCache
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.ids import DeploymentId, ProjectId, RandomBytes, VariantId, new_id
from safeconduct.kernel.randomness import BufferedRandom, uniform_from
from safeconduct.kernel.vocabulary import Binding, Code, Condition, Level, Purpose, Wire
from safeconduct.passport.certificate import PeerCertificate
from safeconduct.passport.principal import Principal
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import (
    DeploymentCredentialReplaced,
    DeploymentRegistered,
    DeploymentRetired,
)
from safeconduct.record.state import State

# Conditions a gateway would have to carry out and cannot yet: a permit that rests on one is not acted on.
UNSUPPORTED_CONDITIONS = frozenset(
    {Condition.CAPTURE.value, Condition.DUAL_CONTROL.value, Condition.ENCLAVE.value}
)
_QUOTA = Condition.QUOTA.value

RECHECK_PIECE = 200
"""Open requests decided again in one go, before others get the event loop."""

_CREDENTIAL_EVENTS = DeploymentRegistered | DeploymentRetired | DeploymentCredentialReplaced
_PURPOSES = {purpose.value: purpose for purpose in Purpose}


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


class NodeSettings(msgspec.Struct, frozen=True):
    """What a gateway node is told at start.

    name: names the node in entries. base_url: what clients call, without a trailing slash; DPoP proofs are made for it.
    pseudonym_key: 32 bytes from which end users' names at providers are made. sandbox: whether sandbox providers may be
    used. loopback: the listener can be reached from this machine only. remedy_base: page whose fragments explain codes.
    """

    name: str
    base_url: str
    pseudonym_key: bytes
    sandbox: bool
    loopback: bool = True
    remedy_base: str | None = None


class _Known:
    """What was decided for one credential, model, project, purpose and source: good in one epoch:
    while the state is the very same object.

    made_at, until: seconds between which `decide` would answer the same. counted: the quotas about it.
    """

    __slots__ = (
        "asked",
        "before_forwarding",
        "counted",
        "deployment",
        "epoch",
        "made_at",
        "outcome",
        "prepared",
        "principal",
        "provider",
        "question",
        "reasons",
        "route",
        "source",
        "until",
    )

    def __init__(
        self,
        *,
        epoch: int,
        source: str,
        principal: Principal,
        question: DecisionRequest,
        outcome: Decision,
        deployment: DeploymentRegistered | None,
        made_at: int,
        until: int,
        reasons: tuple[Reason, ...],
        prepared: PreparedDecision,
        provider: str,
        before_forwarding: bool,
        route: Route,
        asked: str,
        counted: tuple[Counted, ...],
    ) -> None:
        self.route = route
        self.asked = asked
        self.counted = counted
        self.epoch = epoch
        self.source = source
        self.principal = principal
        self.question = question
        self.outcome = outcome
        self.deployment = deployment
        self.made_at = made_at
        self.until = until
        self.reasons = reasons
        self.prepared = prepared
        self.provider = provider
        self.before_forwarding = before_forwarding


_Asked = tuple[int, str, Wire, Route, ProjectId | None, Purpose | None, str, DeploymentId | None]
_MAX_KNOWN = 20_000
_PRINCIPAL = "principal"
_DECIDED = "decided"


class GatewayNode:
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
        self._known: dict[_Asked, _Known] = {}
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

    def metrics(self, connections: int = 0) -> str:
        """What this node counted, and how it stands, as Prometheus text. connections: open at its listener."""
        log = self.decisions.log
        return self.measures.exposition(
            {
                "safeconduct_open_requests": ("Permitted requests that have not ended.", len(self.open)),
                "safeconduct_connections": ("Client connections open at the gateway.", connections),
                "safeconduct_ready": ("1 when requests can be served.", int(self.ready)),
                "safeconduct_decision_log_entries": (
                    "Entries of the decision log, durable or not.",
                    log.size,
                ),
                "safeconduct_decision_log_durable_entries": (
                    "Entries of the decision log that are durable.",
                    log.durable_size,
                ),
                "safeconduct_state_position": (
                    "Entries of the record in the state enforced.",
                    self.state.position,
                ),
            }
        )

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

    def declared(self, head: Head, principal: Principal) -> tuple[ProjectId | None, Purpose | None]:
        """Project and purpose of a request: its headers, else the credential's defaults. Raises Refusal(400)."""
        project, purpose = principal.project, principal.purpose
        value = head.get(b"x-safeconduct-project")
        if value is not None:
            if not value.isascii() or len(value) > 96:
                raise Refusal(400, "project", "this is no project's id", field="x-safeconduct-project")
            named = value.decode("ascii")
            if named not in self.state.projects and quotable(named) != named:
                # It would stand in the entry: somebody's key, most likely, in the wrong header.
                raise Refusal(400, "project", "this is no project's id", field="x-safeconduct-project")
            project = ProjectId(named)
        value = head.get(b"x-safeconduct-purpose")
        if value is not None:
            found = _PURPOSES.get(value.decode("ascii", "replace"))
            if found is None:
                raise Refusal(
                    400,
                    "purpose",
                    "this is no known purpose",
                    field="x-safeconduct-purpose",
                    remedy=f"one of {', '.join(sorted(_PURPOSES))}",
                )
            purpose = found
        return project, purpose

    def network_permitted(self, principal: Principal, source: str) -> bool:
        """Whether the credential may be used from there."""
        if principal.gateway_key is not None and not self.settings.loopback:
            key = self.state.gateway_keys.get(principal.gateway_key)
            if key is not None and key.registered.loopback_only:
                return False
        return self._networks.permit(principal.networks, source)

    def stale(self, variant: VariantId) -> Reason | None:  # noqa: ARG002 - where the record is followed it depends on it
        """Why the state is too old for a variant; None where it cannot be."""
        return None

    def question(
        self,
        principal: Principal,
        *,
        variant: VariantId,
        deployment: DeploymentId,
        project: ProjectId | None,
        purpose: Purpose | None,
        network_permitted: bool,
    ) -> DecisionRequest:
        """What is asked of `decide` for one target."""
        return DecisionRequest(
            subject=principal.subject,
            holder=principal.holder,
            kind=principal.kind,
            passport=principal.passport,
            claims=principal.claims,
            aal=principal.aal,
            authenticated_at=principal.authenticated_at,
            binding=principal.binding,
            purpose=purpose,
            variant=variant,
            deployment=deployment,
            organisation=principal.organisation,
            mandates=principal.mandates,
            project=project,
            gateway_key=principal.gateway_key,
            network_permitted=network_permitted,
        )

    def _best(
        self,
        principal: Principal,
        *,
        variant: VariantId,
        wire: Wire,
        project: ProjectId | None,
        purpose: Purpose | None,
        source: str,
        now: int,
        state: State,
        only: DeploymentId | None = None,
    ) -> tuple[DecisionRequest, Decision, DeploymentRegistered | None, int]:
        # The last of the four: until when the clock alone changes nothing of the other three.
        # Every deployment that could serve is decided on its own; the first permitted one is used.
        permitted = self.network_permitted(principal, source)
        deployments = deployments_for(state, variant, wire, now, sandbox=self.settings.sandbox)
        if only is not None:
            deployments = [each for each in deployments if each.deployment == only]
        if self.circuits.open:
            # Those that are away come last, and only where no other is permitted.
            deployments.sort(key=lambda one: one.deployment in self.circuits.open)
        if not deployments:
            question = self.question(
                principal,
                variant=variant,
                deployment=NO_DEPLOYMENT,
                project=project,
                purpose=purpose,
                network_permitted=permitted,
            )
            outcome = self.decide_on(question, state, now)
            return question, outcome, None, outcome.valid_until
        first: tuple[DecisionRequest, Decision, DeploymentRegistered] | None = None
        until = next_retirement(state, variant, now)
        for deployment in deployments:
            question = self.question(
                principal,
                variant=variant,
                deployment=deployment.deployment,
                project=project,
                purpose=purpose,
                network_permitted=permitted,
            )
            outcome = self.decide_on(question, state, now)
            until = min(until, outcome.valid_until)
            if isinstance(outcome, Permit):
                return question, outcome, deployment, until
            first = first or (question, outcome, deployment)
        assert first is not None
        return *first, until

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
        """Decide and record. only: the one deployment that can serve it. ask: the body, for what is charged to quotas.

        A permit that quotas are about comes back unrecorded: `app.reserve_use` completes it.
        Raises Refusal(400), LogUnavailable.
        """
        now = int(self.clock.now())
        state = self.state
        if state is not self._known_state or self._known_circuits != self.circuits.epoch:
            self._known.clear()
            self._known_state = state
            self._known_circuits = self.circuits.epoch
            self._known_epoch += 1
        if asked not in state.variants:
            asked = quotable(asked)
        fact = (_DECIDED, asked)
        known: _Known | None = head.facts.get(fact) if head.facts is not None and only is None else None
        if (
            known is None
            or known.principal is not principal
            or known.source != source
            or known.epoch != self._known_epoch
            or not known.made_at <= now < known.until
        ):
            found = self._decided(
                principal,
                head,
                route=route,
                wire=wire,
                asked=asked,
                source=source,
                only=only,
                state=state,
                now=now,
            )
            if isinstance(found, Verdict):
                return found
            known = found
            if only is None:
                head.keep_fact(fact, known)
        return self._verdict(known, ask, now)

    def _verdict(self, known: _Known, ask: Ask | None, now: int) -> Verdict:
        bill: Bill | None = None
        if known.counted:
            found = bill_for(self.state, known.counted, known.question, ask, known.route)
            if isinstance(found, Reason):
                return self.refuse(
                    known.principal,
                    known.question,
                    known.outcome,
                    found,
                    route=known.route,
                    asked=known.asked,
                    deployment=known.deployment,
                    now=now,
                )
            bill = found
        verdict = Verdict(known, bill)
        return verdict if bill is not None else self.record(verdict, now)

    def record(self, verdict: Verdict, now: int) -> Verdict:
        """Write the verdict's decision: it gets its id and index. Raises LogUnavailable."""
        prepared = verdict.prepared
        if prepared is None:
            prepared = self.decisions.prepare(
                verdict.request,
                verdict.outcome,
                position=verdict.outcome.position,
                route=verdict.route.value,
                asked=verdict.asked,
                credential=verdict.principal.credential,
                codes=tuple(dict.fromkeys(reason.code.value for reason in verdict.reasons)),
                jurisdiction=verdict.deployment.jurisdiction if verdict.deployment is not None else "",
            )
        verdict.id, verdict.index = self.decisions.write(
            prepared, now, within=0.0 if verdict.before_forwarding else LAZY_SECONDS
        )
        return verdict

    def _decided(
        self,
        principal: Principal,
        head: Head,
        *,
        route: Route,
        wire: Wire,
        asked: str,
        source: str,
        only: DeploymentId | None,
        state: State,
        now: int,
    ) -> _Known | Verdict:
        project, purpose = self.declared(head, principal)
        # A principal is the same object for as long as its credential is remembered; `_Known` keeps it alive, so that no
        # other can have its identity.
        question: _Asked = (id(principal), asked, wire, route, project, purpose, source, only)
        known = self._known.get(question)
        if known is None or not known.made_at <= now < known.until:
            found = self._find_out(
                principal,
                variant=VariantId(asked),
                route=route,
                wire=wire,
                asked=asked,
                project=project,
                purpose=purpose,
                source=source,
                only=only,
                state=state,
                now=now,
            )
            if isinstance(found, Verdict):
                return found
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            self._known[question] = known = found
        return known

    def _find_out(
        self,
        principal: Principal,
        *,
        variant: VariantId,
        route: Route,
        wire: Wire,
        asked: str,
        project: ProjectId | None,
        purpose: Purpose | None,
        source: str,
        only: DeploymentId | None,
        state: State,
        now: int,
    ) -> _Known | Verdict:
        """Decide anew. A verdict when the permit cannot be acted on: that is recorded as what it is."""
        question, outcome, deployment, until = self._best(
            principal,
            variant=variant,
            wire=wire,
            project=project,
            purpose=purpose,
            source=source,
            now=now,
            state=state,
            only=only,
        )
        return self._conclusion(
            principal,
            question,
            outcome,
            deployment,
            route=route,
            asked=asked,
            source=source,
            now=now,
            until=until,
        )

    def _conclusion(
        self,
        principal: Principal,
        question: DecisionRequest,
        outcome: Decision,
        deployment: DeploymentRegistered | None,
        *,
        route: Route,
        asked: str,
        source: str,
        now: int,
        until: int,
    ) -> _Known | Verdict:
        state = self.state
        reasons = told(outcome) if isinstance(outcome, Deny) else ()
        counted: tuple[Counted, ...] = ()
        if isinstance(outcome, Permit):
            if deployment is None:
                raise RuntimeError("a permit without a deployment")
            beyond = self._beyond(principal, question.variant, outcome)
            if beyond is not None:
                return self.refuse(
                    principal,
                    question,
                    outcome,
                    beyond,
                    route=route,
                    asked=asked,
                    deployment=deployment,
                    now=now,
                )
            if state.quotas and route not in FREE:
                counted = counted_on(state, question, outcome)
        known = state.variants.get(question.variant)
        return _Known(
            epoch=self._known_epoch,
            source=source,
            principal=principal,
            question=question,
            outcome=outcome,
            deployment=deployment,
            made_at=now,
            until=until,
            reasons=reasons,
            prepared=self.decisions.prepare(
                question,
                outcome,
                position=outcome.position,
                route=route.value,
                asked=asked,
                credential=principal.credential,
                codes=tuple(dict.fromkeys(reason.code.value for reason in reasons)),
                jurisdiction=deployment.jurisdiction if deployment is not None else "",
            ),
            provider=known.provider if known is not None else "",
            before_forwarding=known is None or known.required_level >= Level.C3,
            route=route,
            asked=asked,
            counted=counted,
        )

    def conclude(
        self,
        principal: Principal,
        question: DecisionRequest,
        outcome: Decision,
        deployment: DeploymentRegistered,
        *,
        route: Route,
        asked: str,
        ask: Ask | None,
        now: int,
    ) -> Verdict:
        """What an outcome comes to with this credential and its quotas; recorded, unless it waits for them.

        Raises LogUnavailable.
        """
        found = self._conclusion(
            principal, question, outcome, deployment, route=route, asked=asked, source="", now=now, until=now
        )
        return found if isinstance(found, Verdict) else self._verdict(found, ask, now)

    def _beyond(self, principal: Principal, variant: VariantId, permit: Permit) -> Reason | None:
        """Why a permit cannot be acted on with this credential, or by this gateway."""
        if principal.variants and variant not in principal.variants:
            return Reason(
                code=Code.GRANT_MISSING,
                rule="gateway.credential_scope",
                version="1",
                source="RFC 9396 7",
                detail="the credential was issued for other models",
                remedy="get a token whose authorization_details name this model",
            )
        unsupported = UNSUPPORTED_CONDITIONS.intersection(permit.obligations)
        if unsupported:
            return Reason(
                code=Code.CONDITION_UNMET,
                rule="gateway.obligations",
                version="1",
                source="conditions of the grant or licence",
                detail=f"this gateway cannot carry out: {', '.join(sorted(unsupported))}",
                remedy="ask for a grant without this condition, or use a gateway that carries it out",
            )
        return missing_quota(self.state, permit) if _QUOTA in permit.obligations else None

    def refuse(
        self,
        principal: Principal,
        question: DecisionRequest,
        permit: Decision,
        reason: Reason,
        *,
        route: Route,
        asked: str,
        deployment: DeploymentRegistered | None,
        now: int,
        lines: bytes = b"",
    ) -> Verdict:
        """Record that a permit is not acted on, and why. lines: headers of the answer. Raises LogUnavailable."""
        # Not a decision's outcome (re-running `decide` would permit), so it is recorded as what it is.
        refusal, index = self.decisions.refusal(
            (reason.code.value,),
            route=route.value,
            now=now,
            reasons=(reason,),
            subject=principal.subject,
            holder=principal.holder,
            passport=principal.passport,
            organisation=principal.organisation,
            asked=asked,
            jurisdiction=deployment.jurisdiction if deployment is not None else "",
        )
        deny = Deny(reasons=(reason,), valid_until=permit.valid_until, position=permit.position)
        return Verdict.refused(
            refusal,
            index,
            deny,
            question,
            principal=principal,
            route=route,
            asked=asked,
            lines=lines,
        )

    def refuse_route(self, principal: Principal, route: str, now: int) -> tuple[str, int]:
        """Record that a known caller asked for a route that is not served. Raises LogUnavailable."""
        return self.decisions.refusal(
            (Code.ROUTE_UNKNOWN.value,),
            route=quotable(route)[:200],
            now=now,
            subject=principal.subject,
            holder=principal.holder,
            passport=principal.passport,
            organisation=principal.organisation,
        )

    def models(self, principal: Principal, head: Head, wire: Wire, source: str) -> list[tuple[str, str]]:
        """Names and providers of the models this caller may use on this wire now, ordered by name. Raises Refusal(400)."""
        return [
            (variant, self.state.variants[variant].provider)
            for variant in sorted(self.state.variants)
            if self.may_use(principal, head, variant, wire, source)
        ]

    def may_use(self, principal: Principal, head: Head, variant: VariantId, wire: Wire, source: str) -> bool:
        """Whether a request for this model would be let through now. Raises Refusal(400)."""
        project, purpose = self.declared(head, principal)
        now = int(self.clock.now())
        _, outcome, _, _ = self._best(
            principal,
            variant=variant,
            wire=wire,
            project=project,
            purpose=purpose,
            source=source,
            now=now,
            state=self.state,
        )
        return isinstance(outcome, Permit) and self._beyond(principal, variant, outcome) is None

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
