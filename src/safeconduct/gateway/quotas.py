"""Which quotas a permitted request must fit, what it is charged before it goes out, and what it turns out to have used.

Owns the estimate, the settlement and the words of a refusal. Refuses to trust the caller with any number: what a request
says of its own length only raises what is reserved, whose counter it is comes from the record, and use that nobody
reported is charged as it was reserved.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable

import msgspec

from safeconduct.authorization.quota import bucket_milliseconds, buckets_counted
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Permit, Reason
from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.quota_ledger import Charge, Held
from safeconduct.gateway.routes import Route
from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.ids import GrantId, LicenceId, QuotaId
from safeconduct.kernel.vocabulary import Code, Condition, QuotaPer, QuotaUnit, QuotaWindow, Wire
from safeconduct.record.events.quotas import QuotaSet
from safeconduct.record.fold_quotas import ALL
from safeconduct.record.state import State
from safeconduct.registry.price import MICRO, Price, cost

BYTES_PER_TOKEN = 2
"""Of a request's body, for the estimate: few texts take more tokens. What does is charged in full when it is reported."""
DEFAULT_OUTPUT_TOKENS = 8_192
"""Reserved for an answer when neither the request nor the registry says how long it may be."""
MAX_RETRY_AFTER = 30
"""Vendor clients obey `Retry-After` literally, however long."""
_LARGEST = 10**15

_OUTPUT_LIMITS = ("max_tokens", "max_completion_tokens", "max_output_tokens")
_COPIES = ("n", "best_of")
_WITHOUT_OUTPUT = frozenset({Route.EMBEDDINGS})
_WITHOUT_TOKENS = frozenset({Route.MODERATIONS, Route.COUNT_TOKENS})
FREE = frozenset({Route.RESPONSE_DELETE, Route.RESPONSE_CANCEL})
"""Never charged: who has used up a quota must still be able to end what runs."""
# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_REQUESTS = QuotaUnit.REQUESTS
_TOKENS = QuotaUnit.TOKENS
_MONEY = QuotaUnit.MONEY
_number: msgspec.json.Decoder[int | float] = msgspec.json.Decoder(int | float)
_SOURCE = "Safeconduct rules, section 2 (condition quota)"


class Bill(msgspec.Struct):
    """What a request is charged. quotas and charges stand in the same order; input and output are the tokens reserved.

    held: the ledger's answer, once it has given one.
    """

    quotas: tuple[QuotaSet, ...]
    charges: tuple[Charge, ...]
    input: int
    output: int
    price: Price | None = None
    held: Held | None = None


def subjects_of(state: State, request: DecisionRequest) -> Iterable[str]:
    """Whose use it is: who asks, every agent above it, and the human on whose passport it rests."""
    yield request.holder
    if request.subject != request.holder:
        yield request.subject
        for mandate in request.mandates[:-1]:
            known = state.mandates.get(mandate)
            if known is not None:
                yield known.registered.agent


def organisation_of(state: State, request: DecisionRequest) -> str:
    """The organisation that the holder is enrolled with: a claim that was not disclosed must not hide it."""
    holder = state.subjects.get(request.holder)
    return (holder.enrolled.organisation or "") if holder is not None else ""


def quotas_on(state: State, request: DecisionRequest, permit: Permit) -> tuple[QuotaSet, ...]:
    """Every quota about the request, in the order of their ids."""
    organisation = organisation_of(state, request)
    subjects = tuple(subjects_of(state, request))
    index = state.quotas_on
    names: list[QuotaId] = [*index.get(ALL, ())]
    for key in (
        ("variant", request.variant),
        ("organisation", organisation),
        ("project", request.project or ""),
        *(("subject", subject) for subject in subjects),
        *(("authorization", one) for one in permit.grants),
    ):
        names += index.get(key, ())
    if not names:
        return ()
    found = (state.quotas[name] for name in sorted(set(names)))
    return tuple(
        quota
        for quota in found
        if (quota.variant is None or quota.variant == request.variant)
        and (quota.organisation is None or quota.organisation == organisation)
        and (quota.project is None or quota.project == request.project)
        and (quota.subject is None or quota.subject in subjects)
        and (quota.authorization is None or quota.authorization in permit.grants)
    )


def missing_quota(state: State, permit: Permit) -> Reason | None:
    """Why the condition `quota` of a grant or licence of the permit is not carried out; None when it is.

    A condition that a grant took over from its parent is carried out by the parent's quota.
    """
    for name in permit.grants:
        grant = state.grants.get(GrantId(name))
        licence = state.licences.get(LicenceId(name)) if grant is None else None
        if grant is not None:
            parent = state.grants.get(grant.given.parent) if grant.given.parent is not None else None
            asked = Condition.QUOTA in grant.given.conditions and (
                parent is None or Condition.QUOTA not in parent.given.conditions
            )
        else:
            asked = licence is not None and Condition.QUOTA in licence.given.conditions
        if asked and not state.quotas_on.get(("authorization", name)):
            return Reason(
                code=Code.CONDITION_UNMET,
                rule="gateway.obligations",
                version="1",
                source=_SOURCE,
                detail=f"{name} is good under a quota only, and none is set for it",
                remedy="have whoever gave it set one: safeconduct quota set",
            )
    return None


def estimate(ask: Ask | None, route: Route, longest: int | None) -> tuple[int, int]:
    """Tokens to reserve: for what is sent, and for the answer. longest: what the registry says an answer can be."""
    if ask is None or route in _WITHOUT_TOKENS:
        return 0, 0
    members = ask.members
    sent = -(-sum(map(len, members.values())) // BYTES_PER_TOKEN)
    if route in _WITHOUT_OUTPUT:
        return sent, 0
    asked = [found for name in _OUTPUT_LIMITS if (found := _whole(members.get(name))) is not None]
    output = max(asked) if asked else longest or DEFAULT_OUTPUT_TOKENS
    if longest is not None:
        output = min(output, longest)
    copies = max(1, *(_whole(members.get(name)) or 1 for name in _COPIES))
    return sent, min(output * copies, _LARGEST)


def _whole(raw: msgspec.Raw | None) -> int | None:
    """A number of a body as a whole one that is not negative, or None when it is none."""
    if raw is None:
        return None
    try:
        value = _number.decode(raw)
    except (msgspec.MsgspecError, ValueError):
        return None
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return min(max(0, math.ceil(value)), _LARGEST)


class Counted(msgspec.Struct, frozen=True):
    """A quota about a request, with what does not change from one request of the kind to the next."""

    quota: QuotaSet
    counter: bytes
    width: int
    span: int


def counted_on(state: State, request: DecisionRequest, permit: Permit) -> tuple[Counted, ...]:
    """Every quota about the request with the counter it falls under, in the order of the quotas' ids."""
    return tuple(
        Counted(
            quota=quota,
            counter=counter_name(quota, state, request),
            width=bucket_milliseconds(quota),
            span=buckets_counted(quota),
        )
        for quota in quotas_on(state, request, permit)
    )


def counter_name(quota: QuotaSet, state: State, request: DecisionRequest) -> bytes:
    """16 bytes for the counter that the request falls under: another unit, window or scope counts anew."""
    values = {
        QuotaPer.SUBJECT: request.holder,
        QuotaPer.PROJECT: request.project or "",
        QuotaPer.ORGANISATION: organisation_of(state, request),
        QuotaPer.VARIANT: request.variant,
    }
    return _counter(quota, {one.value: values[one] for one in quota.per})


def _counter(quota: QuotaSet, values: dict[str, str]) -> bytes:
    name = msgspec.json.encode(
        [
            quota.quota,
            quota.unit,
            quota.window,
            quota.seconds,
            [quota.subject, quota.project, quota.organisation, quota.variant, quota.authorization],
            [quota.currency, [[per, values[per]] for per in quota.per]],
        ]
    )
    return hashlib.blake2b(name, digest_size=16).digest()


def charge_of(quota: QuotaSet, values: dict[str, str]) -> Charge:
    """A charge of nothing, for looking up what a quota's counter holds."""
    return Charge(
        counter=_counter(quota, values),
        amount=0,
        limit=quota.limit,
        width=bucket_milliseconds(quota),
        span=buckets_counted(quota),
    )


def bill_for(
    state: State, counted: tuple[Counted, ...], request: DecisionRequest, ask: Ask | None, route: Route
) -> Bill | Reason:
    """What the request is charged under its quotas; a Reason when money is to be counted and there is no price for it."""
    variant = state.variants.get(request.variant)
    metering = variant.metering if variant is not None else None
    price = metering.price if metering is not None else None
    sent = output = 0
    if any(one.quota.unit is not _REQUESTS for one in counted):
        sent, output = estimate(ask, route, metering.max_output_tokens if metering is not None else None)
    charges = []
    for one in counted:
        quota = one.quota
        if quota.unit is _MONEY and (price is None or price.currency != quota.currency):
            return Reason(
                code=Code.CONDITION_UNMET,
                rule="gateway.quota",
                version="1",
                source=_SOURCE,
                detail=f"the budget {quota.quota} cannot be kept: the model has no price in {quota.currency}",
                remedy="have the operator set the model's price: safeconduct model price",
            )
        charges.append(
            Charge(one.counter, _amount(quota.unit, sent, output, price), quota.limit, one.width, one.span)
        )
    return Bill(
        quotas=tuple(one.quota for one in counted),
        charges=tuple(charges),
        input=sent,
        output=output,
        price=price,
    )


def _amount(unit: QuotaUnit, sent: int, output: int, price: Price | None) -> int:
    if unit is _REQUESTS:
        return 1
    if unit is _TOKENS:
        return sent + output
    assert price is not None
    return min(cost(price, sent, output), _LARGEST)


NOT_SENT = "released"
SETTLED = "settled"
AS_RESERVED = "reserved"


def used_by(
    bill: Bill, *, sent: bool, whole: bool, failed: bool, tokens_in: int | None, tokens_out: int | None
) -> tuple[list[int], str]:
    """What each charge turned out to be, and the word for it.

    sent: the request, or part of it, went out. whole: the answer came to its end. failed: it was an error, for which no
    provider asks money. tokens_in, tokens_out: the provider's numbers, where it gave any.
    """
    if not sent:
        return [0] * len(bill.charges), NOT_SENT
    if failed and whole:
        tokens_in, tokens_out = 0, 0
    elif not whole:
        # Numbers seen before the end are not the last ones: whoever leaves early must not pay less than who stays.
        tokens_in = tokens_out = None
    reported = (tokens_in is not None or bill.input == 0) and (tokens_out is not None or bill.output == 0)
    read = max(0, tokens_in) if tokens_in is not None else bill.input
    written = max(0, tokens_out) if tokens_out is not None else bill.output
    amounts = []
    for quota in bill.quotas:
        if quota.unit is _MONEY and failed and whole:
            amounts.append(0)
        else:
            amounts.append(_amount(quota.unit, read, written, bill.price))
    return amounts, SETTLED if reported else AS_RESERVED


# -- what the caller is told -----------------------------------------------------------------------------------------


def resets_at(quota: QuotaSet, now: int) -> int:
    """Milliseconds since the epoch at which the present window is over; for a sliding one, when its next bucket begins."""
    width = bucket_milliseconds(quota)
    return (now // width + 1) * width


def exceeded(bill: Bill, held: Held, now: int) -> Reason:
    """The reason of a request that does not fit. now: milliseconds."""
    for quota, charge, used in zip(bill.quotas, bill.charges, held.used, strict=True):
        if used + charge.amount > charge.limit:
            return _exceeded(quota, charge, used, now)
    # Refused because of what was being taken back at the same moment: it would fit now.
    return _exceeded(bill.quotas[0], bill.charges[0], held.used[0], now)


def _exceeded(quota: QuotaSet, charge: Charge, used: int, now: int) -> Reason:
    sliding = quota.window is QuotaWindow.SLIDING
    left = shown(quota, max(0, charge.limit - used))
    if charge.amount > charge.limit:
        remedy = "ask for less at once (max_tokens counts as if it were used), or have the quota raised"
    elif sliding:
        remedy = f"wait; the first of it is free again from {_moment(resets_at(quota, now))}"
    else:
        remedy = f"wait until {_moment(resets_at(quota, now))}, when the window begins anew"
    return Reason(
        code=Code.QUOTA,
        rule=quota.quota,
        version="1",
        source=_SOURCE,
        detail=(
            f"{shown(quota, charge.limit)} in {'any ' if sliding else ''}{quota.seconds} s: {left} left, "
            f"{shown(quota, charge.amount)} asked for"
        ),
        remedy=remedy,
    )


def unavailable() -> Reason:
    """The reason of a request that cannot be counted."""
    return Reason(
        code=Code.QUOTA,
        rule="gateway.quota",
        version="1",
        source=_SOURCE,
        detail="use cannot be counted now, so nothing that is limited is let through",
        remedy="try again in a moment; the operator must mend the quotas' ledger",
    )


def _moment(milliseconds: int) -> str:
    return format_instant(-(-milliseconds // 1000))


def shown(quota: QuotaSet, amount: int) -> str:
    """An amount of a quota in words."""
    if quota.unit is _MONEY:
        return f"{amount // MICRO}.{amount % MICRO:06d} {quota.currency}"
    return f"{amount} {quota.unit.value}"


def header_lines(bill: Bill, held: Held, wire: Wire, now: int) -> bytes:
    """Limit, remaining and reset of the tightest quota of each unit, under the names that vendors' clients know."""
    tightest: dict[QuotaUnit, tuple[int, QuotaSet]] = {}
    for quota, charge, used in zip(bill.quotas, bill.charges, held.used, strict=True):
        left = max(0, charge.limit - used - (charge.amount if held.admitted else 0))
        known = tightest.get(quota.unit)
        if known is None or left < known[0]:
            tightest[quota.unit] = (left, quota)
    lines = []
    for unit, (left, quota) in tightest.items():
        reset = resets_at(quota, now)
        seconds = max(1, -(-(reset - now) // 1000))
        if unit is _MONEY:
            lines.append(
                f"x-safeconduct-budget-limit: {shown(quota, quota.limit)}\r\n"
                f"x-safeconduct-budget-remaining: {shown(quota, left)}\r\n"
                f"x-safeconduct-budget-reset: {seconds}\r\n"
            )
        elif wire is Wire.ANTHROPIC:
            name = f"anthropic-ratelimit-{unit.value}"
            lines.append(
                f"{name}-limit: {quota.limit}\r\n{name}-remaining: {left}\r\n{name}-reset: {_moment(reset)}\r\n"
            )
        else:
            lines.append(
                f"x-ratelimit-limit-{unit.value}: {quota.limit}\r\n"
                f"x-ratelimit-remaining-{unit.value}: {left}\r\n"
                f"x-ratelimit-reset-{unit.value}: {seconds}s\r\n"
            )
    return "".join(lines).encode("ascii")


def retry_after_line(quotas: Iterable[QuotaSet], now: int) -> bytes:
    """`Retry-After` until the last of these windows is over, a short while at most."""
    wait = max((resets_at(quota, now) - now for quota in quotas), default=1000)
    return b"retry-after: %d\r\n" % min(MAX_RETRY_AFTER, max(1, -(-wait // 1000)))
