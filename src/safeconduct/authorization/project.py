"""Projects: the need to know. What one must say, and who may approve it."""

from __future__ import annotations

from collections.abc import Collection

from safeconduct.kernel.errors import Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import PROHIBITED_PURPOSES, Purpose


def check_purposes(purposes: Collection[Purpose], field: str = "purposes") -> None:
    """At least one purpose, none of them prohibited. Raises InvalidInput."""
    if not purposes:
        raise InvalidInput("it names no purpose", field=field, remedy="name what it is for")
    for purpose in purposes:
        if purpose in PROHIBITED_PURPOSES:
            raise InvalidInput(f"{purpose} is never permitted", field=field)


def check_project(
    *,
    organisation: str | None,
    owner: str | None,
    purposes: Collection[Purpose],
    valid_from: int,
    valid_until: int,
) -> None:
    """A project is an organisation's or one person's, has purposes and a term. Raises InvalidInput."""
    if (organisation is None) == (owner is None):
        raise InvalidInput(
            "a project is of an organisation, or of a person who has none",
            field="organisation",
            remedy="give exactly one of organisation and owner",
        )
    check_purposes(purposes)
    if valid_until <= valid_from:
        raise InvalidInput("it ends before it begins", field="valid_until")


def check_approver(approver: Collection[str], requester: Collection[str], *, what: str) -> None:
    """Nobody approves their own request: the names of who approves and of who asks or gains are disjoint.

    Raises Forbidden.
    """
    both = sorted(set(approver) & {name for name in requester if name})
    if both:
        raise Forbidden(
            f"{both[0]!r} asked for this {what} and cannot approve it",
            field="requested_by",
            remedy="let somebody else approve it",
        )
