"""What staff may read of the state: registry, authorisations, orders, trust.

Owns the object scope of reading: a provider sees grants it gave, an organisation sees what is its own. Holds no secret:
nothing of the vault is shown here.
"""

from __future__ import annotations

from typing import Any

from litestar import get

from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.quotas import MeteringSet
from safeconduct.record.state import State
from safeconduct.web.api.access import STAFF, allow
from safeconduct.web.api.node import Cursor, Limit, Node, PathText, Speaker
from safeconduct.web.api.showing import Page, page_of, show

_OVERSEERS = (Role.OPERATOR, Role.ADJUDICATOR, Role.AUDITOR)


@get("/providers", opt=allow(*STAFF), sync_to_thread=False)
def list_providers(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Providers of models."""
    return page_of(node.instance.record.state.providers, limit=limit, after=after)


@get("/models", opt=allow(*STAFF), sync_to_thread=False)
def list_models(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Variants under the names that callers use, with what they demand, their stage, standing and deployments."""
    state = node.instance.record.state

    def form(variant: Any) -> dict[str, Any]:
        name = variant.registered.variant
        return {
            "variant": name,
            "model": variant.registered.model,
            "provider": variant.provider,
            "required_level": variant.required_level.name,
            "required_compartments": sorted(variant.required_compartments),
            "needs_project": variant.needs_project,
            "terms": variant.registered.terms,
            "minimum_age": variant.registered.minimum_age,
            "stage": variant.stage.value,
            "org_list": variant.org_list,
            "standing": variant.standing.value,
            "cohort": variant.cohort,
            "findings": show(variant.findings),
            "deployments": list(state.deployments_of.get(name, ())),
            **(_metered(variant.metering) if variant.metering is not None else {}),
        }

    return page_of(state.variants, limit=limit, after=after, form=form)


def _metered(metering: MeteringSet) -> dict[str, Any]:
    return {"price": show(metering.price), "max_output_tokens": metering.max_output_tokens}


@get("/deployments", opt=allow(*STAFF), sync_to_thread=False)
def list_deployments(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Where variants run. Upstream credentials are never shown."""
    return page_of(node.instance.record.state.deployments, limit=limit, after=after)


@get("/organisations", opt=allow(*STAFF), sync_to_thread=False)
def list_organisations(node: Node, caller: Speaker, limit: Limit = 100, after: Cursor = "") -> Page:
    """Organisations with their standing; screening results only for those who oversee."""
    overseer = caller.role in _OVERSEERS

    def form(organisation: Any) -> Any:
        # A screening finding may not be told, so that nobody is tipped off.
        return show(organisation) if overseer else show(organisation.registered)

    def keep(organisation: Any) -> bool:
        return (
            caller.role is not Role.ORGANISATION
            or organisation.registered.organisation == caller.organisation
        )

    return page_of(node.instance.record.state.organisations, limit=limit, after=after, keep=keep, form=form)


@get("/subjects", opt=allow(*_OVERSEERS), sync_to_thread=False)
def list_subjects(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Subjects under their pseudonyms."""
    return page_of(node.instance.record.state.subjects, limit=limit, after=after)


@get("/passports", opt=allow(*_OVERSEERS), sync_to_thread=False)
def list_passports(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Passports and their status, without the claims in them."""
    return page_of(node.instance.record.state.passports, limit=limit, after=after)


@get("/passports/{passport:str}", opt=allow(*_OVERSEERS), sync_to_thread=False)
def show_passport(node: Node, passport: PathText) -> dict[str, Any]:
    """One passport and its status, without the claims in it."""
    found = node.instance.record.state.passports.get(passport)  # type: ignore[call-overload]
    if found is None:
        raise NotFound("there is no such passport", field="passport", remedy="list them: GET /api/passports")
    shown: dict[str, Any] = show(found)
    return shown


@get(
    "/projects",
    opt=allow(Role.OPERATOR, Role.ADJUDICATOR, Role.AUDITOR, Role.ORGANISATION),
    sync_to_thread=False,
)
def list_projects(node: Node, caller: Speaker, limit: Limit = 100, after: Cursor = "") -> Page:
    """Approved projects; an organisation sees its own."""

    def keep(project: Any) -> bool:
        return caller.role is not Role.ORGANISATION or project.approved.organisation == caller.organisation

    return page_of(node.instance.record.state.projects, limit=limit, after=after, keep=keep)


@get(
    "/grants",
    opt=allow(Role.OPERATOR, Role.AUDITOR, Role.PROVIDER, Role.ORGANISATION),
    sync_to_thread=False,
)
def list_grants(node: Node, caller: Speaker, limit: Limit = 100, after: Cursor = "") -> Page:
    """Grants; a provider sees those it gave, an organisation those it gave or received."""

    def keep(grant: Any) -> bool:
        given = grant.given
        if caller.role is Role.PROVIDER:
            return bool(given.by_provider == caller.provider)
        if caller.role is Role.ORGANISATION:
            return caller.organisation in (given.by_organisation, given.to_organisation)
        return True

    return page_of(node.instance.record.state.grants, limit=limit, after=after, keep=keep)


@get("/licences", opt=allow(*_OVERSEERS, Role.AUTHORITY), sync_to_thread=False)
def list_licences(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Licences given by authorities."""
    return page_of(node.instance.record.state.licences, limit=limit, after=after)


@get("/org-lists", opt=allow(*STAFF), sync_to_thread=False)
def list_org_lists(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Signed lists of organisations, and which of their lines match nobody here."""
    return page_of(node.instance.record.state.org_lists, limit=limit, after=after)


@get("/directives", opt=allow(*STAFF), sync_to_thread=False)
def list_directives(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Directives in force or not, with what amended or rescinded them."""
    state = node.instance.record.state

    def form(directive: Any) -> dict[str, Any]:
        shown: dict[str, Any] = show(directive.imported)
        shown["annexes"] = {name: sorted(members) for name, members in directive.annexes.items()}
        shown["unmatched"] = show(directive.unmatched)
        shown["rescinded_from"] = directive.rescinded_from
        shown["amended_by"] = list(directive.amended_by)
        shown["rescinded_by"] = list(directive.rescinded_by)
        shown["key_revoked"] = _signed_with_revoked_key(state, directive.imported.signed_with)
        return shown

    return page_of(state.directives, limit=limit, after=after, form=form)


def _signed_with_revoked_key(state: State, kid: str) -> bool:
    entry = state.trust.get(kid)
    return entry is not None and entry.revoked is not None


@get("/misuse-signals", opt=allow(*_OVERSEERS, Role.PROVIDER), sync_to_thread=False)
def list_misuse_signals(node: Node, caller: Speaker, limit: Limit = 100, after: Cursor = "") -> Page:
    """Misuse signals; a provider sees its own."""

    def keep(signal: Any) -> bool:
        return caller.role is not Role.PROVIDER or signal.sender == caller.party

    return page_of(node.instance.record.state.misuse_signals, limit=limit, after=after, keep=keep)


@get("/gateway-keys", opt=allow(*_OVERSEERS), sync_to_thread=False)
def list_gateway_keys(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Gateway keys by id. The digest of a secret is not shown."""

    def form(key: Any) -> dict[str, Any]:
        shown: dict[str, Any] = show(key)
        shown["registered"].pop("secret_sha256", None)
        return shown

    return page_of(node.instance.record.state.gateway_keys, limit=limit, after=after, form=form)


@get("/mandates", opt=allow(*_OVERSEERS), sync_to_thread=False)
def list_mandates(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Mandates of agents."""
    return page_of(node.instance.record.state.mandates, limit=limit, after=after)


@get("/trust", opt=allow(*STAFF), sync_to_thread=False)
def list_trust(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """The trust list: which key may sign what, within which scope."""
    return page_of(node.instance.record.state.trust, limit=limit, after=after)


@get("/packs", opt=allow(*STAFF), sync_to_thread=False)
def list_packs(node: Node, limit: Limit = 100, after: Cursor = "") -> Page:
    """Policy packs and their versions with text, digest and legal source."""
    return page_of(node.instance.record.state.packs, limit=limit, after=after)


@get("/status", opt=allow(*STAFF), sync_to_thread=False)
def show_status(node: Node) -> dict[str, Any]:
    """How much the state holds, where it stands, and what keeps the process from being ready."""
    state = node.instance.record.state
    faults = node.faults()
    return {
        "profile": node.instance.profile,
        "issuer": node.instance.issuer,
        "audience": node.instance.audience,
        "origin": state.instance.origin if state.instance else None,
        "simulated": node.instance.clock.simulated,
        "position": state.position,
        "now": int(node.instance.clock.now()),
        "ready": not faults,
        "faults": faults,
        "counts": {
            "organisations": len(state.organisations),
            "subjects": len(state.subjects),
            "passports": len(state.passports),
            "providers": len(state.providers),
            "models": len(state.variants),
            "deployments": len(state.deployments),
            "grants": len(state.grants),
            "directives": len(state.directives),
            "mandates": len(state.mandates),
            "gateway_keys": len(state.gateway_keys),
        },
    }


readings = (
    list_providers,
    list_models,
    list_deployments,
    list_organisations,
    list_subjects,
    list_passports,
    show_passport,
    list_projects,
    list_grants,
    list_licences,
    list_org_lists,
    list_directives,
    list_misuse_signals,
    list_gateway_keys,
    list_mandates,
    list_trust,
    list_packs,
    show_status,
)
