"""Routes for applicants: what is asked of them and why, their own cases, and what they bring. Each is signed by a proof of their key.

Holds no rule. Shows nobody else's case, and of their own never who decides it.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import get, post, put
from litestar.params import JSONBody

from safeconduct.app.add_kyc_document import AddKycDocument, add_kyc_document
from safeconduct.app.check_liveness import open_liveness_session
from safeconduct.app.collect_passport import collect_passport
from safeconduct.app.open_kyc_case import OpenKycCase, open_kyc_case
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.read_kyc_cases import for_applicant, show_own_cases
from safeconduct.app.register_authenticator import begin_registration, register_authenticator
from safeconduct.app.state_kyc_application import state_kyc_application
from safeconduct.app.submit_kyc_case import submit_kyc_case
from safeconduct.app.withdraw_kyc_case import appeal_kyc_case, report_document_lost, withdraw_kyc_case
from safeconduct.identity.kyc_application import Application
from safeconduct.identity.kyc_case import check_editable
from safeconduct.identity.kyc_fields import kyc_fields
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import PUBLIC, allow
from safeconduct.web.api.authenticators import PasskeyAnswer
from safeconduct.web.api.node import Node, PathText, Speaker
from safeconduct.web.api.showing import show

_APPLICANT = allow(Role.APPLICANT)


class OpenLiveness(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """document: whose portrait is compared. vendor: the first configured one when left out."""

    document: str
    vendor: str | None = None


class AppealCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """grounds: why the decision is wrong."""

    grounds: str


class LostDocument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """document: its id in the case."""

    document: str


class CollectPassport(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """key: thumbprint of the authenticator to bind it to; the strongest when left out."""

    key: str | None = None


def _shown(value: Any) -> dict[str, Any]:
    shown: dict[str, Any] = show(value)
    return shown


@get("/kyc/fields", opt=PUBLIC, sync_to_thread=False)
def get_kyc_fields() -> dict[str, Any]:
    """Every field that an applicant is asked for: reason, legal source, retention. Read it before entering anything."""
    return {"items": [show(field) for field in kyc_fields()]}


@post("/kyc/cases", opt=_APPLICANT, sync_to_thread=True)
def post_kyc_case(node: Node, caller: Speaker, data: JSONBody[OpenKycCase]) -> dict[str, Any]:
    """Open a case for the key of the proof. Evidence that is here already and has not expired is used again."""
    return _shown(for_applicant(node.kyc, open_kyc_case(node.kyc, caller, data)))


@get("/kyc/own", opt=_APPLICANT, sync_to_thread=True)
def get_own_kyc_cases(node: Node, caller: Speaker) -> dict[str, Any]:
    """The applicant's own cases."""
    return {"items": [show(one) for one in show_own_cases(node.kyc, caller)]}


@put("/kyc/cases/{case:str}/application", opt=_APPLICANT, sync_to_thread=True)
def put_kyc_application(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[Application]
) -> dict[str, Any]:
    """State who one is and what for."""
    return _shown(for_applicant(node.kyc, state_kyc_application(node.kyc, caller, case, data)))


@post("/kyc/cases/{case:str}/documents", opt=_APPLICANT, sync_to_thread=True)
def post_kyc_document(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[AddKycDocument]
) -> dict[str, Any]:
    """Hand in a document; a chip is authenticated at once."""
    held = add_kyc_document(node.kyc, caller, case, data)
    return {
        "document": held.id,
        "kind": held.kind,
        "strength": held.strength,
        "verdict": held.verdict,
        "expires": held.expires,
        "specimen": held.specimen,
    }


@post("/kyc/cases/{case:str}/documents/lost", opt=_APPLICANT, status_code=200, sync_to_thread=True)
def post_lost_document(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[LostDocument]
) -> dict[str, Any]:
    """Report a document lost: it counts no more, and what was approved on it stops at once."""
    return _shown(for_applicant(node.kyc, report_document_lost(node.kyc, caller, case, data.document)))


@post("/kyc/cases/{case:str}/authenticators/options", opt=_APPLICANT, status_code=200, sync_to_thread=True)
def post_kyc_registration_options(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """Options for `navigator.credentials.create`; the challenge is good once, for five minutes."""
    file = own_file(node.kyc, caller, case)
    check_editable(file.case)
    return begin_registration(node.authenticators, file.case.subject)


@post("/kyc/cases/{case:str}/authenticators", opt=_APPLICANT, sync_to_thread=True)
def post_kyc_authenticator(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[PasskeyAnswer]
) -> dict[str, Any]:
    """Register a passkey; the passport is bound to it."""
    file = own_file(node.kyc, caller, case)
    check_editable(file.case)
    return _shown(register_authenticator(node.authenticators, file.case.subject, data.credential))


@post("/kyc/cases/{case:str}/liveness", opt=_APPLICANT, sync_to_thread=True)
def post_kyc_liveness(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[OpenLiveness]
) -> dict[str, Any]:
    """Begin a liveness check; the applicant's device takes case and nonce to the provider."""
    file = own_file(node.kyc, caller, case)
    check_editable(file.case)
    if not any(one.id == data.document and one.lost_at is None for one in file.person.documents):
        raise NotFound("there is no such document", field="document", remedy="hand it in first")
    session = open_liveness_session(
        node.liveness,
        case=file.case.id,
        subject=file.case.subject,
        evidence=data.document,
        vendor=data.vendor,
    )
    return {
        "vendor": session.vendor,
        "case": session.case,
        "nonce": session.nonce,
        "until": session.until,
        "development": session.development,
    }


@post("/kyc/cases/{case:str}/submit", opt=_APPLICANT, status_code=200, sync_to_thread=True)
def post_kyc_submission(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """Hand the case in, answer an information request, or hand in a refresh."""
    return _shown(for_applicant(node.kyc, submit_kyc_case(node.kyc, caller, case)))


@post("/kyc/cases/{case:str}/withdraw", opt=_APPLICANT, status_code=200, sync_to_thread=True)
def post_kyc_withdrawal(node: Node, caller: Speaker, case: PathText) -> dict[str, Any]:
    """Withdraw it. With the last case the person is erased; the receipt lists what the law keeps."""
    state, receipt = withdraw_kyc_case(node.kyc, caller, case)
    return {"case": case, "state": state, "receipt": show(receipt) if receipt is not None else None}


@post("/kyc/cases/{case:str}/appeal", opt=_APPLICANT, status_code=200, sync_to_thread=True)
def post_kyc_appeal(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[AppealCase]
) -> dict[str, Any]:
    """Appeal to somebody who has not decided on the case."""
    return _shown(for_applicant(node.kyc, appeal_kyc_case(node.kyc, caller, case, data.grounds)))


@post("/kyc/cases/{case:str}/passport", opt=_APPLICANT, sync_to_thread=True)
def post_kyc_passport(
    node: Node, caller: Speaker, case: PathText, data: JSONBody[CollectPassport]
) -> dict[str, Any]:
    """Collect the passport of an approved case; `sd_jwt` is shown this once."""
    issued = collect_passport(node.kyc, caller, case, key=data.key)
    return {
        "passport": issued.passport,
        "subject": issued.event.subject,
        "sd_jwt": issued.sd_jwt,
        "key": issued.event.key,
        "aal": issued.event.aal,
        "valid_from": issued.event.valid_from,
        "valid_until": issued.event.valid_until,
    }


applying = (
    get_kyc_fields,
    post_kyc_case,
    get_own_kyc_cases,
    put_kyc_application,
    post_kyc_document,
    post_lost_document,
    post_kyc_registration_options,
    post_kyc_authenticator,
    post_kyc_liveness,
    post_kyc_submission,
    post_kyc_withdrawal,
    post_kyc_appeal,
    post_kyc_passport,
)
