"""What a gateway remembers of a decision, so that the same question is not decided twice."""

from __future__ import annotations

from safeconduct.app.decision_entries import PreparedDecision
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Reason
from safeconduct.gateway.quotas import Counted
from safeconduct.gateway.routes import Route
from safeconduct.kernel.ids import DeploymentId, ProjectId
from safeconduct.kernel.vocabulary import Purpose, Wire
from safeconduct.passport.principal import Principal
from safeconduct.record.events.registrations import DeploymentRegistered


class Known:
    """What was decided for one credential, model, project, purpose and source: good in one epoch:
    while the state is the very same object.

    made_at, until: seconds between which `decide` would answer the same. counted: the quotas about it.
    """

    __slots__ = (
        "asked",
        "before_forwarding",
        "counted",
        "deployment",
        "epoch",
        "made_at",
        "outcome",
        "prepared",
        "principal",
        "provider",
        "question",
        "reasons",
        "route",
        "source",
        "until",
    )

    def __init__(
        self,
        *,
        epoch: int,
        source: str,
        principal: Principal,
        question: DecisionRequest,
        outcome: Decision,
        deployment: DeploymentRegistered | None,
        made_at: int,
        until: int,
        reasons: tuple[Reason, ...],
        prepared: PreparedDecision,
        provider: str,
        before_forwarding: bool,
        route: Route,
        asked: str,
        counted: tuple[Counted, ...],
    ) -> None:
        self.route = route
        self.asked = asked
        self.counted = counted
        self.epoch = epoch
        self.source = source
        self.principal = principal
        self.question = question
        self.outcome = outcome
        self.deployment = deployment
        self.made_at = made_at
        self.until = until
        self.reasons = reasons
        self.prepared = prepared
        self.provider = provider
        self.before_forwarding = before_forwarding


Asked = tuple[int, str, Wire, Route, ProjectId | None, Purpose | None, str, DeploymentId | None]
