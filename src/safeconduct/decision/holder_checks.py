"""Checks of the human behind the question: assurance, affiliation, evidence, screening, ownership, clearance, terms, age.

Owns the table of assurance as code (the pack `assurance.minimum` states it again as policy). Refuses to look at anything
the passport did not disclose.
"""

from __future__ import annotations

from typing import Final

from safeconduct.authorization.predicate import DEFAULT_REGIME
from safeconduct.decision import rules
from safeconduct.decision.inquiry import Inquiry
from safeconduct.decision.response import Reason
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.vocabulary import (
    Affiliation,
    ClearanceState,
    Compartment,
    Level,
    PassportStatus,
    Screening,
    UsPerson,
)
from safeconduct.record.projections import OrganisationState

IAL_BY_LEVEL: Final = (0, 1, 2, 2, 3)
AAL_BY_LEVEL: Final = (0, 2, 2, 3, 3)
HIGHER_IDENTITY: Final = frozenset({Compartment.BIO, Compartment.CHM, Compartment.RAD})
DELEGATED_AUTHENTICATION_SECONDS: Final = 24 * 3600
# Members of an enumeration are looked up slowly on Python 3.11; these stand on the hot path.
_C0, _C1, _C2, _C3 = Level.C0, Level.C1, Level.C2, Level.C3
_VALID, _SUSPENDED = PassportStatus.VALID, PassportStatus.SUSPENDED
_CLEAR, _MATCH, _POSSIBLE, _NONE = Screening.CLEAR, Screening.MATCH, Screening.POSSIBLE, Screening.NONE
_BLOCKED = Outcome.BLOCKED
HELD: Final = frozenset(
    {
        ClearanceState.INTERIM,
        ClearanceState.GRANTED,
        ClearanceState.CONDITIONAL,
        ClearanceState.REINSTATED,
    }
)
_PROVEN: Final = frozenset({Affiliation.ORG_ATTESTED, Affiliation.REGISTRY})
_PROVEN_AT_C2: Final = _PROVEN | {Affiliation.DOMAIN_EMAIL}


def check_passport_status(inquiry: Inquiry) -> None:
    """A revoked or suspended passport denies everywhere at once; the detail says which."""
    status = inquiry.passport.status
    if status is _VALID:
        return
    if status is _SUSPENDED:
        inquiry.deny(
            rules.PASSPORT_REVOKED,
            "the passport is suspended",
            remedy="wait for the adjudication, or ask the issuer about it",
        )
    else:
        inquiry.deny(rules.PASSPORT_REVOKED, "the passport is revoked")


def required_ial(level: Level, compartments: frozenset[Compartment]) -> int:
    """Identity assurance asked for at a level (domain.md 2)."""
    if level == _C3 and not HIGHER_IDENTITY.isdisjoint(compartments):
        return 3
    return IAL_BY_LEVEL[level]


def session_aal(inquiry: Inquiry) -> tuple[int, int]:
    """AAL behind the credential and when that authentication took place; never above what the record says of it."""
    request = inquiry.request
    aal, at = request.aal, request.authenticated_at
    issued = inquiry.passport.issued.aal
    if issued < aal:  # noqa: PLR1730 - a call of min() is dear here
        aal = issued
    if request.mandates:
        first = inquiry.state.mandates.get(request.mandates[0])
        if first is not None:
            aal = min(aal, first.registered.aal)
            at = min(at, first.registered.signed_at)
    if request.gateway_key is not None:
        key = inquiry.state.gateway_keys.get(request.gateway_key)
        if key is not None:
            aal = min(aal, key.registered.aal)
            at = min(at, key.registered.authenticated_at)
    return aal, at


def check_assurance(inquiry: Inquiry) -> None:
    """IAL and AAL by the table; an agent's authentication is at most 24 h old at C3 and above."""
    level = inquiry.level
    if level == _C0:
        return
    compartments = inquiry.variant.required_compartments
    wanted = required_ial(level, compartments) if compartments else IAL_BY_LEVEL[level]
    ial = inquiry.claims.ial
    if ial is None:
        inquiry.deny(
            rules.ASSURANCE,
            f"identity assurance was not disclosed, IAL{wanted} is asked for",
            remedy="disclose the claim `assurance` from your passport",
        )
    elif ial < wanted:
        inquiry.deny(rules.ASSURANCE, f"identity assurance is IAL{ial}, IAL{wanted} is asked for")
    aal, authenticated_at = session_aal(inquiry)
    wanted = AAL_BY_LEVEL[level]
    if aal < wanted:
        inquiry.deny(rules.ASSURANCE, f"authentication is AAL{aal}, AAL{wanted} is asked for")
    # At exactly 24 h it is still good; a second later it is not.
    if (
        level >= _C3
        and inquiry.is_delegated
        and inquiry.has_ended(authenticated_at + DELEGATED_AUTHENTICATION_SECONDS + 1)
    ):
        inquiry.deny(
            rules.ASSURANCE,
            "the human's authentication behind the mandate is more than 24 h old",
            remedy="have the human sign a new mandate",
        )


def check_affiliation(inquiry: Inquiry) -> None:
    """The tie to the organisation is proven at C2 and above, and agrees with the register at every level."""
    request, claims = inquiry.request, inquiry.claims
    enrolled = inquiry.holder.enrolled.organisation
    claimed = claims.organisation
    if claimed is not None and claimed != enrolled:
        inquiry.deny(rules.AFFILIATION, "the organisation disclosed is not the one in the register")
        return
    if request.organisation is not None and request.organisation != enrolled:
        inquiry.deny(rules.AFFILIATION, "the credential names another organisation than the register")
        return
    level = inquiry.level
    if enrolled is None or level < _C2:
        return
    if claimed is None:
        inquiry.deny(rules.AFFILIATION, "the organisation was not disclosed")
        return
    proven = _PROVEN if level >= _C3 else _PROVEN_AT_C2
    if claims.affiliation not in proven:
        found = claims.affiliation.value if claims.affiliation is not None else "not disclosed"
        inquiry.deny(
            rules.AFFILIATION, f"affiliation is {found}, one that the organisation attests is asked for"
        )


def check_evidence(inquiry: Inquiry) -> None:
    """Evidence behind the assurance has not expired, wherever an assurance is asked for (C1 and up).

    Whoever shows an assurance shows until when it holds: else an expiry would be passed by not disclosing it.
    """
    if inquiry.level < _C1:
        return
    expires = inquiry.claims.evidence_expires
    if expires is None:
        inquiry.deny(
            rules.EVIDENCE,
            "the expiry of the evidence was not disclosed",
            remedy="disclose the claim `evidence_expires` from your passport",
        )
    elif inquiry.has_ended(expires):
        inquiry.deny(rules.EVIDENCE, "the evidence behind the identity assurance has expired")


def check_screening(inquiry: Inquiry) -> None:
    """A list match of the person or the organisation, open or confirmed, denies and is withheld from the caller."""
    screening = inquiry.holder.screening
    if screening is not None and screening.screening is not _CLEAR:
        _screened(inquiry, screening.screening, "the subject")
    organisation = inquiry.organisation or _enrolled_organisation(inquiry)
    standing = organisation.standing if organisation is not None else None
    if standing is not None and standing.screening is not _CLEAR:
        _screened(inquiry, standing.screening, "the organisation")


def _enrolled_organisation(inquiry: Inquiry) -> OrganisationState | None:
    # Not disclosing the organisation must not hide a finding on it.
    enrolled = inquiry.holder.enrolled.organisation
    return inquiry.state.organisations.get(enrolled) if enrolled is not None else None


def _screened(inquiry: Inquiry, outcome: Screening, whom: str) -> None:
    if outcome is _MATCH:
        inquiry.deny(rules.LIST_MATCH, f"{whom} matches a list", withheld=True)
    elif outcome is _POSSIBLE:
        inquiry.deny(rules.LIST_POSSIBLE, f"a possible match of {whom} is not resolved", withheld=True)


def check_ownership(inquiry: Inquiry) -> None:
    """Who owns the organisation, as each regime in force reads it: blocked or unknown denies, withheld from the caller."""
    organisation = inquiry.organisation or _enrolled_organisation(inquiry)
    ownership = organisation.ownership if organisation is not None else None
    if ownership is None:
        return
    for finding in ownership.findings:
        for span in finding.spans:
            # The clock alone begins and ends a regime, so each span has a say in how long the answer holds.
            if inquiry.within(span.since, span.until):
                blocked = span.outcome is _BLOCKED
                rule = rules.OWNERSHIP_BLOCKED if blocked else rules.OWNERSHIP_UNKNOWN
                said = "is blocked by its owners" if blocked else "may be blocked by its owners"
                inquiry.reasons.append(
                    Reason(
                        code=rule.code,
                        rule=finding.regime,
                        version=finding.version,
                        source=finding.source,
                        detail=f"the organisation {said} under {finding.regime}",
                        remedy=rule.remedy,
                        withheld=True,
                    )
                )


def check_organisation(inquiry: Inquiry) -> None:
    """From C2 the organisation is verified and screened; one that is suspended denies at every level."""
    organisation = inquiry.organisation or _enrolled_organisation(inquiry)
    standing = organisation.standing if organisation is not None else None
    if standing is not None and standing.suspended:
        inquiry.deny(rules.ORGANISATION, "the organisation is suspended")
    if inquiry.level < _C2:
        return
    if organisation is None:
        inquiry.deny(rules.ORGANISATION, "a verified organisation is asked for, the subject has none")
        return
    if standing is None or inquiry.has_ended(standing.verified_until):
        inquiry.deny(rules.ORGANISATION, "the organisation is not verified, or its verification has lapsed")
    # A match is told as ACCESS_RESTRICTED only: saying here that screening is not clear would give it away.
    if standing is None or standing.screening is _NONE:
        inquiry.deny(rules.ORGANISATION, "the organisation has not been screened")


def check_clearance(inquiry: Inquiry) -> None:
    """Level and compartments are held now; two adjudicators from C3; caveats are met."""
    wanted = inquiry.level
    if wanted == _C0:
        return
    held = inquiry.clearance
    compartments = inquiry.variant.required_compartments
    if held is None:
        inquiry.deny(rules.LEVEL, f"no clearance is held, C{wanted:d} is asked for")
        if compartments:
            inquiry.deny(rules.COMPARTMENT, f"not held: {', '.join(sorted(compartments))}")
        return
    granted = held.granted
    current = inquiry.within(granted.valid_from, granted.valid_until)
    adjudicators = granted.adjudicators
    if held.state not in HELD:
        inquiry.deny(rules.LEVEL, f"the clearance is {held.state.value}")
    elif not current:
        inquiry.deny(rules.LEVEL, "the clearance has expired or is not valid yet")
    elif granted.level < wanted:
        inquiry.deny(rules.LEVEL, f"the clearance is C{granted.level:d}, C{wanted:d} is asked for")
    elif wanted >= _C3 and (
        len(adjudicators) < 2 or adjudicators.count(adjudicators[0]) == len(adjudicators)
    ):
        inquiry.deny(
            rules.LEVEL,
            "the clearance was decided by one adjudicator, two are asked for",
            remedy="ask for a second adjudicator's decision",
        )
    for one in compartments:
        if one not in granted.compartments:
            missing = compartments.difference(granted.compartments)
            inquiry.deny(rules.COMPARTMENT, f"not held: {', '.join(sorted(missing))}")
            break
    if granted.caveats or inquiry.claims.caveats:
        _check_caveats(inquiry, {*granted.caveats, *inquiry.claims.caveats})


def _check_caveats(inquiry: Inquiry, caveats: set[str]) -> None:
    for caveat in sorted(caveats):
        name, _, argument = caveat.partition(":")
        if name == "US_PERSON":
            status = inquiry.request.claims.us_person_for(argument or DEFAULT_REGIME)
            if status == UsPerson.NO:
                inquiry.deny(rules.NOT_US_PERSON, "the clearance is good for a US person only")
            elif status != UsPerson.YES:
                inquiry.deny(
                    rules.NATIONALITY, "the clearance is good for a US person only; none was declared"
                )
        elif name == "ENCLAVE":
            inquiry.deny(rules.ENCLAVE, "the clearance is good inside one attested enclave only")
        else:
            # A restriction that cannot be enforced is not met.
            inquiry.deny(rules.CAVEAT, f"the caveat {name} cannot be enforced by this build")


def check_terms(inquiry: Inquiry) -> None:
    """The variant's terms are signed and have not lapsed."""
    wanted = inquiry.variant.registered.terms
    if wanted is None:
        return
    for signed in inquiry.holder.terms:
        if signed.terms == wanted and inquiry.within(signed.signed_at, signed.until):
            return
    inquiry.deny(rules.TERMS, f"the terms {wanted} are not signed, or have lapsed")


def check_age(inquiry: Inquiry) -> None:
    """The passport carries one boolean, so a minimum age above 18 cannot be shown and is not met."""
    minimum = inquiry.variant.registered.minimum_age
    if minimum is None:
        return
    if minimum > 18:
        inquiry.deny(rules.UNDERAGE, f"an age of {minimum} cannot be shown with `age_over_18`")
    elif inquiry.request.claims.age_over_18 is None:
        inquiry.deny(rules.UNDERAGE, "the age was not disclosed")
    elif not inquiry.request.claims.age_over_18:
        inquiry.deny(rules.UNDERAGE, "the subject is not over 18")
