"""What the sandbox provider answers: deterministic text, tool calls and usage in both vendors' shapes.

Owns the content of answers and streams. Refuses to look like a real model: every text begins with a notice.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

from safeconduct.kernel.vocabulary import Wire

NOTICE = "[sandbox provider, no real model]"

_encode = msgspec.json.Encoder().encode

_MODE = re.compile(r"(?:(?:^|[^a-z])sandbox[-:]|\+)(?P<mode>[a-z]+)(?:-(?:after-)?(?P<count>\d{1,6}))?")
MODES = frozenset({"slow", "broken", "hangs", "error", "garbage", "silent", "plain", "late", "endless"})


class Mode(msgspec.Struct, frozen=True):
    """How the sandbox behaves.

    plain: at once. slow: an event every 100 ms. endless: an event every 50 ms without end. late: nothing for a second.
    broken: closes after `count` events. hangs: stops after `count` events, keeps the connection.
    error: answers with the status `count`. garbage: 200, then bytes that are not HTTP. silent: never answers.
    """

    name: str = "plain"
    count: int = 0


def mode_of(model: str, text: str, header: str) -> Mode:
    """The mode asked for: by header, by the model's name (`sandbox-slow`, `x+error-429`), or by `sandbox:slow` in the text."""
    for source in (f"sandbox:{header}", model, *(part for part in re.findall(r"\[\[(.*?)\]\]", text))):
        for match in _MODE.finditer(source):
            if match["mode"] in MODES:
                return Mode(match["mode"], int(match["count"] or 0))
    return Mode()


class Prompt(msgspec.Struct, frozen=True):
    """What matters of a request."""

    wire: Wire
    model: str
    stream: bool
    include_usage: bool
    text: str
    words: int
    tool: tuple[str, dict[str, Any]] | None
    max_tokens: int | None
    digest: str


class BadPrompt(Exception):
    """The request is not what this wire asks for; the message says why."""


def _text_of(content: Any) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        return " ".join(
            part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)
        )
    return ""


def _sample(schema: Any) -> Any:
    """A value that fits a JSON schema of the simple kind that tools have."""
    if not isinstance(schema, dict):
        return "sandbox"
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        required = schema.get("required")
        names = required if isinstance(required, list) else sorted(properties)
        return {name: _sample(properties.get(name)) for name in names if isinstance(name, str)}
    return {"integer": 1, "number": 1, "boolean": True, "array": [], "null": None}.get(str(kind), "sandbox")


def _tool_of(body: dict[str, Any], wire: Wire, last: dict[str, Any]) -> tuple[str, dict[str, Any]] | None:
    tools = body.get("tools")
    if (
        not isinstance(tools, list)
        or not tools
        or not isinstance(tools[0], dict)
        or last.get("role") != "user"
    ):
        return None
    content = last.get("content")
    if isinstance(content, list) and any(
        isinstance(part, dict) and part.get("type") == "tool_result" for part in content
    ):
        return None
    if body.get("tool_choice") in ("none", {"type": "none"}):
        return None
    first = tools[0]
    described = first.get("function") if wire is Wire.OPENAI else first
    if not isinstance(described, dict) or not isinstance(described.get("name"), str):
        return None
    schema = described.get("parameters") if wire is Wire.OPENAI else described.get("input_schema")
    arguments = _sample(schema)
    return described["name"], arguments if isinstance(arguments, dict) else {}


def read_prompt(wire: Wire, data: bytes) -> Prompt:
    """Read a request's body. Raises BadPrompt."""
    try:
        body = msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise BadPrompt("the body is not a JSON object") from None
    model, messages = body.get("model"), body.get("messages")
    if not isinstance(model, str):
        raise BadPrompt("model: field required")
    if not isinstance(messages, list) or not messages or not all(isinstance(each, dict) for each in messages):
        raise BadPrompt("messages: at least one message is required")
    limit = body.get("max_tokens", body.get("max_completion_tokens"))
    if wire is Wire.ANTHROPIC and not isinstance(limit, int):
        raise BadPrompt("max_tokens: field required")
    text = _text_of(messages[-1].get("content"))
    options = body.get("stream_options")
    return Prompt(
        wire=wire,
        model=model,
        stream=body.get("stream") is True,
        include_usage=isinstance(options, dict) and options.get("include_usage") is True,
        text=text,
        words=sum(len(_text_of(message.get("content")).split()) for message in messages),
        tool=_tool_of(body, wire, messages[-1]),
        max_tokens=limit if isinstance(limit, int) else None,
        digest=hashlib.sha256(data).hexdigest()[:24],
    )


class Answer:
    """The answer to a prompt, whole or as events. created: seconds since the epoch."""

    def __init__(self, prompt: Prompt, created: int) -> None:
        self._prompt = prompt
        self._created = created
        words = f"{NOTICE} {prompt.model} read {prompt.words} words and repeats: {prompt.text[:400]}".split()
        self._cut_short = prompt.max_tokens is not None and prompt.max_tokens < len(words)
        self._words = words[: prompt.max_tokens] if self._cut_short else words
        self.text = " ".join(self._words)
        self.input_tokens = prompt.words
        self.output_tokens = len(self._words)

    def whole(self) -> bytes:
        """The JSON answer."""
        return self._anthropic() if self._prompt.wire is Wire.ANTHROPIC else self._openai()

    def events(self) -> list[bytes]:
        """The events of the stream, each complete."""
        return self._anthropic_events() if self._prompt.wire is Wire.ANTHROPIC else self._openai_events()

    def filler(self) -> bytes:
        """One more event of text, for streams without end."""
        return self._events_of_words(["more"])[0]

    def _events_of_words(self, words: list[str]) -> list[bytes]:
        if self._prompt.wire is Wire.ANTHROPIC:
            return [
                _named(
                    "content_block_delta",
                    {"index": 0, "delta": {"type": "text_delta", "text": f"{word} "}},
                )
                for word in words
            ]
        return [self._chunk({"content": f"{word} "}) for word in words]

    # -- OpenAI

    def _openai(self) -> bytes:
        message: dict[str, Any] = {"role": "assistant", "content": self.text, "refusal": None}
        finish = "length" if self._cut_short else "stop"
        if self._prompt.tool is not None:
            name, arguments = self._prompt.tool
            message["content"] = None
            message["tool_calls"] = [self._openai_call(name, arguments)]
            finish = "tool_calls"
        return _encode(
            {
                "id": f"chatcmpl-sandbox-{self._prompt.digest}",
                "object": "chat.completion",
                "created": self._created,
                "model": self._prompt.model,
                "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
                "usage": self._openai_usage(),
                "system_fingerprint": "sandbox",
            }
        )

    def _openai_call(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "id": f"call_sandbox_{self._prompt.digest[:12]}",
            "type": "function",
            "function": {"name": name, "arguments": _encode(arguments).decode()},
        }

    def _openai_usage(self) -> dict[str, int]:
        return {
            "prompt_tokens": self.input_tokens,
            "completion_tokens": self.output_tokens,
            "total_tokens": self.input_tokens + self.output_tokens,
        }

    def _chunk(
        self, delta: dict[str, Any] | None, finish: str | None = None, *, usage: bool = False
    ) -> bytes:
        chunk: dict[str, Any] = {
            "id": f"chatcmpl-sandbox-{self._prompt.digest}",
            "object": "chat.completion.chunk",
            "created": self._created,
            "model": self._prompt.model,
            "choices": []
            if delta is None
            else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}],
        }
        if self._prompt.include_usage:
            chunk["usage"] = self._openai_usage() if usage else None
        return b"data: " + _encode(chunk) + b"\n\n"

    def _openai_events(self) -> list[bytes]:
        events = [self._chunk({"role": "assistant", "content": ""})]
        finish = "length" if self._cut_short else "stop"
        if self._prompt.tool is not None:
            name, arguments = self._prompt.tool
            events.append(self._chunk({"tool_calls": [{"index": 0, **self._openai_call(name, arguments)}]}))
            finish = "tool_calls"
        else:
            events += self._events_of_words(self._words)
        events.append(self._chunk({}, finish))
        if self._prompt.include_usage:
            events.append(self._chunk(None, usage=True))
        events.append(b"data: [DONE]\n\n")
        return events

    # -- Anthropic

    def _anthropic_message(
        self, content: list[dict[str, Any]], stop: str | None, output: int
    ) -> dict[str, Any]:
        return {
            "id": f"msg_sandbox_{self._prompt.digest}",
            "type": "message",
            "role": "assistant",
            "model": self._prompt.model,
            "content": content,
            "stop_reason": stop,
            "stop_sequence": None,
            "usage": {"input_tokens": self.input_tokens, "output_tokens": output},
        }

    def _stop(self) -> str:
        if self._prompt.tool is not None:
            return "tool_use"
        return "max_tokens" if self._cut_short else "end_turn"

    def _tool_use(self, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
        return {
            "type": "tool_use",
            "id": f"toolu_sandbox_{self._prompt.digest[:12]}",
            "name": name,
            "input": arguments,
        }

    def _anthropic(self) -> bytes:
        content: dict[str, Any] = {"type": "text", "text": self.text}
        if self._prompt.tool is not None:
            content = self._tool_use(*self._prompt.tool)
        return _encode(self._anthropic_message([content], self._stop(), self.output_tokens))

    def _anthropic_events(self) -> list[bytes]:
        events = [_named("message_start", {"message": self._anthropic_message([], None, 1)})]
        if self._prompt.tool is not None:
            name, arguments = self._prompt.tool
            events.append(
                _named("content_block_start", {"index": 0, "content_block": self._tool_use(name, {})})
            )
            delta = {"type": "input_json_delta", "partial_json": _encode(arguments).decode()}
            events.append(_named("content_block_delta", {"index": 0, "delta": delta}))
        else:
            events.append(
                _named("content_block_start", {"index": 0, "content_block": {"type": "text", "text": ""}})
            )
            events.append(_named("ping", {}))
            events += self._events_of_words(self._words)
        events.append(_named("content_block_stop", {"index": 0}))
        events.append(
            _named(
                "message_delta",
                {
                    "delta": {"stop_reason": self._stop(), "stop_sequence": None},
                    "usage": {"output_tokens": self.output_tokens},
                },
            )
        )
        events.append(_named("message_stop", {}))
        return events


def _named(name: str, members: dict[str, Any]) -> bytes:
    return b"event: " + name.encode() + b"\ndata: " + _encode({"type": name, **members}) + b"\n\n"


def error_of(wire: Wire, status: int, message: str) -> bytes:
    """An error in the vendor's shape."""
    types = {
        400: "invalid_request_error",
        401: "authentication_error",
        404: "not_found_error",
        429: "rate_limit_error",
    }
    kind = types.get(status, "api_error" if wire is Wire.ANTHROPIC else "server_error")
    message = f"{NOTICE} {message}"
    if wire is Wire.ANTHROPIC:
        return _encode(
            {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_sandbox"}
        )
    return _encode({"error": {"message": message, "type": kind, "param": None, "code": None}})
