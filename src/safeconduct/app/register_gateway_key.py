"""Use case: make a gateway key for a tool that can send nothing else, from a passport presented once.

The claims disclosed then are kept, encrypted, for as long as the key lives; only the SHA-256 of its secret is recorded.
Refuses more than C2, and C2 without a source-network list or a loopback bind.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.check_presentation import PresentationDesk
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.stored_claims import KEY_CLAIMS, keep_claims
from safeconduct.kernel.errors import Conflict, InvalidInput, NotFound, SafeconductError
from safeconduct.kernel.ids import KeyId, ProjectId
from safeconduct.kernel.vocabulary import PROHIBITED_PURPOSES, Level, PassportStatus, Purpose
from safeconduct.passport.gateway_key import MAX_LIFETIME, check_networks, generate
from safeconduct.passport.verification import VerifiedPassport
from safeconduct.record.events import Event
from safeconduct.record.events.holders import GatewayKeyRegistered
from safeconduct.record.state import State


class MadeKey(msgspec.Struct, frozen=True):
    """A key as handed out, once: `text` is not kept anywhere."""

    key: KeyId
    text: str
    event: GatewayKeyRegistered

    def __repr__(self) -> str:
        return f"<MadeKey {self.key}>"


def register_gateway_key(
    desk: PresentationDesk,
    presentation: str,
    *,
    lifetime: int = MAX_LIFETIME,
    project: ProjectId | None = None,
    purpose: Purpose | None = None,
    networks: tuple[str, ...] = (),
    loopback_only: bool = False,
    level_limit: Level = Level.C2,
) -> MadeKey:
    """lifetime: seconds, at most 30 days, and never beyond the passport's. networks: CIDRs it may come from.

    Without networks and without `loopback_only` the highest level is C1. Raises CredentialRefused, InvalidInput, NotFound.
    """
    instance = desk.instance
    if not 0 < lifetime <= MAX_LIFETIME:
        raise InvalidInput(f"1 to {MAX_LIFETIME} s", field="lifetime", remedy="ask for at most 30 days")
    if level_limit > Level.C2:
        raise InvalidInput(
            "a gateway key is good to C2 at most",
            field="level_limit",
            remedy="use a passport with DPoP above C2",
        )
    if level_limit is Level.C2 and not networks and not loopback_only:
        raise InvalidInput(
            "C2 needs a source-network list or a loopback bind",
            field="networks",
            remedy="name the networks it will come from, set loopback_only, or ask for level_limit C1",
        )
    if purpose in PROHIBITED_PURPOSES:
        raise InvalidInput("a prohibited purpose", field="purpose")
    permitted = check_networks(networks)
    now = instant(instance)
    verified = desk.check(presentation, now=now)
    made = generate(instance.profile, instance.random)
    commitment = keep_claims(
        instance.vault,
        KEY_CLAIMS,
        made.id,
        subject=verified.subject,
        claims=verified.claims,
        random=instance.random,
    )
    registered: list[GatewayKeyRegistered] = []

    def check(state: State) -> list[Event]:
        aal = _aal_in_force(state, verified)
        _check_project(state, project, purpose, now)
        event = GatewayKeyRegistered(
            key=made.id,
            subject=verified.subject,
            passport=verified.passport,
            project=project,
            purpose=purpose,
            secret_sha256=made.sha256(),
            networks=permitted,
            aal=aal,
            authenticated_at=verified.bound_at,
            valid_from=now,
            valid_until=min(now + lifetime, verified.valid_until),
            claims_commitment=commitment,
            level_limit=level_limit,
            loopback_only=loopback_only,
        )
        registered[:] = [event]
        return [event]

    try:
        commit_checked(instance, check)
    except SafeconductError:
        if made.id not in instance.record.state.gateway_keys:
            instance.vault.delete(KEY_CLAIMS, made.id)
        raise
    return MadeKey(made.id, made.text, registered[0])


def _aal_in_force(state: State, verified: VerifiedPassport) -> int:
    held = state.passports.get(verified.passport)
    if held is None or held.status is not PassportStatus.VALID:
        raise Conflict("the passport was revoked in the meantime", field="presentation")
    return held.issued.aal


def _check_project(state: State, project: ProjectId | None, purpose: Purpose | None, now: int) -> None:
    if project is None:
        return
    known = state.projects.get(project)
    if known is None or known.ended_at is not None or now >= known.approved.valid_until:
        raise NotFound(f"there is no running project {project[:96]!r}", field="project")
    if purpose is not None and purpose not in known.approved.purposes:
        raise InvalidInput(
            f"{purpose} is not a purpose of the project",
            field="purpose",
            remedy=f"choose of {', '.join(sorted(known.approved.purposes))}",
        )
