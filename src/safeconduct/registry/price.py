"""Prices of a model's use, in whole micro-units of a currency (1 USD = 1,000,000). No number here is a float.

Owns how usage becomes money: rounded up, so that what is charged is never less than what was used. Refuses prices that are
negative or so large that a sum could leave 64 bits.
"""

from __future__ import annotations

import re

import msgspec

from safeconduct.kernel.errors import InvalidInput

MICRO = 1_000_000
MILLION = 1_000_000
MAX_PRICE = 10**12
"""A million units of the currency for a million tokens: beyond any price, and far within 64 bits."""
MAX_OUTPUT_TOKENS = 10**9

_CURRENCY = re.compile(r"[A-Z]{3}")


class Price(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a provider asks. currency: ISO 4217. input, output: micro-units for a million tokens. request: for each request."""

    currency: str
    input: int
    output: int
    request: int = 0


def cost(price: Price, input_tokens: int, output_tokens: int) -> int:
    """What that usage costs, in micro-units, rounded up."""
    tokens = input_tokens * price.input + output_tokens * price.output
    return -(-tokens // MILLION) + price.request


def check_currency(currency: str, field: str = "currency") -> str:
    """Return a currency written as ISO 4217 asks. Raises InvalidInput."""
    if not _CURRENCY.fullmatch(currency):
        raise InvalidInput(
            f"{currency[:20]!r} is not a currency", field=field, remedy="write its ISO 4217 code, such as USD"
        )
    return currency


def check_price(price: Price) -> Price:
    """Return a price within bounds. Raises InvalidInput naming the member."""
    check_currency(price.currency, "price.currency")
    for name in ("input", "output", "request"):
        if not 0 <= getattr(price, name) <= MAX_PRICE:
            raise InvalidInput(
                f"not within 0 to {MAX_PRICE}",
                field=f"price.{name}",
                remedy="give micro-units of the currency for a million tokens",
            )
    return price
