"""Who may act for whom: role and object scope, checked inside every use case.

The web's guard checks the role too; this is the rule itself, so that no route, command or test can go round it.
"""

from __future__ import annotations

from safeconduct.app.ports import Caller
from safeconduct.kernel.errors import Forbidden
from safeconduct.kernel.ids import OrganisationId, ProviderId
from safeconduct.kernel.vocabulary import Role


def require_role(caller: Caller, *roles: Role) -> None:
    """Raises Forbidden when the caller has another role."""
    if caller.role not in roles:
        raise Forbidden(
            f"{caller.role} may not do this", field="role", remedy=f"ask {' or '.join(sorted(roles))}"
        )


def require_provider(caller: Caller, provider: ProviderId, *, operators: bool = False) -> None:
    """The caller speaks for this provider, or is an operator where those may. Raises Forbidden."""
    if operators and caller.role is Role.OPERATOR:
        return
    if caller.role is not Role.PROVIDER or caller.provider != provider:
        raise Forbidden(
            f"only provider {provider!r} itself may do this",
            field="provider",
            remedy=f"authenticate with a role key of provider:{provider}",
        )


def require_organisation(caller: Caller, organisation: OrganisationId) -> None:
    """The caller speaks for this organisation. Raises Forbidden."""
    if caller.role is not Role.ORGANISATION or caller.organisation != organisation:
        raise Forbidden(
            f"only organisation {organisation!r} itself may do this",
            field="organisation",
            remedy=f"authenticate with a role key of organisation:{organisation}",
        )


def require_own_document(caller: Caller, party: str) -> None:
    """Whoever is not an operator hands in documents of its own party only. Raises Forbidden."""
    if caller.role is not Role.OPERATOR and caller.party != party:
        raise Forbidden(
            f"{caller.party!r} hands in a document of {party!r}",
            field="iss",
            remedy="let its issuer or an operator hand it in",
        )


def names_of(caller: Caller) -> frozenset[str]:
    """Everything a caller is known as, for the rule that nobody approves their own request."""
    return frozenset(name for name in (caller.id, caller.subject) if name)
