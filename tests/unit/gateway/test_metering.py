"""Usage from JSON and streams of both wires; whole events only; the asked-for usage event is taken out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from safeconduct.gateway.metering import MAX_KEPT, UsageMeter, is_event_stream

OPENAI = [
    b'data: {"choices":[{"delta":{"content":"event: error"}}],"usage":null}\n\n',
    b'data: {"choices":[{"delta":{}}],"usage":null}\r\n\r\n',
    b": ping\n\n",
    b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":9}}\n\n',
    b"data: [DONE]\n\n",
]
ANTHROPIC = [
    b'event: message_start\ndata: {"message":{"usage":{"input_tokens":5,"cache_read_input_tokens":2,"output_tokens":1}}}\n\n',
    b'event: content_block_delta\ndata: {"delta":{"text":"\\"usage\\" data: {\\"error\\""}}\n\n',
    b'event: message_delta\ndata: {"usage":{"output_tokens":9}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


def feed(meter, data, size):
    out = [meter.feed(data[at : at + size]) for at in range(0, len(data), size)]
    return [*out, meter.finish()]


@pytest.mark.parametrize(("events", "usage"), [(OPENAI, (7, 9)), (ANTHROPIC, (7, 9))])
@given(size=st.integers(1, 400))
def test_streams_are_metered_and_passed_on_unchanged_however_they_are_cut(events, usage, size):
    meter = UsageMeter(stream=True)
    assert b"".join(feed(meter, b"".join(events), size)) == b"".join(events)
    assert (meter.input_tokens, meter.output_tokens) == usage
    assert not meter.failed


@given(size=st.integers(1, 400))
def test_only_the_usage_event_is_taken_out(size):
    meter = UsageMeter(stream=True, hide_usage_event=True)
    out = b"".join(feed(meter, b"".join(OPENAI), size))
    assert out == b"".join(OPENAI[:3] + OPENAI[4:])
    assert (meter.input_tokens, meter.output_tokens) == (7, 9)


@given(size=st.integers(1, 100))
def test_a_stream_is_passed_on_in_whole_events(size):
    meter = UsageMeter(stream=True)
    data = b"".join(OPENAI)
    passed = b""
    for at in range(0, len(data), size):
        passed += meter.feed(data[at : at + size])
        assert passed == b"" or passed.endswith((b"\n\n", b"\n\r\n"))


@pytest.mark.parametrize("event", [b"event: error\ndata: {}\n\n", b'data: {"error":{"message":"x"}}\n\n'])
def test_a_providers_error_event_is_noticed(event):
    meter = UsageMeter(stream=True)
    meter.feed(OPENAI[0] + event)
    assert meter.failed


@pytest.mark.parametrize(
    "body",
    [
        b'{"usage":{"prompt_tokens":3,"completion_tokens":4}}',
        b'{"usage":{"input_tokens":3,"output_tokens":4}}',
    ],
)
def test_json_is_metered(body):
    meter = UsageMeter(stream=False)
    assert b"".join(feed(meter, body, 5)) == body
    assert (meter.input_tokens, meter.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b'{"usage":"many"}',
        b'{"usage":{"prompt_tokens":"3"}}',
        b"\xff",
        b'{"usage":{"prompt_tokens":1.5}}',
    ],
)
def test_what_is_no_usage_is_none(body):
    for stream in (False, True):
        meter = UsageMeter(stream=stream)
        meter.feed(body)
        meter.finish()
        assert (meter.input_tokens, meter.output_tokens) == (None, None)


@pytest.mark.parametrize("stream", [False, True])
def test_an_endless_event_is_passed_on_and_not_kept(stream):
    meter = UsageMeter(stream=stream, hide_usage_event=True)
    data = b"data: " + b"x" * (MAX_KEPT + 10)
    assert b"".join(feed(meter, data, 100_000)) == data
    assert meter.input_tokens is None


def test_an_event_stream_is_known_by_its_media_type():
    assert is_event_stream(b"Text/Event-Stream; charset=utf-8")
    assert not is_event_stream(b"application/json")
    assert not is_event_stream(None)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_in_pieces_of_one_byte_costs_its_length_and_not_its_square(stream):
    """Half a million pieces: seconds when every one is copied once, minutes when all before it are copied again."""
    meter = UsageMeter(stream=stream)
    data = b'data: {"usage":{"prompt_tokens":3,"completion_tokens":4},"x":"' if stream else b'{"x":"'
    for byte in (data, *[b"x"] * 500_000):
        meter.feed(byte)
    meter.feed(b'"}\n\n' if stream else b'","usage":{"prompt_tokens":3,"completion_tokens":4}}')
    meter.finish()
    assert (meter.input_tokens, meter.output_tokens) == (3, 4)


@pytest.mark.parametrize(
    "before", [b"\n", b"\r\n", b"\n\n\n", b"id: 3\n", b": ping\n", b"event: x\nretry: 5\n"]
)
def test_an_error_event_is_noticed_whatever_stands_before_it(before):
    for event in (b'data: {"error":{"message":"x"}}\n\n', b"event: error\ndata: {}\n\n"):
        for size in (1, 1000):
            meter = UsageMeter(stream=True)
            assert b"".join(feed(meter, OPENAI[0] + before + event, size)) == OPENAI[0] + before + event
            assert meter.failed
