"""Every shipped ownership regime: valid, cited, and right on its own cases."""

import msgspec
import pytest

from safeconduct.identity.ownership.designation import Designation, designated_under
from safeconduct.identity.ownership.edge import OwnershipEdge, Statement, holdings_on
from safeconduct.identity.ownership.fixed_point import Assessment
from safeconduct.identity.ownership.graph import Graph
from safeconduct.identity.ownership.regime import Period, RegimeStatus, in_force, read_regime, with_period
from safeconduct.identity.ownership.share import read_share
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import InvalidInput
from safeconduct.policy.packs import load_ownership_cases, load_regimes
from safeconduct.policy.publish import validate

PACKS = {pack.pack: pack for pack in load_regimes()}
CASES = [(name, case) for name, cases in load_ownership_cases().items() for case in cases]


def regime_of(name):
    pack = PACKS[name]
    return read_regime(pack.policies, version=pack.version, title=pack.title, legal_source=pack.legal_source)


def answers(regime, case):
    edges = [
        Statement(OwnershipEdge(owner, owned, read_share(share), kind, "2020-01-01", "case"), 0)
        for owner, owned, share, kind in case.edges
    ]
    listed = tuple(
        Designation(node, name, "1", "e", tuple(programmes)) for node, name, programmes in case.listed
    )
    assessment = Assessment(Graph(holdings_on(edges, case.on)), regime, designated_under(regime, listed))
    return {node: in_force(assessment.outcome(node), regime.status_on(case.on)) for node in case.expect}


def test_all_four_regimes_ship():
    assert set(PACKS) == {"us.ofac50", "us.bis.affiliates", "eu.own", "uk.own"}


@pytest.mark.parametrize("pack", PACKS.values(), ids=lambda pack: pack.pack)
def test_a_shipped_regime_is_valid_cited_and_has_cases(pack):
    validate(pack)
    assert pack.legal_source
    assert load_ownership_cases()[pack.pack]


@pytest.mark.parametrize(("name", "case"), CASES, ids=lambda one: one if isinstance(one, str) else one.name)
def test_a_shipped_regime_answers_its_cases(name, case):
    assert answers(regime_of(name), case) == case.expect


def test_what_the_operator_confirms_takes_the_place_of_what_was_to_be_confirmed():
    text = with_period(
        PACKS["us.bis.affiliates"].policies,
        Period(RegimeStatus.ACTIVE, "2026-11-10", "made up for this test"),
    )
    regime = read_regime(text, version="2")
    assert regime.status_on("2026-11-09").status is RegimeStatus.SUSPENDED
    assert regime.status_on("2026-11-10").status is RegimeStatus.ACTIVE
    case = next(case for name, case in CASES if case.name.startswith("to be confirmed"))
    assert set(answers(regime, case).values()) == {"blocked"}


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"threshold": "0"}, "policies.threshold"),
        ({"threshold": "25..50"}, "policies.threshold"),
        ({"threshold": "101"}, "policies.threshold"),
        ({"lists": []}, "policies.lists"),
        ({"periods": []}, "policies.periods"),
        ({"operator": "<"}, "policies"),
        ({"regime": "us.other"}, "policies.regime"),
        ({"control": [{"kind": "equity", "operator": ">", "threshold": "50"}]}, "policies.control"),
        (
            {"periods": [{"status": "active", "from": "2025-02-30", "source": "x"}]},
            "policies.periods[0].from",
        ),
        (
            {"periods": [{"status": "active", "from": "2025-02-03", "source": ""}]},
            "policies.periods[0].source",
        ),
    ],
)
def test_a_regime_that_makes_no_sense_is_not_published(change, field):
    pack = PACKS["us.ofac50"]
    text = msgspec.json.encode({**msgspec.json.decode(pack.policies), **change}).decode()
    with pytest.raises(InvalidInput) as refused:
        validate(msgspec.structs.replace(pack, policies=text, sha256=sha256_hex(text.encode())))
    assert refused.value.field == field
