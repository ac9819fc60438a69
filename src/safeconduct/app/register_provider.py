"""Use case: register a provider of models under its own organisation."""

from __future__ import annotations

import msgspec

from safeconduct.app.commit import commit_checked
from safeconduct.app.ports import Caller, Instance
from safeconduct.app.scope import require_role
from safeconduct.kernel.errors import Conflict, NotFound
from safeconduct.kernel.ids import OrganisationId
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events import Event
from safeconduct.record.events.registrations import ProviderRegistered
from safeconduct.record.state import State
from safeconduct.registry.provider import check_jurisdiction, check_provider


class RegisterProvider(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """organisation: the provider's own, registered before; who is employed there is an employee of the provider."""

    provider: str
    organisation: str
    jurisdiction: str


def register_provider(instance: Instance, caller: Caller, ask: RegisterProvider) -> ProviderRegistered:
    """By an operator. Raises Forbidden, InvalidInput, NotFound, Conflict when the provider is registered already."""
    require_role(caller, Role.OPERATOR)
    event = ProviderRegistered(
        provider=check_provider(ask.provider),
        organisation=OrganisationId(ask.organisation),
        jurisdiction=check_jurisdiction(ask.jurisdiction),
    )

    def check(state: State) -> list[Event]:
        if event.provider in state.providers:
            raise Conflict(f"provider {event.provider!r} is registered already", field="provider")
        if event.organisation not in state.organisations:
            raise NotFound(
                f"there is no organisation {event.organisation!r}",
                field="organisation",
                remedy="import the evidence of the provider's own organisation first",
            )
        return [event]

    commit_checked(instance, check)
    return event
