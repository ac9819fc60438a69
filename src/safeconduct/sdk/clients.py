"""The vendors' own clients, pointed at the gateway. Conveniences: `PassportAuth` is all that is needed.

They are built with redirects off (the DPoP header would follow across origins) and without the environment's proxies.
"""

from __future__ import annotations

import importlib
from typing import Any

from safeconduct.sdk.auth import BoundAuth

# The vendor clients insist on an API key; the auth removes it again.
_PLACEHOLDER = "safeconduct"


def openai_client(auth: BoundAuth, **options: Any) -> Any:
    """An `openai.OpenAI` whose requests are signed. options go to its constructor. Raises ImportError without `openai`."""
    return _build("openai", "OpenAI", "/v1", auth, options)


def async_openai_client(auth: BoundAuth, **options: Any) -> Any:
    """An `openai.AsyncOpenAI` whose requests are signed."""
    return _build("openai", "AsyncOpenAI", "/v1", auth, options)


def anthropic_client(auth: BoundAuth, **options: Any) -> Any:
    """An `anthropic.Anthropic` whose requests are signed. Raises ImportError without `anthropic`."""
    return _build("anthropic", "Anthropic", "", auth, options)


def async_anthropic_client(auth: BoundAuth, **options: Any) -> Any:
    """An `anthropic.AsyncAnthropic` whose requests are signed."""
    return _build("anthropic", "AsyncAnthropic", "", auth, options)


def _build(package: str, client: str, path: str, auth: BoundAuth, options: dict[str, Any]) -> Any:
    vendor = importlib.import_module(package)
    transport = "DefaultAsyncHttpxClient" if client.startswith("Async") else "DefaultHttpxClient"
    tls = {} if auth.tls is None else {"verify": auth.tls}
    given = {
        "api_key": _PLACEHOLDER,
        "base_url": f"{auth.holder.gateway}{path}",
        "http_client": getattr(vendor, transport)(auth=auth, follow_redirects=False, trust_env=False, **tls),
        **options,
    }
    return getattr(vendor, client)(**given)
