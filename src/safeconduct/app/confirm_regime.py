"""Use case: the operator confirms what holds of an ownership regime from a day on.

A confirmation is a new version of the regime's pack, with the source that was read; everybody is assessed in the same commit.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_ownership import ownership_events
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.ownership.regime import Period, RegimeStatus, with_period
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.policy.publish import validate
from safeconduct.record.events import Event
from safeconduct.record.events.trust import PackPublished
from safeconduct.record.state import State, fold


class ConfirmRegime(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """since: the first day (ISO 8601, UTC). source: where it is laid down, e.g. a page of the Federal Register."""

    regime: str
    status: RegimeStatus
    since: str
    source: str


def confirm_regime(instance: Instance, caller: Caller, ask: ConfirmRegime) -> PackPublished:
    """By an operator. Raises Forbidden, NotFound, InvalidInput."""
    require_role(caller, Role.OPERATOR)
    now = instant(instance)
    if ask.status is RegimeStatus.UNCONFIRMED:
        raise InvalidInput(
            "that is what it is without you", field="status", remedy="use active, suspended or rescinded"
        )
    if not ask.source.strip() or len(ask.source) > 500 or not ask.source.isprintable():
        raise InvalidInput("a legal source of at most 500 characters is expected", field="source")

    def check(state: State) -> list[Event]:
        versions = state.packs.get(ask.regime, ())
        if not versions or versions[-1].published.kind != "computation":
            raise NotFound(
                f"there is no regime {ask.regime[:60]!r}",
                field="regime",
                remedy="see `safeconduct ownership regimes`",
            )
        before = versions[-1].published
        text = with_period(before.policies, Period(ask.status, ask.since, ask.source.strip()))
        event = msgspec.structs.replace(
            before,
            version=_next(before.version, {one.published.version for one in versions}),
            policies=text,
            sha256=sha256_hex(text.encode()),
            status="active",
            recorded_at=now,
        )
        validate(event)
        return [event, *ownership_events(instance, fold([event], state), now)]

    event, *_ = commit_checked(instance, check)
    assert isinstance(event, PackPublished)
    return event


def _next(version: str, taken: set[str]) -> str:
    number = int(version) if version.isdecimal() else len(taken)
    while str(number) in taken or number == 0:
        number += 1
    return str(number)
