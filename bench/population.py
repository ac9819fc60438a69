"""A made-up population for the benches: organisations, people with passports and grants, variants, projects. Not a bench itself.

Everything follows from numbers: the same size gives the same record. Identifiers have the length of real ones. Roughly as in
life, most people are in order and a few are not: suspended, expired, screened out, of unknown nationality, without a project.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

from safeconduct.kernel.vocabulary import (
    Affiliation,
    ClearanceState,
    Compartment,
    Level,
    PassportStatus,
    Purpose,
    Screening,
    Sector,
    Stage,
    SubjectKind,
    Surface,
    UsPerson,
    Wire,
)
from safeconduct.passport.claims import Claims
from safeconduct.policy.packs import load_shipped
from safeconduct.record.events import (
    ClearanceGranted,
    DeploymentRegistered,
    Event,
    GrantGiven,
    ModelRegistered,
    OrganisationRegistered,
    OrganisationStandingChanged,
    PassportIssued,
    PassportStatusChanged,
    ProjectApproved,
    ProviderRegistered,
    StageChanged,
    SubjectEnrolled,
    VariantRegistered,
)

START = 1_780_000_000
NOW = START + 10_000_000
END = START + 31_536_000
PER_ORGANISATION = 100
COUNTRIES = tuple(a + b for a in "ABCDEFG" for b in "HJKLMNPQ")
HOME = "AH"
# level, compartments: ten variants of one provider.
VARIANTS = tuple(
    (f"variant-{number}", level, compartments)
    for number, (level, compartments) in enumerate(
        [
            (Level.C1, ()),
            (Level.C1, ()),
            (Level.C2, ()),
            (Level.C2, ()),
            (Level.C2, ()),
            (Level.C2, (Compartment.CYB,)),
            (Level.C2, (Compartment.CYB,)),
            (Level.C3, (Compartment.CYB,)),
            (Level.C3, (Compartment.CYB,)),
            (Level.C3, ()),
        ]
    )
)
NAMES = tuple(name for name, _, _ in VARIANTS)
PURPOSES = (Purpose.VULN_TRIAGE,)


def digest(text: str) -> bytes:
    """Bytes that follow from a text."""
    return hashlib.blake2b(text.encode(), digest_size=32).digest()


def name_of(prefix: str, number: int) -> str:
    """An id as `kernel.ids.new_id` makes them, but always the same for a number."""
    return f"{prefix}_{base64.b32encode(digest(f'{prefix}{number}')[:10]).decode().lower()}"


def lei_of(organisation: int) -> str:
    """An identifier for annexes."""
    return digest(f"lei{organisation}").hex()[:20].upper()


def registrations() -> Iterator[Event]:
    """The provider, its ten variants and the packs that ship."""
    yield from load_shipped(START)
    yield ProviderRegistered(provider="lab", organisation=name_of("org", 0), jurisdiction="XX")
    yield ModelRegistered(model="model", provider="lab")
    for name, level, compartments in VARIANTS:
        yield VariantRegistered(variant=name, model="model", level=level, compartments=compartments)
        yield StageChanged(variant=name, stage=Stage.GENERAL, org_list=None, by="lab", at=START)
        yield DeploymentRegistered(
            deployment=f"{name}-1",
            variant=name,
            kind="sandbox",
            base_url="http://127.0.0.1:1",
            upstream_model=name,
            wires=(Wire.OPENAI,),
            region="r1",
            jurisdiction="XX",
        )


def organisation(number: int) -> Iterator[Event]:
    """An organisation, verified (nearly always), with the provider's grant and a project for everybody."""
    name = name_of("org", number)
    yield OrganisationRegistered(
        organisation=name,
        legal_name=f"Sample {number}",
        country=COUNTRIES[number % len(COUNTRIES)],
        sector=Sector.OTHER,
        lei=lei_of(number),
        provider="lab" if number == 0 else None,
    )
    yield OrganisationStandingChanged(
        organisation=name,
        verified_until=NOW - 5 if number % 211 == 7 else END,
        screening=Screening.POSSIBLE if number % 307 == 11 else Screening.CLEAR,
        screened_at=START,
        list_digests=(digest("list").hex(),),
        evidence=digest(f"evidence{number}").hex(),
        suspended=number % 401 == 13,
    )
    yield GrantGiven(
        grant=name_of("top", number),
        by_provider="lab",
        by_organisation=None,
        to_organisation=name,
        to_group=None,
        to_subject=None,
        variants=NAMES,
        purposes=PURPOSES,
        surfaces=(Surface.API,),
        regions=(),
        valid_from=START,
        valid_until=NOW - 1 if number % 503 == 17 else END,
        approved_by=("approver-1",),
        requested_by="requester-1",
    )
    if number % 101 != 19:
        yield ProjectApproved(
            project=name_of("prj", number),
            organisation=name,
            owner=None,
            purposes=PURPOSES,
            compartments=(Compartment.CYB,),
            members=(),
            valid_from=START,
            valid_until=END,
            approved_by=("adjudicator-1", "adjudicator-2"),
            requested_by="requester-1",
        )


def claims_of(number: int) -> Claims:
    """What the passport of a person discloses."""
    seed = digest(f"claims{number}")
    country = COUNTRIES[seed[0] % len(COUNTRIES)] if seed[1] < 150 else HOME
    citizenships = (country,) if seed[2] < 240 else (country, COUNTRIES[seed[3] % len(COUNTRIES)])
    known = seed[4] < 250
    return Claims(
        ial=2 if seed[5] < 245 else 1,
        fal=2,
        affiliation=Affiliation.ORG_ATTESTED if seed[6] < 250 else Affiliation.SELF,
        evidence_expires=END - int.from_bytes(seed[7:9], "big") * 200,
        citizenships=citizenships if known else None,
        us_person=(("ear", UsPerson.YES if HOME in citizenships else UsPerson.NO),) if known else (),
        organisation=name_of("org", number // PER_ORGANISATION),
        age_over_18=True,
    )


def person(number: int) -> Iterator[Event]:
    """A person with a clearance, a passport and one grant that names all ten variants."""
    seed = digest(f"person{number}")
    subject, employer = name_of("sub", number), number // PER_ORGANISATION
    yield SubjectEnrolled(subject=subject, kind=SubjectKind.HUMAN, organisation=name_of("org", employer))
    yield ClearanceGranted(
        subject=subject,
        level=(Level.C3, Level.C3, Level.C2, Level.C1)[seed[0] % 4],
        compartments=(Compartment.CYB,) if seed[1] < 200 else (),
        caveats=("US_PERSON",) if seed[2] < 6 else (),
        state=ClearanceState.SUSPENDED if seed[3] < 2 else ClearanceState.GRANTED,
        valid_from=START + seed[4] * 100,
        valid_until=END - int.from_bytes(seed[5:7], "big") * 300,
        adjudicators=("adjudicator-1", "adjudicator-2"),
        evidence=digest(f"proof{number}").hex(),
    )
    passport = name_of("pas", number)
    yield PassportIssued(
        passport=passport,
        subject=subject,
        status_index=number,
        key=base64.urlsafe_b64encode(digest(f"key{number}")).decode().rstrip("="),
        valid_from=START + seed[7] * 100,
        valid_until=END - int.from_bytes(seed[8:10], "big") * 100,
        commitment=digest(f"commitment{number}").hex(),
        aal=3 if seed[10] < 230 else 2,
    )
    if seed[11] < 2:
        yield PassportStatusChanged(
            passport=passport, status=PassportStatus.SUSPENDED, cause="", by="adjudicator-1", at=START
        )
    yield GrantGiven(
        grant=name_of("grt", number),
        by_provider=None,
        by_organisation=name_of("org", employer),
        to_organisation=None,
        to_group=None,
        to_subject=subject,
        variants=NAMES,
        purposes=PURPOSES,
        surfaces=(Surface.API,),
        regions=(),
        valid_from=START + seed[12] * 100,
        valid_until=END - int.from_bytes(seed[13:15], "big") * 200,
        approved_by=("approver-2",),
        requested_by="requester-2",
        parent=name_of("top", employer),
    )


def events(people: int) -> Iterator[Event]:
    """The whole record of a population."""
    yield from registrations()
    for number in range(people):
        if number % PER_ORGANISATION == 0:
            yield from organisation(number // PER_ORGANISATION)
        yield from person(number)
