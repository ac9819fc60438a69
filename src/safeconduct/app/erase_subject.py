"""Use cases: erase a person by destroying their data key, with a receipt; hold somebody's data for a legal matter.

Owns the order: what the law keeps is put apart first, then the record says that the person is erased, then the key goes. A crash
in between is made good by the sweep, and so is a store that came back from an older backup: the record knows who is erased.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from safeconduct.app.commit import commit_checked
from safeconduct.app.evidence_index import INSTANCE_SUBJECT
from safeconduct.app.kyc_desk import KycDesk, endings
from safeconduct.app.kyc_files import KEPT, PEOPLE, PersonFile, cases_of, kept_subject, load_person
from safeconduct.app.ports import Caller, StoredDocument
from safeconduct.app.scope import require_role
from safeconduct.identity.kyc_fields import kept_until, kyc_fields
from safeconduct.identity.kyc_states import KycCase
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.ids import SubjectId, check_name
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.cases import LegalHoldChanged, SubjectErased
from safeconduct.record.state import State

ASKED = "kyc-erasure-asked"


class Retained(msgspec.Struct, frozen=True):
    """A field that the law keeps, until when (seconds), under which law."""

    field: str
    until: int
    source: str


class ErasureReceipt(msgspec.Struct, frozen=True):
    """What was done. erased: False while a matter holds the data; it is done when the last hold ends.

    deleted: fields that are gone. The receipt itself names nobody.
    """

    subject: SubjectId
    erased: bool
    at: int
    deleted: tuple[str, ...]
    retained: tuple[Retained, ...]
    held_for: tuple[str, ...] = ()


class KeptField(msgspec.Struct, frozen=True):
    """A field that the law keeps, as it lies in the store."""

    field: str
    until: int
    value: Any


def erase_subject(desk: KycDesk, caller: Caller, subject: str) -> ErasureReceipt:
    """By an operator, for a person who asked. Raises Forbidden, NotFound, LogUnavailable."""
    require_role(caller, Role.OPERATOR)
    return erase_person(desk, SubjectId(subject), by=caller.id)


def erase_person(desk: KycDesk, subject: SubjectId, *, by: str) -> ErasureReceipt:
    """Erase, or note that it was asked for while a matter holds the data. by: for the record of passports that end."""
    vault = desk.instance.vault
    state = desk.instance.record.state
    now = desk.now()
    if subject in state.erased:
        vault.forget(subject)
        raise NotFound(
            f"there is no file of {subject[:60]!r}", field="subject", remedy="it was erased before"
        )
    person, _ = load_person(desk.instance, subject)
    cases = cases_of(desk.instance, subject)
    kept = kept_fields(person, cases, now)
    retained = tuple(Retained(one.field, one.until, _source(one.field)) for one in kept)
    names = {one.field for one in kept}
    held = state.legal_holds.get(subject, ())
    receipt = ErasureReceipt(
        subject=subject,
        erased=not held,
        at=now,
        deleted=tuple(one.field for one in kyc_fields() if one.field not in names) if not held else (),
        retained=retained if not held else (),
        held_for=tuple(held),
    )
    if held:
        vault.put(ASKED, subject, INSTANCE_SUBJECT, by.encode())
        return receipt
    if kept:
        apart = StoredDocument(KEPT, subject, kept_subject(subject), msgspec.json.encode(kept))
        vault.exchange([apart], expect={})
    digest = hashlib.sha256(msgspec.json.encode(receipt, order="sorted")).hexdigest()

    def check(state: State) -> list[Event]:
        if state.legal_holds.get(subject):
            raise Conflict("a matter holds the data since a moment ago", field="subject", remedy="try again")
        events: list[Event] = []
        for case in cases:
            ended = endings(case, state, now, cause="erased at the person's request")
            events += [event for event in ended if event not in events]
        return [*events, SubjectErased(subject=subject, receipt=digest, at=now)]

    commit_checked(desk.instance, check)
    vault.forget(subject)
    vault.delete(ASKED, subject)
    return receipt


def _source(field: str) -> str:
    return next(one.kept_source or "" for one in kyc_fields() if one.field == field)


def kept_fields(person: PersonFile, cases: list[KycCase], now: int) -> list[KeptField]:
    """What the law keeps of a person whose cases have ended; nothing of somebody who was never screened or decided on."""
    decided = [case for case in cases if case.votes]
    if not decided and person.screening is None:
        return []
    stated = person.application
    values: dict[str, Any] = {
        "screening": [person.screening, person.screening_note, person.cleared],
        "decision": [
            {"case": case.id, "state": case.state, "votes": case.votes, "rating": case.rating}
            for case in decided
        ],
        "organisation": sorted({case.organisation for case in cases if case.organisation is not None}),
    }
    if stated is not None:
        values |= {
            "legal_name": stated.legal_name,
            "citizenships": stated.citizenships,
            "residencies": stated.residencies,
            "us_status": stated.us_status,
            "terms": stated.terms,
        }
    kept = []
    for one in kyc_fields():
        until = kept_until(one.field, now)
        if until is not None and values.get(one.field):
            kept.append(KeptField(one.field, until, msgspec.to_builtins(values[one.field])))
    return kept


class ChangeLegalHold(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """matter: its number. held: False ends the hold for this matter."""

    matter: str
    held: bool = True


def change_legal_hold(desk: KycDesk, caller: Caller, subject: str, ask: ChangeLegalHold) -> LegalHoldChanged:
    """By an adjudicator; the number of the matter is all that is recorded. Raises Forbidden, NotFound, Conflict.

    An erasure that was asked for meanwhile is done by the sweep once the last hold has ended.
    """
    require_role(caller, Role.ADJUDICATOR)
    check_name(ask.matter, "matter")
    event = LegalHoldChanged(
        subject=SubjectId(subject), held=ask.held, matter=ask.matter, by=caller.id, at=desk.now()
    )
    if desk.instance.vault.get(PEOPLE, subject) is None:
        raise NotFound(f"there is no file of {subject[:60]!r}", field="subject")

    def check(state: State) -> list[Event]:
        if (ask.matter in state.legal_holds.get(event.subject, ())) == ask.held:
            raise Conflict(
                "the matter holds it already" if ask.held else "the matter does not hold it", field="matter"
            )
        return [event]

    commit_checked(desk.instance, check)
    return event
