"""What an application catches when no access token is given."""

from __future__ import annotations

import sys
from typing import Any


class AccessRefused(Exception):
    """The issuer refused to give a token (OAuth `invalid_grant`); trying again unchanged is of no use.

    code: the denial code, such as `PASSPORT_REVOKED`. reasons: each with `code`, `detail`, `remedy`, `rule`, `source`.
    remedy: what to do, in words.
    """

    def __init__(
        self, code: str, reasons: tuple[dict[str, Any], ...], remedy: str, message: str = ""
    ) -> None:
        super().__init__(": ".join(part for part in (code, message or remedy) if part))
        self.code = code
        self.reasons = reasons
        self.remedy = remedy


_for_anthropic: dict[type[Exception], type[AccessRefused]] = {}


def refusal_type() -> type[AccessRefused]:
    """`AccessRefused`, or a subclass of it that the anthropic client lets through.

    That client wraps exceptions from its transport, and retries them, unless they are its own kind. When it is loaded the
    refusal is of both kinds; `except AccessRefused` catches it all the same.
    """
    base = getattr(sys.modules.get("anthropic"), "AnthropicError", None)
    if not isinstance(base, type) or not issubclass(base, Exception):
        return AccessRefused
    if base not in _for_anthropic:
        _for_anthropic[base] = type("AccessRefused", (AccessRefused, base), {"__module__": __name__})
    return _for_anthropic[base]
