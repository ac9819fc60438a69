"""What a person's evidence amounts to: assurance, clearance, claims, and the events that record it.

Pure: no I/O and no clock. Owns that nothing is granted above what was asked or what was shown, and that an import never lifts
a suspension or a revocation. Refuses to decide about a request: that is done with the state, each time.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.imported_projects import ImportedProjects
from safeconduct.identity.assurance import FAL, IdentityAssurance, Requirement, identity_assurance
from safeconduct.identity.authenticator import BoundKey, bound_key
from safeconduct.identity.eligibility import (
    ApprovedProject,
    Asked,
    Eligible,
    OrganisationFacts,
    Shown,
    eligible,
)
from safeconduct.identity.evidence_import import PersonEvidence
from safeconduct.identity.nationality import deemed_export_everywhere, held_at, us_person_everywhere
from safeconduct.identity.screening.result import is_clear
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import OrganisationId, SubjectId
from safeconduct.kernel.vocabulary import ClearanceState, Compartment, Level, PassportStatus, Screening
from safeconduct.passport.claims import Claims
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import ClearanceGranted
from safeconduct.record.events.holders import (
    PassportStatusChanged,
    SubjectEnrolled,
    SubjectScreened,
    TermsSigned,
)
from safeconduct.record.projections import OrganisationState, SubjectState
from safeconduct.record.state import State

# Seconds; domain.md 1: refresh at the latest after five years.
LONGEST_CLEARANCE = 5 * 365 * 86_400
_STOPPED = (ClearanceState.SUSPENDED, ClearanceState.REVOKED)


class Source(msgspec.Struct, frozen=True):
    """The signed document behind an assessment. sha256: of the text as signed, hex; iat: when it was signed."""

    sha256: str
    party: str
    iat: int


class Assessment(msgspec.Struct, frozen=True):
    """What a person's latest import came to; kept in the vault (kind `assessment`, name = subject).

    keys: those a passport may be bound to, strongest first. asked: the level asked for.
    requirements: every sentence looked at, met or missed. alerts: what somebody has to look at.
    """

    subject: SubjectId
    reference: str
    organisation: OrganisationId | None
    ial: int
    aal: int
    fal: int
    asked: Level
    level: Level
    compartments: tuple[Compartment, ...]
    claims: Claims
    keys: tuple[BoundKey, ...]
    requirements: tuple[Requirement, ...]
    alerts: tuple[str, ...]
    source: Source
    assessed_at: int

    @property
    def missing(self) -> tuple[str, ...]:
        """What keeps the person from what was asked, as `C3: sentence (clause)`."""
        return tuple(
            f"{requirement.subject}: {requirement.sentence} ({requirement.clause})"
            for requirement in self.requirements
            if not requirement.met
        )

    @property
    def met(self) -> tuple[str, ...]:
        """What was shown, in the same form."""
        return tuple(
            f"{requirement.subject}: {requirement.sentence} ({requirement.clause})"
            for requirement in self.requirements
            if requirement.met
        )

    @property
    def development(self) -> bool:
        """True when a key file was treated as hardware-bound."""
        return any(key.development for key in self.keys)


def assess_person(
    person: PersonEvidence,
    *,
    subject: SubjectId,
    source: Source,
    state: State,
    profile: str,
    disputed: frozenset[str],
    alerts: tuple[str, ...],
    now: int,
) -> tuple[Assessment, list[Event]]:
    """The assessment, and the events by which the record comes to agree with it (none when it does already).

    disputed: ids of evidence that was shown for somebody else before; it counts for nothing.
    Raises InvalidInput, Conflict (an unknown organisation, another project of that name), UnsafeConfiguration.
    """
    organisation = _organisation_of(person, state)
    known = state.subjects.get(subject)
    keys = _bound_keys(person, profile)
    assurance = identity_assurance(
        tuple(piece for piece in person.evidence if piece.id not in disputed),
        person.validations,
        person.verifications,
        person.proofing,
        person.authenticators,
        now=now,
    )
    applicant = frozenset({subject, person.reference})
    projects = ImportedProjects(person, subject, applicant, state)
    in_force = projects.in_force(now)
    shown = Shown(
        ial=assurance.ial,
        aal=max((key.aal for key in keys), default=0),
        age_checked=person.age_over_18 is not None,
        clear=is_clear(person.screening),
        affiliation=person.affiliation,
        organisation=_facts(organisation, now),
        projects=in_force,
        terms_signed=_terms_until(person, known, now) is not None,
        adjudicators=person.adjudicators,
        requester=person.requester,
        applicant=applicant,
    )
    asked = Asked(person.requested.asked, person.requested.compartments, person.requested.caveats)
    computed = eligible(shown, asked)
    assessment = Assessment(
        subject=subject,
        reference=person.reference,
        organisation=person.organisation,
        ial=assurance.ial,
        aal=shown.aal,
        fal=FAL,
        asked=asked.level,
        level=computed.level,
        compartments=computed.compartments,
        claims=derive_claims(person, assurance, computed, organisation, now),
        keys=keys,
        requirements=(*computed.requirements, *assurance.requirements, *projects.notes),
        alerts=alerts,
        source=source,
        assessed_at=now,
    )
    until = _clearance_until(
        person,
        known=known,
        assurance=assurance,
        computed=computed,
        organisation=organisation,
        projects=in_force,
        source=source,
        now=now,
    )
    events: list[Event] = [
        *_lost_keys(keys, known, state, source, now),
        *_enrolment(person, subject, known),
        *_screened(person, subject, known),
        *_terms(person, subject, known),
        *projects.events,
        *_clearance(person, subject, known, computed, source, until=until, now=now),
    ]
    return assessment, events


def derive_claims(
    person: PersonEvidence,
    assurance: IdentityAssurance,
    computed: Eligible,
    organisation: OrganisationState | None,
    now: int,
) -> Claims:
    """The claims a passport may disclose. Undeclared citizenships stay None; `us_person` is derived from the status."""
    return Claims(
        ial=assurance.ial or None,
        fal=FAL,
        affiliation=person.affiliation if organisation is not None else None,
        evidence_expires=assurance.expires,
        citizenships=None if person.citizenships is None else held_at(person.citizenships, now),
        residencies=None if person.residencies is None else held_at(person.residencies, now),
        us_person=us_person_everywhere(person.us_status),
        deemed_export=deemed_export_everywhere(person.citizenships, person.residencies, now),
        organisation=person.organisation,
        role=person.role,
        sector=organisation.registered.sector if organisation is not None else None,
        level=computed.level,
        compartments=computed.compartments,
        caveats=computed.caveats,
        age_over_18=person.age_over_18,
    )


def _organisation_of(person: PersonEvidence, state: State) -> OrganisationState | None:
    if person.organisation is None:
        return None
    organisation = state.organisations.get(person.organisation)
    if organisation is None:
        raise Conflict(
            f"organisation {person.organisation!r} is not known",
            field="person.organisation",
            remedy="import the organisation's evidence first",
        )
    return organisation


def _facts(organisation: OrganisationState | None, now: int) -> OrganisationFacts | None:
    if organisation is None or organisation.standing is None:
        return None
    standing = organisation.standing
    return OrganisationFacts(
        verified=now < standing.verified_until,
        clear=standing.screening is Screening.CLEAR and bool(standing.list_digests),
        suspended=standing.suspended,
    )


def _bound_keys(person: PersonEvidence, profile: str) -> tuple[BoundKey, ...]:
    keys: dict[str, BoundKey] = {}
    for index, authenticator in enumerate(person.authenticators):
        path = f"person.authenticators[{index}]"
        key = bound_key(authenticator, profile=profile, field=path)
        if key is None:
            continue
        if key.thumbprint in keys:
            raise InvalidInput("the same key stands twice", field=f"{path}.public_jwk")
        keys[key.thumbprint] = key
    return tuple(sorted(keys.values(), key=lambda key: (-key.aal, key.thumbprint)))


def _lost_keys(
    keys: tuple[BoundKey, ...], known: SubjectState | None, state: State, source: Source, now: int
) -> list[Event]:
    """Suspend passports bound to an authenticator that the evidence no longer names, or no longer rates as high.

    First among the events: a lost authenticator must stop working whatever becomes of the rest.
    """
    rated = {key.thumbprint: key.aal for key in keys}
    events: list[Event] = []
    for name in known.passports if known is not None else ():
        passport = state.passports[name]
        if (
            passport.status is PassportStatus.VALID
            and rated.get(passport.issued.key, 0) < passport.issued.aal
        ):
            events.append(
                PassportStatusChanged(
                    passport=name,
                    status=PassportStatus.SUSPENDED,
                    cause="its authenticator is no longer in the evidence at that level",
                    by=source.party,
                    at=now,
                )
            )
    return events


def _terms_until(person: PersonEvidence, known: SubjectState | None, now: int) -> float | None:
    """Until when some terms are signed (infinite when they do not lapse), or None when none are."""
    ends = [terms.until for terms in person.terms]
    if known is not None:
        ends += [terms.until for terms in known.terms]
    return max(
        (float("inf") if end is None else end for end in ends if end is None or now < end), default=None
    )


def _clearance_until(
    person: PersonEvidence,
    *,
    known: SubjectState | None,
    assurance: IdentityAssurance,
    computed: Eligible,
    organisation: OrganisationState | None,
    projects: tuple[ApprovedProject, ...],
    source: Source,
    now: int,
) -> int:
    """The earliest end of anything the clearance rests on (seconds). Counted from the signing, so that it does not drift."""
    ends: list[float] = [source.iat + LONGEST_CLEARANCE]
    ends += [float(end) for end in (person.requested.until, assurance.expires) if end is not None]
    if computed.level >= Level.C1:
        ends.append(_terms_until(person, known, now) or float("inf"))
    if computed.level >= Level.C2 and organisation is not None and organisation.standing is not None:
        ends.append(organisation.standing.verified_until)
    if computed.level >= Level.C3 or computed.compartments:
        ends += [max(project.until for project in projects)] if projects else []
    return int(min(ends))


def _enrolment(person: PersonEvidence, subject: SubjectId, known: SubjectState | None) -> list[Event]:
    event = SubjectEnrolled(subject=subject, kind=person.kind, organisation=person.organisation)
    return [] if known is not None and known.enrolled == event else [event]


def _screened(person: PersonEvidence, subject: SubjectId, known: SubjectState | None) -> list[Event]:
    if person.screening is None:
        return []
    event = SubjectScreened(
        subject=subject,
        screening=person.screening.result,
        screened_at=person.screening.at,
        list_digests=person.screening.digests(),
    )
    return [] if known is not None and known.screening == event else [event]


def _terms(person: PersonEvidence, subject: SubjectId, known: SubjectState | None) -> list[Event]:
    signed = known.terms if known is not None else ()
    events: list[Event] = []
    for terms in person.terms:
        event = TermsSigned(
            subject=subject,
            terms=terms.terms,
            document=terms.sha256,
            signed_at=terms.signed_at,
            until=terms.until,
        )
        if event not in signed:
            events.append(event)
    return events


def _clearance(
    person: PersonEvidence,
    subject: SubjectId,
    known: SubjectState | None,
    computed: Eligible,
    source: Source,
    *,
    until: int,
    now: int,
) -> list[Event]:
    held = known.clearance if known is not None else None
    state = ClearanceState.GRANTED if computed.level > Level.C0 else ClearanceState.NONE
    if held is not None and held.state in _STOPPED:
        # INVARIANT: evidence does not undo what somebody decided; only an adjudicator reinstates.
        state = held.state
    event = ClearanceGranted(
        subject=subject,
        level=computed.level,
        compartments=computed.compartments,
        caveats=computed.caveats,
        state=state,
        valid_from=now,
        valid_until=until,
        adjudicators=person.adjudicators,
        evidence=source.sha256,
    )
    if held is not None and held.state in (event.state, ClearanceState.REINSTATED):
        unchanged = msgspec.structs.replace(
            event, valid_from=held.granted.valid_from, state=held.granted.state
        )
        if unchanged == held.granted:
            return []
    return [event]
