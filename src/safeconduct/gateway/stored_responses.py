"""Answers that a provider keeps (`/v1/responses`): whose they are, and what a request may say about them.

All tenants behind one upstream credential share the provider's store, so an id proves nothing. An id counts only for the
subject whose request made it; to everybody else it does not exist. Refuses members that reach anything else that is kept at
the provider (conversations, prompt templates, vector stores, containers) or that make the provider call a third party.
"""

from __future__ import annotations

from typing import Protocol

import msgspec

from safeconduct.gateway.bodies import Ask
from safeconduct.gateway.http_messages import Refusal
from safeconduct.gateway.routes import Route
from safeconduct.kernel.ids import DeploymentId, SubjectId, VariantId


class StoredResponse(msgspec.Struct, frozen=True):
    """An answer kept at a provider. created: seconds."""

    response: str
    subject: SubjectId
    variant: VariantId
    deployment: DeploymentId
    created: int


class StoredResponses(Protocol):
    """Whose answers are whose. Durable against the end of the process."""

    def keep(self, stored: StoredResponse) -> None:
        """Remember an answer. An id that is known keeps its first owner: a provider's word cannot take it away."""
        ...

    def find(self, response: str) -> StoredResponse | None:
        """The answer of this id."""
        ...

    def forget(self, response: str) -> None:
        """The answer is deleted. Unknown ids are ignored."""
        ...


class MemoryStoredResponses:
    """For one process and its lifetime."""

    def __init__(self) -> None:
        self._known: dict[str, StoredResponse] = {}

    def keep(self, stored: StoredResponse) -> None:
        """See `StoredResponses`."""
        self._known.setdefault(stored.response, stored)

    def find(self, response: str) -> StoredResponse | None:
        """See `StoredResponses`."""
        return self._known.get(response)

    def forget(self, response: str) -> None:
        """See `StoredResponses`."""
        self._known.pop(response, None)


_text = msgspec.json.Decoder(str)
_UNSERVED = {
    Route.RESPONSES: frozenset({"conversation", "prompt"}),
    Route.MESSAGES: frozenset({"container", "mcp_servers"}),
    Route.COUNT_TOKENS: frozenset({"container", "mcp_servers"}),
}
_TOOLS_REFUSED = frozenset({"mcp", "mcp_toolset", "file_search"})


class _Tool(msgspec.Struct):
    type: str | None = None
    container: msgspec.Raw | None = None


class _Item(msgspec.Struct):
    type: str | None = None


_tools = msgspec.json.Decoder(list[_Tool] | None)
_items = msgspec.json.Decoder(list[_Item] | str | None)


def _refuse(field: str, message: str, remedy: str) -> Refusal:
    return Refusal(400, "member_refused", message, field=field, remedy=remedy)


def check_reach(ask: Ask, route: Route) -> None:
    """Refuse what reaches other things kept at the provider, or third parties through it. Raises Refusal(400)."""
    unserved = _UNSERVED.get(route)
    if unserved is None:
        return
    members = ask.members
    for name in sorted(unserved.intersection(members)):
        if bytes(members[name]) != b"null":
            raise _refuse(name, f"{name!r} names something kept at the provider or elsewhere", "leave it out")
    if "tools" in members:
        try:
            tools = _tools.decode(members["tools"]) or []
        except msgspec.MsgspecError:
            raise _refuse("tools", "tools must be a list of objects", "mend the list") from None
        for tool in tools:
            if tool.type in _TOOLS_REFUSED:
                raise _refuse("tools", f"tools of type {tool.type!r} are not served", "use function tools")
            if tool.container is not None and bytes(tool.container)[:1] == b'"':
                raise _refuse("tools", "a container cannot be named", 'use {"type":"auto"}')
    if route is Route.RESPONSES and "input" in members:
        try:
            items = _items.decode(members["input"])
        except msgspec.MsgspecError:
            raise _refuse("input", "input must be text or a list of objects", "mend it") from None
        if isinstance(items, list) and any(item.type == "item_reference" for item in items):
            raise _refuse(
                "input",
                "items kept at the provider cannot be named",
                "send the item, or use previous_response_id",
            )


def previous_response(ask: Ask) -> str | None:
    """The id in `previous_response_id`, None when there is none. Raises Refusal(400)."""
    raw = ask.members.get("previous_response_id")
    if raw is None or bytes(raw) == b"null":
        return None
    try:
        return _text.decode(raw)
    except msgspec.MsgspecError:
        raise _refuse("previous_response_id", "an answer's id is text", "mend it") from None


def not_found() -> Refusal:
    """One answer whether the id is nobody's, another's or no id at all."""
    return Refusal(
        404, "response_not_found", "there is no stored answer of this id", remedy="name an answer of your own"
    )


def keeps_answer(ask: Ask) -> bool:
    """Whether the provider keeps the answer: `store` is true unless the request says otherwise."""
    return bytes(ask.members.get("store", b"true")) != b"false"
