"""The table of June 2026: outcomes and codes, in order, for every subject and date."""

import pytest
from tests.support.june import COLUMNS, TABLE, June

from safeconduct.decision.evaluation import decide
from safeconduct.decision.explanation import told_codes
from safeconduct.decision.response import Permit

RENAMED = {
    "restricted": "aster-9",
    "lesser": "briar-2",
    "gated": "cedar-x",
    "lab": "maker",
    "lab2": "other-maker",
    "home": "ZA",
    "abroad": "BR",
    "elsewhere": "NZ",
    "annexed-org": "o-1",
    "subsidiary-org": "o-2",
    "domestic-org": "o-3",
    "outside-org": "o-4",
}


def answer(decision):
    return "allow" if isinstance(decision, Permit) else " ".join(told_codes(decision))


@pytest.mark.parametrize(
    ("shift", "names", "packs"),
    [(0, None, True), (0, None, False), (200, RENAMED, True), (-90, RENAMED, False)],
    ids=["as it was", "without packs", "moved 200 days and renamed", "moved back, renamed, without packs"],
)
def test_the_table_of_june(shift, names, packs):
    june = June(shift, names, packs)
    found = {row: [] for row in TABLE}
    for column in COLUMNS:
        june.world.add(*june.events_of(column))
        for row, (who, model, _) in TABLE.items():
            request = june.request(who, model, column)
            found[row].append(answer(decide(request, june.world.state, june.noon(column))))
    assert found == {row: list(expected) for row, (_, _, expected) in TABLE.items()}


def test_an_undeclared_person_at_an_annexed_organisation_is_allowed_once_the_annex_is_in_force():
    june = June()
    for column in COLUMNS[:4]:
        june.world.add(*june.events_of(column))
    request = june.request("undeclared-annexed", "restricted", "06-26")
    assert (
        answer(decide(request, june.world.state, june.noon("06-25")))
        == "NATIONALITY_UNDECLARED LICENCE_MISSING"
    )
    assert answer(decide(request, june.world.state, june.noon("06-26"))) == "allow"


def test_an_order_known_ahead_acts_at_its_own_time_to_the_second():
    june = June()
    for column in COLUMNS[:2]:
        june.world.add(*june.events_of(column))
    state, begins = june.world.state, june.at("2026-06-12")
    request = june.request("annexed", "restricted", "06-11")
    before = decide(request, state, begins - 1)
    assert answer(before) == "allow"
    assert before.valid_until == begins
    assert answer(decide(request, state, begins)) == "LICENCE_MISSING"


def test_the_pack_that_an_order_cites_is_cited_in_its_reason():
    june = June()
    for column in COLUMNS[:2]:
        june.world.add(*june.events_of(column))
    denied = decide(june.request("annexed", "restricted", "06-12"), june.world.state, june.noon("06-12"))
    (reason,) = denied.reasons
    assert reason.directive == "authority:sample/1/1"
    assert reason.citations == (
        'us.is_informed.2026@1: 15 CFR 744 ("is informed" notice); 15 CFR 772.1 (foreign person)',
    )
    assert denied.packs == ("assurance.minimum@1", "us.is_informed.2026@1")
