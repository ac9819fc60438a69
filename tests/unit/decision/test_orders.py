"""How orders, amendments, rescissions and licences combine."""

import pytest
from tests.support.worlds import DAY, order, plain_world

from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.vocabulary import Code, Condition, UsPerson
from safeconduct.record.events import OrganisationRegistered

FOREIGN = {"us_person": "no"}
ON_ANNEX = {"organisation": {"in": "annex:a"}}


def ask(world, request, at=None, *events):
    return decide(request, world.fork(*events), world.now if at is None else at)


def codes(*args):
    decision = ask(*args)
    return () if isinstance(decision, Permit) else tuple(str(code) for code in decision.codes)


@pytest.fixture
def world():
    world = plain_world()
    world.person("eva", "org-a", us_person=UsPerson.NO).admit("lab", "org-a", ["eva"], ["model-x"])
    world.person("una", "org-a", us_person=UsPerson.UNDECLARED, citizenships=None)
    world.admit("lab", "org-a", ["una"], ["model-x"])
    world.variant("model-y", "lab").admit("lab", "org-a", ["eva"], ["model-y"])
    return world


def test_an_amendment_reaches_only_the_directive_it_names(world):
    x = world.request("eva", "model-x")
    first = order("1", "licence_required", ["model-x"], world.now, FOREIGN)
    second = order("2", "licence_required", ["model-x"], world.now, FOREIGN)
    narrowed = order(
        "3",
        "partially_authorise",
        ["model-x"],
        world.now,
        except_=(ON_ANNEX,),
        amends=("1",),
        annexes={"a": ["org-a"]},
    )
    decision = ask(world, x, None, first, second, narrowed)
    assert [one.directive for one in decision.reasons] == ["authority:sample/2/1"]


def test_an_amendment_reaches_only_the_variants_it_names(world):
    both = order("1", "licence_required", ["model-x", "model-y"], world.now, FOREIGN)
    narrowed = order(
        "2",
        "partially_authorise",
        ["model-x"],
        world.now,
        except_=(ON_ANNEX,),
        amends=("1",),
        annexes={"a": ["org-a"]},
    )
    assert codes(world, world.request("eva", "model-x"), None, both, narrowed) == ()
    assert codes(world, world.request("eva", "model-y"), None, both, narrowed) == ("LICENCE_MISSING",)


def test_an_amendment_exempts_through_its_exceptions_only(world):
    first = order("1", "licence_required", ["model-x"], world.now, FOREIGN)
    without = order("2", "partially_authorise", ["model-x"], world.now, FOREIGN, amends=("1",))
    assert codes(world, world.request("eva", "model-x"), None, first, without) == ("LICENCE_MISSING",)


def test_an_amendment_s_annex_is_its_own(world):
    first = order(
        "1",
        "licence_required",
        ["model-x"],
        world.now,
        FOREIGN,
        except_=(ON_ANNEX,),
        annexes={"a": ["org-lab"]},
    )
    narrowed = order(
        "2",
        "partially_authorise",
        ["model-x"],
        world.now,
        except_=(ON_ANNEX,),
        amends=("1",),
        annexes={"a": ["org-a"]},
    )
    assert codes(world, world.request("eva", "model-x"), None, first) == ("ORG_NOT_LISTED", "LICENCE_MISSING")
    assert codes(world, world.request("eva", "model-x"), None, first, narrowed) == ()


def test_a_lapsed_amendment_exempts_nobody(world):
    first = order("1", "suspend", ["model-x"], world.now, FOREIGN)
    narrowed = order(
        "2",
        "partially_authorise",
        ["model-x"],
        world.now,
        except_=(ON_ANNEX,),
        amends=("1",),
        annexes={"a": ["org-a"]},
        effective_until=world.now + DAY,
    )
    request = world.request("eva", "model-x")
    permitted = ask(world, request, None, first, narrowed)
    assert isinstance(permitted, Permit)
    assert permitted.valid_until == world.now + DAY
    assert codes(world, request, world.now + DAY, first, narrowed) == ("DIRECTIVE",)


def test_a_rescission_ends_only_what_it_names_and_from_its_own_time(world):
    first = order("1", "licence_required", ["model-x"], world.now, FOREIGN)
    second = order("2", "suspend", ["model-x"], world.now, FOREIGN)
    ended = order("3", "rescind", ["model-x"], world.now + DAY, amends=("1",))
    request = world.request("eva", "model-x")
    assert codes(world, request, None, first, second, ended) == ("LICENCE_MISSING", "DIRECTIVE")
    assert codes(world, request, world.now + DAY, first, second, ended) == ("DIRECTIVE",)


def test_a_rescission_of_one_variant_leaves_the_other(world):
    both = order("1", "suspend", ["model-x", "model-y"], world.now, FOREIGN)
    ended = order("2", "rescind", ["model-x"], world.now, amends=("1",))
    assert codes(world, world.request("eva", "model-x"), None, both, ended) == ()
    assert codes(world, world.request("eva", "model-y"), None, both, ended) == ("DIRECTIVE",)
    assert world.fork(both, ended).directives["authority:sample/1/1"].rescinded_from is None


def test_a_rescission_does_not_resurrect_what_was_revoked(world):
    first = order("1", "suspend", ["model-x"], world.now, FOREIGN)
    ended = order("2", "rescind", ["model-x"], world.now, amends=("1",))
    request = world.request("eva", "model-x")
    world.passport_status("eva")
    assert codes(world, request, None, first, ended) == ("PASSPORT_REVOKED",)


def test_a_rescinded_amendment_exempts_nobody_any_more(world):
    first = order("1", "suspend", ["model-x"], world.now, FOREIGN)
    narrowed = order(
        "2",
        "partially_authorise",
        ["model-x"],
        world.now,
        except_=(ON_ANNEX,),
        amends=("1",),
        annexes={"a": ["org-a"]},
    )
    ended = order("3", "rescind", ["model-x"], world.now, amends=("2",))
    assert codes(world, world.request("eva", "model-x"), None, first, narrowed, ended) == ("DIRECTIVE",)


def test_an_undeclared_nationality_leaves_an_order_applying_and_is_said(world):
    first = order("1", "suspend", ["model-x"], world.now, FOREIGN)
    assert codes(world, world.request("una", "model-x"), None, first) == (
        "NATIONALITY_UNDECLARED",
        "DIRECTIVE",
    )


def test_an_undeclared_nationality_exempts_nobody_and_is_said_to_be_what_the_exception_asks_for(world):
    first = order("1", "suspend", ["model-x"], world.now, except_=({"us_person": "yes"},))
    assert codes(world, world.request("una", "model-x"), None, first) == (
        "NATIONALITY_UNDECLARED",
        "DIRECTIVE",
    )
    assert codes(world, world.request("eva", "model-x"), None, first) == ("DIRECTIVE",)
    assert codes(world, world.request("ann", "model-x"), None, first) == ()


def test_an_exception_that_fails_whatever_the_nationality_does_not_ask_for_it(world):
    exception = {"all": [ON_ANNEX, {"us_person": "yes"}]}
    first = order("1", "suspend", ["model-x"], world.now, except_=(exception,), annexes={"a": ["org-lab"]})
    assert codes(world, world.request("una", "model-x"), None, first) == ("ORG_NOT_LISTED", "DIRECTIVE")


def test_an_order_that_does_not_turn_on_nationality_does_not_ask_for_it(world):
    first = order("1", "suspend", ["model-x"], world.now, {"location": {"in": ["QQ"]}})
    assert codes(world, world.request("una", "model-x"), None, first) == ("DIRECTIVE",)
    assert codes(world, world.request("una", "model-x", location="QR"), None, first) == ()


def test_an_order_that_cannot_be_read_applies_to_everybody(world):
    first = order("1", "suspend", ["model-x"], world.now, {"shoe_size": 43})
    assert codes(world, world.request("ann", "model-x"), None, first) == ("DIRECTIVE",)


def test_a_list_that_is_not_there_exempts_nobody(world):
    first = order("1", "suspend", ["model-x"], world.now, except_=({"organisation": {"in": "list:none"}},))
    assert codes(world, world.request("ann", "model-x"), None, first) == ("ORG_NOT_LISTED", "DIRECTIVE")


def test_a_licence_answers_the_order_of_its_authority_and_its_conditions_are_owed(world):
    world.order("1", "licence_required", ["model-x"], world.now, FOREIGN)
    world.licence("l-1", ["model-x"], annex=("org-a",), conditions=(Condition.REPORT,))
    permitted = ask(world, world.request("eva", "model-x"))
    assert isinstance(permitted, Permit)
    assert "l-1" in permitted.grants
    assert permitted.obligations == ("report",)


def test_a_licence_does_not_answer_a_suspension(world):
    world.order("1", "suspend", ["model-x"], world.now).licence("l-1", ["model-x"])
    assert codes(world, world.request("eva", "model-x")) == ("DIRECTIVE",)


def test_a_subsidiary_is_not_on_the_annex_of_its_owner(world):
    world.organisation("org-child", parent="org-a").person("kim", "org-child", us_person=UsPerson.NO)
    world.admit("lab", "org-child", ["kim"], ["model-x"])
    world.order(
        "1", "suspend", ["model-x"], world.now, FOREIGN, except_=(ON_ANNEX,), annexes={"a": ["org-a"]}
    )
    assert codes(world, world.request("eva", "model-x")) == ()
    assert codes(world, world.request("kim", "model-x")) == ("ORG_NOT_LISTED", "DIRECTIVE")


def test_an_organisation_registered_after_the_annex_is_matched_then(world):
    named = order(
        "1", "suspend", ["model-x"], world.now, FOREIGN, except_=(ON_ANNEX,), annexes={"a": ["org-late"]}
    )
    world.add(named)
    assert [line.legal_name for line in world.state.directives[named.directive].unmatched] == [
        "Sample org-late"
    ]
    world.organisation("org-late").person("lee", "org-late", us_person=UsPerson.NO)
    world.admit("lab", "org-late", ["lee"], ["model-x"])
    assert world.state.directives[named.directive].unmatched == ()
    assert codes(world, world.request("lee", "model-x")) == ()


def test_a_second_organisation_under_a_listed_identifier_does_not_step_onto_the_annex(world):
    first = world.state.organisations["org-a"].registered
    world.order(
        "1", "suspend", ["model-x"], world.now, FOREIGN, except_=(ON_ANNEX,), annexes={"a": ["org-a"]}
    )
    world.organisation("org-copy")
    world.add(
        OrganisationRegistered(
            organisation="org-copy",
            legal_name=first.legal_name,
            country="XX",
            sector=first.sector,
            lei=first.lei,
        )
    )
    world.person("cat", "org-copy", us_person=UsPerson.NO).admit("lab", "org-copy", ["cat"], ["model-x"])
    assert codes(world, world.request("cat", "model-x")) == ("ORG_NOT_LISTED", "DIRECTIVE")
    assert codes(world, world.request("eva", "model-x")) == ()


def test_orders_add_up(world):
    orders = [order(str(number), "licence_required", ["model-x"], world.now, FOREIGN) for number in (1, 2)]
    decision = ask(world, world.request("eva", "model-x"), None, *orders)
    assert [(one.code, one.directive) for one in decision.reasons] == [
        (Code.LICENCE_MISSING, "authority:sample/1/1"),
        (Code.LICENCE_MISSING, "authority:sample/2/1"),
    ]
    assert decision.jurisdictions == ("XX",)
