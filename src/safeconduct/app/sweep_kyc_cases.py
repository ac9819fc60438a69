"""Use case of the clock: what time alone changes about cases, and what a crash or an old backup left undone.

Owns that an approval ends when what it rests on does, that an erasure recorded is an erasure done, and that what the law keeps goes
when its term is over. Safe to run at any time, in any process that has the store; nothing happens twice.
"""

from __future__ import annotations

import logging

import msgspec

from safeconduct.app.erase_subject import ASKED, KeptField, erase_person
from safeconduct.app.kyc_desk import KycDesk, settle
from safeconduct.app.kyc_files import KEPT, PEOPLE, all_cases, kept_subject, load, save
from safeconduct.app.ports import StoredDocument
from safeconduct.authorization.misuse import open_signal
from safeconduct.identity.kyc_ends import by_the_clock, refresh_due
from safeconduct.identity.kyc_states import KycCase
from safeconduct.kernel.errors import LogUnavailable, NotFound, SafeconductError
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.vocabulary import CaseState, PassportStatus

_log = logging.getLogger("safeconduct.kyc")


class Swept(msgspec.Struct, frozen=True):
    """How many cases moved, how many the record had to learn about, how many people and kept fields went."""

    moved: int = 0
    settled: int = 0
    erased: int = 0
    forgotten: int = 0


def sweep_kyc_cases(desk: KycDesk) -> Swept:
    """Look at every case once. One that fails is told to the service log and does not stop the others.

    Raises LogUnavailable: then nothing is recorded any more.
    """
    erased = _erase(desk)
    moved = settled = 0
    for case in all_cases(desk.instance):
        try:
            change = _sweep(desk, case)
        except LogUnavailable:
            raise
        except SafeconductError as error:
            _log.error("case %s cannot be brought up to date: %s", case.id, error.kind)
            continue
        moved += change == "moved"
        settled += change == "settled"
    return Swept(moved=moved, settled=settled, erased=erased, forgotten=_forget_kept(desk))


def _sweep(desk: KycDesk, case: KycCase) -> str:
    now = desk.now()
    state = desk.instance.record.state
    after = by_the_clock(case, now, desk.policy)
    event = _event(desk, case, now) if after is case else ""
    if after is not case or event:
        file = load(desk.instance, case.id)
        after = by_the_clock(file.case, now, desk.policy)
        if after is file.case and event:
            after = refresh_due(file.case, cause=event, at=now, policy=desk.policy)
        if after is file.case:
            return ""
        saved = save(desk.instance, file, case=after)
        settle(desk, saved)
        if after.state is CaseState.WITHDRAWN and after.id not in state.kyc_cases:
            # A draft that was never handed in: nobody waits for it, and its data have no reason to be here.
            erase_person(desk, case.subject, by="clock")
        return "moved"
    recorded = state.kyc_cases.get(case.id)
    last = recorded.last if recorded is not None else None
    in_store = (case.state, case.round, case.approval.until if case.approval is not None else None)
    if case.state is CaseState.DRAFT or (case.state is CaseState.WITHDRAWN and recorded is None):
        return ""
    if last is None or (last.state, last.round, last.valid_until) != in_store:
        settle(desk, load(desk.instance, case.id))
        return "settled"
    return ""


def _event(desk: KycDesk, case: KycCase, now: int) -> str:
    """What has happened to what an approval rests on, that asks for a refresh; empty when nothing has."""
    if case.state not in (CaseState.APPROVED, CaseState.APPROVED_CONDITIONAL):
        return ""
    state = desk.instance.record.state
    if not desk.proofs(case.subject).authenticators:
        return "authenticator_loss"
    known = state.subjects.get(case.subject)
    for name in known.passports if known is not None else ():
        held = state.passports[name]
        if held.status is PassportStatus.SUSPENDED and open_signal(held.cause):
            return "misuse_signal"
    organisation = state.organisations.get(case.organisation) if case.organisation is not None else None
    if organisation is not None and organisation.standing is not None:
        if now >= organisation.standing.verified_until:
            return "lei_lapse"
        if organisation.standing.suspended:
            return "ownership_change"
    return ""


def _erase(desk: KycDesk) -> int:
    """Erasures that were recorded and not done, and those that waited for a hold to end."""
    vault = desk.instance.vault
    state = desk.instance.record.state
    done = 0
    for name in vault.names(PEOPLE):
        if SubjectId(name) in state.erased:
            vault.forget(name)
            done += 1
    for name in vault.names(ASKED):
        subject = SubjectId(name)
        if state.legal_holds.get(subject):
            continue
        try:
            erase_person(desk, subject, by="clock")
            done += 1
        except NotFound:
            vault.delete(ASKED, name)
    return done


def _forget_kept(desk: KycDesk) -> int:
    """Drop what the law no longer keeps; with the last field its key goes."""
    vault = desk.instance.vault
    gone = 0
    for name in vault.names(KEPT):
        data = vault.get(KEPT, name)
        fields = msgspec.json.decode(data, type=list[KeptField]) if data is not None else []
        left = [one for one in fields if desk.now() < one.until]
        if len(left) == len(fields) and fields:
            continue
        gone += len(fields) - len(left)
        subject = SubjectId(name)
        if left:
            again = StoredDocument(KEPT, name, kept_subject(subject), msgspec.json.encode(left))
            vault.exchange([again], expect={(KEPT, name): data})
        else:
            vault.forget(kept_subject(subject))
    return gone
