"""Routes about decisions: dry runs, the newest decisions, one explained, and what a directive would change.

Owns who sees which depth: callers and operators what was told, auditors and adjudicators what was found.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post
from litestar.params import JSONBody

from safeconduct.app.dry_run import DryRun, dry_run
from safeconduct.app.import_evidence import references
from safeconduct.app.preview_directive import PreviewDirective, preview_directive
from safeconduct.app.publish_pack import ChangePackStatus, change_pack_status, publish_pack
from safeconduct.decision.explanation import told, told_codes
from safeconduct.decision.response import Deny, Permit
from safeconduct.inspection.explain import explain
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.trust import PackPublished
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Limit, Node, PathText, Speaker
from safeconduct.web.api.ordering import annexes_of
from safeconduct.web.api.showing import MAX_PAGE, Page, show

_DEPTH = (Role.AUDITOR, Role.ADJUDICATOR)
DURABLE_SECONDS = 10.0


class DirectiveDraft(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """document: the claims as a JSON object, or a signed directive as text. annexes: name -> file, base64."""

    document: dict[str, Any] | str
    annexes: dict[str, str] = {}


class PublishPack(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version of a policy pack; sha256 is of `policies`."""

    pack: str
    version: str
    kind: str
    title: str
    legal_source: str
    jurisdiction: str
    status: str
    effective_from: int
    policies: str
    sha256: str
    effective_until: int | None = None
    parameters: dict[str, Any] = {}


@post(
    "/decide",
    opt=allow(Role.HOLDER, Role.OPERATOR, Role.AUDITOR, Role.ORGANISATION, reads=True),
    status_code=200,
    sync_to_thread=True,
)
def post_decide(node: Node, caller: Speaker, data: JSONBody[DryRun]) -> dict[str, Any]:
    """Dry run: allowed or every unmet condition with its remedy. It is recorded like any other decision."""
    found = dry_run(node.instance, caller, data)
    request, outcome = found.request, found.outcome
    deployment = (
        node.instance.record.state.deployments.get(request.deployment) if request.deployment else None
    )
    decision, index = node.ledger.decision(
        request,
        outcome,
        position=found.position,
        now=found.now,
        route="dry_run",
        asked=data.model,
        credential=f"{caller.role}:{caller.id}",
        codes=tuple(code.value for code in told_codes(outcome)),
        jurisdiction=deployment.registered.jurisdiction if deployment is not None else "",
    )
    node.decisions.wait_durable_sync(index, DURABLE_SECONDS)
    answer: dict[str, Any] = {
        "decision": decision,
        "outcome": "permit" if isinstance(outcome, Permit) else "deny",
        "subject": request.subject,
        "model": request.variant,
        "deployment": request.deployment,
        "position": found.position,
        "valid_until": outcome.valid_until,
        "codes": [code.value for code in told_codes(outcome)],
        "reasons": [],
    }
    if isinstance(outcome, Deny):
        answer["reasons"] = show(told(outcome))
    else:
        answer["grants"], answer["obligations"] = list(outcome.grants), list(outcome.obligations)
    return answer


@get("/decisions", opt=allow(Role.OPERATOR, Role.AUDITOR, Role.ADJUDICATOR), sync_to_thread=True)
def list_decisions(node: Node, limit: Limit = 100) -> Page:
    """The newest decisions, newest first, with the reasons as told."""
    if not 1 <= limit <= MAX_PAGE:
        raise InvalidInput(f"limit is not within 1 to {MAX_PAGE}", field="limit", remedy="ask for fewer")
    return Page(items=tuple(show(seen) for seen in node.feed.recent(limit)))


@get(
    "/decisions/{decision:str}",
    opt=allow(Role.OPERATOR, Role.AUDITOR, Role.ADJUDICATOR),
    sync_to_thread=True,
)
def show_decision(node: Node, caller: Speaker, decision: PathText) -> dict[str, Any]:
    """One decision explained: who asked for what, every reason, and the way from rule to signed document."""
    envelope, index = node.feed.find(decision)
    record = node.feed.record_of(envelope)
    withheld = caller.role in _DEPTH
    outcome = record.outcome
    reasons: tuple[Any, ...] = ()
    if isinstance(outcome, Deny):
        reasons = outcome.reasons if withheld else told(outcome)
    return {
        "decision": record.decision,
        "index": index,
        "outcome": "permit" if isinstance(outcome, Permit) else "deny",
        "position": record.position,
        "now": record.now,
        "reasons": show(reasons),
        "lines": explain(record, node.instance.record.state, withheld=withheld),
    }


MAX_CHANGES = 10_000
"""Single questions shown of a preview: of a million people there may be ten million; who loses and keeps is always whole."""


@post(
    "/directives/preview",
    opt=allow(Role.AUTHORITY, Role.OPERATOR, Role.AUDITOR, reads=True),
    status_code=200,
    sync_to_thread=True,
)
def post_preview(node: Node, caller: Speaker, data: JSONBody[DirectiveDraft]) -> dict[str, Any]:
    """Whom a directive would touch, before it is signed: counts and, for operators, the desk's references."""
    document = (
        canonical_json(data.document) if isinstance(data.document, dict) else data.document.encode("utf-8")
    )
    found = preview_directive(
        node.instance, caller, PreviewDirective(document=document, annexes=annexes_of(data.annexes))
    )
    changes = found.impact.changes[:MAX_CHANGES]
    shown: dict[str, Any] = show(
        msgspec.structs.replace(found, impact=msgspec.structs.replace(found.impact, changes=changes))
    )
    shown["counts"] = found.impact.counts
    shown["changes_left_out"] = len(found.impact.changes) - len(changes)
    if caller.role is Role.OPERATOR:
        touched = {*found.impact.loses, *found.impact.keeps, *found.impact.gains, *found.impact.untouched}
        shown["references"] = {
            subject: reference
            for subject, reference in references(node.instance).items()
            if subject in touched
        }
    return shown


@post("/packs", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_pack(node: Node, caller: Speaker, data: JSONBody[PublishPack]) -> dict[str, Any]:
    """Publish a version of a policy pack; it is validated first."""
    pack = PackPublished(**msgspec.structs.asdict(data), recorded_at=0)
    shown: dict[str, Any] = show(publish_pack(node.instance, caller, pack))
    return shown


@post("/packs/status", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_pack_status(node: Node, caller: Speaker, data: JSONBody[ChangePackStatus]) -> dict[str, Any]:
    """Make a version of a pack active, suspended or rescinded."""
    shown: dict[str, Any] = show(change_pack_status(node.instance, caller, data))
    return shown


deciding = (
    post_decide,
    list_decisions,
    show_decision,
    post_preview,
    post_pack,
    post_pack_status,
)
