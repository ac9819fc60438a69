"""Use case: an organisation, or an operator for it, says who it is; a new application replaces an undecided one."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import instant
from safeconduct.app.organisation_cases import CHANGING, find_case, keep_case, require_own
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.organisation_case import (
    OrganisationApplication,
    OrganisationCase,
    OrganisationCaseState,
    check_application,
)
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.vocabulary import Role


def submit_organisation_case(
    instance: Instance, caller: Caller, application: OrganisationApplication
) -> OrganisationCase:
    """Submit or submit again. What was looked up is kept only while the number it was looked up by stays.

    Raises Forbidden, InvalidInput naming the member.
    """
    require_role(caller, Role.OPERATOR, Role.ORGANISATION)
    require_own(caller, application.organisation)
    check_application(application)
    now = instant(instance)
    for place, terms in enumerate(application.terms):
        if terms.signed_at > now:
            raise InvalidInput("signed in the future", field=f"terms[{place}].signed_at")
    with CHANGING:
        known = find_case(instance, application.organisation)
        case = OrganisationCase(
            application=application,
            state=OrganisationCaseState.SUBMITTED,
            submitted_by=caller.id,
            submitted=now,
        )
        if known is not None:
            before = known.application
            case = msgspec.structs.replace(
                case,
                lei_lookup=known.lei_lookup if before.lei == application.lei else None,
                registry_lookup=known.registry_lookup if before.registry == application.registry else None,
                decisions=known.decisions,
                notes=known.notes,
            )
        keep_case(instance, case)
    return case
