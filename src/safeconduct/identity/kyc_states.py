"""What a KYC case is made of: its states and where each leads, reviewers, votes, approvals. Values only; `kyc_case` moves them.

Times are seconds since the epoch.
"""

from __future__ import annotations

import enum

import msgspec

from safeconduct.kernel.ids import CaseId, OrganisationId, SubjectId
from safeconduct.kernel.vocabulary import CaseState, Compartment, Level, Risk, Screening

DAY = 86_400
MAX_TEXT = 2_000
MAX_REASONS = 20

_S = CaseState
# An information request leads back through `submitted`: what was answered is screened anew before anybody decides on it.
NEXT: dict[CaseState, frozenset[CaseState]] = {
    _S.DRAFT: frozenset({_S.SUBMITTED, _S.WITHDRAWN}),
    _S.SUBMITTED: frozenset(
        {_S.INFORMATION_REQUESTED, _S.SCREENING, _S.RETURNED_WITHOUT_ACTION, _S.WITHDRAWN}
    ),
    _S.INFORMATION_REQUESTED: frozenset({_S.SUBMITTED, _S.RETURNED_WITHOUT_ACTION, _S.WITHDRAWN}),
    _S.SCREENING: frozenset({_S.REVIEW, _S.WITHDRAWN}),
    _S.REVIEW: frozenset(
        {
            _S.INFORMATION_REQUESTED,
            _S.APPROVED,
            _S.APPROVED_CONDITIONAL,
            _S.REJECTED,
            _S.RETURNED_WITHOUT_ACTION,
            _S.WITHDRAWN,
        }
    ),
    _S.APPROVED: frozenset({_S.REFRESH_DUE, _S.EXPIRED, _S.SUSPENDED, _S.REVOKED, _S.WITHDRAWN}),
    _S.APPROVED_CONDITIONAL: frozenset({_S.REFRESH_DUE, _S.EXPIRED, _S.SUSPENDED, _S.REVOKED, _S.WITHDRAWN}),
    _S.REFRESH_DUE: frozenset({_S.SUBMITTED, _S.EXPIRED, _S.SUSPENDED, _S.REVOKED, _S.WITHDRAWN}),
    # What was suspended comes back through a new review, never by itself.
    _S.SUSPENDED: frozenset({_S.SUBMITTED, _S.EXPIRED, _S.REVOKED, _S.WITHDRAWN}),
    # An appeal, to another reviewer; or the person goes, and with their last case their data.
    _S.REJECTED: frozenset({_S.REVIEW, _S.WITHDRAWN}),
    _S.REVOKED: frozenset({_S.REVIEW, _S.WITHDRAWN}),
    _S.RETURNED_WITHOUT_ACTION: frozenset({_S.SUBMITTED, _S.WITHDRAWN}),
    _S.WITHDRAWN: frozenset(),
    _S.EXPIRED: frozenset({_S.SUBMITTED, _S.WITHDRAWN}),
}
RUNNING = frozenset({_S.SUBMITTED, _S.SCREENING, _S.REVIEW})
"""States in which the desk's clock runs."""
EDITABLE = frozenset(
    {
        _S.DRAFT,
        _S.INFORMATION_REQUESTED,
        _S.REFRESH_DUE,
        _S.RETURNED_WITHOUT_ACTION,
        _S.EXPIRED,
        _S.SUSPENDED,
    }
)
"""States in which the applicant may add and change."""
OPEN = frozenset({_S.DRAFT, _S.SUBMITTED, _S.INFORMATION_REQUESTED, _S.SCREENING, _S.REVIEW})
HELD = frozenset({_S.APPROVED, _S.APPROVED_CONDITIONAL, _S.REFRESH_DUE})
"""States that themselves say that an approval stands; it also stands while its refresh is under way."""


class Outcome(enum.StrEnum):
    """What a reviewer decides."""

    APPROVED = "approved"
    APPROVED_CONDITIONAL = "approved_conditional"
    REJECTED = "rejected"
    RETURNED_WITHOUT_ACTION = "returned_without_action"


class Policy(msgspec.Struct, frozen=True):
    """Times in seconds. refresh: by risk (domain: high at most a year, others at most five)."""

    decide_within: int = 30 * DAY
    answer_within: int = 30 * DAY
    draft_life: int = 60 * DAY
    appeal_within: int = 30 * DAY
    notice_before_expiry: int = 30 * DAY
    event_refresh_within: int = 30 * DAY
    screening_life: int = 365 * DAY
    refresh_high: int = 365 * DAY
    refresh_other: int = 5 * 365 * DAY

    def refresh(self, risk: Risk) -> int:
        """Seconds until an approval has to be renewed."""
        return self.refresh_high if risk is Risk.HIGH else self.refresh_other


POLICY = Policy()


class Reviewer(msgspec.Struct, frozen=True):
    """Who works on a case. id: of the role key; names: everything else this key is known by (its thumbprint).

    organisation: the one the trust list ties the key to. adjudicator: may decide C3 and above.
    """

    id: str
    names: frozenset[str] = frozenset()
    organisation: OrganisationId | None = None
    adjudicator: bool = False


class RiskRating(msgspec.Struct, frozen=True):
    """Risk with its reasons."""

    risk: Risk
    reasons: tuple[str, ...]
    by: str
    at: int


class InformationRequest(msgspec.Struct, frozen=True):
    """What was asked of the applicant; due: when the case is returned if nothing comes. answered: when it was."""

    asks: tuple[str, ...]
    by: str
    at: int
    due: int
    answered: int | None = None


class Vote(msgspec.Struct, frozen=True):
    """One reviewer's decision. round: 0 for the first, one more with each resubmission after an end, and each appeal."""

    by: str
    outcome: Outcome
    level: Level
    compartments: tuple[Compartment, ...]
    reasons: tuple[str, ...]
    conditions: tuple[str, ...]
    at: int
    round: int


class Approval(msgspec.Struct, frozen=True):
    """What stands. until: the earliest of document, screening, clearance and policy; limited_by says which."""

    level: Level
    compartments: tuple[Compartment, ...]
    adjudicators: tuple[str, ...]
    conditions: tuple[str, ...]
    at: int
    until: int
    limited_by: str


class Appeal(msgspec.Struct, frozen=True):
    """An appeal. against: the state that is appealed; outcome: None while it is open."""

    against: CaseState
    grounds: str
    at: int
    outcome: str | None = None


class Step(msgspec.Struct, frozen=True):
    """One change of state. cause: in words that name nobody."""

    state: CaseState
    at: int
    by: str
    cause: str = ""


class Basis(msgspec.Struct, frozen=True):
    """What was computed from the evidence at this moment, for a decision to rest on.

    level, compartments: what the evidence amounts to with the adjudicators who vote for it. missing: sentences not met.
    screening: what is left of it when pairs that were cleared no longer count. same_data: the person's data are what was screened.
    The ends: seconds, None when none.
    """

    level: Level
    compartments: tuple[Compartment, ...]
    missing: tuple[str, ...]
    screening: Screening
    screened_at: int
    same_data: bool
    document_until: int | None
    clearance_until: int | None
    open_alerts: int = 0


class KycCase(msgspec.Struct, frozen=True):
    """One request of one person. version: rises with every change. applicant: every name the applicant goes by.

    clock_ran, clock_since: seconds the desk's clock has run before, and since when it runs (None: it stands).
    """

    id: CaseId
    subject: SubjectId
    applicant: frozenset[str]
    requester: str
    level: Level
    opened_at: int
    compartments: tuple[Compartment, ...] = ()
    organisation: OrganisationId | None = None
    state: CaseState = CaseState.DRAFT
    version: int = 1
    round: int = 0
    clock_ran: int = 0
    clock_since: int | None = None
    assigned: tuple[str, ...] = ()
    recused: tuple[str, ...] = ()
    requests: tuple[InformationRequest, ...] = ()
    rating: RiskRating | None = None
    votes: tuple[Vote, ...] = ()
    approval: Approval | None = None
    appeal: Appeal | None = None
    refresh_by: int | None = None
    history: tuple[Step, ...] = ()
