"""Usage out of an upstream's answer: the provider's own numbers, from JSON and from event streams of both wires.

Sans-I/O: pieces of the answer go in, pieces for the client come out. Everything is handed on as it came, at once; events of
a stream whole, so that a stream that is cut can end with a readable error. The one event that may be missing is the usage
event that was asked for on the client's behalf. Refuses to guess: without numbers from the provider there are none.
"""

from __future__ import annotations

import re

import msgspec

MAX_KEPT = 4 * 1024 * 1024
"""An answer or an event longer than this is relayed but not read for usage."""


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None


class _Message(msgspec.Struct):
    id: str | None = None
    usage: _Usage | None = None


class _Event(msgspec.Struct):
    id: str | None = None
    usage: _Usage | None = None
    message: _Message | None = None
    response: _Message | None = None
    choices: list[msgspec.Raw] | None = None


_event = msgspec.json.Decoder(_Event)

# At the start of a line only: a model may write these words, but JSON text holds no bare line feed. Of any line, since other
# fields and further empty lines may stand before it.
_ERROR_EVENT = re.compile(rb'^(?:event: ?(?:error|response\.failed)\b|data: ?\{[ \t]*"error")', re.MULTILINE)


class UsageMeter:
    """Reads one answer.

    stream: the answer is an event stream. hide_usage_event: take out the OpenAI event that carries usage and no choices.
    input_tokens, output_tokens: what was found so far. failed: the stream carried an error event of the provider's.
    wants_id: look for the answer's own id (`/v1/responses`), found in `answer_id`.
    """

    __slots__ = (
        "_hide",
        "_kept",
        "_stream",
        "_tail",
        "_wants_id",
        "answer_id",
        "failed",
        "input_tokens",
        "output_tokens",
    )

    def __init__(self, *, stream: bool, hide_usage_event: bool = False, wants_id: bool = False) -> None:
        self._wants_id = wants_id
        self.answer_id: str | None = None
        self._stream = stream
        self._hide = hide_usage_event
        # INVARIANT: grows in place and is searched where it is new: an answer in one-byte pieces costs its length, not its square.
        self._tail = bytearray()
        self._kept = True
        self.input_tokens: int | None = None
        self.output_tokens: int | None = None
        self.failed = False

    @property
    def hides_usage(self) -> bool:
        """Whether the event that carries usage is taken out."""
        return self._hide

    def answer_is(self, *, stream: bool, readable: bool) -> None:
        """What the answer's head says: an event stream or not, and whether it can be read at all (not compressed)."""
        self._stream = stream
        self._kept = readable

    def feed(self, data: bytes) -> bytes:
        """Take in a piece of the answer; returns what the client gets now (perhaps nothing yet)."""
        if not self._kept:
            return data
        tail = self._tail
        if not self._stream:
            tail += data
            if len(tail) > MAX_KEPT:
                self._kept = False
                self._tail = bytearray()
            return data
        if tail:
            new = len(tail)
            tail += data
            end = _end_of_last_event(tail, new)
            whole = bytes(tail[:end]) if end else b""
            del tail[:end]
        else:
            end = _end_of_last_event(data, 0)
            whole = data[:end]
            if end != len(data):
                tail += data[end:]
        if b'"usage"' in whole or (self._wants_id and self.answer_id is None):
            whole = self._read_events(whole)
        if (b"error" in whole or b"failed" in whole) and _ERROR_EVENT.search(whole):
            self.failed = True
        if len(tail) > MAX_KEPT:
            self._kept = False
            whole += tail
            self._tail = bytearray()
        return whole

    def finish(self) -> bytes:
        """The answer is over; returns what was still held back."""
        tail, self._tail = bytes(self._tail), bytearray()
        if not self._kept:
            return b""
        if not self._stream:
            self._read(tail)
            return b""
        if b'"usage"' in tail:
            self._read(_data_of(tail))
        return tail

    def _read_events(self, whole: bytes) -> bytes:
        kept = []
        for event in _events(whole):
            if b'"usage"' in event or (self._wants_id and self.answer_id is None):
                found = self._read(_data_of(event))
                # The event that include_usage adds has an empty `choices`; usage beside choices is the provider's habit.
                if self._hide and found is not None and found.usage is not None and found.choices == []:
                    continue
            kept.append(event)
        return b"".join(kept)

    def _read(self, data: bytes) -> _Event | None:
        try:
            event = _event.decode(data)
        except (msgspec.MsgspecError, ValueError):
            return None
        usage = event.usage
        inner = event.message or event.response
        if usage is None and inner is not None:
            usage = inner.usage
        if self._wants_id and self.answer_id is None:
            # A stream names it inside `response`, a whole answer at its top.
            self.answer_id = event.response.id if event.response is not None else event.id
        if usage is None:
            return event
        if usage.prompt_tokens is not None:
            self.input_tokens = usage.prompt_tokens
        elif usage.input_tokens is not None:
            # Anthropic counts what was read from or written to its cache beside the rest of the input.
            self.input_tokens = (
                usage.input_tokens
                + (usage.cache_creation_input_tokens or 0)
                + (usage.cache_read_input_tokens or 0)
            )
        if usage.completion_tokens is not None:
            self.output_tokens = usage.completion_tokens
        elif usage.output_tokens is not None:
            self.output_tokens = usage.output_tokens
        return event


def _end_of_last_event(buffer: bytes | bytearray, new: int) -> int:
    """Where the last whole event ends, 0 when there is none; before `new` nothing ends."""
    # WHATWG HTML 9.2: events end with an empty line; lines end with LF, CRLF or CR (no provider sends a lone CR).
    end = buffer.rfind(b"\n\n", max(0, new - 1))
    crlf = buffer.rfind(b"\n\r\n", max(0, new - 2))
    return max(end + 2 if end >= 0 else 0, crlf + 3 if crlf >= 0 else 0)


def _events(whole: bytes) -> list[bytes]:
    """Complete events, each with its closing empty line."""
    events = []
    start = 0
    while start < len(whole):
        end = whole.find(b"\n\n", start)
        crlf = whole.find(b"\n\r\n", start)
        if end < 0 or 0 <= crlf < end:
            end = crlf + 3 if crlf >= 0 else len(whole)
        else:
            end += 2
        events.append(whole[start:end])
        start = end
    return events


def _data_of(event: bytes) -> bytes:
    lines = [line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:")]
    return b"\n".join(lines)


def is_event_stream(content_type: bytes | None) -> bool:
    """Whether a Content-Type says `text/event-stream`."""
    if content_type is None or content_type == b"application/json":
        return False
    return content_type.partition(b";")[0].strip().lower() == b"text/event-stream"
