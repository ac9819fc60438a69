"""Use case: say what a variant's use costs and how long its answers can be."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_provider
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.ids import VariantId
from safeconduct.record.events import Event
from safeconduct.record.events.quotas import MeteringSet
from safeconduct.record.state import State
from safeconduct.registry.price import MAX_OUTPUT_TOKENS, Price, check_price


class SetMetering(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """price: replaces the one before; left out, none. max_output_tokens: the longest answer there is, if known."""

    variant: str
    price: Price | None = None
    max_output_tokens: int | None = None


def set_metering(instance: Instance, caller: Caller, ask: SetMetering) -> MeteringSet:
    """By the variant's provider, or an operator. Raises Forbidden, InvalidInput, NotFound."""

    def check(state: State) -> list[Event]:
        known = state.variants.get(VariantId(ask.variant))
        if known is None:
            raise NotFound(f"there is no variant {ask.variant[:100]!r}", field="variant")
        require_provider(caller, known.provider, operators=True)
        event = metering(
            VariantId(ask.variant),
            ask.price,
            ask.max_output_tokens,
            by=caller.id,
            at=instant(instance),
        )
        made[:] = [event]
        return [event]

    made: list[MeteringSet] = []
    commit_checked(instance, check)
    return made[0]


def metering(
    variant: VariantId, price: Price | None, max_output_tokens: int | None, *, by: str, at: int
) -> MeteringSet:
    """The event that says so. Raises InvalidInput."""
    if price is not None:
        check_price(price)
    if max_output_tokens is not None and not 1 <= max_output_tokens <= MAX_OUTPUT_TOKENS:
        raise InvalidInput(f"not within 1 to {MAX_OUTPUT_TOKENS}", field="max_output_tokens")
    return MeteringSet(variant=variant, by=by, at=at, price=price, max_output_tokens=max_output_tokens)
