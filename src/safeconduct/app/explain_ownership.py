"""Use case: why the ownership regimes say what they say of an organisation, on a day, as it was known at a moment."""

from __future__ import annotations

import msgspec

from safeconduct.app.assess_ownership import assess, day_of, node_of, regimes_of
from safeconduct.app.commit import instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.ownership.edge import check_date, check_node
from safeconduct.identity.ownership.explanation import Explanation, as_text, explain
from safeconduct.identity.ownership.picture import as_picture
from safeconduct.identity.ownership.regime import Period
from safeconduct.kernel.clock import parse_instant
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.state import State

ROLES = (Role.OPERATOR, Role.ANALYST, Role.ADJUDICATOR, Role.AUDITOR)
"""Never the organisation itself: a finding is withheld from whom it is about."""


class ExplainOwnership(msgspec.Struct, frozen=True):
    """organisation: an id here, or a node such as `lei:...`. on: the day asked about (ISO 8601; today when empty).

    known: the moment whose knowledge counts, RFC 3339 or a day's end (now when empty). regime: one, or all when empty.
    """

    organisation: str
    on: str = ""
    known: str = ""
    regime: str = ""


class Explained(msgspec.Struct, frozen=True):
    """An explanation and its wording."""

    explanation: Explanation
    text: str


class RegimeNow(msgspec.Struct, frozen=True):
    """A regime and what holds today. period: None before it began."""

    regime: str
    version: str
    title: str
    legal_source: str
    status: str
    period: Period | None
    periods: tuple[Period, ...]


def explain_ownership(instance: Instance, caller: Caller, ask: ExplainOwnership) -> tuple[Explained, ...]:
    """Raises Forbidden, InvalidInput (a date, a node), NotFound (an organisation or regime that is not known)."""
    return tuple(Explained(one, as_text(one)) for one in _explanations(instance, caller, ask))


def draw_ownership(instance: Instance, caller: Caller, ask: ExplainOwnership) -> str:
    """The explanation under one regime as SVG. Raises as `explain_ownership`."""
    explanations = _explanations(instance, caller, ask)
    state = instance.record.state
    names = {f"org:{name}": held.registered.legal_name for name, held in state.organisations.items()}
    return as_picture(explanations[0], names)


def list_regimes(instance: Instance, caller: Caller) -> tuple[RegimeNow, ...]:
    """The regimes that run and what holds of each today. Raises Forbidden."""
    require_role(caller, *ROLES)
    now = instant(instance)
    found = []
    for one in regimes_of(instance.record.state, now):
        period = one.status_on(day_of(now))
        status = period.status.value if period is not None else "not in force yet"
        found.append(
            RegimeNow(one.regime, one.version, one.title, one.legal_source, status, period, one.periods)
        )
    return tuple(found)


def _explanations(instance: Instance, caller: Caller, ask: ExplainOwnership) -> list[Explanation]:
    require_role(caller, *ROLES)
    now = instant(instance)
    on = check_date(ask.on, "on") if ask.on else day_of(now)
    known = now
    if ask.known:
        try:
            known = parse_instant(ask.known if "T" in ask.known else f"{ask.known}T23:59:59Z")
        except ValueError:
            raise InvalidInput(
                f"{ask.known[:30]!r} is not a moment", field="known", remedy="write YYYY-MM-DD or RFC 3339"
            ) from None
    state = instance.record.state
    node = check_node(node_of(state, ask.organisation), "organisation")
    assessments = assess(instance, state, on=on, known_at=known)
    _check_known(
        state, node, {name for one in assessments.values() for name in (*one.graph.index, *one.designated)}
    )
    if ask.regime and ask.regime not in assessments:
        raise NotFound(
            f"no regime {ask.regime[:60]!r} runs here{did_you_mean(ask.regime, tuple(assessments))}",
            field="regime",
            remedy="see `safeconduct ownership regimes`",
        )
    return [
        explain(assessment, node, on)
        for name, assessment in sorted(assessments.items())
        if ask.regime in {"", name}
    ]


def _check_known(state: State, node: str, named: set[str]) -> None:
    if node in named or OrganisationId(node.removeprefix("org:")) in state.organisations:
        return
    raise NotFound(
        f"nobody is known as {node[:80]!r}",
        field="organisation",
        remedy="give an organisation's id here, or a node as the imported files write it",
    )
