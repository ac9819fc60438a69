"""Use case: take in a version of a signed list of organisations."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked, instant, is_production
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_own_document, require_role
from safeconduct.authorization.annex import read_annex
from safeconduct.authorization.org_list import TYP, read_org_list
from safeconduct.authorization.trust import check_may_sign, may_act_for, verify_document
from safeconduct.kernel.errors import Conflict, Forbidden
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.orders import OrganisationEntry, OrgListPublished
from safeconduct.record.state import State


class ImportOrgList(msgspec.Struct, frozen=True):
    """jws: the signed list. entries: its file, JSON lines, bound by the digest in it."""

    jws: str
    entries: bytes


class ImportedOrgList(msgspec.Struct, frozen=True):
    """unmatched: lines that name no registered organisation; never guessed."""

    published: OrgListPublished
    unmatched: tuple[OrganisationEntry, ...]


def import_org_list(instance: Instance, caller: Caller, ask: ImportOrgList) -> ImportedOrgList:
    """By an operator, or by the authority for its own. A version replaces the lower ones of the same authority.

    Raises VerificationFailed, Forbidden (also for another authority's list), InvalidInput, Conflict (not a higher version).
    """
    require_role(caller, Role.OPERATOR, Role.AUTHORITY)
    now = instant(instance)

    def check(state: State) -> list[OrgListPublished]:
        document = verify_document(
            ask.jws, typ=TYP, trust=state.trust, now=now, production=is_production(instance)
        )
        require_own_document(caller, document.party)
        check_may_sign(document.scope, "org_list", field="list")
        listed = read_org_list(document.claims)
        known = state.org_lists.get(listed.list)
        if known is not None:
            if not may_act_for(listed.authority, known.published.authority, state.trust):
                raise Forbidden(
                    f"list {listed.list!r} is of {known.published.authority!r}",
                    field="list",
                    remedy="choose another id",
                )
            if listed.version <= known.published.version:
                raise Conflict(
                    f"version {known.published.version} of list {listed.list!r} is here already",
                    field="version",
                    remedy="give the next version",
                )
        lines = read_annex(
            ask.entries, listed.sha256, name=f"list:{listed.list}", media_type=listed.media_type
        )
        return [
            OrgListPublished(
                list=listed.list,
                version=listed.version,
                authority=listed.authority,
                sha256=listed.sha256,
                entries=tuple(
                    OrganisationEntry(
                        line.legal_name, line.lei, line.registry_authority, line.registry_number
                    )
                    for line in lines
                ),
                valid_from=listed.valid_from,
                valid_until=listed.valid_until,
                document=document.sha256,
                recorded_at=now,
            )
        ]

    (event,) = commit_checked(instance, check)
    assert isinstance(event, OrgListPublished)
    return ImportedOrgList(event, instance.record.state.org_lists[event.list].unmatched)
