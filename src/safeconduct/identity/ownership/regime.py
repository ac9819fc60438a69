"""Ownership regimes: rules as dated data, `{regime, operator, threshold, aggregate, control}` with a legal source.

Owns their shape, their reading and what holds on a day. Refuses to hold any rule itself: no threshold, list, country or date
stands in code. A regime comes as the text of a policy pack of kind `computation`; the pack's event says when it was recorded.
"""

from __future__ import annotations

import datetime
import enum
from typing import Any, Final

import msgspec

from safeconduct.identity.ownership.edge import EdgeKind, check_date
from safeconduct.identity.ownership.share import WHOLE, read_share
from safeconduct.kernel.canonical import canonical_json, strict_json
from safeconduct.kernel.errors import InvalidInput

DAY: Final = 86_400


class Outcome(enum.StrEnum):
    """What a regime says of an organisation. UNKNOWN: blocked if what is not known is at its highest; a human decides."""

    CLEAR = "clear"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"


class RegimeStatus(enum.StrEnum):
    """UNCONFIRMED: nobody has said yet what holds; whoever would be blocked or unknown is unknown until somebody does."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    RESCINDED = "rescinded"
    UNCONFIRMED = "unconfirmed"


class Comparison(enum.StrEnum):
    """How a sum is held against a threshold."""

    AT_LEAST = ">="
    MORE_THAN = ">"


class Limb(msgspec.Struct, frozen=True):
    """One way to be caught: the kinds that are added up, and the threshold in units (`share.UNITS`).

    aggregate: of all blocked owners together; otherwise of one person with whom that person owns or controls, and, for
    shares, with the other parties of its joint arrangements.
    """

    name: str
    kinds: tuple[EdgeKind, ...]
    operator: Comparison
    threshold: int
    aggregate: bool = False

    def met(self, units: int) -> bool:
        """Whether a sum reaches the threshold."""
        return units > self.threshold if self.operator is Comparison.MORE_THAN else units >= self.threshold


class Source(msgspec.Struct, frozen=True, omit_defaults=True):
    """A list whose entries count as blocked; programmes: only entries under one of these, when any is named."""

    list: str
    programmes: tuple[str, ...] = ()


class Period(msgspec.Struct, frozen=True):
    """The regime's status from the beginning (UTC) of a day, and where that is laid down."""

    status: RegimeStatus
    since: str
    source: str

    @property
    def instant(self) -> int:
        """The beginning of the day in seconds since the epoch."""
        day = datetime.date.fromisoformat(self.since)
        return (day - datetime.date(1970, 1, 1)).days * DAY


class Span(msgspec.Struct, frozen=True, gc=False):
    """From when (seconds) until when (exclusive; None: open) an outcome holds."""

    since: int
    until: int | None
    outcome: Outcome


class Regime(msgspec.Struct, frozen=True):
    """A regime at one version.

    lists: in the order of their restrictiveness, the most restrictive first. periods: by date. limbs: ownership first.
    """

    regime: str
    version: str
    title: str
    legal_source: str
    limbs: tuple[Limb, ...]
    lists: tuple[Source, ...]
    periods: tuple[Period, ...]

    def status_on(self, day: str) -> Period | None:
        """What holds on a day (ISO 8601 date); None before the regime began."""
        found = None
        for period in self.periods:
            if period.since <= day:
                found = period
        return found

    def spans(self, computed: Outcome) -> tuple[Span, ...]:
        """What an outcome computed from the graph amounts to over time; clear spans are left out."""
        if computed is Outcome.CLEAR:
            return ()
        found = []
        for place, period in enumerate(self.periods):
            until = self.periods[place + 1].instant if place + 1 < len(self.periods) else None
            if period.status is RegimeStatus.ACTIVE:
                found.append(Span(period.instant, until, computed))
            elif period.status is RegimeStatus.UNCONFIRMED:
                found.append(Span(period.instant, until, Outcome.UNKNOWN))
        return tuple(found)


def in_force(computed: Outcome, period: Period | None) -> Outcome:
    """What an outcome computed from the graph amounts to under a status."""
    if period is None or period.status in {RegimeStatus.SUSPENDED, RegimeStatus.RESCINDED}:
        return Outcome.CLEAR
    if period.status is RegimeStatus.UNCONFIRMED and computed is not Outcome.CLEAR:
        return Outcome.UNKNOWN
    return computed


class _Control(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    kind: EdgeKind
    operator: Comparison
    threshold: str


class _Period(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    status: RegimeStatus
    source: str
    from_: str = msgspec.field(name="from")


class _Text(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    regime: str
    operator: Comparison
    threshold: str
    aggregate: bool
    control: tuple[_Control, ...]
    lists: tuple[Source, ...]
    periods: tuple[_Period, ...]


_SHARES: Final = (EdgeKind.EQUITY, EdgeKind.JOINT_ARRANGEMENT)


def _threshold(text: str, field: str) -> int:
    share = read_share(text, field)
    if share.low != share.high or share.low > WHOLE:
        raise InvalidInput("one number is expected", field=field, remedy='write for example "50"')
    return share.low


def read_regime(text: str, *, version: str, title: str = "", legal_source: str = "") -> Regime:
    """Read a regime's text (JSON). Raises InvalidInput naming the member."""
    value: Any = strict_json(text.encode(), what="the regime")
    try:
        read = msgspec.convert(value, _Text)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"not a regime: {error}", field="policies") from None
    if not read.periods:
        raise InvalidInput("no period says when it holds", field="policies.periods")
    for place, period in enumerate(read.periods):
        check_date(period.from_, f"policies.periods[{place}].from")
        if not period.source:
            raise InvalidInput("a legal source is expected", field=f"policies.periods[{place}].source")
        if place and period.from_ <= read.periods[place - 1].from_:
            raise InvalidInput(
                "periods stand in the order of their dates", field=f"policies.periods[{place}].from"
            )
    if not read.lists:
        raise InvalidInput("no list is named, so nobody could be blocked", field="policies.lists")
    if any(one.kind in _SHARES for one in read.control):
        raise InvalidInput(
            "shares are not control", field="policies.control", remedy="use votes, board or control"
        )
    limbs = [
        Limb(
            "ownership",
            _SHARES,
            read.operator,
            _threshold(read.threshold, "policies.threshold"),
            read.aggregate,
        )
    ]
    for place, one in enumerate(read.control):
        limit = _threshold(one.threshold, f"policies.control[{place}].threshold")
        limbs.append(Limb(one.kind.value, (one.kind,), one.operator, limit))
    if any(limb.threshold == 0 and limb.operator is Comparison.AT_LEAST for limb in limbs):
        raise InvalidInput("at least 0 % would block everybody", field="policies.threshold")
    return Regime(
        read.regime,
        version,
        title,
        legal_source,
        tuple(limbs),
        read.lists,
        tuple(Period(one.status, one.from_, one.source) for one in read.periods),
    )


def with_period(text: str, period: Period) -> str:
    """The regime's text after somebody confirmed what holds from `period.since` on: later periods give way to it.

    Raises InvalidInput.
    """
    check_date(period.since, "from")
    value: Any = strict_json(text.encode(), what="the regime")
    kept = [one for one in value["periods"] if one["from"] < period.since]
    value["periods"] = [*kept, {"status": period.status.value, "from": period.since, "source": period.source}]
    return canonical_json(value).decode()
