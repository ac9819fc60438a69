"""`us.deemed_export` in decisions: whom an order reads in by the countries their technology would go to."""

import pytest
from tests.support.worlds import order, plain_world

from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.vocabulary import UsPerson

BORN_ELSEWHERE = (("ear", ("CA",)), ("itar", ("CA", "IR")))
PACK = ("us.deemed_export",)


def exports_to(*countries, regime="ear"):
    """An order about exports there: of itself it concerns foreign persons who are there, the pack reads in the others."""
    return {"all": [{"us_person": "no", "regime": regime}, {"location": {"in": list(countries)}}]}


@pytest.fixture
def world():
    world = plain_world()
    for name, us_person, facts in (
        ("canadian", UsPerson.NO, BORN_ELSEWHERE),
        ("iranian", UsPerson.NO, (("ear", ("IR",)), ("itar", ("IR",)))),
        ("resident", UsPerson.YES, (("ear", ("IR",)), ("itar", ("IR",)))),
        ("undisclosed", UsPerson.NO, ()),
    ):
        world.person(name, "org-a", deemed_export=facts)
        claims = world.claims[name]
        world.claims[name] = type(claims)(
            **{
                field: getattr(claims, field)
                for field in claims.__struct_fields__
                if field not in ("us_person",)
            },
            us_person=(("ear", us_person), ("itar", us_person)),
        )
    return world.admit("lab", "org-a", ["canadian", "iranian", "resident", "undisclosed"], ["model-x"])


def asked(world, name, *orders, location="FR"):
    request = world.request(name, "model-x", location=location)
    return decide(request, world.fork(*orders), world.now)


def codes(decision):
    return () if isinstance(decision, Permit) else tuple(str(code) for code in decision.codes)


@pytest.mark.parametrize(
    ("name", "regime", "expected"),
    [
        ("canadian", "ear", ()),
        ("canadian", "itar", ("LICENCE_MISSING",)),
        ("iranian", "ear", ("LICENCE_MISSING",)),
        ("iranian", "itar", ("LICENCE_MISSING",)),
        ("resident", "ear", ()),
        ("resident", "itar", ()),
        ("undisclosed", "ear", ("NATIONALITY_UNDECLARED",)),
        ("undisclosed", "itar", ("NATIONALITY_UNDECLARED",)),
    ],
)
def test_ear_goes_by_the_most_recent_and_itar_by_any_ever_held(world, name, regime, expected):
    cited = order(
        "1", "licence_required", ["model-x"], world.now, exports_to("IR", regime=regime), packs=PACK
    )
    assert codes(asked(world, name, cited)) == expected


@pytest.mark.parametrize("packs", [(), PACK])
@pytest.mark.parametrize(
    ("name", "regime", "expected"),
    [
        ("canadian", "ear", ()),
        ("canadian", "itar", ("LICENCE_MISSING",)),
        ("iranian", "ear", ("LICENCE_MISSING",)),
        ("resident", "itar", ()),
        ("undisclosed", "ear", ("NATIONALITY_UNDECLARED", "LICENCE_MISSING")),
    ],
)
def test_an_order_that_speaks_of_deemed_exports_says_the_same_with_and_without_the_pack(
    world, name, regime, expected, packs
):
    predicate = {"deemed_export": {"in": ["IR"]}, "regime": regime}
    said = order("1", "licence_required", ["model-x"], world.now, predicate, packs=packs)
    decision = asked(world, name, said, location=None)
    assert codes(decision) == expected
    if packs and expected:
        assert any("us.deemed_export@1" in citation for one in decision.reasons for citation in one.citations)


def test_a_us_person_who_did_not_disclose_countries_is_not_concerned(world):
    said = order(
        "1", "licence_required", ["model-x"], world.now, {"deemed_export": {"in": ["IR"]}}, packs=PACK
    )
    request = world.disclosing(world.request("resident", "model-x"), deemed_export=())
    assert codes(decide(request, world.fork(said), world.now)) == ()


def test_without_the_pack_cited_nobody_is_read_in(world):
    plain = order("1", "licence_required", ["model-x"], world.now, exports_to("IR"))
    for name in ("canadian", "iranian", "resident", "undisclosed"):
        assert codes(asked(world, name, plain)) == ()


def test_another_country_reads_in_others(world):
    cited = order("1", "licence_required", ["model-x"], world.now, exports_to("CA"), packs=PACK)
    assert codes(asked(world, "canadian", cited)) == ("LICENCE_MISSING",)
    assert codes(asked(world, "iranian", cited)) == ()


def test_a_reason_names_its_order_the_pack_and_the_law(world):
    cited = order("1", "licence_required", ["model-x"], world.now, exports_to("IR"), packs=PACK)
    (reason,) = asked(world, "iranian", cited).reasons
    assert reason.directive == cited.directive
    assert (reason.rule, reason.version) == ("us.deemed_export/ear", "1")
    assert "734.13" in reason.source


def test_a_licence_answers_the_order_for_those_read_in_too(world):
    world.licence("l-1", ["model-x"], subjects=("iranian",))
    cited = order("1", "licence_required", ["model-x"], world.now, exports_to("IR"), packs=PACK)
    assert codes(asked(world, "iranian", cited)) == ()


def test_what_two_orders_name_is_never_mixed(world):
    """An EAR order about one country and an ITAR order about another make no EAR order about the other."""
    first = order("1", "licence_required", ["model-x"], world.now, exports_to("CU"), packs=PACK)
    second = order(
        "2", "licence_required", ["model-x"], world.now, exports_to("CA", regime="itar"), packs=PACK
    )
    assert codes(asked(world, "iranian", first, second)) == ()
    (reason,) = asked(world, "canadian", first, second).reasons
    assert (reason.rule, reason.directive) == ("us.deemed_export/itar", second.directive)


def test_an_order_that_cites_another_pack_is_not_read_by_this_one(world):
    informed = order(
        "1",
        "licence_required",
        ["model-x"],
        world.now,
        exports_to("IR"),
        packs=("us.is_informed.2026",),
    )
    deemed = order("2", "licence_required", ["model-x"], world.now, exports_to("CU"), packs=PACK)
    reasons = asked(world, "iranian", informed, deemed).reasons
    assert {(one.rule, one.directive) for one in reasons} == {
        ("us.is_informed.2026/foreign_national", informed.directive)
    }


def test_whoever_is_there_is_concerned_by_the_order_itself(world):
    cited = order("1", "licence_required", ["model-x"], world.now, exports_to("IR"), packs=PACK)
    assert codes(asked(world, "canadian", cited, location="IR")) == ("LICENCE_MISSING",)
