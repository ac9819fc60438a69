"""Variants: the same weights under other safeguards, under the name that callers use."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping

from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import ModelId, VariantId, check_name

SAFEGUARDS = frozenset(
    {
        "classifier_block",
        "fallback",
        "monitoring",
        "retention",
        "human_review",
        "safety_id",
        "sandbox",
        "rate_cap",
        "egress",
    }
)


def check_variant(
    variant: str,
    model: ModelId,
    *,
    safeguards: Iterable[str],
    minimum_age: int | None,
    models: Container[str],
    variants: Mapping[VariantId, object],
) -> VariantId:
    """Check a new variant's name and its own statements. Raises InvalidInput, Conflict."""
    name = VariantId(check_name(variant, "variant"))
    if name in variants:
        raise Conflict(f"variant {name!r} is registered already", field="variant")
    if variant != model and variant in models:
        raise Conflict(
            f"{name!r} is a model: in an order its name means all that model's variants",
            field="variant",
            remedy="choose another name",
        )
    for safeguard in safeguards:
        if safeguard not in SAFEGUARDS:
            raise InvalidInput(
                f"unknown safeguard {safeguard[:60]!r}",
                field="safeguards",
                remedy=f"use {', '.join(sorted(SAFEGUARDS))}",
            )
    if minimum_age is not None and minimum_age != 18:  # passports disclose one boolean, `age_over_18`
        raise InvalidInput("a minimum age is 18 or none", field="minimum_age")
    return name
