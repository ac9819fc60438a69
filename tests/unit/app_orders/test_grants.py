from __future__ import annotations

import msgspec
import pytest
from tests.support.authorities import (
    ADJUDICATOR,
    DAY,
    LAB,
    LISTED,
    NOW,
    OPERATOR,
    RIVAL,
    UNLISTED,
    purposes,
    world,
)
from tests.support.records import move_to

from safeconduct.app.approve_project import ApproveProject, approve_project, end_project
from safeconduct.app.end_grant import end_grant
from safeconduct.app.give_grant import GiveGrant, give_grant
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Condition, Purpose, Surface


def refused(error, call, instance, *args):
    before = instance.record.state
    with pytest.raises(error) as caught:
        call(instance, *args)
    assert instance.record.state is before
    return caught.value


def above(**changes):
    facts = {
        "variants": ("big",),
        "purposes": purposes("coding", "education"),
        "duration": 30 * DAY,
        "surfaces": (Surface.API,),
        "to_organisation": "listed",
    }
    return GiveGrant(**{**facts, **changes})


def below(**changes):
    facts = {
        "variants": ("big-open",),
        "purposes": purposes("coding"),
        "surfaces": (Surface.API,),
        "to_subject": "ann",
    }
    return GiveGrant(**{**facts, **changes})


def test_the_chain_is_given_by_the_provider_and_then_by_the_organisation():
    instance = world()
    parent = give_grant(instance, LAB, above())
    child = give_grant(instance, LISTED, below())
    assert parent.variants == ("big-cyber", "big-open")
    assert (child.parent, child.by_organisation, child.valid_until) == (
        parent.grant,
        "listed",
        parent.valid_until,
    )
    assert instance.record.state.grants_to["subject", "ann", "big-open"] == (child.grant,)


def test_a_term_starts_at_the_approval():
    instance = world()
    move_to(instance, NOW + 5 * DAY)
    given = give_grant(instance, LAB, above(duration=DAY))
    assert (given.valid_from, given.valid_until) == (NOW + 5 * DAY, NOW + 6 * DAY)


def test_a_providers_grant_comes_from_that_provider_only():
    instance = world()
    for caller in (OPERATOR, RIVAL, LISTED, ADJUDICATOR):
        refused(Forbidden, give_grant, instance, caller, above(by_provider="lab"))
    refused(Forbidden, give_grant, instance, LAB, above(variants=("other-1",)))
    refused(InvalidInput, give_grant, instance, OPERATOR, above())


def test_an_organisations_grant_comes_from_that_organisation_only():
    instance = world()
    give_grant(instance, LAB, above())
    for caller in (OPERATOR, LAB, UNLISTED):
        refused(Forbidden, give_grant, instance, caller, below(by_organisation="listed"))


def test_nobody_admits_themselves_to_a_labs_model():
    error = refused(Conflict, give_grant, world(), LISTED, below())
    assert "no grant" in error.message


def test_nobody_approves_their_own_request():
    instance = world()
    give_grant(instance, LAB, above())
    refused(Forbidden, give_grant, instance, LISTED, below(requested_by="listed-admin"))
    refused(Forbidden, give_grant, instance, LAB, above(requested_by="lab-admin"))
    for who in (msgspec.structs.replace(LISTED, subject="ann"), msgspec.structs.replace(LISTED, id="ann")):
        refused(Forbidden, give_grant, instance, who, below())
        refused(Forbidden, give_grant, instance, who, below(requested_by="somebody-else"))


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"variants": ("big-cyber",)}, "variants"),
        ({"purposes": purposes("coding", "browser")}, "purposes"),
        ({"surfaces": (Surface.API, Surface.AGENT)}, "surfaces"),
        ({"duration": 31 * DAY}, "term"),
        ({"regions": ("xb-1",)}, "regions"),
    ],
)
@pytest.mark.parametrize("named", [True, False])
def test_a_grant_wider_than_its_parent_is_refused(change, field, named):
    instance = world()
    parent = give_grant(instance, LAB, above(variants=("big-open",), regions=("xa-1",)))
    ask = below(**change, parent=parent.grant if named else None)
    assert refused(Conflict, give_grant, instance, LISTED, ask).field == field


def test_the_parents_conditions_and_regions_come_with_the_grant():
    instance = world()
    give_grant(instance, LAB, above(conditions=(Condition.REPORT,), regions=("xa-1",)))
    child = give_grant(instance, LISTED, below(conditions=(Condition.CAPTURE,)))
    assert set(child.conditions) == {Condition.REPORT, Condition.CAPTURE}
    assert child.regions == ("xa-1",)


def test_the_parent_that_covers_the_grant_is_found_among_several():
    instance = world()
    give_grant(instance, LAB, above(variants=("big-open",), purposes=purposes("education")))
    right = give_grant(instance, LAB, above(variants=("big-open",), purposes=purposes("coding")))
    assert give_grant(instance, LISTED, below()).parent == right.grant


def test_a_parent_that_has_ended_or_is_anothers_carries_nothing():
    instance = world()
    parent = give_grant(instance, LAB, above())
    other = give_grant(instance, LAB, above(to_organisation="unlisted"))
    refused(NotFound, give_grant, instance, LISTED, below(parent=other.grant))
    refused(NotFound, give_grant, instance, LISTED, below(parent="grant_nothing"))
    end_grant(instance, LAB, parent.grant)
    refused(Conflict, give_grant, instance, LISTED, below(parent=parent.grant))
    refused(Conflict, give_grant, instance, LISTED, below())


def test_an_expired_parent_carries_nothing():
    instance = world()
    give_grant(instance, LAB, above(duration=DAY))
    move_to(instance, NOW + DAY)
    refused(Conflict, give_grant, instance, LISTED, below())


def test_an_organisation_grants_to_its_own_people_and_groups():
    instance = world()
    give_grant(instance, LAB, above())
    refused(Forbidden, give_grant, instance, LISTED, below(to_subject="bob"))
    refused(NotFound, give_grant, instance, LISTED, below(to_subject="nobody"))
    child = give_grant(instance, LISTED, below(to_subject=None, to_group="team"))
    assert instance.record.state.grants_to["group", ("listed", "team"), "big-open"] == (child.grant,)


def test_a_mandate_is_an_agents_grant():
    instance = world()
    give_grant(instance, LAB, above())
    assert "mandate" in refused(Conflict, give_grant, instance, LISTED, below(to_subject="bot")).remedy


def test_a_provider_grants_directly_only_to_a_person_without_an_organisation():
    instance = world()
    given = give_grant(instance, LAB, above(to_organisation=None, to_subject="solo"))
    assert given.to_subject == "solo"
    refused(Conflict, give_grant, instance, LAB, above(to_organisation=None, to_subject="ann"))


def test_a_providers_staff_are_admitted_by_an_ordinary_grant_to_its_own_organisation():
    assert give_grant(world(), LAB, above(to_organisation="lab-org")).to_organisation == "lab-org"


@pytest.mark.parametrize(
    "change",
    [
        {"variants": ()},
        {"purposes": ()},
        {"purposes": (Purpose.RANSOMWARE,)},
        {"surfaces": ()},
        {"duration": 0},
        {"duration": None},
        {"parent": "grant_x"},
        {"to_group": "team", "to_organisation": None},
        {"to_subject": "solo"},
    ],
)
def test_a_malformed_grant_is_refused(change):
    refused(InvalidInput, give_grant, world(), LAB, above(**change))


def test_only_the_grantor_ends_a_grant_and_once():
    instance = world()
    parent = give_grant(instance, LAB, above())
    child = give_grant(instance, LISTED, below())
    for caller in (OPERATOR, RIVAL, LISTED):
        refused(Forbidden, end_grant, instance, caller, parent.grant)
    refused(Forbidden, end_grant, instance, LAB, child.grant)
    end_grant(instance, LISTED, child.grant)
    refused(Conflict, end_grant, instance, LISTED, child.grant)
    refused(NotFound, end_grant, instance, LAB, "grant_nothing")


def project(**changes):
    facts = {
        "project": "p-1",
        "purposes": purposes("coding"),
        "duration": DAY,
        "requested_by": "ann",
        "organisation": "listed",
    }
    return ApproveProject(**{**facts, **changes})


def test_a_project_is_approved_by_somebody_else_and_starts_then():
    instance = world()
    event = approve_project(instance, ADJUDICATOR, project(members=("ann",)))
    assert (event.valid_from, event.valid_until, event.approved_by) == (NOW, NOW + DAY, ("adj-9",))
    for who in ("ann", "adj-9"):
        caller = msgspec.structs.replace(ADJUDICATOR, id=who)
        ask = project(project="p-2", requested_by=who if who == "adj-9" else "x", members=("ann",))
        refused(Forbidden, approve_project, instance, caller, ask)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"organisation": None}, InvalidInput),
        ({"owner": "solo"}, InvalidInput),
        ({"purposes": ()}, InvalidInput),
        ({"purposes": (Purpose.WEAPON_DEVELOPMENT,)}, InvalidInput),
        ({"duration": 0}, InvalidInput),
        ({"requested_by": ""}, InvalidInput),
        ({"organisation": "nowhere"}, NotFound),
        ({"organisation": None, "owner": "nobody"}, NotFound),
        ({"organisation": None, "owner": "ann"}, Conflict),
        ({"members": ("nobody",)}, NotFound),
        ({"members": ("bob",)}, Conflict),
    ],
)
def test_a_project_that_does_not_hold_is_refused(change, error):
    refused(error, approve_project, world(), OPERATOR, project(**change))


def test_a_project_of_a_person_without_an_organisation():
    assert approve_project(world(), OPERATOR, project(organisation=None, owner="solo")).owner == "solo"


def test_organisations_and_labs_approve_no_projects_and_end_only_their_own():
    instance = world()
    for caller in (LISTED, LAB):
        refused(Forbidden, approve_project, instance, caller, project())
    approve_project(instance, OPERATOR, project())
    refused(Conflict, approve_project, instance, OPERATOR, project())
    refused(Forbidden, end_project, instance, UNLISTED, "p-1")
    end_project(instance, LISTED, "p-1")
    refused(Conflict, end_project, instance, LISTED, "p-1")
    refused(NotFound, end_project, instance, LISTED, "p-9")
