"""Models and what their name means: a model is weights, and its name in an order or grant means all its variants.

Refuses names that would mean two things.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import ModelId, VariantId, check_name


def check_model_name(model: str, variants_of: Mapping[VariantId, ModelId]) -> ModelId:
    """A chosen id for a model that no variant of another model has. Raises InvalidInput, Conflict."""
    name = ModelId(check_name(model, "model"))
    owner = variants_of.get(VariantId(name))
    if owner is not None and owner != name:
        raise Conflict(f"{name!r} is a variant of {owner!r}", field="model", remedy="choose another name")
    return name


def variants_named(names: Iterable[str], variants_of: Mapping[VariantId, ModelId]) -> tuple[VariantId, ...]:
    """The variants that a list of model and variant names means, ordered, each once.

    variants_of: every registered variant with its model. A model's name means all its variants, also when one of them
    has the same name. Raises InvalidInput naming the position of an unknown name.
    """
    found: set[VariantId] = set()
    for place, name in enumerate(names):
        of_model = {variant for variant, model in variants_of.items() if model == name}
        if not of_model and VariantId(name) not in variants_of:
            raise InvalidInput(
                f"{name[:100]!r} is neither a registered model nor a registered variant",
                field=f"variants[{place}]",
                remedy="register it first, or correct the name",
            )
        found |= of_model or {VariantId(name)}
    return tuple(sorted(found))
