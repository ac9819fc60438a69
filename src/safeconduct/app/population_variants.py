"""Which variants are alike for everybody: asked about one, a person is answered the same about the others.

Owns the argument that they are: of a variant a decision reads its state, its deployments, and which orders, licences and
grants name it, never what it is called. What a decision does with that is not repeated: one of each kind is decided by
`decide` itself (a property test compares with asking about all). A new field joins the comparison by itself; what is left
out is named here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from safeconduct.kernel.ids import DeploymentId, ModelId, VariantId
from safeconduct.record.projections import DeploymentState, VariantState
from safeconduct.record.state import State

NamedTogether = frozenset[VariantId]


class Kinds(msgspec.Struct, frozen=True, eq=False):
    """asked: one variant of each kind, ascending. alike: by that one, all of its kind, ascending."""

    asked: tuple[VariantId, ...]
    alike: Mapping[VariantId, tuple[VariantId, ...]]


def kinds_of(before: State, after: State, granted: Iterable[NamedTogether]) -> Kinds:
    """The kinds under two states that differ in orders only. granted: the variants of every grant that may be asked about."""
    named = [*granted]
    named += [frozenset(held.given.variants) for held in before.licences.values()]
    for state in (before, after):
        named += [frozenset(held.imported.variants) for held in state.directives.values()]
    # Compared one with another, since not everything in a state can be hashed: there are few kinds.
    found: list[tuple[Any, list[VariantId]]] = []
    for variant, held in sorted(before.variants.items()):
        about = (
            _about_variant(held),
            [
                _about_deployment(before.deployments[name])
                # In the order in which questions name them.
                for name in sorted(before.deployments_of.get(variant, ()), key=repr)
            ],
            [variant in together for together in named],
        )
        for known, alike in found:
            if known == about:
                alike.append(variant)
                break
        else:
            found.append((about, [variant]))
    return Kinds(
        asked=tuple(alike[0] for _, alike in found), alike={alike[0]: tuple(alike) for _, alike in found}
    )


def _about_variant(held: VariantState) -> VariantState:
    """All but its names, and what has gone into its level (findings) or into quotas (metering)."""
    registered = msgspec.structs.replace(held.registered, variant=VariantId(""), model=ModelId(""))
    return msgspec.structs.replace(held, registered=registered, findings=(), metering=None)


def _about_deployment(held: DeploymentState) -> DeploymentState:
    """All but its names, and where it is reached."""
    nameless = DeploymentId("")
    return msgspec.structs.replace(
        held,
        registered=msgspec.structs.replace(
            held.registered,
            deployment=nameless,
            variant=VariantId(""),
            base_url="",
            upstream_model="",
            fallback=None,
        ),
        certifications=tuple(
            msgspec.structs.replace(one, deployment=nameless, evidence="") for one in held.certifications
        ),
    )
