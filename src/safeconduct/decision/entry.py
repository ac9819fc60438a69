"""What a decision log keeps of a decision, and of what followed it.

The open body of an entry is the summary that auditors read; its sealed part is the whole `DecisionRecord`, claims and
withheld reasons included, so that the decision can be run again by who holds the key.
"""

from __future__ import annotations

import msgspec

from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision
from safeconduct.kernel.ids import DecisionId, DeploymentId, VariantId

DECISION_TYPE = "decision"
COMPLETION_TYPE = "completion"
REFUSAL_TYPE = "refusal"
FAILED_AUTHENTICATION_TYPE = "failed_authentication"


class DecisionRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """The sealed part: all that `decide` was given (state by position) and all it answered.

    now: whole seconds, the time `decide` was given. route: `POST /v1/messages`, `token_exchange`, `dry_run`.
    asked: the model's name as the caller wrote it. credential: names the credential, never its secret.
    """

    decision: DecisionId
    now: int
    position: int
    request: DecisionRequest
    outcome: Decision
    route: str
    asked: str
    credential: str
    node: str


class DecisionSummary(msgspec.Struct, frozen=True, omit_defaults=True):
    """The open body: pseudonymous; `codes` are those told to the caller."""

    decision: DecisionId
    outcome: str
    codes: tuple[str, ...]
    subject: str
    variant: VariantId
    deployment: DeploymentId | None
    purpose: str | None
    project: str | None
    organisation: str | None
    position: int
    now: int
    route: str
    node: str
    jurisdictions: tuple[str, ...] = ()


class Completion(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a permitted request; the open body of a `completion` entry.

    ended: `complete | cut | client_gone | upstream_error | log_failed | lost` (the process ended; written by the next one).
    status: the upstream's, 0 when none came.
    input_tokens, output_tokens: the provider's own numbers, None when it gave none.
    answer_hmac: HMAC-SHA-256 (hex) of the answer's bytes under a key kept in the sealed part.
    cause: for `cut` and `lost`: the codes that ended it; `fallback` and the failure when another target was asked instead.
    retries: how often the same target was asked again before it answered or failed.
    charged: against quotas: `settled` by the provider's numbers, as `reserved` because it gave none (or not to the end), or
    `released` because nothing was sent; None when no quota was about it.
    """

    decision: DecisionId
    ended: str
    status: int
    input_tokens: int | None = None
    output_tokens: int | None = None
    answer_hmac: str | None = None
    request_bytes: int = 0
    answer_bytes: int = 0
    upstream_request_id: str | None = None
    cause: tuple[str, ...] = ()
    retries: int = 0
    charged: str | None = None
