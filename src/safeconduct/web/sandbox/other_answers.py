"""What the sandbox provider answers on `/v1/completions`, `/v1/embeddings`, `/v1/moderations` and `count_tokens`.

Deterministic, in the vendors' shapes. Refuses to look like a real model: texts begin with the notice.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from safeconduct.web.sandbox.answers import NOTICE, BadPrompt

_encode = msgspec.json.Encoder().encode
DIMENSIONS = 8


def read_object(data: bytes) -> dict[str, Any]:
    """A JSON object. Raises BadPrompt."""
    try:
        return msgspec.json.decode(data, type=dict[str, Any])
    except msgspec.MsgspecError:
        raise BadPrompt("the body is not a JSON object") from None


def _texts(value: Any, name: str) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value
    raise BadPrompt(f"{name}: text or a list of texts is required")


def completion(body: dict[str, Any], created: int) -> tuple[bytes, list[bytes]]:
    """The legacy completion, whole and as events."""
    prompts = _texts(body.get("prompt"), "prompt")
    text = f"{NOTICE} {body.get('model')} repeats: {prompts[0][:400]}"
    usage = {
        "prompt_tokens": sum(len(each.split()) for each in prompts),
        "completion_tokens": len(text.split()),
        "total_tokens": sum(len(each.split()) for each in prompts) + len(text.split()),
    }
    base = {
        "id": f"cmpl-sandbox-{hashlib.sha256(text.encode()).hexdigest()[:16]}",
        "object": "text_completion",
        "created": created,
        "model": body.get("model"),
    }
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": "stop"}
    whole = _encode({**base, "choices": [choice], "usage": usage})
    events = [
        {**base, "choices": [{**choice, "text": f"{word} ", "finish_reason": None}]} for word in text.split()
    ]
    events.append({**base, "choices": [{**choice, "text": ""}]})
    options = body.get("stream_options")
    if isinstance(options, dict) and options.get("include_usage") is True:
        events.append({**base, "choices": [], "usage": usage})
    return whole, [b"data: " + _encode(event) + b"\n\n" for event in events] + [b"data: [DONE]\n\n"]


def embeddings(body: dict[str, Any]) -> bytes:
    """Vectors of eight numbers made from a digest of the text."""
    texts = _texts(body.get("input"), "input")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": [byte / 255 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]],
        }
        for index, text in enumerate(texts)
    ]
    tokens = sum(len(text.split()) for text in texts)
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return _encode({"object": "list", "data": data, "model": body.get("model"), "usage": usage})


def moderation(body: dict[str, Any]) -> bytes:
    """Flags whatever contains the word `sandbox:flag`."""
    results = [
        {
            "flagged": "sandbox:flag" in text,
            "categories": {"violence": "sandbox:flag" in text},
            "category_scores": {"violence": 1.0 if "sandbox:flag" in text else 0.0},
            "category_applied_input_types": {"violence": ["text"]},
        }
        for text in _texts(body.get("input"), "input")
    ]
    return _encode({"id": "modr-sandbox", "model": body.get("model"), "results": results})


def count_tokens(body: dict[str, Any]) -> bytes:
    """Words, counted as tokens. Refuses members that the vendor's API does not know there."""
    unknown = sorted(set(body) - {"messages", "model", "system", "tools", "tool_choice", "thinking"})
    if unknown:
        raise BadPrompt(f"{unknown[0]}: extra inputs are not permitted")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadPrompt("messages: at least one message is required")
    return _encode({"input_tokens": sum(len(str(each.get("content", "")).split()) for each in messages)})
