"""Use case: find the next target of a request whose last one did not answer.

Targets are the further deployments of its variant, in order, then those of the fallback variants that deployments and grants
name. Owns that each is decided on its own: a fallback is a place to ask, never a permit to use it. What is denied is recorded
with its reasons and passed over.
"""

from __future__ import annotations

from safeconduct.app.enforce_request import GatewayNode
from safeconduct.app.verdict import Verdict
from safeconduct.decision.response import Permit
from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.http_messages import Head
from safeconduct.gateway.resolution import deployments_for, fallbacks_of
from safeconduct.kernel.ids import DeploymentId, VariantId
from safeconduct.kernel.vocabulary import Wire


def fall_back(
    node: GatewayNode,
    last: Verdict,
    *,
    head: Head,
    wire: Wire,
    source: str,
    ask: Ask,
    tried: set[DeploymentId],
) -> Verdict | None:
    """The verdict on the next permitted target, or None when there is none; unrecorded while quotas are to be asked.

    last: the verdict on the target that failed. tried: targets that are out of the question; gains what was looked at.
    Raises LogUnavailable.
    """
    principal, now, state = last.principal, int(node.clock.now()), node.state
    project, purpose = node.declared(head, principal)
    permitted = node.network_permitted(principal, source)
    grants = last.outcome.grants if isinstance(last.outcome, Permit) else ()
    sandbox = node.settings.sandbox
    for variant in fallbacks_of(state, VariantId(last.asked), wire, now, grants, sandbox=sandbox):
        for deployment in deployments_for(state, variant, wire, now, sandbox=sandbox):
            name = deployment.deployment
            if name in tried:
                continue
            tried.add(name)
            if name in node.circuits.open:
                continue
            question = node.question(
                principal,
                variant=variant,
                deployment=name,
                project=project,
                purpose=purpose,
                network_permitted=permitted,
            )
            stale = node.stale(variant)
            if stale is not None:
                node.refuse(
                    principal,
                    question,
                    last.outcome,
                    stale,
                    route=last.route,
                    asked=last.asked,
                    deployment=deployment,
                    now=now,
                )
                continue
            verdict = node.conclude(
                principal,
                question,
                node.decide_on(question, state, now),
                deployment,
                route=last.route,
                asked=last.asked,
                ask=ask,
                now=now,
            )
            if isinstance(verdict.outcome, Permit):
                return verdict
    return None
