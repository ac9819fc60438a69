"""Use case: who would lose access by a directive, before it is signed.

It asks the very questions that the gateway will ask, of the state as it is and of the state with the directive in it, for
every enrolled person and agent. Only the control plane can: the claims of passports are here, encrypted, and nowhere else.
Nothing is written.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import msgspec

from safeconduct.app.commit import instant, is_production
from safeconduct.app.import_directive import directive_event
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.projects import Projects
from safeconduct.app.register_mandate import chain_above, claims_name
from safeconduct.app.scope import require_own_document, require_role
from safeconduct.app.stored_claims import MANDATE_CLAIMS, PASSPORT_CLAIMS, read_claims
from safeconduct.authorization.directive import TYP, read_directive
from safeconduct.authorization.trust import KeyScope, check_may_sign_at, verify_document
from safeconduct.decision.evaluation import Opened
from safeconduct.decision.impact import Answered, Impact, preview
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Permit
from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.errors import Forbidden, InvalidInput, SafeconductError
from safeconduct.kernel.ids import (
    DeploymentId,
    DirectiveId,
    GrantId,
    MandateId,
    PassportId,
    ProjectId,
    SubjectId,
    VariantId,
)
from safeconduct.kernel.vocabulary import (
    Binding,
    DirectiveKind,
    PassportStatus,
    Purpose,
    Role,
    SubjectKind,
    Surface,
)
from safeconduct.passport.claims import Claims
from safeconduct.record.events.holders import MandateRegistered
from safeconduct.record.projections import PassportState, SubjectState
from safeconduct.record.state import State


class PreviewDirective(msgspec.Struct, frozen=True):
    """document: the directive as JSON claims, or signed already. annexes: the bytes of each annex by its name."""

    document: bytes
    annexes: dict[str, bytes] = {}


class DirectivePreview(msgspec.Struct, frozen=True):
    """at: the moment asked about: `effective_from`, or now when that has passed.

    without_claims: subjects of whom nothing can be said: no passport in force, or their data was erased.
    classes, singly: of a large population, how many kinds of people were told apart and one of each decided, and how many
    subjects were asked about one by one (agents, and people touched lately); 0 and 0 when everybody was.
    """

    directive: DirectiveId
    kind: DirectiveKind
    variants: tuple[VariantId, ...]
    at: int
    impact: Impact
    without_claims: tuple[SubjectId, ...]
    classes: int = 0
    singly: int = 0


def preview_directive(instance: Instance, caller: Caller, ask: PreviewDirective) -> DirectivePreview:
    """By an operator, an authority or an auditor. Refuses what its import would refuse, with the same errors."""
    require_role(caller, Role.OPERATOR, Role.AUTHORITY, Role.AUDITOR)
    now = instant(instance)
    state = instance.record.state
    claims, scope, text = _read(instance, caller, state, ask.document, now)
    event = directive_event(state, claims, ask.annexes, scope=scope, jws=text, recorded_at=now)
    candidate = state.apply(event, state.position + 1)
    at = max(event.effective_from, now)
    return DirectivePreview(
        directive=event.directive,
        kind=event.kind,
        variants=event.variants,
        at=at,
        **_whom(instance, state, candidate, at),
    )


def _whom(instance: Instance, state: State, candidate: State, at: int) -> dict[str, Any]:
    desk = instance.impact
    columns = desk.columns() if desk is not None else None
    if columns is None or columns.view.state.position != state.position:
        unknown: list[SubjectId] = []
        impact = preview(state, candidate, questions(instance, state, at, unknown), at)
        return {"impact": impact, "without_claims": tuple(unknown)}
    from safeconduct.app.population_impact import impact_of  # noqa: PLC0415 - numpy, and only for a large population

    asking = Questions(instance, state, at, columns.projects.projects)
    asked = impact_of(columns.columns, columns.view, columns.projects, after=candidate, at=at, asking=asking)
    return {
        "impact": asked.impact,
        "without_claims": asked.without_claims,
        "classes": asked.classes,
        "singly": asked.singly,
    }


def _read(
    instance: Instance, caller: Caller, state: State, document: bytes, now: int
) -> tuple[dict[str, Any], KeyScope, str]:
    """Claims, the scope they are held against, and the signed text ("" for a draft)."""
    production = is_production(instance)
    if not document.lstrip().startswith(b"{"):
        try:
            text = document.decode("ascii").strip()
        except UnicodeDecodeError:
            raise InvalidInput("neither JSON nor a signed directive", field="document") from None
        signed = verify_document(text, typ=TYP, trust=state.trust, now=now, production=production)
        if caller.role is Role.AUTHORITY:
            require_own_document(caller, signed.party)
        return signed.claims, signed.scope, text
    claims = strict_json(document, what="directive")
    if not isinstance(claims, dict):
        raise InvalidInput("not a JSON object", field="document")
    claims.setdefault("iat", now)
    read_directive(claims)
    issuer, kind = claims.get("iss"), f"directive:{claims.get('kind')}"
    if caller.role is Role.AUTHORITY and issuer != caller.party:
        raise Forbidden(f"{caller.party!r} drafts a directive of {issuer!r}", field="iss")
    refusal: SafeconductError = Forbidden(
        f"no key of {str(issuer)[:80]!r} in the trust list may sign {kind[:60]}",
        field="iss",
        remedy="two officers must add one first",
    )
    for _, entry in sorted(state.trust.items()):
        if entry.added.party != issuer or kind not in entry.added.may_sign:
            continue
        try:
            check_may_sign_at(entry, now, production=production)
        except SafeconductError as error:
            refusal = error
        else:
            return claims, entry.added, ""
    raise refusal


def questions(
    instance: Instance, state: State, at: int, unknown: list[SubjectId] | None = None
) -> Iterator[DecisionRequest]:
    """Every question that somebody enrolled could ask at `at`: subject and agent x variant x granted purpose, surface and
    region (as deployments). Whoever has no readable claims is added to `unknown`.
    """
    asking = Questions(instance, state, at)
    for question, *_ in asking.of_people(sorted(state.subjects), [] if unknown is None else unknown):
        yield question
    for question, *_ in asking.of_agents():
        yield question


class Questions:
    """What people and agents would ask at a moment, each question with its answer in the state."""

    def __init__(self, instance: Instance, state: State, at: int, projects: Projects | None = None) -> None:
        self._instance = instance
        self._state = state
        self._at = at
        self._projects = Projects(state) if projects is None else projects
        self._variants = sorted(state.variants)
        self._offered = {variant: _offered(state, variant) for variant in self._variants}

    def of_people(self, subjects: Iterable[SubjectId], unknown: list[SubjectId]) -> Iterator[Answered]:
        """Of these people, with the claims of their passports. Agents and strangers are passed over."""
        for name in subjects:
            subject = self._state.subjects.get(name)
            if subject is None or subject.enrolled.kind is SubjectKind.AGENT:
                continue
            held = _passport_in_force(self._state, subject, self._at)
            claims = _claims_of(self._instance, held) if held is not None else None
            if held is None or claims is None:
                unknown.append(name)
                continue
            yield from self._of_human(subject, held, claims, self._variants)

    def of_claims(
        self, subject: SubjectId, claims: Claims, variants: Iterable[VariantId] | None = None
    ) -> Iterator[Answered]:
        """Of a person with a passport in force, who would disclose these claims; about all variants by default."""
        known = self._state.subjects[subject]
        held = _passport_in_force(self._state, known, self._at)
        assert held is not None
        yield from self._of_human(known, held, claims, self._variants if variants is None else variants)

    def of_agents(self) -> Iterator[Answered]:
        """Of the agent of every mandate."""
        for mandate, registered in sorted(self._state.mandates.items()):
            if registered.revoked_at is None and registered.registered.valid_until > self._at:
                yield from self._of_agent(mandate, registered.registered)

    def _of_human(
        self, subject: SubjectState, held: PassportState, claims: Claims, variants: Iterable[VariantId]
    ) -> Iterator[Answered]:
        name, enrolled = subject.enrolled.subject, subject.enrolled
        projects = self._projects_of(subject)
        for variant in variants:
            for purpose, surface, deployment in self._granted(subject, variant):
                fitting = projects(purpose)
                base = DecisionRequest(
                    subject=name,
                    holder=name,
                    kind=enrolled.kind,
                    passport=held.issued.passport,
                    claims=claims,
                    aal=held.issued.aal,
                    # Whoever asks then has signed in then; how long ago today's session began says nothing about it.
                    authenticated_at=self._at,
                    binding=Binding.DPOP,
                    purpose=purpose,
                    variant=variant,
                    deployment=deployment,
                    organisation=enrolled.organisation,
                    project=fitting[0] if fitting else None,
                    surface=surface,
                )
                yield self._with_project(base, fitting)

    def _projects_of(self, subject: SubjectState) -> Callable[[Purpose | None], list[ProjectId]]:
        """By purpose, the projects that this person can be asked under."""
        projects = self._projects
        enrolled = subject.enrolled
        open_ones = [
            (projects.names[place], projects.held[place].approved.purposes)
            for place in projects.of(enrolled.subject, enrolled.organisation)
            if projects.held[place].ended_at is None
        ]

        @functools.cache
        def fitting(purpose: Purpose | None) -> list[ProjectId]:
            return [name for name, purposes in open_ones if purpose in purposes]

        return fitting

    def _with_project(self, question: DecisionRequest, fitting: list[ProjectId]) -> Answered:
        """The question under the project of theirs that lets it through today, else the first that covers the purpose.

        question: asked under the first already.
        """
        first = self._answered(question)
        if isinstance(first[1], Permit):
            return first
        for name in fitting[1:]:
            answered = self._answered(msgspec.structs.replace(question, project=name))
            if isinstance(answered[1], Permit):
                return answered
        return first

    def _answered(self, question: DecisionRequest) -> Answered:
        opened = Opened(question, self._state, self._at)
        return question, opened.under(self._state), opened

    def _granted(
        self, subject: SubjectState, variant: VariantId
    ) -> list[tuple[Purpose, Surface, DeploymentId | None]]:
        """What the grants to this person name, by direct grant or by group; not yet whether they are in force."""
        state = self._state
        index = state.grants_to
        names: Sequence[GrantId] = index.get(("subject", subject.enrolled.subject, variant), ())
        if subject.groups:
            names = list(names)
            for group in sorted(subject.groups):
                names += index.get(("group", group, variant), ())
        found: dict[tuple[Purpose, Surface, DeploymentId | None], None] = {}
        for grant in names:
            entry = state.grants[grant]
            if entry.ended_at is not None:
                continue
            given = entry.given
            reached: list[DeploymentId | None] = [
                name
                for name, region in self._offered.get(variant, ())
                if not given.regions or region in given.regions
            ]
            for purpose in given.purposes:
                for surface in given.surfaces:
                    for deployment in reached or [None]:
                        found[purpose, surface, deployment] = None
        return sorted(found, key=str) if len(found) > 1 else list(found)

    def _of_agent(self, mandate: MandateId, registered: MandateRegistered) -> Iterator[Answered]:
        state, at = self._state, self._at
        human, agent = state.subjects.get(registered.human), state.subjects.get(registered.agent)
        passport: PassportId = registered.passport
        held = state.passports.get(passport)
        if human is None or agent is None or held is None:
            return
        links = chain_above(state, mandate)
        if not links:
            return
        # What was disclosed when the chain was registered is what its tokens carry.
        claims = read_claims(
            self._instance.vault, MANDATE_CLAIMS, claims_name(passport, links[0].registered.mandate)
        ) or _claims_of(self._instance, held)
        if claims is None:
            return
        chain = tuple(link.registered.mandate for link in links)
        projects = self._projects_of(human)
        for variant in registered.variants:
            for purpose, surface, deployment in self._granted(human, variant):
                if purpose not in registered.purposes or surface not in registered.surfaces:
                    continue
                question = DecisionRequest(
                    subject=registered.agent,
                    holder=registered.human,
                    kind=SubjectKind.AGENT,
                    passport=passport,
                    claims=claims,
                    aal=registered.aal,
                    authenticated_at=at,
                    binding=Binding.DPOP,
                    purpose=purpose,
                    variant=variant,
                    deployment=deployment,
                    organisation=human.enrolled.organisation,
                    mandates=chain,
                    project=registered.project,
                    surface=surface,
                )
                fitting = projects(purpose) if registered.project is None else []
                if fitting:
                    question = msgspec.structs.replace(question, project=fitting[0])
                yield self._with_project(question, fitting)


def _passport_in_force(state: State, subject: SubjectState, at: int) -> PassportState | None:
    """The latest passport that is valid then; when none is, the latest that is suspended (it may be reinstated)."""
    found: PassportState | None = None
    for name in subject.passports:
        held = state.passports[name]
        if (
            held.status is PassportStatus.INVALID
            or not held.issued.valid_from <= at < held.issued.valid_until
        ):
            continue
        if found is None or held.status is PassportStatus.VALID or found.status is PassportStatus.SUSPENDED:
            found = held
    return found


def _claims_of(instance: Instance, held: PassportState) -> Claims | None:
    return read_claims(
        instance.vault, PASSPORT_CLAIMS, held.issued.passport, commitment=held.issued.commitment
    )


def _offered(state: State, variant: VariantId) -> list[tuple[DeploymentId, str]]:
    """The variant's deployments that are not retired, each with its region."""
    return [
        (deployment, state.deployments[deployment].registered.region)
        for deployment in state.deployments_of.get(variant, ())
        if state.deployments[deployment].retired_at is None
    ]
