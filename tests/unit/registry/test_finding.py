from __future__ import annotations

import itertools

import pytest

from safeconduct.kernel.vocabulary import Compartment, FindingDomain, Level, Severity
from safeconduct.record.events.registrations import FindingRecorded
from safeconduct.registry.finding import demand, effective


def finding(domain="MAN", normalised="below", cannot_rule_out=False):
    return FindingRecorded(
        variant="v",
        domain=FindingDomain(domain),
        scheme="own",
        raw="x",
        normalised=Severity(normalised),
        cannot_rule_out=cannot_rule_out,
        evidence="00",
    )


@pytest.mark.parametrize(
    ("severity", "open_question", "level"),
    [
        ("below", False, Level.C0),
        ("alert", False, Level.C0),
        ("high", False, Level.C2),
        ("critical", False, Level.C3),
        ("below", True, Level.C0),
        ("alert", True, Level.C2),
        ("high", True, Level.C3),
        ("critical", True, Level.C3),
    ],
)
def test_high_asks_for_c2_critical_for_c3_and_what_cannot_be_ruled_out_counts_one_up(
    severity, open_question, level
):
    assert demand([finding("MAN", severity, open_question)], Level.C0, ()).level is level


@pytest.mark.parametrize("domain", list(FindingDomain))
def test_cyb_bio_and_chm_also_need_a_project(domain):
    asked = demand([finding(domain, "high")], Level.C0, ())
    assert asked.needs_project is (domain in ("CYB", "BIO", "CHM"))
    assert asked.compartments == {Compartment(domain)}
    assert not demand([finding(domain, "alert")], Level.C0, ()).needs_project


def test_findings_only_raise_what_is_declared_whatever_their_order():
    findings = [finding("CYB", "critical"), finding("MAN", "below"), finding("BIO", "high")]
    for order in itertools.permutations(findings):
        asked = demand(order, Level.C1, (Compartment.AUT,))
        assert asked.level is Level.C3
        assert asked.compartments == {Compartment.AUT, Compartment.CYB, Compartment.BIO}
    assert demand([finding("CYB", "high")], Level.C4, ()).level is Level.C4


def test_nothing_lies_above_critical():
    assert effective(finding("CYB", "critical", True)) is Severity.CRITICAL
