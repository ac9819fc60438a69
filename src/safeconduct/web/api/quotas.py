"""Routes about quotas and prices: set, end, see; what is used of each comes from the ledger.

Holds no rule: role at the route, object scope in the use case.
"""

from __future__ import annotations

from typing import Any

from litestar import delete, get, post
from litestar.params import JSONBody

from safeconduct.app.set_metering import SetMetering, set_metering
from safeconduct.app.set_quota import SetQuota, end_quota, may_see, set_quota
from safeconduct.gateway.quotas import charge_of, resets_at
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.quotas import QuotaSet
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Cursor, Flag, Limit, Node, PathText, Speaker
from safeconduct.web.api.showing import Page, page_of, show

_SETTERS = (Role.OPERATOR, Role.PROVIDER, Role.ORGANISATION, Role.AUTHORITY)


@post("/quotas", opt=allow(*_SETTERS), sync_to_thread=True)
def post_quota(node: Node, caller: Speaker, data: JSONBody[SetQuota]) -> dict[str, Any]:
    """Set a quota, or replace one of the caller's own."""
    shown: dict[str, Any] = show(set_quota(node.instance, caller, data))
    return shown


@delete("/quotas/{quota:str}", opt=allow(*_SETTERS), status_code=200, sync_to_thread=True)
def delete_quota(node: Node, caller: Speaker, quota: PathText) -> dict[str, Any]:
    """End a quota that the caller set."""
    shown: dict[str, Any] = show(end_quota(node.instance, caller, quota))
    return shown


@get("/quotas", opt=allow(*_SETTERS, Role.AUDITOR, Role.ADJUDICATOR), sync_to_thread=True)
def list_quotas(
    node: Node,
    caller: Speaker,
    *,
    limit: Limit = 100,
    after: Cursor = "",
    subject: Flag = "",
    project: Flag = "",
    organisation: Flag = "",
    variant: Flag = "",
) -> Page:
    """Quotas that the caller set or that limit its own, with what is used of each now.

    Of a quota with a counter for each subject (project, organisation, variant), the one of the subject named is shown.
    """
    state = node.instance.record.state
    values = {"subject": subject, "project": project, "organisation": organisation, "variant": variant}
    now = int(node.instance.clock.now() * 1000)

    def form(quota: QuotaSet) -> dict[str, Any]:
        shown: dict[str, Any] = show(quota)
        if node.quotas is not None and all(values[one.value] for one in quota.per):
            (used,) = node.quotas.used([charge_of(quota, values)], now)
            shown["used"] = used
            shown["resets_at"] = resets_at(quota, now) // 1000
        return shown

    return page_of(
        state.quotas, limit=limit, after=after, keep=lambda quota: may_see(state, caller, quota), form=form
    )


@post("/metering", opt=allow(Role.PROVIDER, Role.OPERATOR), sync_to_thread=True)
def post_metering(node: Node, caller: Speaker, data: JSONBody[SetMetering]) -> dict[str, Any]:
    """Say what a variant's use costs and how long its answers can be."""
    shown: dict[str, Any] = show(set_metering(node.instance, caller, data))
    return shown


quotas = (post_quota, delete_quota, list_quotas, post_metering)
