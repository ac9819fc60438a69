"""Routes about organisations' cases: submitted by the organisation or an operator, decided by an adjudicator.

Owns what of a case is shown to whom: an organisation its own, reviewers all of it.
"""

from __future__ import annotations

from typing import Any

from litestar import get, post
from litestar.params import JSONBody

from safeconduct.app.check_customer_file import check_customer_file
from safeconduct.app.decide_organisation_case import DecideOrganisationCase, decide_organisation_case
from safeconduct.app.import_lei_records import ImportLeiRecords, import_lei_records
from safeconduct.app.organisation_cases import all_cases, load_case, require_own
from safeconduct.app.screen_organisation import (
    ClearOrganisationMatch,
    clear_organisation_match,
    list_organisation_matches,
    screen_organisation_again,
    show_organisation_matches,
)
from safeconduct.app.submit_organisation_case import submit_organisation_case
from safeconduct.identity.organisation_case import (
    OrganisationApplication,
    OrganisationCase,
    contradictions,
    customer_file_of,
    requirements,
)
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Node, PathText, Speaker
from safeconduct.web.api.showing import show

_DESK = allow(Role.ANALYST, Role.ADJUDICATOR)
_REVIEWERS = (Role.OPERATOR, Role.ANALYST, Role.ADJUDICATOR, Role.AUDITOR)


@get("/organisation-cases", opt=allow(*_REVIEWERS), sync_to_thread=True)
def list_organisation_cases(node: Node) -> dict[str, Any]:
    """Every case with its state and the numbers it is matched by; no names of people."""
    return {
        "cases": [
            {
                "organisation": case.application.organisation,
                "legal_name": case.application.legal_name,
                "state": case.state.value,
                "lei": case.application.lei,
                "missing": sum(not each.met for each in requirements(case)),
                "looked_up": case.lei_lookup.at if case.lei_lookup is not None else None,
            }
            for case in all_cases(node.instance)
        ]
    }


@get(
    "/organisation-cases/{organisation:str}",
    opt=allow(*_REVIEWERS, Role.ORGANISATION),
    sync_to_thread=True,
)
def get_organisation_case(node: Node, caller: Speaker, organisation: PathText) -> dict[str, Any]:
    """One case, with each sentence that an approval needs, met or missed."""
    require_own(caller, organisation)
    return _shown(load_case(node.instance, organisation))


@post("/organisation-cases", opt=allow(Role.OPERATOR, Role.ORGANISATION), sync_to_thread=True)
def post_organisation_case(
    node: Node, caller: Speaker, data: JSONBody[OrganisationApplication]
) -> dict[str, Any]:
    """Submit an organisation's application, or submit it again."""
    return _shown(submit_organisation_case(node.instance, caller, data))


@post(
    "/organisation-cases/{organisation:str}/decision",
    opt=allow(Role.ADJUDICATOR),
    status_code=200,
    sync_to_thread=True,
)
def post_organisation_decision(
    node: Node, caller: Speaker, organisation: PathText, data: JSONBody[DecideOrganisationCase]
) -> dict[str, Any]:
    """Approve, reject or return a case; an approval verifies the organisation in the record."""
    return _shown(decide_organisation_case(node.instance, caller, organisation, data))


@post("/lei-records", opt=allow(Role.OPERATOR), status_code=200, sync_to_thread=True)
def post_lei_records(node: Node, caller: Speaker, data: JSONBody[ImportLeiRecords]) -> dict[str, Any]:
    """Hand in records of the LEI index; says whose they are and who needs a refresh."""
    shown: dict[str, Any] = show(import_lei_records(node.instance, caller, data))
    return shown


@get("/organisation-screenings", opt=_DESK, sync_to_thread=True)
def list_organisation_screenings(node: Node, caller: Speaker) -> dict[str, Any]:
    """Organisations that a list has named, with how many hits are open."""
    return {"items": [show(one) for one in list_organisation_matches(node.kyc, caller)]}


@get("/organisation-screenings/{organisation:str}", opt=_DESK, sync_to_thread=True)
def get_organisation_screening(node: Node, caller: Speaker, organisation: PathText) -> dict[str, Any]:
    """What screening found of an organisation, with explanations, and what was cleared by whom and why."""
    shown: dict[str, Any] = show(show_organisation_matches(node.kyc, caller, organisation))
    return shown


@post("/organisation-screenings/{organisation:str}/screen", opt=_DESK, status_code=200, sync_to_thread=True)
def post_organisation_screening(node: Node, caller: Speaker, organisation: PathText) -> dict[str, Any]:
    """Screen an organisation against the lists in force now."""
    shown: dict[str, Any] = show(screen_organisation_again(node.kyc, caller, organisation))
    return shown


@post(
    "/organisation-screenings/{organisation:str}/clear-match",
    opt=_DESK,
    status_code=200,
    sync_to_thread=True,
)
def post_cleared_organisation(
    node: Node, caller: Speaker, organisation: PathText, data: JSONBody[ClearOrganisationMatch]
) -> dict[str, Any]:
    """Clear one possible match of an organisation, with a rationale."""
    shown: dict[str, Any] = show(clear_organisation_match(node.kyc, caller, organisation, data))
    return shown


def _shown(case: OrganisationCase) -> dict[str, Any]:
    asked = requirements(case)
    return {
        "case": show(case),
        "met": [f"{each.sentence} ({each.clause})" for each in asked if each.met],
        "missing": [f"{each.sentence} ({each.clause})" for each in asked if not each.met],
        "contradictions": list(contradictions(case)),
        "customer_identification": [
            show(found) for found in check_customer_file(customer_file_of(case.application))
        ],
    }


organisations = (
    list_organisation_cases,
    get_organisation_case,
    post_organisation_case,
    post_organisation_decision,
    post_lei_records,
    list_organisation_screenings,
    get_organisation_screening,
    post_organisation_screening,
    post_cleared_organisation,
)
