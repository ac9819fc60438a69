"""The sandbox provider's `/v1/responses`: answers, streams, and the store of answers behind GET, DELETE and cancel.

One store for every caller of one credential, as real providers have it: keeping tenants apart is the gateway's work.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from safeconduct.web.sandbox.answers import NOTICE, BadPrompt
from safeconduct.web.sandbox.other_answers import read_object

_encode = msgspec.json.Encoder().encode


def _text_of(given: Any) -> str:
    if isinstance(given, str):
        return given
    if isinstance(given, list):
        parts = []
        for item in given:
            content = item.get("content") if isinstance(item, dict) else None
            if isinstance(content, str):
                parts.append(content)
            elif isinstance(content, list):
                parts += [str(part.get("text", "")) for part in content if isinstance(part, dict)]
        return " ".join(parts)
    raise BadPrompt("input: required")


class ResponseStore:
    """Makes answers and keeps those that are to be stored."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Any]] = {}
        self._made = 0

    def make(self, data: bytes, created: int) -> tuple[bool, dict[str, Any]]:
        """Answer a request: whether it asks for a stream, and the answer. Raises BadPrompt."""
        body = read_object(data)
        previous = body.get("previous_response_id")
        if previous is not None and previous not in self._kept:
            raise BadPrompt(f"previous_response_id: {previous} not found")
        said = _text_of(body.get("input"))
        before = self._kept[previous]["output"][0]["content"][0]["text"] if previous is not None else ""
        text = f"{NOTICE} {body.get('model')} repeats: {said[:400]}" + (
            f" (after: {before})" if before else ""
        )
        self._made += 1
        digest = hashlib.sha256(data + str(self._made).encode()).hexdigest()[:32]
        background = body.get("background") is True
        answer: dict[str, Any] = {
            "id": f"resp_sandbox{digest}",
            "object": "response",
            "created_at": created,
            "status": "queued" if background else "completed",
            "background": background,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata") or {},
            "model": body.get("model"),
            "output": [self._message(digest, text)],
            "parallel_tool_calls": True,
            "previous_response_id": previous,
            "store": body.get("store") is not False,
            "temperature": 1.0,
            "text": {"format": {"type": "text"}},
            "tool_choice": "auto",
            "tools": body.get("tools") or [],
            "top_p": 1.0,
            "usage": {
                "input_tokens": len(said.split()),
                "input_tokens_details": {"cached_tokens": 0},
                "output_tokens": len(text.split()),
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": len(said.split()) + len(text.split()),
            },
        }
        if answer["store"]:
            self._kept[answer["id"]] = answer
        if background:
            return False, {**answer, "output": [], "usage": None}
        return body.get("stream") is True, answer

    @staticmethod
    def _message(digest: str, text: str) -> dict[str, Any]:
        return {
            "type": "message",
            "id": f"msg_{digest}",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": text, "annotations": [], "logprobs": []}],
        }

    def get(self, name: str) -> dict[str, Any] | None:
        """A stored answer; one that was made in the background is complete by now."""
        kept = self._kept.get(name)
        return None if kept is None else {**kept, "status": kept.get("cancelled", "completed")}

    def delete(self, name: str) -> dict[str, Any] | None:
        """Delete a stored answer."""
        if self._kept.pop(name, None) is None:
            return None
        return {"id": name, "object": "response", "deleted": True}

    def cancel(self, name: str) -> dict[str, Any] | None:
        """Cancel an answer made in the background."""
        kept = self._kept.get(name)
        if kept is None:
            return None
        kept["cancelled"] = "cancelled"
        return {**kept, "status": "cancelled"}


def events(answer: dict[str, Any]) -> list[bytes]:
    """The stream of an answer."""
    message = answer["output"][0]
    part = message["content"][0]
    place = {"item_id": message["id"], "output_index": 0, "content_index": 0}
    begun = {**answer, "status": "in_progress", "output": [], "usage": None}
    told: list[tuple[str, dict[str, Any]]] = [
        ("response.created", {"response": begun}),
        ("response.in_progress", {"response": begun}),
        (
            "response.output_item.added",
            {"output_index": 0, "item": {**message, "status": "in_progress", "content": []}},
        ),
        ("response.content_part.added", {**place, "part": {**part, "text": ""}}),
        *(
            ("response.output_text.delta", {**place, "delta": f"{word} ", "logprobs": []})
            for word in part["text"].split()
        ),
        ("response.output_text.done", {**place, "text": part["text"], "logprobs": []}),
        ("response.content_part.done", {**place, "part": part}),
        ("response.output_item.done", {"output_index": 0, "item": message}),
        ("response.completed", {"response": answer}),
    ]
    return [
        b"event: "
        + name.encode()
        + b"\ndata: "
        + _encode({"type": name, "sequence_number": number, **members})
        + b"\n\n"
        for number, (name, members) in enumerate(told)
    ]
