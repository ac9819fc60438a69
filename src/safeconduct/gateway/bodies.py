"""Request bodies: what is asked for, and the body that goes upstream instead.

Owns the one reading of a body. The body sent upstream is rebuilt from its top-level members (their values untouched), so
the upstream reads exactly what was decided on. Refuses any member that stands twice at any depth, a member that another
reader could take for one of ours (other case, look-alike letters) and members that choose another model or host.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from functools import lru_cache
from typing import Any, NoReturn

import msgspec

from safeconduct.gateway.http_messages import Refusal
from safeconduct.gateway.quoting import quotable
from safeconduct.gateway.routes import Inference
from safeconduct.kernel.vocabulary import Wire

# Gateways and servers of this kind read these to pick a model, a host or a key; none of them is the caller's choice.
_STEERING = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "azure_endpoint",
        "base_url",
        "context_window_fallback_dict",
        "custom_llm_provider",
        "deployment",
        "deployment_id",
        "endpoint",
        "engine",
        "extra_body",
        "extra_headers",
        "extra_query",
        "fallback",
        "fallbacks",
        "litellm_params",
        "mock_response",
        "model_group",
        "model_id",
        "model_list",
        "model_name",
        "models",
        "provider",
        "route",
        "router_settings_override",
    }
)
_OURS = frozenset({"model", "stream", "stream_options", "user", "safety_identifier", "metadata"})

# An object or list costs 60 bytes and more once parsed: a body of nothing but brackets would cost thirty times its size.
MAX_STRUCTURE = 1_000_000

_any_decoder = msgspec.json.Decoder()
_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_text_decoder = msgspec.json.Decoder(str)
_flag_decoder = msgspec.json.Decoder(bool)
_encoder = msgspec.json.Encoder()


class _Duplicate(Exception):
    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _ForeignFile(Exception):
    pass


def _once(pairs: list[tuple[str, Any]]) -> None:
    # Returning None throws the object away: only its names matter here, so memory stays flat.
    if len(pairs) > 1:
        names = [pair[0] for pair in pairs]
        if len(set(names)) != len(names):
            seen: set[str] = set()
            for name in names:
                if name in seen:
                    raise _Duplicate(name)
                seen.add(name)


def _once_and_no_files(pairs: list[tuple[str, Any]]) -> None:
    _once(pairs)
    for name, value in pairs:
        if name == "file_id" and isinstance(value, str):
            raise _ForeignFile


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(name)


_strict = json.JSONDecoder(object_pairs_hook=_once, parse_constant=_refuse_constant)
_strict_no_files = json.JSONDecoder(object_pairs_hook=_once_and_no_files, parse_constant=_refuse_constant)


def _plainly_sound(data: bytes) -> bool:
    """True when `data` is certainly JSON without a repeated member or a file id; False says nothing.

    msgspec reads more strictly than `json` and ten times as fast, but keeps the last of two members of one name. So the
    colons are counted: a text holds one for each member, and those inside its strings. What was read must account for all
    of them; a member that was dropped takes at least one with it.
    """
    if (
        b"\\u003" in data
    ):  # a colon could be written as an escape, which would make up for one that is missing
        return False
    try:
        value = _any_decoder.decode(data)
    except (ValueError, RecursionError, msgspec.MsgspecError):
        return False
    if type(value) is not dict:
        return False
    found = 0
    todo: list[Any] = [value]
    while todo:
        each = todo.pop()
        if type(each) is dict:
            if "file_id" in each:
                return False
            found += len(each)
            for name, inner in each.items():
                if ":" in name:
                    found += name.count(":")
                kind = type(inner)
                if kind is str:
                    found += inner.count(":")
                elif kind is dict or kind is list:
                    todo.append(inner)
        else:
            for inner in each:
                kind = type(inner)
                if kind is str:
                    found += inner.count(":")
                elif kind is dict or kind is list:
                    todo.append(inner)
    return found == data.count(b":")


class Ask(msgspec.Struct):
    """What a body asks for. members: every top-level member, its value as raw bytes."""

    model: str
    stream: bool
    members: dict[str, msgspec.Raw]


def _bad(code: str, message: str, *, field: str = "", remedy: str = "") -> Refusal:
    return Refusal(400, code, message, field=field, remedy=remedy)


def check_body_headers(content_type: bytes | None, content_encoding: bytes | None) -> None:
    """Refuse a body that is not plain JSON. Raises Refusal."""
    if content_encoding is not None and content_encoding.strip().lower() not in (b"", b"identity"):
        raise Refusal(
            415,
            "content_encoding",
            "compressed bodies are not accepted",
            field="content-encoding",
            remedy="send the body uncompressed",
        )
    media, _, parameters = (content_type or b"").partition(b";")
    if media.strip().lower() != b"application/json" or (
        parameters.strip() and parameters.replace(b" ", b"").replace(b'"', b"").lower() != b"charset=utf-8"
    ):
        raise _bad(
            "content_type",
            "the body must be application/json",
            field="content-type",
            remedy="send `Content-Type: application/json`",
        )


def read_body(data: bytes) -> Ask:
    """Read a request's body. Raises Refusal(400) that names the member and the remedy."""
    # A text of fewer bytes cannot hold that many marks.
    if len(data) > MAX_STRUCTURE and sum(data.count(mark) for mark in (b"[", b"{", b",")) > MAX_STRUCTURE:
        raise _bad("json_too_complex", "the body holds too many values", remedy="send a smaller request")
    try:
        if not _plainly_sound(data):
            # The slow reading finds out what is wrong, and where. A file id is only looked for where its name can stand
            # (an escape could spell it).
            text = data.decode("utf-8", "strict")
            (_strict_no_files if b"file_id" in data or b"\\u" in data else _strict).decode(text)
        members = _members_decoder.decode(data)
    except _Duplicate as error:
        raise _bad(
            "duplicate_member",
            f"the member {quotable(error.name)[:80]!r} stands more than once in one object",
            field=quotable(error.name)[:80],
            remedy="send each member once",
        ) from None
    except _ForeignFile:
        raise _bad(
            "file_id",
            "files kept at a provider cannot be named here",
            field="file_id",
            remedy="send the content itself in the request",
        ) from None
    except UnicodeDecodeError as error:
        raise _bad(
            "malformed_json", f"the body is not UTF-8 (byte {error.start})", remedy="encode it as UTF-8"
        ) from None
    except RecursionError:
        raise _bad("malformed_json", "the body is nested too deeply", remedy="flatten it") from None
    except json.JSONDecodeError as error:
        raise _bad(
            "malformed_json",
            f"the body is not JSON: {error.msg} at line {error.lineno}, column {error.colno}",
            remedy="send one JSON object",
        ) from None
    except (ValueError, msgspec.MsgspecError):
        raise _bad("malformed_json", "the body is not a JSON object", remedy="send one JSON object") from None
    folded = set(map(str.casefold, members))
    if len(folded) != len(members):
        raise _bad(
            "duplicate_member",
            "two members differ only in case",
            remedy="send each member once, in lower case",
        )
    for name in folded & _OURS:
        if name not in members:
            raise _bad(
                "member_case",
                f"a member spelled like {name!r} is not it",
                field=name,
                remedy=f"write {name!r}",
            )
    steering = folded & _STEERING
    if steering:
        name = min(steering)
        raise _bad(
            "member_refused",
            f"{name!r} is not the caller's to choose: the model's name decides",
            field=name,
            remedy="leave it out",
        )
    # Read here, so that nothing about the body can be wrong once it has been decided on.
    if "metadata" in members:
        _object(members, "metadata")
    if "stream_options" in members:
        _object(members, "stream_options")
    return Ask(model=_model(members), stream=_stream(members), members=members)


def _model(members: dict[str, msgspec.Raw]) -> str:
    raw = members.get("model")
    if raw is None:
        raise _bad("model_missing", "the body names no model", field="model", remedy="name one")
    try:
        model = _text_decoder.decode(raw)
    except msgspec.MsgspecError:
        raise _bad(
            "model_invalid", "the model's name must be text", field="model", remedy="name one"
        ) from None
    if not model or len(model) > 200:
        raise _bad("model_invalid", "the model's name is empty or too long", field="model", remedy="name one")
    return model


def _stream(members: dict[str, msgspec.Raw]) -> bool:
    raw = members.get("stream")
    if raw is None or bytes(raw) == b"null":
        return False
    try:
        return _flag_decoder.decode(raw)
    except msgspec.MsgspecError:
        raise _bad("stream_invalid", "stream must be true or false", field="stream") from None


def _object(members: dict[str, msgspec.Raw], name: str) -> dict[str, msgspec.Raw]:
    raw = members.get(name)
    if raw is None or bytes(raw) == b"null":
        return {}
    try:
        return _members_decoder.decode(raw)
    except msgspec.MsgspecError:
        raise _bad(f"{name}_invalid", f"{name} must be an object", field=name) from None


@lru_cache(maxsize=10_000)
def _quoted(text: str) -> msgspec.Raw:
    return msgspec.Raw(_encoder.encode(text))


def upstream_body(
    ask: Ask, *, inference: Inference, kind: str, upstream_model: str, pseudonym: str
) -> tuple[bytes, bool]:
    """The body that goes upstream, and whether a usage chunk was asked for that the client did not ask for.

    `model` becomes the upstream's name for it; who the end user is comes from the passport under a pseudonym, never from
    the client. Changes `ask.members`. Raises Refusal when a member that is rewritten has a wrong type.
    """
    members = ask.members
    members["model"] = _quoted(upstream_model)
    name = _quoted(pseudonym)
    metadata = _object(members, "metadata") if "metadata" in members else {}
    metadata.pop("user_id", None)
    members.pop("safety_identifier", None)
    members.pop("user", None)
    injected = False
    if not inference.names_user:
        pass
    elif inference.wire is Wire.ANTHROPIC:
        metadata["user_id"] = name
    else:
        members["user"] = name
        if inference.names_safety_id and kind != "openai-compatible":
            members["safety_identifier"] = name
        if ask.stream and inference.usage_event:
            options = _object(members, "stream_options")
            if bytes(options.get("include_usage", b"")) != b"true":
                # Asked for so that usage is metered; the chunk it adds is taken out of the answer again.
                options["include_usage"] = msgspec.Raw(b"true")
                members["stream_options"] = msgspec.Raw(_encoder.encode(options))
                injected = True
    if metadata:
        members["metadata"] = msgspec.Raw(_encoder.encode(metadata))
    else:
        members.pop("metadata", None)
    return _encoder.encode(members), injected


class Pseudonyms:
    """One end user has another name at each provider, so that providers cannot join what they see.

    `u-` and 32 hex digits of HMAC-SHA-256 under the instance's key over provider and subject.
    """

    __slots__ = ("_cache", "_key")

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._cache: dict[tuple[str, str], str] = {}

    def of(self, provider: str, subject: str) -> str:
        """The subject's name at that provider."""
        found = self._cache.get((provider, subject))
        if found is None:
            if len(self._cache) > 100_000:
                self._cache.clear()
            digest = hmac.new(self._key, f"{provider}\0{subject}".encode(), hashlib.sha256).hexdigest()
            found = self._cache[provider, subject] = f"u-{digest[:32]}"
        return found
