"""Use case: suspend, reinstate or revoke a passport. Revocation is for good; so is its effect on every mandate below."""

from __future__ import annotations

from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.authorization.misuse import open_signal
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.ids import PassportId
from safeconduct.kernel.vocabulary import PassportStatus, Role
from safeconduct.record.events import Event
from safeconduct.record.events.holders import PassportStatusChanged
from safeconduct.record.state import State


def change_passport_status(
    instance: Instance, caller: Caller, passport: str, status: PassportStatus, *, cause: str
) -> PassportStatusChanged:
    """Operators suspend; adjudicators suspend, reinstate and revoke; a holder may revoke their own (a lost key).

    cause: why, in words (1-500 characters), kept in the record: pseudonymous. It may not read like a misuse signal's.
    Raises Forbidden, NotFound, InvalidInput, Conflict when the passport is in that status or revoked, or suspended by a misuse
    signal: only its adjudication ends that, be it in a revocation, after which nothing would be left to adjudicate.
    """
    require_role(caller, Role.OPERATOR, Role.ADJUDICATOR, Role.HOLDER)
    if not 0 < len(cause) <= 500:
        raise InvalidInput("1 to 500 characters", field="cause", remedy="say why")
    if open_signal(cause):
        # Nobody could adjudicate such a signal, so the passport would never come back.
        raise InvalidInput("reads like a misuse signal's", field="cause", remedy="say it in other words")
    event = PassportStatusChanged(
        passport=PassportId(passport), status=status, cause=cause, by=caller.id, at=instant(instance)
    )

    def check(state: State) -> list[Event]:
        known = state.passports.get(event.passport)
        own = known is not None and caller.subject is not None and known.issued.subject == caller.subject
        if caller.role is Role.HOLDER and not (own and status is PassportStatus.INVALID):
            raise Forbidden("a holder may only revoke their own passport", field="passport")
        if known is None:
            raise NotFound(f"there is no passport {passport!r}", field="passport")
        if caller.role is Role.OPERATOR and status is PassportStatus.VALID:
            raise Forbidden("an adjudicator reinstates", field="role", remedy="ask an adjudicator")
        if known.status is PassportStatus.INVALID:
            raise Conflict("the passport is revoked, for good", field="passport", remedy="issue a new one")
        signal = open_signal(known.cause) if known.status is PassportStatus.SUSPENDED else ""
        if signal:
            raise Conflict(f"suspended by {signal}", field="passport", remedy="adjudicate the signal")
        if known.status is status:
            raise Conflict(f"the passport is {status.name.lower()} already", field="status")
        return [event]

    commit_checked(instance, check)
    return event
