"""Predicates: what is refused and where, and three-valued logic."""

import pytest

from safeconduct.authorization.predicate import (
    FALSE,
    TRUE,
    UNKNOWN,
    Facts,
    annexes_named,
    evaluate,
    lists_named,
    nationality_dependent,
    nationality_unknown,
    parse,
    parse_exceptions,
)
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import SubjectKind, UsPerson


@pytest.mark.parametrize(
    ("data", "field"),
    [
        ({"al": []}, "applies_to.al"),
        ({"all": [{"us_person": "no"}, {"shoe_size": 43}]}, "applies_to.all[1].shoe_size"),
        ({"not": {"any": [{"citizenship": {"notin": ["AA"]}}]}}, "applies_to.not.any[0].citizenship.notin"),
        ({"citizenship": {"in": ["aa"]}}, "applies_to.citizenship.in[0]"),
        ({"citizenship": {"in": []}}, "applies_to.citizenship.in"),
        ({"citizenship": {"in": ["AA"], "not": 1}}, "applies_to.citizenship.not"),
        ({"organisation": {"in": "somewhere"}}, "applies_to.organisation.in"),
        ({"organisation": {"in": ["annex:a"]}}, "applies_to.organisation.in"),
        ({"organisation": "annex:a"}, "applies_to.organisation"),
        ({"us_person": True}, "applies_to.us_person"),
        ({"us_person": "maybe"}, "applies_to.us_person"),
        ({"us_person": "no", "regime": 3}, "applies_to.regime"),
        ({"employee_of_provider": "yes"}, "applies_to.employee_of_provider"),
        ({"subject_kind": "robot"}, "applies_to.subject_kind"),
        ({"subject_kind": {"in": ["agent", 3]}}, "applies_to.subject_kind.in[1]"),
        ({"location": {"in": ["ZZZ"]}}, "applies_to.location.in[0]"),
        ({"any": []}, "applies_to.any"),
        ({"all": {"us_person": "no"}}, "applies_to.all"),
        ({}, "applies_to"),
        ({"us_person": "no", "citizenship": {"in": ["AA"]}}, "applies_to"),
        ({"citizenship": {"in": ["AA"]}, "regime": "ear"}, "applies_to"),
        ([], "applies_to"),
        (None, "applies_to"),
        ("true", "applies_to"),
    ],
)
def test_what_is_not_a_predicate_is_refused_by_its_path(data, field):
    with pytest.raises(InvalidInput) as refused:
        parse(data)
    assert refused.value.field == field


def test_the_path_of_an_exception_names_its_place():
    with pytest.raises(InvalidInput) as refused:
        parse_exceptions([{"us_person": "no"}, {"colour": 1}])
    assert refused.value.field == "except[1].colour"
    with pytest.raises(InvalidInput):
        parse_exceptions({"us_person": "no"})


def test_a_mistyped_operator_is_answered_with_the_one_meant():
    with pytest.raises(InvalidInput, match="citizenship"):
        parse({"citizenshp": {"in": ["AA"]}})


def test_a_predicate_too_deep_is_refused():
    data = {"us_person": "no"}
    for _ in range(1_000):
        data = {"not": data}
    with pytest.raises(InvalidInput):
        parse(data)
    with pytest.raises(InvalidInput):
        parse({"all": [{"us_person": "no"}] * 3_000})


NOTHING = Facts()
FOREIGN = Facts(
    us_person=(("ear", UsPerson.NO),),
    citizenships=("AA", "BB"),
    organisation="o",
    employee_of_provider=False,
    subject_kind=SubjectKind.HUMAN,
    location="CC",
    deemed_export=(("ear", ("DD",)),),
)


def value(data, facts=FOREIGN, annexes=None, lists=None):
    return evaluate(parse(data), facts, annexes or {}, (lists or {}).get)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"us_person": "no"}, TRUE),
        ({"us_person": "yes"}, FALSE),
        ({"us_person": "undeclared"}, FALSE),
        ({"us_person": "no", "regime": "itar"}, UNKNOWN),
        ({"citizenship": {"in": ["BB"]}}, TRUE),
        ({"citizenship": {"in": ["DD"]}}, FALSE),
        ({"employee_of_provider": False}, TRUE),
        ({"employee_of_provider": True}, FALSE),
        ({"subject_kind": "human"}, TRUE),
        ({"subject_kind": {"in": ["agent", "service"]}}, FALSE),
        ({"location": {"in": ["CC"]}}, TRUE),
        ({"location": {"in": ["AA"]}}, FALSE),
        ({"deemed_export": {"in": ["DD"]}}, TRUE),
        ({"deemed_export": {"in": ["AA"]}}, FALSE),
        ({"deemed_export": {"in": ["DD"]}, "regime": "itar"}, UNKNOWN),
        ({"all": []}, TRUE),
        ({"not": {"all": []}}, FALSE),
    ],
)
def test_a_fact_that_is_known_is_true_or_false(data, expected):
    assert value(data) == expected


@pytest.mark.parametrize(
    "data",
    [
        {"us_person": "no"},
        {"us_person": "yes"},
        {"citizenship": {"in": ["AA"]}},
        {"organisation": {"in": "annex:a"}},
        {"employee_of_provider": True},
        {"subject_kind": "agent"},
        {"location": {"in": ["AA"]}},
        {"deemed_export": {"in": ["AA"]}},
    ],
)
def test_a_fact_that_is_not_known_is_unknown_and_so_is_its_negation(data):
    assert value(data, NOTHING, {"a": frozenset({"o"})}) == UNKNOWN
    assert value({"not": data}, NOTHING, {"a": frozenset({"o"})}) == UNKNOWN


def test_undeclared_is_a_value():
    assert value({"us_person": "undeclared"}, NOTHING) == TRUE


def test_membership_is_of_the_organisation_itself_in_that_annex_or_list():
    annexes, lists = {"a": frozenset({"o"}), "b": frozenset({"p"})}, {"l": frozenset({"o"})}
    assert value({"organisation": {"in": "annex:a"}}, FOREIGN, annexes, lists) == TRUE
    assert value({"organisation": {"in": "annex:b"}}, FOREIGN, annexes, lists) == FALSE
    assert value({"organisation": {"in": "list:l"}}, FOREIGN, annexes, lists) == TRUE
    assert value({"organisation": {"in": "list:a"}}, FOREIGN, annexes, lists) == UNKNOWN
    assert value({"organisation": {"in": "annex:l"}}, FOREIGN, annexes, lists) == UNKNOWN


def test_kleene():
    yes, no, unknown = {"all": []}, {"not": {"all": []}}, {"us_person": "no", "regime": "none"}
    assert value({"all": [unknown, no]}) == FALSE
    assert value({"all": [unknown, yes]}) == UNKNOWN
    assert value({"any": [unknown, yes]}) == TRUE
    assert value({"any": [unknown, no]}) == UNKNOWN


def test_what_a_predicate_turns_on_can_be_asked():
    data = {
        "all": [
            {"not": {"us_person": "yes"}},
            {"organisation": {"in": "annex:a"}},
            {"organisation": {"in": "list:l"}},
        ]
    }
    predicate = parse(data)
    assert nationality_dependent(predicate)
    assert nationality_unknown(predicate, NOTHING)
    assert not nationality_unknown(predicate, FOREIGN)
    assert annexes_named(predicate) == {"a"}
    assert lists_named(predicate) == {"l"}
    assert not nationality_dependent(parse({"location": {"in": ["AA"]}}))
    # Asking whether it is undeclared is answered by that very fact.
    assert not nationality_unknown(parse({"us_person": "undeclared"}), NOTHING)
