"""Decide a request at a gateway: which deployment, what `decide` says of it, and what of that is remembered.

Owns the order of these and what may be answered from memory. Refuses to authenticate anybody or to do I/O.
"""

from __future__ import annotations

from safeconduct.app.decision_log import LAZY_SECONDS, DecisionLog
from safeconduct.app.known_decisions import Asked, Known
from safeconduct.app.node_settings import NodeSettings
from safeconduct.app.verdict import Verdict
from safeconduct.decision.explanation import told
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny, Permit, Reason
from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.circuit import Circuits
from safeconduct.gateway.http_messages import Head, Refusal
from safeconduct.gateway.open_requests import Decide
from safeconduct.gateway.quotas import FREE, Bill, Counted, bill_for, counted_on, missing_quota
from safeconduct.gateway.quoting import quotable
from safeconduct.gateway.resolution import NO_DEPLOYMENT, deployments_for, next_retirement
from safeconduct.gateway.routes import Route
from safeconduct.gateway.source_networks import SourceNetworks
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.ids import DeploymentId, ProjectId, VariantId
from safeconduct.kernel.vocabulary import Code, Condition, Level, Purpose, Wire
from safeconduct.passport.principal import Principal
from safeconduct.record.events.registrations import (
    DeploymentRegistered,
)
from safeconduct.record.state import State

_MAX_KNOWN = 20_000
_DECIDED = "decided"
# Conditions a gateway would have to carry out and cannot yet: a permit that rests on one is not acted on.
UNSUPPORTED_CONDITIONS = frozenset(
    {Condition.CAPTURE.value, Condition.DUAL_CONTROL.value, Condition.ENCLAVE.value}
)
_QUOTA = Condition.QUOTA.value
_PURPOSES = {purpose.value: purpose for purpose in Purpose}


class RequestDecider:
    """The deciding half of `enforce_request.GatewayNode`, which sets up what it uses."""

    state: State
    settings: NodeSettings
    clock: Clock
    decisions: DecisionLog
    circuits: Circuits
    decide_on: Decide
    _networks: SourceNetworks
    _known: dict[Asked, Known]
    _known_state: State
    _known_epoch: int
    _known_circuits: int

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
        known: Known | None = head.facts.get(fact) if head.facts is not None and only is None else None
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

    def _verdict(self, known: Known, ask: Ask | None, now: int) -> Verdict:
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
    ) -> Known | Verdict:
        project, purpose = self.declared(head, principal)
        # A principal is the same object for as long as its credential is remembered; `Known` keeps it alive, so that no
        # other can have its identity.
        question: Asked = (id(principal), asked, wire, route, project, purpose, source, only)
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
    ) -> Known | Verdict:
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
    ) -> Known | Verdict:
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
        return Known(
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
