"""Findings on a variant, and what they demand of whoever wants to use it.

Owns the default demand (domain.md 3): high asks for C2, critical for C3; CYB, BIO and CHM also ask for a project; a danger
that cannot be ruled out counts as the next level up. Refuses to weaken: a finding only ever raises what is declared.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from safeconduct.kernel.vocabulary import Compartment, FindingDomain, Level, Severity

_LADDER = tuple(Severity)
_LEVELS = {
    Severity.BELOW: None,
    Severity.ALERT: None,
    Severity.HIGH: Level.C2,
    Severity.CRITICAL: Level.C3,
}
PROJECT_COMPARTMENTS = frozenset({Compartment.CYB, Compartment.BIO, Compartment.CHM})


class Finding(Protocol):
    """What the demand needs to know of a finding; the record's `FindingRecorded` has this shape."""

    @property
    def domain(self) -> FindingDomain:
        """What the danger is about."""
        ...

    @property
    def normalised(self) -> Severity:
        """How far it goes, in our words."""
        ...

    @property
    def cannot_rule_out(self) -> bool:
        """True when the next level up could not be ruled out."""
        ...


class Demand(msgspec.Struct, frozen=True):
    """What a variant asks of its users. needs_project: an approved project is asked for whatever the level."""

    level: Level
    compartments: frozenset[Compartment]
    needs_project: bool


def effective(finding: Finding) -> Severity:
    """The severity that counts: one step up when the next level cannot be ruled out."""
    place = _LADDER.index(finding.normalised)
    return _LADDER[min(place + finding.cannot_rule_out, len(_LADDER) - 1)]


def demand(
    findings: Iterable[Finding], declared_level: Level, declared_compartments: Iterable[Compartment]
) -> Demand:
    """The level, compartments and project that a variant asks for: the declared ones, raised by its findings.

    From `high` on, a finding also asks for the compartment of its domain. A declared compartment of CYB, BIO or CHM asks
    for a project as a finding would: a provider does not loosen its own statement by finding nothing.
    """
    level, compartments = declared_level, set(declared_compartments)
    for finding in findings:
        asked = _LEVELS[effective(finding)]
        if asked is not None:
            level = max(level, asked)
            compartments.add(Compartment(finding.domain.value))
    return Demand(level, frozenset(compartments), not PROJECT_COMPARTMENTS.isdisjoint(compartments))
