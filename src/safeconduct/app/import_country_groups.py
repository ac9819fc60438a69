"""Use cases: take in the regulation's country groups; say whether the pack that reads them runs."""

from __future__ import annotations

from typing import Final

import msgspec

from safeconduct.app.assess_ownership import day_of
from safeconduct.app.commit import commit_checked, instant
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.identity.ownership.edge import check_date
from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.vocabulary import Role
from safeconduct.policy.country_groups import read_country_groups
from safeconduct.policy.selection import EAR_COUNTRY_GROUPS, select
from safeconduct.record.events import Event
from safeconduct.record.events.geography import CountryGroupsImported
from safeconduct.record.state import State

ROLES: Final = (Role.OPERATOR, Role.ADJUDICATOR, Role.AUDITOR)


class ImportCountryGroups(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """document: the supplement's XML. edition: the date of that text, ISO 8601."""

    document: str
    edition: str


class GroupsNow(msgspec.Struct, frozen=True):
    """Whether packs that read country groups run, in words, and what was imported last."""

    active: bool
    said: str
    packs: tuple[str, ...]
    imported: CountryGroupsImported | None = None


def import_country_groups(
    instance: Instance, caller: Caller, ask: ImportCountryGroups
) -> CountryGroupsImported:
    """By an operator. Raises Forbidden, InvalidInput naming the row, Conflict (an older edition)."""
    require_role(caller, Role.OPERATOR)
    now = instant(instance)
    edition = check_date(ask.edition, "edition")
    if edition > day_of(now):
        raise InvalidInput(f"{edition} has not come yet", field="edition")
    data = ask.document.encode()
    read = read_country_groups(data)
    event = CountryGroupsImported(
        regulation=EAR_COUNTRY_GROUPS,
        edition=edition,
        sha256=sha256_hex(data),
        groups=read.groups,
        by=caller.id,
        recorded_at=now,
        unmatched=read.unmatched,
    )

    def check(state: State) -> list[Event]:
        known = state.country_groups.get(EAR_COUNTRY_GROUPS)
        if known is not None and known.edition > edition:
            raise Conflict(
                f"the edition of {known.edition} is here already",
                field="edition",
                remedy="an older text never replaces a newer one",
            )
        if known is not None and (known.edition, known.sha256) == (edition, event.sha256):
            raise Conflict("this very file was imported before", field="document")
        return [event]

    commit_checked(instance, check)
    return event


def country_groups_now(instance: Instance, caller: Caller) -> GroupsNow:
    """Raises Forbidden."""
    require_role(caller, *ROLES)
    state = instance.record.state
    packs = tuple(
        pack.name for pack in select(state.packs, instant(instance)).packs if pack.scope == "country_groups"
    )
    known = state.country_groups.get(EAR_COUNTRY_GROUPS)
    if not packs:
        said = "inactive: no pack that reads country groups is in force"
    elif known is None:
        said = (
            f"inactive: {', '.join(packs)} denies nothing until the regulation's country groups are imported"
        )
    else:
        said = f"active: {', '.join(packs)}, by the edition of {known.edition}"
    return GroupsNow(bool(packs) and known is not None, said, packs, known)
