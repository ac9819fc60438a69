"""What an organisation's evidence amounts to: the identifiers it is matched by, its verification and its screening.

Pure. Owns that an organisation is only ever matched by a number that somebody looked up: an annex admits by LEI or register
number, so a number that was merely claimed would be a way onto it. An import never lifts a suspension.
"""

from __future__ import annotations

from safeconduct.identity.assurance import Requirement
from safeconduct.identity.evidence import Outcome
from safeconduct.identity.organisation import OrganisationEvidence, VerificationSource, verified_until
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.vocabulary import Screening
from safeconduct.record.events import Event
from safeconduct.record.events.holders import (
    OrganisationRegistered,
    OrganisationStandingChanged,
    RegistryNumber,
)
from safeconduct.record.state import State

_CLAUSE = "clearance table, organisation"


def assess_organisation(
    evidence: OrganisationEvidence, *, document: str, state: State, now: int
) -> tuple[list[Event], tuple[Requirement, ...]]:
    """Events by which the record comes to agree with the evidence, and each sentence that was met or missed.

    document: SHA-256 (hex) of the signed import. Raises Conflict when an identifier or a provider is another organisation's.
    """
    lei = evidence.lei if _confirmed(evidence, VerificationSource.LEI_RECORD) else None
    registry = (
        RegistryNumber(evidence.registry.authority, evidence.registry.number)
        if evidence.registry is not None and _confirmed(evidence, VerificationSource.COMMERCIAL_REGISTER)
        else None
    )
    _check_free(evidence, lei, registry, state)
    _check_provider(evidence, state)
    known = state.organisations.get(evidence.organisation)
    events: list[Event] = []
    registered = OrganisationRegistered(
        organisation=evidence.organisation,
        legal_name=evidence.legal_name,
        country=evidence.country,
        sector=evidence.sector,
        lei=lei,
        registry=registry,
        provider=evidence.provider,
        parent=evidence.parent,
    )
    if known is None or known.registered != registered:
        events.append(registered)
    until = verified_until(evidence)
    screening = evidence.screening
    before = known.standing if known is not None else None
    standing = OrganisationStandingChanged(
        organisation=evidence.organisation,
        verified_until=until,
        screening=screening.result if screening is not None else Screening.NONE,
        screened_at=screening.at if screening is not None else 0,
        list_digests=screening.digests() if screening is not None else (),
        evidence=document,
        suspended=before is not None and before.suspended,
        # Kept word for word: an adjudicator finds a signal's suspension by it.
        cause=before.cause if before is not None else "",
    )
    if known is None or known.standing != standing:
        events.append(standing)
    return events, _sentences(evidence, registered, standing, now)


def _confirmed(evidence: OrganisationEvidence, source: VerificationSource) -> bool:
    """True when the latest look-up there found the number that the evidence states."""
    number = (
        evidence.lei
        if source is VerificationSource.LEI_RECORD
        else (evidence.registry.number if evidence.registry is not None else None)
    )
    checks = [check for check in evidence.verifications if check.source is source]
    if number is None or not checks:
        return False
    latest = max(check.at for check in checks)
    return all(
        check.outcome is Outcome.PASS and check.reference == number for check in checks if check.at == latest
    )


def _check_free(
    evidence: OrganisationEvidence, lei: str | None, registry: RegistryNumber | None, state: State
) -> None:
    holders = (
        (state.by_lei.get(lei) if lei is not None else None, "organisation.lei"),
        (
            state.by_registry.get((registry.authority, registry.number)) if registry is not None else None,
            "organisation.registry",
        ),
    )
    for holder, path in holders:
        if holder is not None and holder != evidence.organisation:
            raise Conflict(
                f"already stands for organisation {holder!r}",
                field=path,
                remedy="import it under that id, or correct the number",
            )


def _check_provider(evidence: OrganisationEvidence, state: State) -> None:
    """A provider has one organisation of its own; its employees are told by it, so nobody else may be named as it."""
    if evidence.provider is None:
        return
    registered = state.providers.get(evidence.provider)
    holders = {
        name
        for name, organisation in state.organisations.items()
        if organisation.registered.provider == evidence.provider
    }
    if registered is not None:
        holders.add(registered.organisation)
    if holders - {evidence.organisation}:
        raise Conflict(
            f"provider {evidence.provider!r} has another organisation",
            field="organisation.provider",
            remedy="leave it out",
        )


def _sentences(
    evidence: OrganisationEvidence,
    registered: OrganisationRegistered,
    standing: OrganisationStandingChanged,
    now: int,
) -> tuple[Requirement, ...]:
    name = evidence.organisation
    sentences = [
        Requirement(
            name, _CLAUSE, "verified by a register or the LEI's record", now < standing.verified_until
        ),
        Requirement(
            name,
            _CLAUSE,
            "screened clear against named lists",
            standing.screening is Screening.CLEAR and bool(standing.list_digests),
        ),
        Requirement(name, _CLAUSE, "not suspended", not standing.suspended),
    ]
    if evidence.lei is not None:
        sentences.append(
            Requirement(
                name, _CLAUSE, "the LEI was looked up, so it is matched by it", registered.lei is not None
            )
        )
    if evidence.registry is not None:
        sentences.append(
            Requirement(
                name,
                _CLAUSE,
                "the register number was looked up, so it is matched by it",
                registered.registry is not None,
            )
        )
    return tuple(sentences)
