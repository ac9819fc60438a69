"""Grants: the links of the chain from a provider to a person (domain.md 2).

Owns the shape of a link and the rule that a link only narrows. Refuses a grant to an agent (its mandate is its grant) and a
grant wider than its parent in any dimension.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from safeconduct.kernel.clock import format_instant
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.ids import VariantId
from safeconduct.kernel.vocabulary import Condition, Purpose, Surface


class Scope(Protocol):
    """How far a grant reaches; the record's `GrantGiven` has this shape. No regions means every region."""

    @property
    def variants(self) -> tuple[VariantId, ...]:
        """What may be used."""
        ...

    @property
    def purposes(self) -> tuple[Purpose, ...]:
        """What for."""
        ...

    @property
    def surfaces(self) -> tuple[Surface, ...]:
        """How."""
        ...

    @property
    def regions(self) -> tuple[str, ...]:
        """Where it runs."""
        ...

    @property
    def valid_until(self) -> int:
        """First second at which it is over."""
        ...

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """What the user must keep to."""
        ...


def check_parties(
    *,
    by_provider: str | None,
    by_organisation: str | None,
    to_organisation: str | None,
    to_group: str | None,
    to_subject: str | None,
) -> None:
    """One grantor and one grantee, of sorts that fit each other. Raises InvalidInput."""
    if (by_provider is None) == (by_organisation is None):
        raise InvalidInput(
            "a grant has one grantor", field="by_provider", remedy="give by_provider or by_organisation"
        )
    if sum(one is not None for one in (to_organisation, to_group, to_subject)) != 1:
        raise InvalidInput(
            "a grant has one grantee",
            field="to_subject",
            remedy="give one of to_organisation, to_group, to_subject",
        )
    if by_provider is not None and to_group is not None:
        raise InvalidInput(
            "a provider grants to an organisation, or to a person who has none",
            field="to_group",
            remedy="grant to the organisation; it grants to its groups",
        )
    if by_organisation is not None and to_organisation is not None:
        raise InvalidInput("an organisation grants to its own groups and people", field="to_organisation")


def wider_than(child: Scope, parent: Scope) -> list[tuple[str, str]]:
    """Where `child` goes beyond `parent`: pairs (field, what is wrong); empty when it does not."""
    found = [
        (field, f"the parent does not have {', '.join(beyond)}")
        for field, beyond in (
            ("variants", _beyond(child.variants, parent.variants)),
            ("purposes", _beyond(child.purposes, parent.purposes)),
            ("surfaces", _beyond(child.surfaces, parent.surfaces)),
            ("regions", _beyond(child.regions, parent.regions) if parent.regions else []),
        )
        if beyond
    ]
    if parent.regions and not child.regions:
        found.append(("regions", f"every region is wider than {', '.join(parent.regions)}"))
    if child.valid_until > parent.valid_until:
        found.append(("term", f"the parent ends {format_instant(parent.valid_until)}"))
    dropped = _beyond(parent.conditions, child.conditions)
    if dropped:
        found.append(("conditions", f"the parent's {', '.join(dropped)} are left out"))
    return found


def _beyond(child: Collection[str], parent: Collection[str]) -> list[str]:
    return sorted(set(child) - set(parent))


def check_within(child: Scope, parent: Scope, parent_id: str) -> None:
    """Raises Conflict naming the first dimension in which `child` is wider than its parent."""
    found = wider_than(child, parent)
    if found:
        field, detail = found[0]
        raise Conflict(
            f"wider than its parent {parent_id}: {detail}", field=field, remedy="narrow it to the parent"
        )
