"""What a case's evidence amounts to: the person's file turned into `PersonEvidence` and read by `assess_person`.

Owns the way from documents, liveness, authenticators, screening and attestations to the same computation that imported evidence
goes through. Refuses every level, status or assurance that somebody states: they are worked out here or not at all.
"""

from __future__ import annotations

import datetime as dt

import msgspec

from safeconduct.app.assess_person import Assessment, Source, assess_person
from safeconduct.app.kyc_files import HeldDocument, KycFile, PersonFile, mark_of
from safeconduct.app.ports import Instance
from safeconduct.identity.authenticator import Authenticator
from safeconduct.identity.evidence import (
    STRENGTH_ORDER,
    Evidence,
    Outcome,
    Proofing,
    ProofingType,
    Verification,
)
from safeconduct.identity.evidence_import import AgreedTerms, PersonEvidence, RequestedClearance
from safeconduct.identity.kyc_fields import documents_of
from safeconduct.identity.kyc_states import Basis, KycCase
from safeconduct.identity.nationality import Citizenship, Residency
from safeconduct.identity.screening.party import ScreenedParty, standing_result
from safeconduct.identity.screening.result import ScreeningResult
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Affiliation, Compartment, Level, Screening, UsStatus
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ClearanceGranted
from safeconduct.record.state import State

DESK = "kyc-desk"
_ADULT_YEARS = 18
# A permit shows which of these somebody is only together with their word; a reviewer has seen it.
_RESIDENTS = frozenset({UsStatus.LPR, UsStatus.REFUGEE, UsStatus.ASYLEE})


class Asked(msgspec.Struct, frozen=True):
    """What is to be computed: the level and compartments, who votes for them, and until when at most."""

    level: Level
    compartments: tuple[Compartment, ...]
    adjudicators: tuple[str, ...]
    organisation: OrganisationId | None
    requester: str
    until: int | None = None


class Proofs(msgspec.Struct, frozen=True):
    """What other desks hold of the person: authenticators that are good, and what showed that documents are theirs."""

    authenticators: tuple[Authenticator, ...] = ()
    verifications: tuple[Verification, ...] = ()


def asked_of(case: KycCase, adjudicators: tuple[str, ...] = ()) -> Asked:
    """What the case asks for."""
    return Asked(case.level, case.compartments, adjudicators, case.organisation, case.requester)


def usable(person: PersonFile) -> tuple[HeldDocument, ...]:
    """Documents that are still in the person's hands."""
    return tuple(document for document in person.documents if document.lost_at is None)


def _distinct(documents: tuple[HeldDocument, ...]) -> tuple[HeldDocument, ...]:
    """Each document once, in its strongest form: the chip and the page of one passport are not two pieces of evidence."""
    best: dict[tuple[str, str, str], HeldDocument] = {}
    for document in sorted(
        documents, key=lambda one: STRENGTH_ORDER[one.strength] if one.validations else -1
    ):
        best[mark_of(document) if document.number else ("", "", document.id)] = document
    return tuple(document for document in documents if document in best.values())


def disputed(person: PersonFile) -> frozenset[str]:
    """Ids of documents that somebody else showed first, unless a reviewer found for this person."""
    return frozenset(alert.about for alert in person.alerts if alert.kind == "document" and not alert.counts)


def person_evidence(person: PersonFile, asked: Asked, *, proofs: Proofs, now: int) -> PersonEvidence:
    """The person's file in the words of evidence. now: seconds."""
    documents = _distinct(usable(person))
    stated = person.application
    attested = [one for one in person.attested if one.organisation == asked.organisation]
    return PersonEvidence(
        reference=person.subject.replace("_", "-"),
        requester=asked.requester,
        requested=RequestedClearance(
            level=asked.level.name, compartments=asked.compartments, until=asked.until
        ),
        organisation=asked.organisation,
        affiliation=attested[-1].how if attested else Affiliation.SELF,
        role=stated.role if stated is not None else None,
        citizenships=_citizenships(person, documents),
        residencies=_residencies(person),
        us_status=us_status(person, now=now),
        age_over_18=age_over_18(person, now=now),
        evidence=tuple(
            Evidence(
                id=document.id,
                kind=document.kind,
                strength=document.strength,
                issuer=document.issuer,
                number=document.number,
                expires=document.expires,
            )
            for document in documents
            if document.number
        ),
        validations=tuple(
            check for document in documents if document.number for check in document.validations
        ),
        verifications=tuple(
            check
            for check in proofs.verifications
            if any(check.evidence == document.id for document in documents)
        ),
        proofing=Proofing(
            type=ProofingType.REMOTE_UNATTENDED, at=max(check.at for check in proofs.verifications)
        )
        if proofs.verifications
        else None,
        authenticators=proofs.authenticators,
        screening=screening_that_counts(person),
        terms=tuple(
            AgreedTerms(terms=terms.terms, sha256=terms.sha256, signed_at=person.terms_at)
            for terms in (stated.terms if stated is not None else ())
        ),
        adjudicators=asked.adjudicators,
    )


def screening_that_counts(person: PersonFile) -> ScreeningResult | None:
    """What is left of the screening when the pairs that reviewers cleared no longer count."""
    if person.screening is None:
        return None
    return standing_result(person.screening, person.cleared)


def screened_person(person: PersonFile) -> ScreenedParty:
    """Who is searched for: every name stated or written on a document."""
    stated = person.application
    documents = usable(person)
    names = [stated.legal_name, *stated.other_names] if stated is not None else []
    names += [f"{one.given_names} {one.surname}".strip() for one in documents if one.surname]
    born = next((one.birth_date for one in documents if one.birth_date), None)
    return ScreenedParty(
        names=tuple(dict.fromkeys(name for name in names if name)),
        birth_date=born or (stated.birth_date if stated is not None else None),
        countries=tuple(
            sorted(
                {one.country for one in documents if one.country is not None}
                | set((stated.citizenships if stated is not None else None) or ())
            )
        ),
        documents=tuple((one.issuer, one.number) for one in documents if one.number),
    )


def genuine(document: HeldDocument, now: int) -> bool:
    """Found genuine by every check that was made, and in date."""
    return (
        bool(document.validations)
        and all(check.outcome is Outcome.PASS for check in document.validations)
        and (document.expires is None or now < document.expires)
    )


def _citizenships(person: PersonFile, documents: tuple[HeldDocument, ...]) -> tuple[Citizenship, ...] | None:
    """What documents show and what the person states beside it; None when neither says anything.

    A statement only adds: more citizenships never permit more.
    """
    shown = {
        document.country for document in documents if document.country is not None and document.validations
    }
    stated = person.application.citizenships if person.application is not None else None
    if stated is None and not shown:
        return None
    return tuple(Citizenship(country=country) for country in sorted(shown | set(stated or ())))


def _residencies(person: PersonFile) -> tuple[Residency, ...] | None:
    stated = person.application.residencies if person.application is not None else None
    if stated is None:
        return None
    return tuple(
        Residency(country=one.country, status="permanent" if one.permanent else "other") for one in stated
    )


def us_status(person: PersonFile, *, now: int) -> UsStatus:
    """The status as far as evidence shows it. What nobody gains by may be stated; what opens doors has to be shown."""
    stated = person.application.us_status if person.application is not None else UsStatus.UNDECLARED
    left_out = disputed(person)
    country = documents_of("us_status")
    for document in usable(person):
        if document.country == country and document.validations and document.id not in left_out:
            return UsStatus.CITIZEN
    for document in usable(person):
        permit = document.kind == "residence_permit" and document.issuer == country and genuine(document, now)
        if permit and document.id not in left_out and stated in _RESIDENTS:
            return stated
    return stated if stated is UsStatus.OTHER else UsStatus.UNDECLARED


def age_over_18(person: PersonFile, *, now: int) -> bool | None:
    """Whether the person is of age, from a document where one says, else from their word; None when it is not known."""
    for document in usable(person):
        if document.birth_date and document.validations:
            return is_adult(document.birth_date, now)
    stated = person.application.birth_date if person.application is not None else None
    return is_adult(stated, now) if stated is not None else None


def is_adult(born: str, now: int) -> bool | None:
    """Whether somebody born then is 18; a day or month that the document leaves out counts as the last one possible."""
    year, month, day = born.split("-")
    if not year.isdigit():
        return None
    today = dt.datetime.fromtimestamp(now, tz=dt.UTC).date()
    last = (int(month) if month.isdigit() else 12, int(day) if day.isdigit() else 31)
    return (today.year - int(year)) - ((today.month, today.day) < last) >= _ADULT_YEARS


def assess_case(
    instance: Instance,
    file: KycFile,
    asked: Asked,
    *,
    proofs: Proofs,
    state: State,
    commitment: str,
    now: int,
) -> tuple[Assessment, list[Event]]:
    """The assessment and the events that bring the record in line with it. Raises as `assess_person`."""
    person = file.person
    return assess_person(
        person_evidence(person, asked, proofs=proofs, now=now),
        subject=person.subject,
        source=Source(sha256=commitment, party=DESK, iat=now),
        state=state,
        profile=instance.profile,
        disputed=disputed(person),
        alerts=tuple(alert.text for alert in person.open_alerts()),
        now=now,
    )


def basis_of(
    instance: Instance,
    file: KycFile,
    asked: Asked,
    *,
    proofs: Proofs,
    state: State,
    now: int,
) -> tuple[Basis, Assessment]:
    """What a decision rests on."""
    assessment, events = assess_case(
        instance,
        file,
        asked,
        proofs=proofs,
        state=state,
        commitment="0" * 64,
        now=now,
    )
    granted = [event for event in events if isinstance(event, ClearanceGranted)]
    person = file.person
    screening = screening_that_counts(person)
    left_out = disputed(person)
    ends = [
        document.expires
        for document in usable(person)
        if document.id not in left_out and document.expires is not None and genuine(document, now)
    ]
    return (
        Basis(
            level=assessment.level,
            compartments=assessment.compartments,
            missing=assessment.missing,
            screening=screening.result if screening is not None else Screening.NONE,
            screened_at=screening.at if screening is not None else 0,
            same_data=person.screening is None
            or person.screening.party_sha256 == screened_person(person).digest(),
            document_until=max(ends) if ends else None,
            clearance_until=granted[0].valid_until if granted else None,
            open_alerts=len(person.open_alerts()),
        ),
        assessment,
    )
