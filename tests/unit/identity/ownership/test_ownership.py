"""Percentages, statements and explanations of ownership."""

import xml.etree.ElementTree as ElementTree

import pytest

from safeconduct.identity.ownership.designation import Designation, designated_under
from safeconduct.identity.ownership.edge import (
    EdgeKind,
    Holding,
    OwnershipEdge,
    Statement,
    check_date,
    check_node,
    holdings_on,
)
from safeconduct.identity.ownership.explanation import as_text, explain
from safeconduct.identity.ownership.fixed_point import Assessment
from safeconduct.identity.ownership.graph import Graph
from safeconduct.identity.ownership.picture import as_picture
from safeconduct.identity.ownership.regime import Outcome, read_regime
from safeconduct.identity.ownership.share import UNITS, WHOLE, Share, read_share
from safeconduct.kernel.errors import InvalidInput
from safeconduct.policy.packs import load_regimes

REGIMES = {
    pack.pack: read_regime(pack.policies, version=pack.version, legal_source=pack.legal_source)
    for pack in load_regimes()
}
A, B, X, Y = (f"other:made-up:{name}" for name in ("a", "b", "x", "y"))


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("50", 500_000, 500_000),
        ("49.9999 %", 499_999, 499_999),
        ("1/3", 333_333, 333_334),
        ("33.33333", 333_333, 333_334),
        ("50.00000", 500_000, 500_000),
        ("25..50", 250_000, 500_000),
        (">25..50", 250_001, 500_000),
        (">25..<50", 250_001, 499_999),
        ("unknown", 0, WHOLE),
        ("0", 0, 0),
        ("100", WHOLE, WHOLE),
    ],
)
def test_a_percentage_is_read_exactly_or_as_bounds(text, low, high):
    assert read_share(text) == Share(low, high)


@pytest.mark.parametrize(
    "text",
    ["", "50,5", "-1", "100.0001", "101", "60..40", "1e2", "NaN", "½", "٥٠", "1/0", "3/2", "50..", "0x10"],
)
def test_what_is_not_a_percentage_is_refused_by_name(text):
    with pytest.raises(InvalidInput) as refused:
        read_share(text, "edges[3].percent")
    assert refused.value.field == "edges[3].percent"
    assert refused.value.remedy


@pytest.mark.parametrize(
    "text", ["Acme Ltd", "org:", "lei:123", "org:A", "entry:x", "other:x:y\n", "org:a b"]
)
def test_a_name_is_not_a_node(text):
    with pytest.raises(InvalidInput):
        check_node(text, "owner")


@pytest.mark.parametrize("text", ["2026-02-30", "20260101", "2026-1-1", "tomorrow", ""])
def test_a_date_is_a_date(text):
    with pytest.raises(InvalidInput):
        check_date(text, "as_of")


def said(percent, as_of, source="register", recorded_at=0, owner=X):
    edge = OwnershipEdge(owner, A, read_share(percent), EdgeKind.EQUITY, as_of, source)
    return Statement(edge, recorded_at)


def share_on(day, *statements):
    held = holdings_on(statements, day)
    return str(held[0].share) if held else None


def test_a_statement_counts_from_its_day_until_the_same_source_says_otherwise():
    told = (said("60", "2026-01-01"), said("20", "2026-06-01"), said("0", "2026-09-01"))
    assert share_on("2025-12-31", *told) is None
    assert share_on("2026-01-01", *told) == "60 %"
    assert share_on("2026-05-31", *told) == "60 %"
    assert share_on("2026-06-01", *told) == "20 %"
    assert share_on("2026-09-01", *told) is None


def test_of_the_same_day_what_was_recorded_last_counts():
    assert share_on("2026-01-01", said("60", "2026-01-01", recorded_at=2), said("20", "2026-01-01")) == "60 %"
    assert share_on("2026-01-01", said("60", "2026-01-01"), said("20", "2026-01-01", recorded_at=2)) == "20 %"


def test_another_source_never_lowers_what_one_says():
    told = (said("60", "2026-01-01"), said("10", "2026-06-01", source="the owner itself"))
    (held,) = holdings_on(told, "2026-07-01")
    assert str(held.share) == "60 %"
    assert held.disputed


def assessed(name, *holdings, listed=(X,)):
    regime = REGIMES[name]
    designations = tuple(Designation(node, regime.lists[0].list, "v1", "e-1") for node in listed)
    return Assessment(Graph(holdings), regime, designated_under(regime, designations))


def held(owner, owned, percent, kind=EdgeKind.EQUITY):
    share = read_share(percent)
    return Holding(
        owner, owned, kind, share, (OwnershipEdge(owner, owned, share, kind, "2026-01-01", "register"),)
    )


def test_an_explanation_tells_the_sum_the_path_the_source_and_the_entry():
    told = as_text(
        explain(assessed("us.ofac50", held(X, B, "50"), held(B, A, "25"), held(X, A, "25")), A, "2026-11-23")
    )
    assert "BLOCKED" in told
    assert "ownership: 50 % held by all caught owners together; >= 50 % is caught: blocked" in told
    assert f"path: {X} -> 25 % -> {A}" in told
    assert "entry e-1 of us.ofac.sdn (v1)" in told
    assert "register as of 2026-01-01: 25 %" in told
    assert "Revised Guidance" in told


def test_the_uk_sum_is_one_persons_with_what_it_holds_through_others():
    told = explain(assessed("uk.own", held(X, B, "100"), held(B, A, "30"), held(X, A, "30")), A, "2026-11-23")
    (one,) = told.sums
    assert (one.person, str(one.share), one.through, one.caught) == (X, "60 %", (B,), Outcome.BLOCKED)


def test_the_most_restrictive_of_several_owners_lists_is_named():
    regime = REGIMES["us.bis.affiliates"]
    listed = (Designation(Y, "us.csl.meu", "1", "m"), Designation(X, "us.csl.el", "1", "e"))
    graph = Graph([held(Y, A, "49"), held(X, B, "50"), held(B, A, "1")])
    assessment = Assessment(graph, regime, designated_under(regime, listed))
    assert assessment.outcome(A) is Outcome.BLOCKED
    assert assessment.most_restrictive(A) == "us.csl.el"


def test_an_organisation_that_is_listed_itself_says_so():
    told = explain(assessed("us.ofac50", listed=(A,)), A, "2026-11-23")
    assert told.outcome is Outcome.BLOCKED
    assert "it is itself entry e-1" in as_text(told)


def test_how_much_of_the_equity_is_accounted_for_is_told():
    told = explain(assessed("us.ofac50", held(Y, A, "30"), held(X, A, ">10..25")), A, "2026-11-23")
    assert told.outcome is Outcome.CLEAR
    assert "equity accounted for: at least 40.0001 %" in as_text(told)


def test_own_shares_block_nobody_and_make_no_room():
    assert assessed("us.ofac50", held(A, A, "60"), held(X, A, "unknown")).outcome(A) is Outcome.UNKNOWN
    assert assessed("us.ofac50", held(A, A, "60"), held(X, A, "40")).outcome(A) is Outcome.CLEAR


SVG = "{http://www.w3.org/2000/svg}"


def picture(**names):
    told = explain(
        assessed("us.ofac50", held(X, B, "50"), held(B, A, "50"), held(A, B, "10")), A, "2026-11-23"
    )
    return as_picture(told, names and {A: names["a"]})


def test_a_picture_is_well_formed_has_title_and_description_and_is_the_same_twice():
    drawn = picture()
    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "img"
    assert root.find(f"{SVG}title").text.startswith(f"{A}: blocked under us.ofac50")
    assert "path:" in root.find(f"{SVG}desc").text
    assert drawn == picture()
    assert drawn.count('class="box') == 3
    assert "prefers-color-scheme:dark" in drawn


def test_a_hostile_name_stays_text_in_a_picture():
    drawn = picture(a="</text><script>alert(1)</script>\x00\u202e & \"'")
    root = ElementTree.fromstring(drawn)
    assert not [one for one in root.iter() if one.tag.endswith("script")]
    assert "\u202e" not in drawn
    assert "\x00" not in drawn


def test_a_picture_of_a_thousand_owners_stays_bounded():
    crowd = [held(f"other:made-up:n{place}", A, "0.1") for place in range(1000)]
    assessment = assessed("us.ofac50", *crowd, listed=[one.owner for one in crowd])
    told = explain(assessment, A, "2026-11-23")
    assert told.outcome is Outcome.BLOCKED
    assert told.left_out == 800
    assert len(as_picture(told)) < 100_000


def test_units_are_a_ten_thousandth_of_a_per_cent():
    assert WHOLE == 100 * UNITS == 1_000_000
