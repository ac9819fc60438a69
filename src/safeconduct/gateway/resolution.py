"""From the name a caller writes to the deployments that may serve it. Refuses to choose by anything but the state."""

from __future__ import annotations

from collections.abc import Iterable

from safeconduct.decision.rules import NEVER
from safeconduct.gateway.upstream import KINDS
from safeconduct.kernel.ids import DeploymentId, GrantId, VariantId
from safeconduct.kernel.vocabulary import Wire
from safeconduct.record.events.registrations import DeploymentRegistered
from safeconduct.record.state import State

NO_DEPLOYMENT = DeploymentId("none")
"""Stands for the deployment of a model that has none on the wire asked for: a decision on it gives MODEL_UNKNOWN."""


def deployments_for(
    state: State, variant: VariantId, wire: Wire, now: int, *, sandbox: bool
) -> list[DeploymentRegistered]:
    """Deployments in use that speak the wire, in the order they were registered.

    sandbox: whether sandbox deployments count (a production profile refuses them).
    """
    found = []
    for deployment in state.deployments_of.get(variant, ()):
        entry = state.deployments.get(deployment)
        if entry is None or (entry.retired_at is not None and entry.retired_at <= now):
            continue
        registered = entry.registered
        if (
            wire in registered.wires
            and registered.kind in KINDS
            and (sandbox or registered.kind != "sandbox")
        ):
            found.append(registered)
    return found


MAX_FALLBACKS = 4


def fallbacks_of(
    state: State, variant: VariantId, wire: Wire, now: int, grants: Iterable[str], *, sandbox: bool
) -> list[VariantId]:
    """The variant itself, then those that its deployments and the grants of its permit name, and what those name in turn.

    In that order, each once, at most `MAX_FALLBACKS` beside the first.
    """
    found = [variant]
    named = [
        grant.given.fallback for name in grants if (grant := state.grants.get(GrantId(name))) is not None
    ]
    for place, one in enumerate(found):
        deployments = deployments_for(state, one, wire, now, sandbox=sandbox)
        for fallback in (*(each.fallback for each in deployments), *(named if place == 0 else ())):
            if fallback is not None and fallback not in found and len(found) <= MAX_FALLBACKS:
                found.append(fallback)
    return found


def next_retirement(state: State, variant: VariantId, now: int) -> int:
    """The first moment after `now`, in seconds, at which the clock alone takes a deployment of the variant away."""
    moments = (
        entry.retired_at
        for entry in map(state.deployments.get, state.deployments_of.get(variant, ()))
        if entry is not None and entry.retired_at is not None
    )
    return min((moment for moment in moments if moment > now), default=NEVER)
