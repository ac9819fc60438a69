"""Who may limit whom, and what a quota and a price may say."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import (
    ADJUDICATOR,
    DAY,
    LAB,
    LISTED,
    NORTH,
    OPERATOR,
    RIVAL,
    UNLISTED,
    licence_jws,
    organisation,
    purposes,
    trusted,
    world,
)

from safeconduct.app.adopt_model import AdoptModel, adopt_model
from safeconduct.app.give_grant import GiveGrant, give_grant
from safeconduct.app.import_licence import import_licence
from safeconduct.app.ports import Caller
from safeconduct.app.register_deployment import RegisterDeployment, register_deployment
from safeconduct.app.register_model import RegisterModel, VariantOffer, register_model
from safeconduct.app.set_metering import SetMetering, set_metering
from safeconduct.app.set_quota import SetQuota, end_quota, may_see, set_quota
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Level, QuotaPer, QuotaUnit, QuotaWindow, Role
from safeconduct.registry.price import Price

AUDITOR = Caller(role=Role.AUDITOR, party="auditor", id="aud-1")
LAB_KEY = trusted("lab-role", "provider:lab", ("role:provider",), provider="lab")
PRICE = Price(currency="USD", input=3_000_000, output=15_000_000)


def ask(**changes):
    facts = {"unit": QuotaUnit.REQUESTS, "limit": 10, "seconds": 60, "quota": "q"}
    return SetQuota(**{**facts, **changes})


def refused(error, call, instance, *args):
    before = instance.record.state
    with pytest.raises(error) as caught:
        call(instance, *args)
    assert instance.record.state is before
    return caught.value


def granted(instance):
    """The lab's grant to the listed organisation, and that organisation's to ann."""
    above = give_grant(
        instance,
        LAB,
        GiveGrant(
            variants=("big",), purposes=purposes("coding"), duration=30 * DAY, to_organisation="listed"
        ),
    )
    below = give_grant(
        instance,
        LISTED,
        GiveGrant(variants=("big-open",), purposes=purposes("coding"), to_subject="ann"),
    )
    return above.grant, below.grant


@pytest.mark.parametrize(
    ("caller", "about"),
    [
        (OPERATOR, {}),
        (OPERATOR, {"organisation": "listed", "variant": "big-open", "subject": "ann"}),
        (LAB, {"variant": "big-open"}),
        (LAB, {"variant": "big-open", "organisation": "listed"}),
        (LISTED, {"organisation": "listed"}),
        (LISTED, {"organisation": "listed", "subject": "ann", "variant": "other-1"}),
    ],
)
def test_each_may_limit_what_is_its_own(caller, about):
    instance = world()
    made = set_quota(instance, caller, ask(**about))
    assert (made.party, made.by) == (caller.party, caller.id)
    assert instance.record.state.quotas["q"] == made


@pytest.mark.parametrize(
    ("caller", "about"),
    [
        (LAB, {}),
        (LAB, {"organisation": "listed"}),
        (LAB, {"variant": "other-1"}),
        (RIVAL, {"variant": "big-open"}),
        (LISTED, {}),
        (LISTED, {"subject": "bob"}),
        (LISTED, {"variant": "big-open"}),
        (LISTED, {"organisation": "unlisted"}),
        (NORTH, {}),
        (NORTH, {"organisation": "listed"}),
        (ADJUDICATOR, {}),
        (AUDITOR, {}),
    ],
)
def test_nobody_limits_what_is_anothers(caller, about):
    refused(Forbidden, set_quota, world(), caller, ask(**about))


def test_a_quota_is_changed_and_ended_by_whoever_set_it_only():
    instance = world()
    set_quota(instance, LAB, ask(variant="big-open", limit=5))
    for caller in (OPERATOR, RIVAL, LISTED):
        refused(Forbidden, set_quota, instance, caller, ask(variant="big-open", limit=10**9))
    refused(Forbidden, end_quota, instance, OPERATOR, "q")
    # Who may not see it is not told that there is one.
    refused(NotFound, end_quota, instance, LISTED, "q")
    refused(NotFound, end_quota, instance, LAB, "nothing")
    assert set_quota(instance, LAB, ask(variant="big-open", limit=6)).limit == 6
    end_quota(instance, LAB, "q")
    assert not instance.record.state.quotas


def test_the_quota_of_a_grant_is_set_by_whoever_gave_it():
    instance = world(more=[LAB_KEY])
    above, below = granted(instance)
    for caller in (OPERATOR, RIVAL, LISTED, NORTH):
        refused(Forbidden, set_quota, instance, caller, ask(authorization=above))
    for caller in (OPERATOR, LAB, UNLISTED):
        refused(Forbidden, set_quota, instance, caller, ask(authorization=below))
    set_quota(instance, LAB, ask(authorization=above))
    set_quota(instance, LISTED, ask(quota="r", authorization=below))
    refused(NotFound, set_quota, instance, LAB, ask(authorization="grant_none"))
    state = instance.record.state
    assert may_see(state, LISTED, state.quotas["q"])
    assert not may_see(state, UNLISTED, state.quotas["q"])


def test_an_operator_speaks_for_a_provider_that_is_not_here():
    instance = world(more=[organisation("maker-org")])
    made = adopt_model(
        instance,
        OPERATOR,
        AdoptModel(
            variant="bright-1",
            provider="maker",
            organisation="maker-org",
            kind="openai-compatible",
            base_url="https://models.example/v1",
            upstream_model="bright-1-2026",
            jurisdiction="XA",
            grant_to=("listed",),
            price=PRICE,
            max_output_tokens=4096,
            fallback="big-open",
            concurrency=7,
        ),
    )
    set_quota(instance, OPERATOR, ask(authorization=made.grants[0].grant))
    state = instance.record.state
    assert state.variants["bright-1"].metering.price == PRICE
    registered = state.deployments[made.deployment].registered
    assert (registered.fallback, registered.concurrency) == ("big-open", 7)


def test_the_quota_of_a_licence_is_set_by_its_authority():
    instance = world()
    given = import_licence(instance, OPERATOR, licence_jws())
    for caller in (OPERATOR, LAB, LISTED):
        refused(Forbidden, set_quota, instance, caller, ask(authorization=given.licence.licence))
    assert set_quota(instance, NORTH, ask(authorization=given.licence.licence)).party == "authority:north"


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"limit": -1}, "limit"),
        ({"limit": 10**15 + 1}, "limit"),
        ({"seconds": 0}, "seconds"),
        ({"seconds": 367 * DAY}, "seconds"),
        ({"unit": QuotaUnit.MONEY}, "currency"),
        ({"unit": QuotaUnit.MONEY, "currency": "usd"}, "currency"),
        ({"currency": "USD"}, "currency"),
        ({"quota": "Not A Name\r\nx: y"}, "quota"),
        ({"organisation": "listed", "per": (QuotaPer.ORGANISATION,)}, "per"),
    ],
)
def test_what_a_quota_may_not_say(changes, field):
    assert refused(InvalidInput, set_quota, world(), OPERATOR, ask(**changes)).field == field


@pytest.mark.parametrize("field", ["subject", "project", "organisation", "variant"])
def test_what_a_quota_names_exists(field):
    assert refused(NotFound, set_quota, world(), OPERATOR, ask(**{field: "nobody"})).field == field


def test_a_budget_for_a_variant_needs_its_price_and_currency():
    instance = world()
    budget = ask(unit=QuotaUnit.MONEY, currency="USD", variant="big-open", window=QuotaWindow.SLIDING)
    refused(Conflict, set_quota, instance, OPERATOR, budget)
    set_metering(instance, LAB, SetMetering(variant="big-open", price=PRICE))
    set_quota(instance, OPERATOR, budget)
    euros = ask(unit=QuotaUnit.MONEY, currency="EUR", variant="big-open")
    refused(InvalidInput, set_quota, instance, OPERATOR, euros)


def test_a_price_is_its_providers_or_an_operators_to_say():
    instance = world()
    for caller in (RIVAL, LISTED, NORTH, AUDITOR):
        refused(Forbidden, set_metering, instance, caller, SetMetering(variant="big-open", price=PRICE))
    set_metering(instance, OPERATOR, SetMetering(variant="big-open", max_output_tokens=100))
    set_metering(instance, LAB, SetMetering(variant="big-open", price=PRICE))
    # Replaced as a whole.
    assert instance.record.state.variants["big-open"].metering.max_output_tokens is None
    refused(NotFound, set_metering, instance, OPERATOR, SetMetering(variant="nothing"))


@pytest.mark.parametrize(
    "changes", [{"input": -1}, {"output": 10**12 + 1}, {"request": -5}, {"currency": "dollars"}]
)
def test_what_a_price_may_not_say(changes):
    facts = {"currency": "USD", "input": 1, "output": 1, "request": 0, **changes}
    refused(InvalidInput, set_metering, world(), LAB, SetMetering(variant="big-open", price=Price(**facts)))


def test_a_price_that_came_with_the_model_survives_what_is_learned_of_it_later():
    instance = world()
    offer = VariantOffer(variant="big-new", level=Level.C1, price=PRICE)
    register_model(instance, LAB, RegisterModel(model="big", variants=(offer,)))
    assert instance.record.state.variants["big-new"].metering.price == PRICE


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"fallback": "nothing"}, NotFound),
        ({"fallback": "big-open"}, InvalidInput),
        ({"concurrency": 0}, InvalidInput),
        ({"concurrency": 10_001}, InvalidInput),
    ],
)
def test_what_a_deployment_may_not_say(changes, error):
    facts = {
        "deployment": "d-2",
        "variant": "big-open",
        "kind": "openai",
        "base_url": "https://models.example/v1",
        "upstream_model": "m",
        "region": "r",
        "jurisdiction": "XA",
    }
    refused(error, register_deployment, world(), LAB, RegisterDeployment(**{**facts, **changes}))


def test_a_grants_fallback_exists_and_is_another():
    grant = GiveGrant(
        variants=("big-open",), purposes=purposes("coding"), duration=DAY, to_organisation="listed"
    )
    for fallback, error in (("nothing", NotFound), ("big-open", InvalidInput)):
        refused(error, give_grant, world(), LAB, msgspec.structs.replace(grant, fallback=fallback))
