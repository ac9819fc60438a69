"""An organisation's case: what it says about itself, what was looked up, who may bind it, who owns it, and what is missing.

Values and rules only. An organisation is verified by the number that somebody looked up, never by what it says; everything else
is asked so that whoever decides knows with whom they deal. All instants are seconds.
"""

from __future__ import annotations

import enum

import msgspec

from safeconduct.identity.activity_code import ActivityCode, check_activity
from safeconduct.identity.assurance import Requirement
from safeconduct.identity.customer_file import CustomerFile, check_customer_file
from safeconduct.identity.evidence import Outcome
from safeconduct.identity.lei_record import LeiRecord, LeiStanding, same_name
from safeconduct.identity.organisation import (
    OrganisationEvidence,
    OrganisationVerification,
    Registration,
    VerificationSource,
    check_lei,
)
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import OrganisationId, check_name
from safeconduct.kernel.vocabulary import Sector

OWNERSHIP_THRESHOLD = 2_500
"""Basis points from which an owner is named: 25 %, 31 CFR 1010.230(d)(1); Directive (EU) 2015/849 art. 3(6)."""
LAPSE_GRACE = 30 * 86_400
"""Seconds an organisation stays verified after its LEI lapsed: time for a refresh, not a way round it."""
_MAX_TEXT = 300
_MAX_PEOPLE = 50
_CLAUSE = "organisation case"


class OrganisationCaseState(enum.StrEnum):
    """The states of a case that an organisation's goes through; words as for a person's."""

    SUBMITTED = "submitted"
    APPROVED = "approved"
    REJECTED = "rejected"
    RETURNED_WITHOUT_ACTION = "returned_without_action"
    REFRESH_DUE = "refresh_due"
    EXPIRED = "expired"


class PowerToBind(enum.StrEnum):
    """Whether a representative binds alone or with another."""

    SOLE = "sole"
    JOINT = "joint"


class Representative(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who may sign for it. document: SHA-256 (hex) of what shows the power: a register extract, a resolution."""

    name: str
    role: str
    power: PowerToBind
    document: str


class OwnerKind(enum.StrEnum):
    """How somebody owns or controls."""

    EQUITY = "equity"
    VOTES = "votes"
    BOARD = "board"
    JOINT_ARRANGEMENT = "joint_arrangement"


class BeneficialOwner(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A natural person behind it. basis_points: of equity or votes, None for control by other means."""

    name: str
    country: str
    kind: OwnerKind
    basis_points: int | None = None


class SignedTerms(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Terms signed. document: SHA-256 (hex) of them. signed_by: names of representatives."""

    terms: str
    document: str
    signed_by: tuple[str, ...]
    signed_at: int


class OrganisationApplication(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of an organisation. nobody_above_threshold: declares that no owner reaches 25 %.

    customer: how it pays and is reached; its name and owners stand above and are taken from there.
    """

    organisation: OrganisationId
    legal_name: str
    country: str
    sector: Sector
    activity: ActivityCode
    lei: str | None = None
    registry: Registration | None = None
    representatives: tuple[Representative, ...] = ()
    beneficial_owners: tuple[BeneficialOwner, ...] = ()
    nobody_above_threshold: bool = False
    terms: tuple[SignedTerms, ...] = ()
    customer: CustomerFile | None = None


class RegistryLookup(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What whoever decides found in the register. document: SHA-256 (hex) of the extract, taken at `at`."""

    number: str
    outcome: Outcome
    document: str
    at: int


class LeiLookup(msgspec.Struct, frozen=True):
    """What the index said. file: SHA-256 (hex) of the golden copy."""

    record: LeiRecord
    file: str
    at: int


class Decided(msgspec.Struct, frozen=True):
    """Who decided and why."""

    by: str
    at: int
    state: OrganisationCaseState
    rationale: str


class OrganisationCase(msgspec.Struct, frozen=True):
    """The case as it lies in the vault. notes: what happened to it, in words, newest last."""

    application: OrganisationApplication
    state: OrganisationCaseState
    submitted_by: str
    submitted: int
    lei_lookup: LeiLookup | None = None
    registry_lookup: RegistryLookup | None = None
    decisions: tuple[Decided, ...] = ()
    notes: tuple[str, ...] = ()


def check_application(application: OrganisationApplication) -> OrganisationApplication:
    """Return a well-formed application. Raises InvalidInput naming the member."""
    check_name(application.organisation, "organisation")
    _check_text(application.legal_name, "legal_name")
    _check_country(application.country, "country")
    check_activity(application.activity, "activity")
    if application.lei is not None:
        check_lei(application.lei, "lei")
    if application.registry is not None:
        _check_text(application.registry.authority, "registry.authority")
        _check_text(application.registry.number, "registry.number")
    if application.customer is not None:
        check_customer_file(application.customer, "customer")
    for name in ("representatives", "beneficial_owners", "terms"):
        if len(getattr(application, name)) > _MAX_PEOPLE:
            raise InvalidInput(f"more than {_MAX_PEOPLE}", field=name)
    for place, person in enumerate(application.representatives):
        where = f"representatives[{place}]"
        _check_text(person.name, f"{where}.name")
        _check_text(person.role, f"{where}.role")
        _check_digest(person.document, f"{where}.document")
    known = {person.name for person in application.representatives}
    if len(known) != len(application.representatives):
        raise InvalidInput("a representative stands twice", field="representatives")
    for place, owner in enumerate(application.beneficial_owners):
        where = f"beneficial_owners[{place}]"
        _check_text(owner.name, f"{where}.name")
        _check_country(owner.country, f"{where}.country")
        shared = owner.kind in {OwnerKind.EQUITY, OwnerKind.VOTES}
        if shared != (owner.basis_points is not None) or not 1 <= (owner.basis_points or 1) <= 10_000:
            raise InvalidInput(
                "1 to 10,000 basis points for equity and votes, none for other control",
                field=f"{where}.basis_points",
            )
    for place, terms in enumerate(application.terms):
        where = f"terms[{place}]"
        _check_text(terms.terms, f"{where}.terms")
        _check_digest(terms.document, f"{where}.document")
        unknown = [name for name in terms.signed_by if name not in known]
        if unknown or not terms.signed_by:
            raise InvalidInput(
                "signed by somebody who is no representative" if unknown else "signed by nobody",
                field=f"{where}.signed_by",
                remedy="name representatives as they stand above",
            )
    for kind in (OwnerKind.EQUITY, OwnerKind.VOTES):
        shares = [one.basis_points or 0 for one in application.beneficial_owners if one.kind is kind]
        if sum(shares) > 10_000:
            raise InvalidInput(f"more than 100 % of {kind}", field="beneficial_owners")
        if application.nobody_above_threshold and any(one >= OWNERSHIP_THRESHOLD for one in shares):
            raise InvalidInput(
                "an owner of 25 % or more is named below", field="nobody_above_threshold", remedy="say false"
            )
    return application


def _check_text(text: str, field: str) -> None:
    if not text.strip() or len(text) > _MAX_TEXT or not text.isprintable():
        raise InvalidInput(f"not printable text of 1 to {_MAX_TEXT} characters", field=field)


def _check_country(country: str, field: str) -> None:
    if len(country) != 2 or not country.isascii() or not country.isalpha() or not country.isupper():
        raise InvalidInput("not an ISO 3166-1 alpha-2 code", field=field)


def _check_digest(digest: str, field: str) -> None:
    if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
        raise InvalidInput("not a SHA-256 in lower-case hexadecimal", field=field)


def binds(application: OrganisationApplication, signers: tuple[str, ...]) -> bool:
    """True when one signer has sole power, or two have joint power, each shown by a document."""
    powers = [person.power for person in application.representatives if person.name in signers]
    return PowerToBind.SOLE in powers or powers.count(PowerToBind.JOINT) >= 2


def requirements(case: OrganisationCase) -> tuple[Requirement, ...]:
    """Each sentence that an approval needs, met or missed."""
    application = case.application
    name = application.organisation
    people = tuple(person.name for person in application.representatives)

    def ask(sentence: str, met: bool, clause: str = _CLAUSE) -> Requirement:
        return Requirement(name, clause, sentence, met)

    asked = [
        ask(
            "the LEI's record or a register's entry was looked up and agrees",
            _lei_agrees(case) or _registry_agrees(case),
        ),
        ask("nothing that was looked up contradicts the application", not contradictions(case)),
        ask("a representative with power to bind, or two who bind together", binds(application, people)),
        ask(
            "beneficial owners of 25 % or more are named, or there are none",
            application.nobody_above_threshold or bool(application.beneficial_owners),
            "31 CFR 1010.230(d); FATF Recommendation 24",
        ),
        ask(
            "terms are signed by representatives who bind it",
            any(binds(application, terms.signed_by) for terms in application.terms),
        ),
    ]
    return tuple(asked)


def contradictions(case: OrganisationCase) -> tuple[str, ...]:
    """What was looked up and does not fit, in words."""
    application, found = case.application, []
    if case.lei_lookup is not None:
        record = case.lei_lookup.record
        if record.standing is not LeiStanding.GOOD:
            found.append(f"the LEI is {record.standing} ({record.status}, entity {record.entity})")
        if not same_name(record.legal_name, application.legal_name):
            found.append("the LEI's record has another legal name")
        if record.country != application.country:
            found.append(f"the LEI's record has another country ({record.country})")
        if (
            record.registry is not None
            and application.registry is not None
            and record.registry.authority == application.registry.authority
            and record.registry.number != application.registry.number
        ):
            found.append("the LEI's record has another number in the same register")
    lookup = case.registry_lookup
    if lookup is not None and (
        application.registry is None
        or lookup.outcome is Outcome.FAIL
        or lookup.number != application.registry.number
    ):
        found.append("the register does not confirm the number")
    return tuple(found)


def _lei_agrees(case: OrganisationCase) -> bool:
    lookup = case.lei_lookup
    return lookup is not None and lookup.record.standing is LeiStanding.GOOD


def _registry_agrees(case: OrganisationCase) -> bool:
    lookup = case.registry_lookup
    return lookup is not None and lookup.outcome is Outcome.PASS


def customer_file_of(application: OrganisationApplication) -> CustomerFile:
    """The organisation as a customer's file."""
    return msgspec.structs.replace(
        application.customer or CustomerFile(),
        natural_person=False,
        name=application.legal_name,
        beneficial_owners=tuple(owner.name for owner in application.beneficial_owners),
        nobody_behind=application.nobody_above_threshold,
    )


def evidence_of(case: OrganisationCase) -> OrganisationEvidence:
    """The case as the evidence that `app.assess_organisation` computes from. Screening is not part of the case."""
    application = case.application
    verifications = []
    if case.lei_lookup is not None:
        record = case.lei_lookup.record
        good = record.standing is LeiStanding.GOOD
        verifications.append(
            OrganisationVerification(
                source=VerificationSource.LEI_RECORD,
                reference=record.lei,
                outcome=Outcome.PASS if good else Outcome.FAIL,
                at=case.lei_lookup.at,
                # Nobody confirms it beyond its renewal; a refresh looks it up again.
                until=record.renewal + LAPSE_GRACE if record.renewal else None,
            )
        )
    if case.registry_lookup is not None:
        verifications.append(
            OrganisationVerification(
                source=VerificationSource.COMMERCIAL_REGISTER,
                reference=case.registry_lookup.number,
                outcome=case.registry_lookup.outcome,
                at=case.registry_lookup.at,
            )
        )
    return OrganisationEvidence(
        organisation=application.organisation,
        legal_name=application.legal_name,
        country=application.country,
        sector=application.sector,
        verifications=tuple(verifications),
        lei=application.lei,
        registry=application.registry,
    )
