"""Routes for the desk: reviewers on their cases, an organisation's attestation, erasure, legal holds, document authorities.

Holds no rule: roles at the route, assignment, conflicts of interest and everything else in the use cases.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Response, get, post
from litestar.params import JSONBody

from safeconduct.app.assign_kyc_case import assign_kyc_case, recuse_from_kyc_case
from safeconduct.app.attest_affiliation import attest_affiliation
from safeconduct.app.clear_screening_match import ClearMatch, clear_screening_match
from safeconduct.app.decide_kyc_case import DecideKycCase, decide_kyc_case
from safeconduct.app.document_authorities import ImportAuthorities, import_authorities
from safeconduct.app.end_kyc_approval import EndApproval, end_kyc_approval
from safeconduct.app.erase_subject import ChangeLegalHold, change_legal_hold, erase_subject
from safeconduct.app.inspect_kyc_document import InspectDocument, inspect_kyc_document
from safeconduct.app.kyc_files import KycFile
from safeconduct.app.rate_kyc_case import rate_kyc_case, resolve_alert
from safeconduct.app.read_kyc_cases import (
    list_kyc_cases,
    list_open_matches,
    matches_of,
    raw_document,
    show_kyc_case,
    show_kyc_matches,
    summary,
)
from safeconduct.app.request_kyc_information import request_kyc_information
from safeconduct.app.screen_kyc_case import screen_kyc_case
from safeconduct.kernel.vocabulary import Risk, Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import ApiNode, Node, PathText, Speaker
from safeconduct.web.api.showing import show

_DESK = allow(Role.ANALYST, Role.ADJUDICATOR)


class AssignCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """reviewer: id of a reviewer's key; the caller's own when left out."""

    reviewer: str | None = None


class AskApplicant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: of the case as the reviewer saw it. asks: what is needed, in sentences for the applicant."""

    version: int
    asks: tuple[str, ...]


class SeenVersion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """version: of the case as the reviewer saw it."""

    version: int


class RateCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """risk: `low`, `standard`, `high` or `prohibited`, with reasons."""

    version: int
    risk: Risk
    reasons: tuple[str, ...]


class ResolveAlert(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """counts: for a document that somebody else showed first, that it is this person's."""

    version: int
    alert: str
    rationale: str
    counts: bool = False


def _shown(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = show(value)
    return shown


def _summary(node: ApiNode, file: KycFile) -> dict[str, Any]:
    return _shown(summary(node.kyc, file.case))


@get("/kyc/cases", opt=allow(Role.ANALYST, Role.ADJUDICATOR, Role.OPERATOR), sync_to_thread=True)
def get_kyc_cases(node: Node, caller: Speaker) -> dict[str, Any]:
    """Cases that were handed in, by pseudonym, those that wait longest first."""
    return {"items": [show(one) for one in list_kyc_cases(node.kyc, caller)]}


@get(
    "/kyc/cases/{case:str}",
    opt=allow(Role.ANALYST, Role.ADJUDICATOR, Role.APPLICANT),
    sync_to_thread=True,
)
def get_kyc_case(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """A case: for a reviewer it is assigned to, or the applicant's own."""
    return _shown(show_kyc_case(node.kyc, caller, case))


@get("/kyc/matches", opt=_DESK, sync_to_thread=True)
def get_open_matches(node: Node, caller: Speaker) -> dict[str, Any]:
    """Cases with an open hit on a list, by pseudonym; what stands and a list's change brought first."""
    return {"items": [show(one) for one in list_open_matches(node.kyc, caller)]}


@get("/kyc/cases/{case:str}/matches", opt=_DESK, sync_to_thread=True)
def get_kyc_matches(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """What screening found of the case's person, with explanations, and what was cleared by whom and why."""
    return _shown(show_kyc_matches(node.kyc, caller, case))


@get("/kyc/cases/{case:str}/documents/{document:str}", opt=_DESK, sync_to_thread=True)
def get_kyc_document(node: Node, caller: Speaker, case: PathText, document: PathText) -> Response[bytes]:
    """A document as it was handed in, as a download: nothing here opens it."""
    _, data = raw_document(node.kyc, caller, case, document)
    return Response(
        data,
        media_type="application/octet-stream",
        headers={"content-disposition": "attachment", "cache-control": "no-store"},
    )


@post("/kyc/cases/{case:str}/inspect", opt=_DESK, status_code=200, sync_to_thread=True)
def post_inspection(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[InspectDocument]
) -> dict[str, Any]:
    """Say what a pictured document is and what stands on it, having looked at it."""
    held = inspect_kyc_document(node.kyc, caller, case, data)
    return {"document": held.id, "kind": held.kind, "strength": held.strength, "verdict": held.verdict}


@post("/kyc/cases/{case:str}/affiliation", opt=allow(Role.ORGANISATION), status_code=200, sync_to_thread=True)
def post_affiliation(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """The organisation says that the applicant belongs to it, and asks for the clearance on its own behalf."""
    file = attest_affiliation(node.kyc, caller, case)
    return {"case": file.case.id, "organisation": file.case.organisation, "attested": True}


@post("/kyc/cases/{case:str}/assign", opt=_DESK, status_code=200, sync_to_thread=True)
def post_assignment(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[AssignCase]
) -> dict[str, Any]:
    """Take the case, or give it to another reviewer."""
    return _summary(node, assign_kyc_case(node.kyc, caller, case, reviewer=data.reviewer))


@post("/kyc/cases/{case:str}/recuse", opt=_DESK, status_code=200, sync_to_thread=True)
def post_recusal(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """Step back from the case, for good."""
    return _summary(node, recuse_from_kyc_case(node.kyc, caller, case))


@post("/kyc/cases/{case:str}/request-information", opt=_DESK, status_code=200, sync_to_thread=True)
def post_information_request(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[AskApplicant]
) -> dict[str, Any]:
    """Ask the applicant; the desk's clock stops."""
    return _summary(node, request_kyc_information(node.kyc, caller, case, data.asks, version=data.version))


@post("/kyc/cases/{case:str}/screen", opt=_DESK, status_code=200, sync_to_thread=True)
def post_screening(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[SeenVersion]
) -> dict[str, Any]:
    """Screen the person, and put the case before the reviewers."""
    file = screen_kyc_case(node.kyc, caller, case, version=data.version)
    return {**_summary(node, file), **_shown(matches_of(file))}


@post("/kyc/cases/{case:str}/clear-match", opt=_DESK, status_code=200, sync_to_thread=True)
def post_cleared_match(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[ClearMatch]
) -> dict[str, Any]:
    """Clear one possible match, with a rationale."""
    file = clear_screening_match(node.kyc, caller, case, data)
    return {**_summary(node, file), **_shown(matches_of(file))}


@post("/kyc/cases/{case:str}/rate", opt=_DESK, status_code=200, sync_to_thread=True)
def post_risk_rating(node: Node, caller: Speaker, case: PathText, data: JSONBody[RateCase]) -> dict[str, Any]:
    """Rate the risk, with reasons."""
    return _summary(
        node, rate_kyc_case(node.kyc, caller, case, data.risk, data.reasons, version=data.version)
    )


@post("/kyc/cases/{case:str}/resolve-alert", opt=_DESK, status_code=200, sync_to_thread=True)
def post_resolved_alert(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[ResolveAlert]
) -> dict[str, Any]:
    """Say what became of an alert, with a rationale."""
    file = resolve_alert(
        node.kyc, caller, case, data.alert, data.rationale, counts=data.counts, version=data.version
    )
    return _summary(node, file)


@post("/kyc/cases/{case:str}/decide", opt=_DESK, status_code=200, sync_to_thread=True)
def post_kyc_decision(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[DecideKycCase]
) -> dict[str, Any]:
    """Vote; the last vote that is needed ends the case."""
    return _summary(node, decide_kyc_case(node.kyc, caller, case, data))


@post("/kyc/cases/{case:str}/end", opt=_DESK, status_code=200, sync_to_thread=True)
def post_kyc_end(node: Node, caller: Speaker, case: PathText, data: JSONBody[EndApproval]) -> dict[str, Any]:
    """Suspend or revoke what was approved, or ask for a refresh because something happened."""
    return _summary(node, end_kyc_approval(node.kyc, caller, case, data))


@post("/kyc/subjects/{subject:str}/erase", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_erasure(node: Node, caller: Speaker, subject: PathText) -> dict[str, Any]:
    """Erase a person by destroying their data key; the receipt lists what the law keeps."""
    return _shown(erase_subject(node.kyc, caller, subject))


@post("/kyc/subjects/{subject:str}/hold", opt=allow(Role.ADJUDICATOR), status_code=200, sync_to_thread=True)
def post_legal_hold(
    node: Node, caller: Speaker, subject: PathText, data: JSONBody[ChangeLegalHold]
) -> dict[str, Any]:
    """Hold somebody's data for a matter, or end the hold."""
    return _shown(change_legal_hold(node.kyc, caller, subject, data))


@post("/kyc/authorities", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_document_authorities(
    node: Node, caller: Speaker, data: JSONBody[ImportAuthorities]
) -> dict[str, Any]:
    """Import whose travel documents are believed: a master list, a bundle, or a revocation list."""
    return _shown(import_authorities(node.kyc, caller, data))


casework = (
    get_kyc_cases,
    get_kyc_case,
    get_open_matches,
    get_kyc_matches,
    get_kyc_document,
    post_inspection,
    post_affiliation,
    post_assignment,
    post_recusal,
    post_information_request,
    post_screening,
    post_cleared_match,
    post_risk_rating,
    post_resolved_alert,
    post_kyc_decision,
    post_kyc_end,
    post_erasure,
    post_legal_hold,
    post_document_authorities,
)
