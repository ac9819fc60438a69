"""Use case: change the trust list by a document that two different officers signed."""

from __future__ import annotations

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.reach import models_of
from safeconduct.app.scope import require_role
from safeconduct.authorization.trust_change import KeyAddition, KeyRevocation, TrustChange, read_trust_change
from safeconduct.kernel.errors import Conflict, NotFound, UnsafeConfiguration
from safeconduct.kernel.signing import thumbprint
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.trust import OfficersReplaced, TrustKeyAdded, TrustKeyRevoked
from safeconduct.record.state import State
from safeconduct.registry.model import variants_named
from safeconduct.registry.provider import check_jurisdiction


def change_trust(instance: Instance, caller: Caller, document: bytes) -> tuple[Event, ...]:
    """Handed in by an operator; it is the officers' signatures that count. All of it is applied, or nothing.

    Raises VerificationFailed, Forbidden, InvalidInput, NotFound, Conflict (a kid or key that is in the list already, a key
    revoked already, an officer's key on the list), UnsafeConfiguration (a development key in production).
    """
    require_role(caller, Role.OPERATOR)
    now = instant(instance)

    def check(state: State) -> list[Event]:
        initialised = state.instance
        if initialised is None:
            raise Conflict("the instance is not initialised", remedy="run init")
        change = read_trust_change(
            document, officers=initialised.officers, origin=initialised.origin, now=now
        )
        events: list[Event] = []
        for place, addition in enumerate(change.add):
            events.append(
                _added(state, addition, change, now, f"add[{place}]", production=is_production(instance))
            )
        added = [event for event in events if isinstance(event, TrustKeyAdded)]
        if len({event.kid for event in added}) != len(added):
            raise Conflict("a kid is added twice", field="add")
        if len({thumbprint(event.jwk) for event in added}) != len(added):
            raise Conflict("a key is added twice", field="add")
        for place, revocation in enumerate(change.revoke):
            events.append(_revoked(state, revocation, change, now, f"revoke[{place}]"))
        if len({one.kid for one in change.revoke}) != len(change.revoke):
            raise Conflict("a key is revoked twice", field="revoke")
        if change.successors:
            listed = {thumbprint(entry.added.jwk) for entry in state.trust.values()}
            listed |= {thumbprint(event.jwk) for event in added}
            if any(thumbprint(jwk) in listed for jwk in change.successors):
                raise Conflict(
                    "an officer's key is on the trust list",
                    field="officers",
                    remedy="an officer's key signs changes of the list and nothing else",
                )
            events.append(OfficersReplaced(officers=change.successors, by=change.officers, at=now))
        return events

    return commit_checked(instance, check)


def _added(
    state: State, addition: KeyAddition, change: TrustChange, now: int, where: str, *, production: bool
) -> TrustKeyAdded:
    if addition.kid in state.trust:
        raise Conflict(
            f"kid {addition.kid!r} is in the trust list already",
            field=f"{where}.kid",
            remedy="a kid is used once: give the key another",
        )
    mine = thumbprint(addition.jwk)
    for kid, entry in state.trust.items():
        if thumbprint(entry.added.jwk) == mine:
            # A revoked key must not come back under another name.
            raise Conflict(f"the key is in the trust list as {kid!r}", field=f"{where}.jwk")
    if addition.development and production:
        raise UnsafeConfiguration("a development key", field=f"{where}.development")
    # A key may be listed before its provider registers: the next one of the same party is no mistake either.
    listed = {entry.added.provider for entry in state.trust.values() if entry.added.party == addition.party}
    if addition.provider is not None and addition.provider not in {*state.providers, *listed}:
        raise NotFound(f"there is no provider {addition.provider!r}", field=f"{where}.provider")
    if addition.jurisdiction is not None:
        check_jurisdiction(addition.jurisdiction, f"{where}.jurisdiction")
    return TrustKeyAdded(
        kid=addition.kid,
        jwk=addition.jwk,
        party=addition.party,
        may_sign=addition.may_sign,
        jurisdiction=addition.jurisdiction,
        variants=variants_named(addition.variants, models_of(state)),
        provider=addition.provider,
        valid_from=addition.valid_from,
        valid_until=addition.valid_until,
        officers=change.officers,
        recorded_at=now,
        organisation=addition.organisation,
        development=addition.development,
    )


def _revoked(
    state: State, revocation: KeyRevocation, change: TrustChange, now: int, where: str
) -> TrustKeyRevoked:
    known = state.trust.get(revocation.kid)
    if known is None:
        raise NotFound(f"there is no key {revocation.kid!r} in the trust list", field=f"{where}.kid")
    if known.revoked is not None and known.revoked.from_ <= revocation.from_:
        raise Conflict(f"{revocation.kid!r} is revoked already", field=f"{where}.kid")
    return TrustKeyRevoked(
        kid=revocation.kid,
        from_=revocation.from_,
        cause=revocation.cause,
        officers=change.officers,
        recorded_at=now,
        successor=revocation.successor,
    )
