"""What an application imports to call models through a gateway: needs `cryptography`, `httpx2` and `msgspec`, no more.

from safeconduct.sdk import Holder, PassportAuth, openai_client
client = openai_client(PassportAuth(Holder.load("holder.json"), purpose="coding"))
"""

from safeconduct.sdk.auth import AgentAuth, BoundAuth, PassportAuth
from safeconduct.sdk.clients import (
    anthropic_client,
    async_anthropic_client,
    async_openai_client,
    openai_client,
)
from safeconduct.sdk.holder import Holder
from safeconduct.sdk.refusal import AccessRefused

__all__ = [
    "AccessRefused",
    "AgentAuth",
    "BoundAuth",
    "Holder",
    "PassportAuth",
    "anthropic_client",
    "async_anthropic_client",
    "async_openai_client",
    "openai_client",
]
