"""Use case: register a model and its variants, or further variants of a model."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider
from safeconduct.app.set_metering import metering
from safeconduct.authorization.directive import RESTRICTING
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.ids import ModelId, ProviderId, VariantId
from safeconduct.kernel.jose import parse_jws
from safeconduct.kernel.vocabulary import Compartment, Level
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import ModelRegistered, VariantRegistered
from safeconduct.record.state import State
from safeconduct.registry.model import check_model_name
from safeconduct.registry.price import Price
from safeconduct.registry.variant import check_variant


class VariantOffer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A variant and what its provider asks of users beyond what findings demand. level: 0-4.

    price, max_output_tokens: what use is measured by, when known; `set_metering` changes them.
    """

    variant: str
    level: Level
    compartments: tuple[Compartment, ...] = ()
    safeguards: tuple[str, ...] = ()
    terms: str | None = None
    minimum_age: int | None = None
    price: Price | None = None
    max_output_tokens: int | None = None


class RegisterModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """provider: may be left out by the provider itself. An existing model gains the variants."""

    model: str
    variants: tuple[VariantOffer, ...]
    provider: str | None = None


def register_model(instance: Instance, caller: Caller, ask: RegisterModel) -> tuple[Event, ...]:
    """By the provider, or an operator for it. Returns the events: the model when it is new, then its variants.

    Raises Forbidden, InvalidInput, NotFound, Conflict.
    """
    provider = ProviderId(ask.provider or caller.provider or "")
    require_provider(caller, provider, operators=True)
    if not ask.variants:
        raise InvalidInput("a model is called by its variants", field="variants", remedy="name at least one")

    def check(state: State) -> list[Event]:
        if provider not in state.providers:
            raise NotFound(f"there is no provider {provider!r}", field="provider", remedy="register it first")
        return registrations(state, provider, ask, by=caller.id, at=instant(instance))

    return commit_checked(instance, check)


def registrations(state: State, provider: ProviderId, ask: RegisterModel, *, by: str, at: int) -> list[Event]:
    """The events that register the ask's model (when it is new) and variants. Raises InvalidInput, Conflict."""
    variants_of = {name: entry.registered.model for name, entry in state.variants.items()}
    model = check_model_name(ask.model, variants_of)
    events: list[Event] = []
    known = state.models.get(model)
    if known is None:
        events.append(ModelRegistered(model=model, provider=provider))
    elif known.provider != provider:
        raise Conflict(f"model {model!r} is another provider's", field="model")
    else:
        _check_not_ordered(state, model)
    seen: dict[VariantId, object] = dict(state.variants.items())
    for offer in ask.variants:
        name = check_variant(
            offer.variant,
            model,
            safeguards=offer.safeguards,
            minimum_age=offer.minimum_age,
            models=state.models,
            variants=seen,
        )
        seen[name] = offer
        events.append(
            VariantRegistered(
                variant=name,
                model=model,
                level=offer.level,
                compartments=tuple(sorted(set(offer.compartments))),
                safeguards=offer.safeguards,
                terms=offer.terms,
                minimum_age=offer.minimum_age,
            )
        )
        if offer.price is not None or offer.max_output_tokens is not None:
            events.append(metering(name, offer.price, offer.max_output_tokens, by=by, at=at))
    return events


def _check_not_ordered(state: State, model: ModelId) -> None:
    """Refuse a new variant of a model that an order names as a whole: it would be the same weights outside the order.

    The order's variants were fixed when it was imported, so the new one would not be under it.
    """
    for variant in state.variants_of.get(model, ()):
        for directive in state.orders_on.get(variant, ()):
            order = state.directives[directive]
            if order.rescinded_from is not None or order.imported.kind not in RESTRICTING:
                continue
            if model in parse_jws(order.imported.jws).claims().get("variants", ()):
                raise Conflict(
                    f"{directive} orders all variants of {model!r}, and a new one would escape it",
                    field="variants",
                    remedy="register it once the order is rescinded, or have the authority order it by name",
                )
