"""Variants that differ in nothing but their names are asked about once; whatever decisions read of them parts them."""

import msgspec
import pytest
from tests.support.worlds import World, order

from safeconduct.app.population_variants import kinds_of
from safeconduct.kernel.vocabulary import Compartment, Level, Stage, Standing
from safeconduct.record.events import StandingChanged
from safeconduct.record.state import fold

START, END = 0, 1_000
BOTH = ("model-x", "model-y")


def world(**of_one):
    """Two variants that are alike, but for what is said of the second."""
    made = World(start=START, end=END, packs=False).provider("lab")
    made.variant("model-x", "lab")
    return made.variant("model-y", "lab", **of_one)


def asked(made, *further, granted=(frozenset(BOTH),)):
    return kinds_of(made.state, fold(further, made.state), granted)


def test_variants_that_differ_in_name_only_are_one_kind():
    found = asked(world(), order("1", "suspend", BOTH, 0))
    assert found.asked == ("model-x",)
    assert found.alike == {"model-x": BOTH}


@pytest.mark.parametrize(
    "of_one",
    [
        {"level": Level.C3},
        {"compartments": (Compartment.CYB,)},
        {"stage": Stage.VERIFIED},
        {"org_list": "l"},
        {"terms": "t"},
        {"minimum_age": 18},
        {"region": "r2"},
        {"enclave": "e"},
        {"certifications": ("c",)},
    ],
    ids=lambda one: next(iter(one)),
)
def test_what_a_decision_reads_of_a_variant_parts_it_from_the_others(of_one):
    assert asked(world(**of_one)).asked == BOTH


def suspended(made):
    made.add(
        StandingChanged(variant="model-y", standing=Standing.SUSPENDED, cohort=None, cause="", by="lab", at=0)
    )


@pytest.mark.parametrize(
    "change",
    [
        suspended,
        lambda made: made.deployment("model-y-2", "model-y"),
        lambda made: made.certification("model-y-1", "c", 0, END),
        lambda made: made.licence("l", ("model-y",), annex=("org-lab",)),
        lambda made: made.add(order("1", "suspend", ["model-y"], 0)),
        lambda made: made.add(
            order("1", "suspend", BOTH, 0), order("2", "rescind", ["model-y"], 0, amends=("1",))
        ),
        lambda made: made.add(
            order("1", "suspend", BOTH, 0),
            order("2", "partially_authorise", ["model-x"], 0, except_=({"all": []},), amends=("1",)),
        ),
    ],
    ids=["standing", "deployment", "certification", "licence", "order", "rescission", "amendment"],
)
def test_what_is_said_of_one_variant_alone_parts_it_from_the_others(change):
    made = world()
    change(made)
    assert asked(made).asked == BOTH


def test_the_unsigned_directive_parts_the_variant_that_it_names():
    assert asked(world(), order("1", "suspend", ["model-x"], 0)).asked == BOTH
    first = order("1", "suspend", BOTH, 0)
    made = world().add(first)
    assert asked(made).asked == ("model-x",)
    assert asked(made, order("2", "rescind", ["model-y"], 0, amends=("1",))).asked == BOTH


def test_a_grant_that_names_one_of_two_parts_them():
    assert asked(world(), granted=[frozenset(BOTH), frozenset({"model-x"})]).asked == BOTH


def test_variants_of_two_providers_are_two_kinds():
    made = World(start=START, end=END, packs=False).provider("lab").provider("other")
    made.variant("model-x", "lab").variant("model-y", "other")
    assert asked(made).asked == BOTH


def test_every_field_left_out_of_the_comparison_is_known():
    # A field added later joins the comparison; whoever leaves it out says so here and proves it with the property test.
    made = world()
    one, other = (made.state.variants[name] for name in BOTH)
    different = {
        name
        for name in one.registered.__struct_fields__
        if getattr(one.registered, name) != getattr(other.registered, name)
    }
    assert different == {"variant", "model"}
    one, other = (made.state.deployments[f"{name}-1"].registered for name in BOTH)
    different = {name for name in one.__struct_fields__ if getattr(one, name) != getattr(other, name)}
    assert different == {"deployment", "variant", "upstream_model"}
    assert msgspec.structs.asdict(one)["base_url"] == other.base_url
