"""The clearance level that evidence amounts to: the table of docs/GLOSSARY.md ("Clearance") as data.

Computes; never raises a level above what was asked, never grants what was not shown. What a single request has to bring (a
sender-constrained credential, an attested enclave) is checked when it is decided, not here.
"""

from __future__ import annotations

import msgspec

from safeconduct.identity.assurance import Requirement
from safeconduct.kernel.ids import ProjectId
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level

# Compartments for which level C3 asks for IAL3.
IAL3_COMPARTMENTS = frozenset({Compartment.BIO, Compartment.CHM, Compartment.RAD})
_SOURCE = "clearance table"


class OrganisationFacts(msgspec.Struct, frozen=True):
    """What is known of the applicant's organisation at the moment of computing."""

    verified: bool
    clear: bool
    suspended: bool


class ApprovedProject(msgspec.Struct, frozen=True):
    """A project in force that the applicant works on. approved_by, requested_by: ids of persons."""

    project: ProjectId
    compartments: tuple[Compartment, ...]
    approved_by: tuple[str, ...]
    requested_by: str
    until: int


class Shown(msgspec.Struct, frozen=True):
    """Everything the table looks at. applicant: every id the applicant goes by (subject, reference)."""

    ial: int
    aal: int
    age_checked: bool
    clear: bool
    affiliation: Affiliation
    organisation: OrganisationFacts | None
    projects: tuple[ApprovedProject, ...]
    terms_signed: bool
    adjudicators: tuple[str, ...]
    requester: str
    applicant: frozenset[str]


class Asked(msgspec.Struct, frozen=True):
    """The clearance asked for."""

    level: Level
    compartments: tuple[Compartment, ...] = ()
    caveats: tuple[str, ...] = ()


class Eligible(msgspec.Struct, frozen=True):
    """The clearance computed, and each sentence of the levels up to the one asked for."""

    level: Level
    compartments: tuple[Compartment, ...]
    caveats: tuple[str, ...]
    requirements: tuple[Requirement, ...]


def independent(adjudicators: tuple[str, ...], requester: str, applicant: frozenset[str]) -> frozenset[str]:
    """The adjudicators who are neither the applicant nor the one who asked: nobody approves their own request."""
    return frozenset(adjudicators) - applicant - {requester}


def _approved(shown: Shown) -> tuple[ApprovedProject, ...]:
    return tuple(
        project
        for project in shown.projects
        if independent(project.approved_by, project.requested_by, shown.applicant)
    )


def requirements_of(level: Level, shown: Shown) -> tuple[Requirement, ...]:
    """The sentences of one row of the table; lower rows are asked separately."""

    def ask(sentence: str, met: bool) -> Requirement:
        return Requirement(level.name, _SOURCE, sentence, met)

    organisation = shown.organisation
    if level is Level.C0:
        return ()
    if level is Level.C1:
        return (
            ask("IAL1 or better", shown.ial >= 1),
            ask("an authenticator of AAL2 or better that can hold a passport", shown.aal >= 2),
            ask("the age check was made", shown.age_checked),
            ask("terms are signed", shown.terms_signed),
        )
    if level is Level.C2:
        return (
            ask("IAL2 or better", shown.ial >= 2),
            ask("an authenticator of AAL2 or better that can hold a passport", shown.aal >= 2),
            ask("the person is screened clear against named lists", shown.clear),
            ask("the organisation is verified", organisation is not None and organisation.verified),
            ask(
                "the organisation is screened clear against named lists",
                organisation is not None and organisation.clear,
            ),
            ask("the organisation is not suspended", organisation is not None and not organisation.suspended),
            # A verified organisation lends its standing only to those it is shown to have.
            ask(
                "the tie to the organisation is more than the person's own word",
                shown.affiliation is not Affiliation.SELF,
            ),
        )
    if level is Level.C3:
        return (
            ask("IAL2 or better", shown.ial >= 2),
            ask("an authenticator of AAL3 that can hold a passport", shown.aal >= 3),
            ask(
                "a project in force was approved by someone other than its requester and the applicant",
                bool(_approved(shown)),
            ),
            ask(
                "two different adjudicators, neither the applicant nor the requester",
                len(independent(shown.adjudicators, shown.requester, shown.applicant)) >= 2,
            ),
        )
    return (
        ask("IAL3", shown.ial >= 3),
        ask("an authenticator of AAL3 that can hold a passport", shown.aal >= 3),
        # INVARIANT: C4 is never computed while enclaves are not attested; otherwise it would be an empty word.
        ask("the organisation is on the authority's list and works from an attested enclave", False),
    )


def eligible(shown: Shown, asked: Asked) -> Eligible:
    """The clearance shown, at most the one asked for."""
    sentences: list[Requirement] = []
    level = Level.C0
    unbroken = True
    for candidate in Level:
        if candidate > asked.level:
            break
        row = requirements_of(candidate, shown)
        sentences += row
        unbroken = unbroken and all(requirement.met for requirement in row)
        if unbroken:
            level = candidate
    covered = {compartment for project in _approved(shown) for compartment in project.compartments}
    held = []
    for compartment in dict.fromkeys(asked.compartments):
        needs = [
            Requirement(compartment.value, _SOURCE, "level C2 or better is held", level >= Level.C2),
            Requirement(
                compartment.value,
                _SOURCE,
                "an approved project of the applicant covers it (need to know)",
                compartment in covered,
            ),
        ]
        if compartment in IAL3_COMPARTMENTS and level >= Level.C3:
            needs.append(Requirement(compartment.value, _SOURCE, "IAL3 at level C3", shown.ial >= 3))
        sentences += needs
        if all(requirement.met for requirement in needs):
            held.append(compartment)
    return Eligible(
        level=level,
        compartments=tuple(sorted(held)),
        # Caveats restrict, so all that are asked for are kept whatever the level.
        caveats=tuple(sorted(set(asked.caveats))),
        requirements=tuple(sentences),
    )
