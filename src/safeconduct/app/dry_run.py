"""Use case: what would be decided? Every unmet condition of one question, without asking a model.

The claims are those of the passport in force as the issuer keeps them. Refuses to look for anybody else than the caller may
ask about: a holder for themselves, an organisation for its own people, an operator or auditor for all.
"""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.register_mandate import chain_above, claims_name
from safeconduct.app.scope import require_role
from safeconduct.app.stored_claims import MANDATE_CLAIMS, PASSPORT_CLAIMS, read_claims
from safeconduct.decision.evaluation import decide
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision
from safeconduct.kernel.errors import InvalidInput, NotFound
from safeconduct.kernel.ids import DeploymentId, ProjectId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import Binding, PassportStatus, Purpose, Role, SubjectKind, Surface
from safeconduct.passport.claims import Claims
from safeconduct.record.projections import MandateState, PassportState
from safeconduct.record.state import State


class DryRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """subject: left out by a holder, who asks for themselves. binding: how the credential would be tied to its holder."""

    model: str
    subject: str | None = None
    purpose: Purpose | None = None
    project: str | None = None
    deployment: str | None = None
    surface: Surface | None = None
    binding: Binding = Binding.DPOP


class DryRunOutcome(msgspec.Struct, frozen=True):
    """The question as it was put and what it came to, at record position `position` and time `now` (seconds)."""

    request: DecisionRequest
    outcome: Decision
    position: int
    now: int


def dry_run(instance: Instance, caller: Caller, ask: DryRun) -> DryRunOutcome:
    """Decide without enforcing. Raises Forbidden, NotFound (no subject, no passport), InvalidInput."""
    require_role(caller, Role.HOLDER, Role.OPERATOR, Role.AUDITOR, Role.ORGANISATION)
    now = instant(instance)
    state = instance.record.state
    subject = _subject(state, caller, ask)
    request = (
        _agent_question(instance, state, subject, ask, now)
        if state.subjects[subject].enrolled.kind is SubjectKind.AGENT
        else _human_question(instance, state, subject, ask, now)
    )
    return DryRunOutcome(request, decide(request, state, now), state.position, now)


def _subject(state: State, caller: Caller, ask: DryRun) -> SubjectId:
    if caller.role is Role.HOLDER:
        if caller.subject is None or ask.subject not in (None, caller.subject):
            raise InvalidInput("a holder asks for themselves", field="subject", remedy="leave it out")
        return caller.subject
    if not ask.subject:
        raise InvalidInput("say who would ask", field="subject", remedy="give a subject's id")
    subject = SubjectId(ask.subject)
    known = state.subjects.get(subject)
    # An organisation learns nothing of other people, not even that they exist.
    if known is None or (
        caller.role is Role.ORGANISATION and known.enrolled.organisation != caller.organisation
    ):
        raise NotFound(f"there is no subject {subject!r}", field="subject", remedy="list them: passport list")
    return subject


def _claims(instance: Instance, kind: str, name: str, commitment: str | None = None) -> Claims:
    claims = read_claims(instance.vault, kind, name, commitment=commitment)
    if claims is None:
        raise NotFound(
            "the claims were erased", field="subject", remedy="import evidence and issue a passport"
        )
    return claims


def _passport(state: State, subject: SubjectId, now: int) -> PassportState:
    held = [state.passports[name] for name in state.subjects[subject].passports]
    if not held:
        raise NotFound("the subject has no passport", field="subject", remedy="issue one")
    # The one they would use: valid and in its term; failing that, the latest, so that the denial says what is wrong with it.
    return max(
        held,
        key=lambda one: (
            one.status is PassportStatus.VALID and one.issued.valid_from <= now < one.issued.valid_until,
            one.issued.valid_from,
        ),
    )


def _human_question(
    instance: Instance, state: State, subject: SubjectId, ask: DryRun, now: int
) -> DecisionRequest:
    held = _passport(state, subject, now)
    return DecisionRequest(
        subject=subject,
        holder=subject,
        kind=state.subjects[subject].enrolled.kind,
        passport=held.issued.passport,
        claims=_claims(instance, PASSPORT_CLAIMS, held.issued.passport, held.issued.commitment),
        aal=held.issued.aal,
        authenticated_at=now,
        binding=ask.binding,
        purpose=ask.purpose,
        variant=VariantId(ask.model),
        deployment=_deployment(state, ask),
        organisation=state.subjects[subject].enrolled.organisation,
        project=ProjectId(ask.project) if ask.project else None,
        surface=ask.surface or Surface.API,
    )


def _agent_question(
    instance: Instance, state: State, agent: SubjectId, ask: DryRun, now: int
) -> DecisionRequest:
    held = [one for one in state.mandates.values() if one.registered.agent == agent]
    if not held:
        raise NotFound("the agent has no mandate", field="subject", remedy="register one")
    last = max(held, key=lambda one: (_in_force(one, now), one.registered.valid_from)).registered
    links = chain_above(state, last.mandate)
    if not links:
        raise NotFound("a mandate above the agent's is missing", field="subject", remedy="register it anew")
    return DecisionRequest(
        subject=agent,
        holder=last.human,
        kind=SubjectKind.AGENT,
        passport=last.passport,
        claims=_claims(instance, MANDATE_CLAIMS, claims_name(last.passport, links[0].registered.mandate)),
        aal=last.aal,
        authenticated_at=last.signed_at,
        binding=ask.binding,
        purpose=ask.purpose or (last.purposes[0] if len(last.purposes) == 1 else None),
        variant=VariantId(ask.model),
        deployment=_deployment(state, ask),
        organisation=state.subjects[last.human].enrolled.organisation,
        mandates=tuple(link.registered.mandate for link in links),
        project=ProjectId(ask.project) if ask.project else last.project,
        surface=ask.surface or Surface.API,
    )


def _in_force(mandate: MandateState, now: int) -> bool:
    registered = mandate.registered
    return mandate.revoked_at is None and registered.valid_from <= now < registered.valid_until


def _deployment(state: State, ask: DryRun) -> DeploymentId | None:
    if ask.deployment:
        return DeploymentId(ask.deployment)
    for name in state.deployments_of.get(VariantId(ask.model), ()):
        if state.deployments[name].retired_at is None:
            return name
    return None
