"""Use case: register a delegation to an agent, signed by a human with the passport's key or by the agent above.

Registering is a presentation made once. For the first link the human presents the passport and the claims disclosed then are
kept for the whole chain; for a lower link the agent above presents its own mandate. Refuses a scope wider than what stands
above: the human's grants for the first link, the mandate above for the others.
"""

from __future__ import annotations

from typing import Any

import msgspec

from safeconduct.app.check_presentation import About, CredentialRefused, PresentationDesk
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.stored_claims import MANDATE_CLAIMS, keep_claims
from safeconduct.kernel.errors import InvalidInput, SafeconductError, VerificationFailed
from safeconduct.kernel.ids import MandateId, PassportId, SubjectId, VariantId
from safeconduct.kernel.signing import VerifyingKey, thumbprint
from safeconduct.kernel.vocabulary import Code, PassportStatus, SubjectKind
from safeconduct.passport.mandate import (
    Mandate,
    Scope,
    check_chain,
    check_narrows,
    verify_mandate,
    verify_mandate_presentation,
)
from safeconduct.passport.verification import VerifiedPassport
from safeconduct.record.events import Event
from safeconduct.record.events.authorizations import GrantGiven
from safeconduct.record.events.holders import MandateRegistered, SubjectEnrolled
from safeconduct.record.projections import MandateState
from safeconduct.record.state import State

_MAX_LINKS_READ = 16


def chain_above(state: State, mandate: MandateId) -> tuple[MandateState, ...]:
    """The links from the human's first mandate down to `mandate`; empty when a link is missing or there is no end."""
    links: list[MandateState] = []
    name: MandateId | None = mandate
    while name is not None:
        known = state.mandates.get(name)
        if known is None or len(links) >= _MAX_LINKS_READ:
            return ()
        links.append(known)
        name = known.registered.parent
    return tuple(reversed(links))


def check_chain_in_force(links: tuple[MandateState, ...], now: int) -> None:
    """Raises CredentialRefused (DELEGATION) unless every link is registered, not revoked and in its term."""
    if not links:
        raise CredentialRefused(
            "the mandate, or one above it, is not registered", code=Code.DELEGATION, step="mandate"
        )
    last = links[-1].registered
    about: About = {"subject": last.agent, "holder": last.human, "passport": last.passport}
    for link in links:
        if link.revoked_at is not None:
            which = "the mandate" if link is links[-1] else "a mandate above"
            raise CredentialRefused(
                f"{which} was revoked",
                code=Code.DELEGATION,
                step="mandate",
                remedy="ask for a new mandate",
                **about,
            )
        if not link.registered.valid_from <= now < link.registered.valid_until:
            raise CredentialRefused(
                "a mandate of the chain is not in its term",
                code=Code.DELEGATION,
                step="mandate",
                remedy="ask for a new mandate",
                **about,
            )


def scope_of(registered: MandateRegistered) -> Scope:
    """The scope of a registered mandate."""
    return Scope(
        variants=registered.variants,
        purposes=registered.purposes,
        surfaces=registered.surfaces,
        valid_from=registered.valid_from,
        valid_until=registered.valid_until,
        project=registered.project,
    )


class _Above(msgspec.Struct, frozen=True):
    """Who delegates and what stands above: `chain` is the human, then the agents down to the principal."""

    key: VerifyingKey
    principal: SubjectId
    human: SubjectId
    passport: PassportId
    chain: tuple[SubjectId, ...]
    signed_at: int | None
    parent: MandateId | None


def register_mandate(
    desk: PresentationDesk,
    *,
    mandate: str,
    presentation: str | VerifiedPassport,
    principal_jwk: dict[str, Any] | None = None,
) -> MandateRegistered:
    """Verify mandate and presentation, check the scope, commit. An agent not yet known is enrolled with it.

    mandate: `mandate+jwt`. presentation: the human's passport with key binding (or what verifying it gave), or (with principal_jwk, the public key of
    the agent above) that agent's `mandate-presentation+jwt`; audience is the issuer, the nonce one of ours.
    Raises CredentialRefused, whose code is DELEGATION when the delegation itself is at fault.
    """
    instance = desk.instance
    now = instant(instance)
    claims = None
    if isinstance(presentation, VerifiedPassport) or principal_jwk is None:
        verified = desk.check(presentation, now=now) if isinstance(presentation, str) else presentation
        claims = verified.claims
        above = _Above(
            key=VerifyingKey(verified.holder_jwk),
            principal=verified.subject,
            human=verified.subject,
            passport=verified.passport,
            chain=(verified.subject,),
            signed_at=None,
            parent=None,
        )
    else:
        above = _agent_above(desk, presentation, principal_jwk, now)
    about: About = {"subject": above.principal, "holder": above.human, "passport": above.passport}
    try:
        read = verify_mandate(mandate, signed_with=above.key, audience=instance.issuer, now=now)
        if read.principal != above.principal or read.parent != above.parent:
            raise _refuse("the mandate and the presentation are not by the same principal", field="iss")
        check_chain(read.agent, above.chain)
    except VerificationFailed as failure:
        raise CredentialRefused.of(failure, **about) from None
    if read.id in instance.record.state.mandates:
        raise CredentialRefused.of(_exists(), **about)
    if claims is not None:
        keep_claims(
            instance.vault,
            MANDATE_CLAIMS,
            claims_name(above.passport, read.id),
            subject=above.human,
            claims=claims,
            random=instance.random,
        )
    made: list[MandateRegistered] = []

    def check(state: State) -> list[Event]:
        events: list[Event] = []
        try:
            _check_agent(state, read, above, events)
            _check_scope(state, read.scope, above, now)
        except VerificationFailed as failure:
            raise CredentialRefused.of(failure, **about) from None
        held = state.passports[above.passport]
        top = chain_above(state, above.parent) if above.parent is not None else ()
        registered = MandateRegistered(
            mandate=read.id,
            agent=read.agent,
            principal=above.principal,
            human=above.human,
            passport=above.passport,
            variants=read.scope.variants,
            purposes=read.scope.purposes,
            project=read.scope.project,
            surfaces=read.scope.surfaces,
            valid_from=read.scope.valid_from,
            valid_until=read.scope.valid_until,
            key=thumbprint(read.agent_jwk),
            aal=top[0].registered.aal if top else held.issued.aal,
            signed_at=top[0].registered.signed_at if top else read.signed_at,
            status_index=state.next_status_index,
            depth=len(above.chain),
            parent=above.parent,
        )
        made[:] = [registered]
        events.append(registered)
        return events

    try:
        commit_checked(instance, check)
    except SafeconductError:
        if claims is not None and read.id not in instance.record.state.mandates:
            instance.vault.delete(MANDATE_CLAIMS, claims_name(above.passport, read.id))
        raise
    return made[0]


def _refuse(message: str, *, field: str, remedy: str = "") -> VerificationFailed:
    return VerificationFailed(message, step="mandate", code=Code.DELEGATION, field=field, remedy=remedy)


def _exists() -> VerificationFailed:
    return _refuse("a mandate of this id exists", field="jti", remedy="sign one with a new id")


def claims_name(passport: PassportId, mandate: MandateId) -> str:
    """Under what name a chain's claims are kept: its signer chooses a mandate's id, so it only names within a passport."""
    return f"{passport}/{mandate}"


def _agent_above(
    desk: PresentationDesk, presentation: str, principal_jwk: dict[str, Any], now: int
) -> _Above:
    instance = desk.instance
    try:
        key = VerifyingKey(principal_jwk)
        presented = verify_mandate_presentation(
            presentation, agent_key=key, audience=instance.issuer, nonce=desk.nonces.use, now=now
        )
    except InvalidInput as error:
        raise CredentialRefused(
            error.message, code=Code.PASSPORT_INVALID, step="key_binding", field="principal_jwk"
        ) from None
    except VerificationFailed as failure:
        raise CredentialRefused.of(failure) from None
    state = instance.record.state
    links = chain_above(state, presented.mandate)
    check_chain_in_force(links, now)
    last = links[-1].registered
    if last.key != key.thumbprint or last.agent != presented.agent:
        raise CredentialRefused(
            "the mandate is another agent's", code=Code.DELEGATION, step="mandate", field="principal_jwk"
        )
    return _Above(
        key=key,
        principal=last.agent,
        human=last.human,
        passport=last.passport,
        chain=(last.human, *(link.registered.agent for link in links)),
        signed_at=last.signed_at,
        parent=last.mandate,
    )


def _check_agent(state: State, read: Mandate, above: _Above, events: list[Event]) -> None:
    if read.id in state.mandates:
        raise _exists()
    known = state.subjects.get(read.agent)
    human = state.subjects.get(above.human)
    if human is None or human.enrolled.kind is SubjectKind.AGENT:
        raise _refuse("no human stands above", field="iss")
    key = thumbprint(read.agent_jwk)
    if any(held.issued.key == key for held in state.passports.values()):
        raise _refuse(
            "the agent's key is a passport's", field="cnf.jwk", remedy="give the agent a key of its own"
        )
    # One key, one agent: a presentation names no more than the key.
    for other in state.mandates.values():
        if other.registered.key == key and other.registered.agent != read.agent:
            raise _refuse(
                "the key serves another agent", field="cnf.jwk", remedy="give the agent a key of its own"
            )
    if known is None:
        events.append(
            SubjectEnrolled(
                subject=read.agent,
                kind=SubjectKind.AGENT,
                organisation=human.enrolled.organisation,
                accountable=above.human,
                software=read.software,
            )
        )
    elif known.enrolled.kind is not SubjectKind.AGENT or known.enrolled.accountable != above.human:
        raise _refuse("not an agent of this human", field="sub", remedy="give the agent an id of its own")


def _check_scope(state: State, scope: Scope, above: _Above, now: int) -> None:
    passport = state.passports[above.passport]
    if passport.status is not PassportStatus.VALID:
        raise VerificationFailed("the passport was revoked", step="status", code=Code.PASSPORT_REVOKED)
    for variant in scope.variants:
        if variant not in state.variants:
            raise _refuse(f"there is no variant {variant[:96]!r}", field="scope.variants")
    if above.parent is not None:
        links = chain_above(state, above.parent)
        if not links or any(link.revoked_at is not None for link in links):
            raise _refuse("a mandate above was revoked", field="parent")
        check_narrows(scope, scope_of(links[-1].registered))
        return
    if scope.valid_until > passport.issued.valid_until:
        raise _refuse(
            "outlives the human's passport", field="scope.valid_until", remedy="let it end with the passport"
        )
    if scope.project is not None:
        project = state.projects.get(scope.project)
        if project is None or project.ended_at is not None:
            raise _refuse(f"there is no project {scope.project[:96]!r}", field="scope.project")
    for variant in scope.variants:
        _check_granted(state, scope, above.human, variant, now)


def _check_granted(state: State, scope: Scope, human: SubjectId, variant: VariantId, now: int) -> None:
    """What the human holds for a variant, over all grants in force; whether the chain above holds is decided per request."""
    grants = _grants_of(state, human, variant, now)
    for name, held, asked in (
        ("purposes", {p for grant in grants for p in grant.purposes}, set(scope.purposes)),
        ("surfaces", {s for grant in grants for s in grant.surfaces}, set(scope.surfaces)),
    ):
        wider = asked - held
        if wider:
            raise _refuse(
                f"{', '.join(sorted(wider))} on {variant}: the human holds no grant for it",
                field=f"scope.{name}",
                remedy="delegate a part of what the human was granted",
            )


def _grants_of(state: State, human: SubjectId, variant: VariantId, now: int) -> list[GrantGiven]:
    groups = state.subjects[human].groups
    keys: list[tuple[str, object, VariantId]] = [("subject", human, variant)]
    keys += [("group", membership, variant) for membership in groups]
    found = []
    for key in keys:
        for name in state.grants_to.get(key, ()):
            grant = state.grants[name]
            if grant.ended_at is None and now < grant.given.valid_until:
                found.append(grant.given)
    return found
