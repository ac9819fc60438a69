"""Use case: issue a passport to an enrolled person from claims that were computed from evidence.

Refuses to compute or to change a fact; refuses a key that serves somebody else, and whoever is suspended or was revoked for
misuse. The claims are kept encrypted by the issuer; the record gets their commitment.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.publish_status_list import place_of
from safeconduct.app.scope import require_role
from safeconduct.app.stored_claims import PASSPORT_CLAIMS, keep_claims
from safeconduct.authorization.misuse import cause_of, open_signal, was_upheld
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound
from safeconduct.kernel.ids import PassportId, SubjectId, new_id
from safeconduct.kernel.signing import VerifyingKey
from safeconduct.kernel.vocabulary import PassportStatus, Role, SubjectKind
from safeconduct.passport.claims import Claims
from safeconduct.passport.issuance import issue
from safeconduct.record.events import Event
from safeconduct.record.events.holders import PassportIssued, PassportStatusChanged
from safeconduct.record.state import State

MAX_LIFETIME = 366 * 86_400


class IssuedPassport(msgspec.Struct, frozen=True):
    """A passport as handed to its holder, once: the issuer does not keep `sd_jwt`."""

    passport: PassportId
    sd_jwt: str
    event: PassportIssued


def issue_passport(
    instance: Instance,
    caller: Caller,
    *,
    subject: SubjectId,
    claims: Claims,
    holder_jwk: dict[str, Any],
    aal: int,
    valid_until: int,
    valid_from: int | None = None,
    supersedes: PassportId | None = None,
) -> IssuedPassport:
    """Sign, keep the claims, commit.

    claims: as computed from evidence. aal: 1-3, what the authenticator that holds `holder_jwk` reaches, from its record.
    valid_from: now when None; both in seconds. supersedes: an older passport of the same subject, revoked with this.
    Raises Forbidden, NotFound, InvalidInput, Conflict.
    """
    require_role(caller, Role.OPERATOR)
    return sign_and_record(
        instance,
        by=caller.id,
        subject=subject,
        claims=claims,
        holder_jwk=holder_jwk,
        aal=aal,
        valid_until=valid_until,
        valid_from=valid_from,
        supersedes=supersedes,
    )


def sign_and_record(
    instance: Instance,
    *,
    by: str,
    subject: SubjectId,
    claims: Claims,
    holder_jwk: dict[str, Any],
    aal: int,
    valid_until: int,
    valid_from: int | None = None,
    supersedes: PassportId | None = None,
) -> IssuedPassport:
    """As `issue_passport`, for use cases that have settled who may ask. by: what the record says of who issued it."""
    now = instant(instance)
    start = now if valid_from is None else valid_from
    key = VerifyingKey(holder_jwk)
    if aal not in (1, 2, 3):
        raise InvalidInput("is 1, 2 or 3", field="aal")
    if not start < valid_until <= start + MAX_LIFETIME:
        raise InvalidInput(
            "a passport lives up to 366 days", field="valid_until", remedy="give an earlier instant"
        )
    if valid_until <= now:
        raise InvalidInput("lies in the past", field="valid_until", remedy="give a later instant")
    passport = PassportId(new_id("psp", instance.random))
    commitment = keep_claims(
        instance.vault, PASSPORT_CLAIMS, passport, subject=subject, claims=claims, random=instance.random
    )
    issued: list[PassportIssued] = []

    def check(state: State) -> list[Event]:
        _check_holder(state, subject, key.thumbprint, supersedes)
        event = PassportIssued(
            passport=passport,
            subject=subject,
            status_index=state.next_status_index,
            key=key.thumbprint,
            valid_from=start,
            valid_until=valid_until,
            commitment=commitment,
            aal=aal,
            supersedes=supersedes,
        )
        issued[:] = [event]
        if supersedes is None or state.passports[supersedes].status is PassportStatus.INVALID:
            return [event]
        # The old one first: should the log end in between, nobody holds two.
        ended = PassportStatusChanged(
            passport=supersedes, status=PassportStatus.INVALID, cause="superseded", by=by, at=now
        )
        return [ended, event]

    try:
        commit_checked(instance, check)
    except (NotFound, Conflict, InvalidInput):
        instance.vault.delete(PASSPORT_CLAIMS, passport)
        raise
    uri, index = place_of(instance.issuer, issued[0].status_index)
    sd_jwt = issue(
        claims,
        passport=passport,
        subject=subject,
        holder_jwk=holder_jwk,
        issuer=instance.issuer,
        status_uri=uri,
        status_index=index,
        signer=instance.keys.signer("issuer"),
        valid_from=start,
        valid_until=valid_until,
        random=instance.random,
    )
    return IssuedPassport(passport, sd_jwt, issued[0])


def _check_holder(state: State, subject: SubjectId, key: str, supersedes: PassportId | None) -> None:
    known = state.subjects.get(subject)
    if known is None:
        raise NotFound(f"there is no subject {subject!r}", field="subject", remedy="import evidence first")
    if known.enrolled.kind is SubjectKind.AGENT:
        raise Conflict("an agent holds a mandate, not a passport", field="subject")
    if supersedes is not None and supersedes not in known.passports:
        raise Conflict(f"{supersedes!r} is not a passport of this subject", field="supersedes")
    _check_misuse(state, subject, known.passports)
    # One key, one holder: otherwise a binding would not say who signed. Linear, and issuing is rare.
    for held in state.passports.values():
        if held.issued.key == key and held.issued.subject != subject:
            raise Conflict(
                "the key serves another subject", field="holder_jwk", remedy="use a key of your own"
            )
    for mandate in state.mandates.values():
        if mandate.registered.key == key:
            raise Conflict("the key serves an agent", field="holder_jwk", remedy="use a key of your own")


def _check_misuse(state: State, subject: SubjectId, passports: tuple[PassportId, ...]) -> None:
    """A new passport would be the way around a suspension, and around an upheld signal."""
    for name in passports:
        held = state.passports[name]
        signal = open_signal(held.cause) if held.status is PassportStatus.SUSPENDED else ""
        if signal:
            raise Conflict(
                f"{name} is suspended by {signal}", field="subject", remedy="adjudicate the signal"
            )
        for received in state.misuse_signals.values():
            cause = cause_of(received.sender, received.signal)
            if (
                received.subject == subject
                and held.status is PassportStatus.INVALID
                and was_upheld(held.cause, cause)
            ):
                raise Conflict(f"{name} was revoked by {cause}, which was upheld", field="subject")
