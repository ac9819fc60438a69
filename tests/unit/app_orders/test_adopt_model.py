"""Adopting what a provider released elsewhere, and every way in which it must not open a lab's own model."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import (
    ADJUDICATOR,
    DAY,
    LAB,
    LISTED,
    NORTH,
    NOW,
    OPERATOR,
    directive_claims,
    organisation,
    raw_directive,
    trusted,
    world,
)

from safeconduct.app.adopt_model import ADOPTED_PURPOSES, AdoptModel, adopt_model
from safeconduct.app.change_stage import ChangeStage, change_stage
from safeconduct.app.change_standing import ChangeStanding, change_standing
from safeconduct.app.end_grant import end_grant
from safeconduct.app.give_grant import GiveGrant, give_grant
from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.register_deployment import CREDENTIAL_KIND
from safeconduct.app.register_model import RegisterModel, VariantOffer, register_model
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Level, Purpose, Stage, Standing
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.registrations import DeploymentRegistered, StageChanged
from safeconduct.record.events.trust import TrustKeyRevoked

LAB_KEY = trusted("lab-role", "provider:lab", ("role:provider",), provider="lab")


def public(**more):
    """An instance that knows the organisation of a provider which is no party of it."""
    return world(more=[organisation("maker-org"), *more.pop("events", ())], **more)


def ask(**changes):
    facts = {
        "variant": "bright-1",
        "provider": "maker",
        "organisation": "maker-org",
        "kind": "openai-compatible",
        "base_url": "https://models.example/v1",
        "upstream_model": "bright-1-2026",
        "jurisdiction": "XA",
        "credential": "sk-canary-9",
        "grant_to": ("listed",),
    }
    return AdoptModel(**{**facts, **changes})


def refused(error, instance, caller, given):
    before = instance.record.state
    with pytest.raises(error) as caught:
        adopt_model(instance, caller, given)
    assert instance.record.state is before
    assert instance.vault.get(CREDENTIAL_KIND, f"{given.variant}-1") is None
    return caught.value


def test_an_adopted_model_is_general_deployed_and_granted_in_one_commit_that_names_the_operator():
    instance = public()
    before = instance.record.state.position
    made = adopt_model(instance, OPERATOR, ask())
    state = instance.record.state
    assert state.position == before + len(made.events)
    variant = state.variants["bright-1"]
    assert (variant.provider, variant.stage, variant.required_level) == ("maker", Stage.GENERAL, Level.C1)
    assert variant.required_compartments == frozenset()
    assert [one.scheme for one in variant.findings] == ["adopted"]
    assert [one.by for one in made.events if isinstance(one, StageChanged)] == [OPERATOR.id]
    (grant,) = made.grants
    assert (grant.by_provider, grant.to_organisation, grant.approved_by) == (
        "maker",
        "listed",
        (OPERATOR.id,),
    )
    assert (grant.conditions, grant.regions, grant.parent) == ((), (), None)
    assert grant.valid_until > grant.valid_from == NOW
    assert instance.vault.get(CREDENTIAL_KIND, made.deployment) == b"sk-canary-9"
    assert b"canary" not in b"".join(instance.record.entries)
    assert "canary" not in repr(ask()) + repr(made)


def test_the_organisation_gives_what_was_adopted_to_its_own_people():
    instance = public()
    (above,) = adopt_model(instance, OPERATOR, ask()).grants
    given = give_grant(
        instance,
        LISTED,
        GiveGrant(variants=("bright-1",), purposes=(Purpose.GENERAL,), to_subject="ann"),
    )
    assert given.parent == above.grant


@pytest.mark.parametrize("level", [Level.C0, Level.C1, Level.C3])
def test_an_adopted_variant_asks_for_the_level_that_was_declared(level):
    instance = public()
    adopt_model(instance, OPERATOR, ask(level=level))
    assert instance.record.state.variants["bright-1"].required_level is level
    again = ask(base_url="https://other.example/v1", level=Level.C2)
    with pytest.raises(Conflict) as caught:
        adopt_model(instance, OPERATOR, again)
    assert caught.value.field == "level"


@pytest.mark.parametrize("caller", [LAB, LISTED, NORTH, ADJUDICATOR])
def test_only_an_operator_adopts(caller):
    refused(Forbidden, public(), caller, ask())


def test_a_provider_with_a_role_key_here_is_never_adopted_from():
    instance = world(more=[LAB_KEY])
    error = refused(Forbidden, instance, OPERATOR, ask(provider="lab", organisation="lab-org"))
    assert error.field == "provider"
    assert "provider:lab" in error.remedy


@pytest.mark.parametrize(
    "key",
    [
        [LAB_KEY, TrustKeyRevoked("lab-role", NOW - 5, "lost", ("a", "b"), NOW - 5)],
        [trusted("lab-role", "provider:lab", ("role:provider",), provider="lab", valid_until=NOW - 1)],
        [trusted("lab-role", "provider:lab", ("role:provider",), provider="lab", valid_from=NOW + 9)],
    ],
    ids=["revoked", "expired", "to come"],
)
def test_a_role_key_that_does_not_work_now_still_closes_the_way(key):
    refused(Forbidden, world(more=key), OPERATOR, ask(provider="lab", organisation="lab-org"))


def test_a_labs_variant_is_not_adopted_under_another_providers_name():
    instance = public(events=[LAB_KEY])
    assert refused(Conflict, instance, OPERATOR, ask(variant="big-open")).field == "variant"
    refused(Conflict, instance, OPERATOR, ask(variant="big"))
    refused(Conflict, instance, OPERATOR, ask(model="big"))


@pytest.mark.parametrize("upstream_model", ["secret-9", "SECRET-9"])
@pytest.mark.parametrize("address", ["https://api.lab.example/v1", "https://API.lab.example:443/v2/"])
def test_a_labs_upstream_is_not_adopted_under_a_new_name(address, upstream_model):
    served = DeploymentRegistered(
        deployment="big-open-9",
        variant="big-open",
        kind="openai",
        base_url="https://api.lab.example/v1",
        upstream_model="secret-9",
        wires=(),
        region="r",
        jurisdiction="XA",
    )
    given = ask(base_url=address, upstream_model=upstream_model)
    error = refused(Forbidden, public(events=[LAB_KEY, served]), OPERATOR, given)
    assert error.field == "upstream_model"
    adopt_model(public(events=[LAB_KEY, served]), OPERATOR, ask(base_url=address, upstream_model="open-1"))


def test_what_is_registered_and_not_adopted_is_not_opened_by_adopting_it():
    instance = public()
    # The operator itself registered it, for a provider that is still to come.
    register_model(instance, OPERATOR, RegisterModel("m", (VariantOffer("m-1", Level.C1),), provider="lab"))
    error = refused(Conflict, instance, OPERATOR, ask(variant="m-1", provider="lab", model="m"))
    assert "not adopted" in error.message
    # Released by its provider: its grants are the provider's all the same.
    refused(Conflict, instance, OPERATOR, ask(variant="big-open", provider="lab", model="big"))


@pytest.mark.parametrize("named", ["bright-1", "bright-1-weights"])
@pytest.mark.parametrize("days", [0, 3])
def test_nothing_is_adopted_under_an_order_in_force_or_to_come(named, days):
    instance = public()
    adopt_model(instance, OPERATOR, ask())
    claims = directive_claims(variants=[named], effective_from=NOW + days * DAY)
    import_directive(instance, OPERATOR, ImportDirective(raw_directive(claims)))
    before = instance.record.state
    for given in (
        ask(grant_to=("unlisted",)),
        ask(base_url="https://other.example/v1"),
        ask(variant="bright-2", model="bright-1-weights"),
        # The same upstream under a new name and another provider's.
        ask(variant="dim-1", provider="nobody", model="dim"),
    ):
        with pytest.raises(Conflict) as caught:
            adopt_model(instance, OPERATOR, given)
        assert "order" in caught.value.message
    assert instance.record.state is before


def test_a_suspended_variant_is_not_granted_further():
    instance = public()
    adopt_model(instance, OPERATOR, ask())
    change_standing(instance, OPERATOR, ChangeStanding("bright-1", Standing.SUSPENDED, "incident"))
    with pytest.raises(Conflict):
        adopt_model(instance, OPERATOR, ask(grant_to=("unlisted",)))


def test_nobody_is_granted_the_model_of_their_own_organisation():
    for events, own in (([], "maker-org"), ([organisation("maker-lab", provider="maker")], "maker-lab")):
        error = refused(Forbidden, public(events=events), OPERATOR, ask(grant_to=("listed", own)))
        assert error.field == "grant_to[1]"


def test_wrong_asks_are_refused_by_field():
    for field, error, changes in (
        ("grant_to[0]", NotFound, {"grant_to": ("nowhere",)}),
        ("organisation", NotFound, {"organisation": "nowhere"}),
        ("purposes", InvalidInput, {"purposes": (Purpose.RANSOMWARE,)}),
        ("purposes", InvalidInput, {"purposes": ()}),
        ("duration", InvalidInput, {"duration": 0}),
        ("credential", InvalidInput, {"credential": "a\r\nx: y"}),
        ("base_url", InvalidInput, {"base_url": "http://models.example/v1"}),
        ("deployment", Conflict, {"deployment": "big-open-1"}),
    ):
        assert refused(error, public(), OPERATOR, ask(**changes)).field == field


def test_an_operator_does_not_grant_to_itself():
    refused(Forbidden, public(), OPERATOR, ask(grant_to=(OPERATOR.id,)))


def test_production_names_its_grantees_and_development_grants_to_every_verified_organisation():
    error = refused(InvalidInput, public(profile="production"), OPERATOR, ask(grant_to=None))
    assert error.field == "grant_to"
    instance = public()
    made = adopt_model(instance, OPERATOR, ask(grant_to=None))
    # rival-org and maker-org were never verified.
    assert [one.to_organisation for one in made.grants] == ["lab-org", "listed", "unlisted"]
    with pytest.raises(Conflict) as caught:
        adopt_model(instance, OPERATOR, ask(grant_to=None))
    assert "already" in caught.value.message
    assert adopt_model(public(), OPERATOR, ask(grant_to=())).grants == ()


def test_adopting_again_adds_an_upstream_or_a_grantee_and_replaces_no_credential():
    instance = public()
    first = adopt_model(instance, OPERATOR, ask())
    wider = adopt_model(instance, OPERATOR, ask(grant_to=("unlisted",), credential="sk-other"))
    assert [type(one) for one in wider.events] == [GrantGiven]
    assert wider.deployment == first.deployment
    assert instance.vault.get(CREDENTIAL_KIND, first.deployment) == b"sk-canary-9"
    more = adopt_model(instance, OPERATOR, ask(base_url="https://other.example/v1", grant_to=()))
    assert [type(one) for one in more.events] == [DeploymentRegistered]
    assert instance.record.state.deployments_of["bright-1"] == ("bright-1-1", "bright-1-2")


def test_resale_is_not_among_what_is_granted_unasked():
    assert Purpose.RESALE not in ADOPTED_PURPOSES
    (grant,) = adopt_model(public(), OPERATOR, ask(purposes=(Purpose.RESALE,))).grants
    assert grant.purposes == (Purpose.RESALE,)


def test_adoption_opens_no_other_way_for_an_operator():
    instance = public()
    adopt_model(instance, OPERATOR, ask())
    with pytest.raises(Forbidden):
        change_stage(instance, OPERATOR, ChangeStage("bright-1", Stage.VERIFIED))
    with pytest.raises(Forbidden):
        give_grant(
            instance,
            OPERATOR,
            GiveGrant(
                variants=("bright-1",),
                purposes=(Purpose.GENERAL,),
                by_provider="maker",
                to_organisation="unlisted",
                duration=60,
            ),
        )


def test_an_operator_ends_a_grant_of_an_adopted_model_until_its_provider_speaks_here():
    instance = public()
    (grant,) = adopt_model(instance, OPERATOR, ask()).grants
    (other,) = adopt_model(instance, OPERATOR, ask(grant_to=("unlisted",))).grants
    end_grant(instance, OPERATOR, grant.grant)
    assert instance.record.state.grants[grant.grant].ended_at == NOW
    instance.record.commit([trusted("maker-1", "provider:maker", ("role:provider",), provider="maker")])
    with pytest.raises(Forbidden):
        end_grant(instance, OPERATOR, other.grant)
    with pytest.raises(Forbidden):
        adopt_model(instance, OPERATOR, ask(base_url="https://other.example/v1"))
    maker = msgspec.structs.replace(LAB, party="provider:maker", id="maker-1", provider="maker")
    end_grant(instance, maker, other.grant)
