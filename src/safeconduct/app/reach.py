"""What the scope of a trusted key is held against: where each variant can be reached, and whose it is."""

from __future__ import annotations

from collections.abc import Iterable

from safeconduct.authorization.trust import VariantScope
from safeconduct.kernel.ids import ModelId, VariantId
from safeconduct.record.state import State


def reach_of(state: State, variants: Iterable[VariantId]) -> dict[VariantId, VariantScope]:
    """Provider and jurisdictions of registered variants."""
    found: dict[VariantId, VariantScope] = {}
    for variant in variants:
        provider = state.variants[variant].provider
        jurisdictions = {
            entry.registered.jurisdiction
            for name in state.deployments_of.get(variant, ())
            if (entry := state.deployments[name]).retired_at is None
        }
        registered = state.providers.get(provider)
        if registered is not None:
            jurisdictions.add(registered.jurisdiction)
        found[variant] = VariantScope(provider, frozenset(jurisdictions))
    return found


def models_of(state: State) -> dict[VariantId, ModelId]:
    """Every registered variant with its model."""
    return {name: entry.registered.model for name, entry in state.variants.items()}
