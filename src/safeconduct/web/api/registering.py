"""Routes that change the registry and authorisations: each decodes, calls one use case and shows what it did.

Holds no rule: role at the route, object scope and everything else in the use case.
"""

from __future__ import annotations

from typing import Any

from litestar import delete, post
from litestar.params import JSONBody

from safeconduct.app.adopt_model import AdoptModel, adopt_model
from safeconduct.app.approve_project import ApproveProject, approve_project, end_project
from safeconduct.app.change_clearance import ChangeClearance, change_clearance
from safeconduct.app.change_stage import ChangeStage, change_stage
from safeconduct.app.change_standing import ChangeStanding, change_standing
from safeconduct.app.end_grant import end_grant
from safeconduct.app.give_grant import GiveGrant, give_grant
from safeconduct.app.record_finding import RecordFinding, record_finding
from safeconduct.app.register_deployment import (
    RegisterDeployment,
    ReplaceCredential,
    register_deployment,
    replace_credential,
    retire_deployment,
)
from safeconduct.app.register_model import RegisterModel, register_model
from safeconduct.app.register_provider import RegisterProvider, register_provider
from safeconduct.kernel.vocabulary import Role
from safeconduct.web.api.access import allow
from safeconduct.web.api.node import Node, PathText, Speaker
from safeconduct.web.api.showing import show


@post("/providers", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_provider(node: Node, caller: Speaker, data: JSONBody[RegisterProvider]) -> dict[str, Any]:
    """Register a provider under its own organisation."""
    return _shown(register_provider(node.instance, caller, data))


@post("/models", opt=allow(Role.PROVIDER, Role.OPERATOR), sync_to_thread=True)
def post_model(node: Node, caller: Speaker, data: JSONBody[RegisterModel]) -> list[Any]:
    """Register a model and its variants, or further variants of it."""
    return [show(event) for event in register_model(node.instance, caller, data)]


@post("/models/adopt", opt=allow(Role.OPERATOR), sync_to_thread=True)
def post_adopted_model(node: Node, caller: Speaker, data: JSONBody[AdoptModel]) -> dict[str, Any]:
    """Adopt a model that its provider released elsewhere: registered, deployed, released and granted in one step."""
    return _shown(adopt_model(node.instance, caller, data))


@post("/deployments", opt=allow(Role.PROVIDER, Role.OPERATOR), sync_to_thread=True)
def post_deployment(node: Node, caller: Speaker, data: JSONBody[RegisterDeployment]) -> dict[str, Any]:
    """Register where a variant runs. The upstream's credential is kept encrypted and never shown again."""
    return _shown(register_deployment(node.instance, caller, data))


@delete(
    "/deployments/{deployment:str}",
    opt=allow(Role.PROVIDER, Role.OPERATOR),
    status_code=200,
    sync_to_thread=True,
)
def delete_deployment(node: Node, caller: Speaker, deployment: PathText) -> dict[str, Any]:
    """Retire a deployment and destroy its credential."""
    return _shown(retire_deployment(node.instance, caller, deployment))


@post(
    "/deployments/{deployment:str}/credential",
    opt=allow(Role.PROVIDER, Role.OPERATOR),
    status_code=200,
    sync_to_thread=True,
)
def post_credential(
    node: Node, caller: Speaker, deployment: PathText, data: JSONBody[ReplaceCredential]
) -> dict[str, Any]:
    """Replace the upstream's credential: gateways use the new one from the next request on."""
    return _shown(replace_credential(node.instance, caller, deployment, data))


@post("/findings", opt=allow(Role.PROVIDER, Role.AUTHORITY), sync_to_thread=True)
def post_finding(node: Node, caller: Speaker, data: JSONBody[RecordFinding]) -> dict[str, Any]:
    """Record a finding on a variant."""
    return _shown(record_finding(node.instance, caller, data))


@post("/stages", opt=allow(Role.PROVIDER), sync_to_thread=True)
def post_stage(node: Node, caller: Speaker, data: JSONBody[ChangeStage]) -> dict[str, Any]:
    """Move a variant one release stage forward through its gate, or one back."""
    return _shown(change_stage(node.instance, caller, data))


@post("/standings", opt=allow(Role.PROVIDER, Role.OPERATOR), sync_to_thread=True)
def post_standing(node: Node, caller: Speaker, data: JSONBody[ChangeStanding]) -> dict[str, Any]:
    """Suspend, restore, withdraw, recall or retire a variant; an operator may only suspend."""
    return _shown(change_standing(node.instance, caller, data))


@post("/projects", opt=allow(Role.OPERATOR, Role.ADJUDICATOR), sync_to_thread=True)
def post_project(node: Node, caller: Speaker, data: JSONBody[ApproveProject]) -> dict[str, Any]:
    """Approve a project that somebody else asked for."""
    return _shown(approve_project(node.instance, caller, data))


@delete(
    "/projects/{project:str}",
    opt=allow(Role.OPERATOR, Role.ADJUDICATOR, Role.ORGANISATION),
    status_code=200,
    sync_to_thread=True,
)
def delete_project(node: Node, caller: Speaker, project: PathText) -> dict[str, Any]:
    """End a project."""
    return _shown(end_project(node.instance, caller, project))


@post("/grants", opt=allow(Role.PROVIDER, Role.ORGANISATION), sync_to_thread=True)
def post_grant(node: Node, caller: Speaker, data: JSONBody[GiveGrant]) -> dict[str, Any]:
    """Give a grant: a provider of its own variants, an organisation under a grant it holds."""
    return _shown(give_grant(node.instance, caller, data))


@delete(
    "/grants/{grant:str}",
    opt=allow(Role.PROVIDER, Role.ORGANISATION, Role.OPERATOR),
    status_code=200,
    sync_to_thread=True,
)
def delete_grant(node: Node, caller: Speaker, grant: PathText) -> dict[str, Any]:
    """End a grant and all below it; an operator ends only grants of adopted models."""
    return _shown(end_grant(node.instance, caller, grant))


@post("/clearances", opt=allow(Role.ADJUDICATOR, Role.OPERATOR), sync_to_thread=True)
def post_clearance(node: Node, caller: Speaker, data: JSONBody[ChangeClearance]) -> dict[str, Any]:
    """Suspend, reinstate, revoke or let expire a clearance; an operator may only suspend."""
    return _shown(change_clearance(node.instance, caller, data))


def _shown(event: Any) -> dict[str, Any]:
    shown: dict[str, Any] = show(event)
    return shown


registering = (
    post_provider,
    post_model,
    post_adopted_model,
    post_deployment,
    delete_deployment,
    post_credential,
    post_finding,
    post_stage,
    post_standing,
    post_project,
    delete_project,
    post_grant,
    delete_grant,
    post_clearance,
)
