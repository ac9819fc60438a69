"""The body of a call: JSON read strictly and converted to the type that the route declares.

Owns media type, duplicate members, unknown members and exact types. Refuses to coerce: `"1"` is not 1.
"""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.connection import Request

from safeconduct.kernel.canonical import strict_json
from safeconduct.kernel.errors import SafeconductError
from safeconduct.kernel.vocabulary import Level
from safeconduct.web.problems import invalid_input_of


class UnsupportedMediaType(SafeconductError):
    """The body's media type is not the one this route reads."""

    kind = "unsupported_media_type"


class StrictRequest(Request[Any, Any, Any]):
    """A request whose JSON body is refused rather than repaired."""

    async def json(self) -> Any:
        """The body as the declared type of the route's `data`. Raises InvalidInput that names the JSON path."""
        media_type = self.headers.get("content-type", "").split(";")[0].strip().lower()
        if media_type != "application/json":
            raise UnsupportedMediaType(
                "the body is not declared as JSON",
                field="content-type",
                remedy="send Content-Type: application/json",
            )
        if self.headers.get("content-encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType(
                "compressed bodies are not accepted", field="content-encoding", remedy="send it uncompressed"
            )
        value = strict_json(await self.body(), what="the body")
        parameter = self.route_handler.parsed_fn_signature.parameters.get("data")
        if parameter is None:
            return value
        return convert_strictly(_levels_by_name(value), parameter.annotation)


def _levels_by_name(value: Any) -> Any:
    """Clearance levels are written C0 to C4 on the wire; a certification's `level` (beside a `scheme`) is its own text."""
    if isinstance(value, dict):
        named = {name: _levels_by_name(item) for name, item in value.items()}
        level = named.get("level")
        if "scheme" not in named and isinstance(level, str) and level in Level.__members__:
            named["level"] = int(Level[level])
        return named
    if isinstance(value, list):
        return [_levels_by_name(item) for item in value]
    return value


def convert_strictly(value: Any, type_: Any) -> Any:
    """`value` as `type_`, no coercion. Raises InvalidInput."""
    try:
        return msgspec.convert(value, type=type_, strict=True)
    except msgspec.ValidationError as error:
        known = getattr(type_, "__struct_encode_fields__", ())
        raise invalid_input_of(error, tuple(known)) from None
