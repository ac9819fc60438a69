"""Use case: open a KYC case, for somebody new or for somebody whose evidence is here already.

A person is known by the key they prove to hold. Refuses a key that works at the desk: nobody is on both sides of it.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.evidence_index import EvidenceIndex
from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import CASES, KycFile, PersonFile, begin, cases_of, load_person
from safeconduct.app.ports import Caller
from safeconduct.app.scope import require_role
from safeconduct.identity.kyc_case import open_case as opened
from safeconduct.identity.kyc_states import OPEN, KycCase
from safeconduct.kernel.errors import Conflict, Forbidden, NotFound
from safeconduct.kernel.ids import CaseId, OrganisationId, SubjectId, new_id
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import Compartment, Level, Role

APPLICANT_KEY = "applicant-key"
MAX_DRAFTS = 1_000
"""Drafts of people who have handed nothing in yet; beyond, nobody new can begin until some have gone."""


class OpenKycCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked for: a level, compartments, and the organisation it is held through from C2 on."""

    level: Level
    compartments: tuple[Compartment, ...] = ()
    organisation: str | None = None


def subject_of(desk: KycDesk, caller: Caller) -> SubjectId | None:
    """Whose file the applicant's key opens; None for somebody new."""
    if caller.role is Role.HOLDER:
        return caller.subject
    return EvidenceIndex(desk.instance).holder(APPLICANT_KEY, caller.id)


def open_kyc_case(desk: KycDesk, caller: Caller, ask: OpenKycCase) -> KycFile:
    """Open a draft. Raises InvalidInput, Forbidden, NotFound (the organisation), Conflict (one is open already)."""
    require_role(caller, Role.APPLICANT)
    instance = desk.instance
    if ask.organisation is not None and ask.organisation not in instance.record.state.organisations:
        raise NotFound(
            f"organisation {ask.organisation[:60]!r} is not known here",
            field="organisation",
            remedy="ask it to enrol first, or check the name it is known by",
        )
    _check_no_reviewer(desk, caller)
    now = desk.now()
    known = subject_of(desk, caller)
    index = EvidenceIndex(instance)
    if known is None:
        _check_room(desk)
        assert caller.jwk is not None
        subject = SubjectId(new_id("sub", instance.random))
        person, person_bytes = (
            PersonFile(subject=subject, salt=instance.random(32).hex(), jwk=caller.jwk, opened_at=now),
            None,
        )
    else:
        subject = known
        person, found = load_person(instance, subject)
        person_bytes = found
        for case in cases_of(instance, subject):
            if case.state in OPEN:
                raise Conflict(
                    f"case {case.id} is open", field="case", remedy="finish or withdraw it before another"
                )
    write, before = index.binding(subject, APPLICANT_KEY, caller.id)
    if before[1] is not None and before[1] != subject.encode():
        raise Conflict("the key opens another file", field="key")
    return begin(
        instance,
        _draft(desk, caller, ask, person, now),
        person,
        person_bytes=person_bytes,
        also=[write],
        expect=[before],
    )


def _draft(desk: KycDesk, caller: Caller, ask: OpenKycCase, person: PersonFile, now: int) -> KycCase:
    organisation = OrganisationId(ask.organisation) if ask.organisation is not None else None
    attested = [one for one in person.attested if one.organisation == organisation]
    keys = {VerifyingKey(person.jwk).thumbprint, caller.id}
    return opened(
        CaseId(new_id("kyc", desk.instance.random)),
        subject=person.subject,
        applicant=frozenset({person.subject, *keys}),
        requester=attested[-1].requester if attested else "",
        level=ask.level,
        compartments=ask.compartments,
        organisation=organisation,
        at=now,
    )


def _check_no_reviewer(desk: KycDesk, caller: Caller) -> None:
    for entry in desk.instance.record.state.trust.values():
        if caller.id in (entry.added.kid, VerifyingKey(entry.added.jwk).thumbprint):
            raise Forbidden(
                "the key is in the trust list",
                field="key",
                remedy="apply with a key of your own, made for this",
            )


def _check_room(desk: KycDesk) -> None:
    # Whoever has no key here yet costs the store something before they have shown anything.
    if len(desk.instance.vault.names(CASES)) >= MAX_DRAFTS + 10 * len(desk.instance.record.state.kyc_cases):
        raise Conflict(
            "too many drafts are open", field="case", remedy="try again later: unused drafts are deleted"
        )
