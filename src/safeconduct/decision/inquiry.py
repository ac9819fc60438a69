"""One decision under way: the question, what the state says of those it names, and the findings so far.

Owns the two things every check writes to: the reasons, and the earliest moment at which the clock alone could change the
answer. Refuses to be kept: an `Inquiry` lives for one call of `decide`.
"""

from __future__ import annotations

from safeconduct.authorization.predicate import Facts
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Reason
from safeconduct.decision.rules import NEVER, Rule, reason
from safeconduct.kernel.ids import OrganisationId, ProviderId
from safeconduct.record.projections import (
    ClearanceHeld,
    DeploymentState,
    DirectiveState,
    OrganisationState,
    PassportState,
    SubjectState,
    VariantState,
)
from safeconduct.record.state import State


class Inquiry:
    """Mutable working paper of one decision. `until` is an instant in seconds, exclusive."""

    __slots__ = (
        "_facts",
        "_listed",
        "claims",
        "clearance",
        "deployment",
        "grants",
        "holder",
        "jurisdictions",
        "level",
        "now",
        "obligations",
        "open_orders",
        "organisation",
        "organisation_id",
        "other_orders",
        "packs",
        "passport",
        "reasons",
        "request",
        "state",
        "until",
        "variant",
        "working_orders",
    )

    def __init__(  # noqa: PLR0917 - naming each costs on the hot path
        self,
        request: DecisionRequest,
        state: State,
        now: int,
        variant: VariantState,
        holder: SubjectState,
        passport: PassportState,
    ) -> None:
        self.request = request
        self.state = state
        self.now = now
        self.until = NEVER
        self.variant = variant
        self.holder = holder
        self.passport = passport
        self.claims = claims = request.claims
        self.level = variant.required_level
        self.clearance: ClearanceHeld | None = holder.clearance
        # The organisation is a fact about the person: it comes from the claims, and the register must agree with it.
        claimed: OrganisationId | None = claims.organisation
        if claimed is not None and claimed != holder.enrolled.organisation:
            claimed = None
        self.organisation_id = claimed
        self.organisation: OrganisationState | None = (
            state.organisations.get(claimed) if claimed is not None else None
        )
        self.deployment: DeploymentState | None = (
            state.deployments.get(request.deployment) if request.deployment is not None else None
        )
        self.reasons: list[Reason] = []
        # Lists that may repeat themselves: a set is dear to make, and most decisions add one entry or none.
        self.obligations: list[str] = []
        self.grants: list[str] = []
        self.packs: tuple[str, ...] = ()
        self.jurisdictions: list[str] = []
        # Orders in force for the variant; those that concern this person and that neither an exception nor a licence
        # answers; and those that do not concern them.
        self.working_orders: list[DirectiveState] = []
        self.open_orders: list[DirectiveState] = []
        self.other_orders: list[DirectiveState] = []
        self._facts: Facts | None = None
        self._listed: tuple[str, bool] | None = None

    def continued(self, state: State) -> Inquiry:
        """A copy with all that was found so far, to go on under a state that differs from this one's in orders only."""
        copy = Inquiry.__new__(Inquiry)
        copy.state = state
        copy.request = self.request
        copy.now = self.now
        copy.until = self.until
        copy.variant = self.variant
        copy.holder = self.holder
        copy.passport = self.passport
        copy.claims = self.claims
        copy.level = self.level
        copy.clearance = self.clearance
        copy.organisation_id = self.organisation_id
        copy.organisation = self.organisation
        copy.deployment = self.deployment
        copy.packs = self.packs
        copy._facts = self._facts  # noqa: SLF001 - of its own kind
        copy._listed = self._listed  # noqa: SLF001
        copy.reasons = self.reasons.copy()
        copy.obligations = self.obligations.copy()
        copy.grants = self.grants.copy()
        copy.jurisdictions = self.jurisdictions.copy()
        copy.working_orders = self.working_orders.copy()
        copy.open_orders = self.open_orders.copy()
        copy.other_orders = self.other_orders.copy()
        return copy

    def deny(self, rule: Rule, detail: str, *, remedy: str = "", withheld: bool = False) -> None:
        """Note an unmet condition of the core."""
        self.reasons.append(reason(rule, detail, remedy=remedy, withheld=withheld))

    def turns_at(self, instant: int) -> None:
        """Note that the answer may change at `instant`; past instants cannot change it."""
        if self.now < instant < self.until:
            self.until = instant

    def within(self, start: int, end: int | None) -> bool:
        """Whether now lies in [start, end); notes when that will change."""
        now = self.now
        if now < start:
            if start < self.until:  # noqa: PLR1730 - a call of min() is dear here
                self.until = start
            return False
        if end is None:
            return True
        if now < end:
            if end < self.until:  # noqa: PLR1730 - a call of min() is dear here
                self.until = end
            return True
        return False

    def has_ended(self, at: int | None) -> bool:
        """Whether what ends at `at` (None: never) has ended; notes when it will."""
        if at is None:
            return False
        if self.now >= at:
            return True
        if at < self.until:  # noqa: PLR1730 - a call of min() is dear here
            self.until = at
        return False

    def members_of(self, name: str) -> frozenset[OrganisationId] | None:
        """Organisations of the OrgList in force under this id, or None when there is none."""
        held = self.state.org_lists.get(name)
        if held is None or not self.within(held.published.valid_from, held.published.valid_until):
            return None
        return held.organisations

    def is_on(self, name: str | None) -> bool:
        """Whether the organisation stands on the OrgList of this id, in force now. The last answer is kept."""
        organisation = self.organisation_id
        if name is None or organisation is None:
            return False
        known = self._listed
        if known is not None and known[0] == name:
            return known[1]
        members = self.members_of(name)
        answer = members is not None and organisation in members
        self._listed = (name, answer)
        return answer

    @property
    def is_of_provider(self) -> bool:
        """Whether the holder belongs to the organisation of the provider of the variant asked for."""
        if self.organisation is None:
            return False
        provider: ProviderId | None = self.organisation.registered.provider
        if provider is not None and provider == self.variant.provider:
            return True
        registered = self.state.providers.get(self.variant.provider)
        return registered is not None and registered.organisation == self.organisation_id

    @property
    def is_delegated(self) -> bool:
        """Whether somebody else than the human asks."""
        return bool(self.request.mandates) or self.request.subject != self.request.holder

    @property
    def facts(self) -> Facts:
        """What predicates are asked about. Of the human, save for the kind of subject and the location."""
        if self._facts is None:
            claims, request = self.claims, self.request
            # In the order of their declaration: naming each costs on the hot path.
            self._facts = Facts(
                claims.us_person,
                claims.citizenships,
                self.organisation_id,
                None if self.organisation_id is None else self.is_of_provider,
                request.kind,
                request.location,
                claims.deemed_export,
            )
        return self._facts
