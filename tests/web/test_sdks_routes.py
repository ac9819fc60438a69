"""The official clients on the routes beside chat and messages: sync, async, streams, raw answers."""

import asyncio

import anthropic
import msgspec
import openai
import pytest
from tests.support.gateways import KEY, RunningGateway
from tests.support.worlds import plain_world

ASK = [{"role": "user", "content": "hello there"}]


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("gateway"), plain_world()) as running:
        yield running
        assert running.reported == []


def completion_of(gateway, decision):
    """The completion entry of a decision, once it is there."""
    found = []

    def there():
        found[:] = [each for each in gateway.entries("completion") if each["decision"] == decision]
        return bool(found)

    gateway.until(there)
    return found[0]


@pytest.fixture
def client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=10) as made:
        yield made


def test_a_response_is_answered_fetched_continued_and_deleted(gateway, client):
    made = client.responses.create(model="model-x", input="hello there")
    assert "hello there" in made.output_text
    assert (made.usage.input_tokens, made._request_id[:4]) == (2, "dec_")
    completion = completion_of(gateway, made._request_id)
    assert (completion["input_tokens"], completion["output_tokens"]) == (2, made.usage.output_tokens)
    fetched = client.responses.retrieve(made.id)
    assert fetched.output_text == made.output_text
    # What it used is counted once, however often it is fetched.
    assert completion_of(gateway, fetched._request_id).get("input_tokens") is None
    following = client.responses.create(model="model-x", input="more", previous_response_id=made.id)
    assert "(after: [sandbox provider" in following.output_text
    client.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError) as caught:
        client.responses.retrieve(made.id)
    assert caught.value.code == "response_not_found"


def test_a_response_streams_and_its_usage_is_counted(gateway, client):
    with client.responses.stream(model="model-x", input="tell me") as stream:
        text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
        final = stream.get_final_response()
        decision = stream._response.headers["x-request-id"]
    assert text.strip() == final.output_text
    completion = completion_of(gateway, decision)
    assert (completion["ended"], completion["input_tokens"]) == ("complete", 2)
    again = list(client.responses.retrieve(final.id, stream=True))
    assert again[-1].type == "response.completed"


def test_a_response_made_in_the_background_is_fetched_and_cancelled(client):
    made = client.responses.create(model="model-x", input="slowly", background=True)
    assert made.status == "queued"
    assert client.responses.retrieve(made.id).status == "completed"
    assert client.responses.cancel(made.id).status == "cancelled"


def test_tools_images_and_structured_output_of_a_response_pass_unharmed(gateway, client):
    tools = [{"type": "function", "name": "weather", "parameters": {"type": "object"}, "strict": False}]
    content = [
        {"type": "input_text", "text": "what is this"},
        {"type": "input_image", "image_url": "data:image/png;base64,AAAA", "detail": "low"},
    ]
    shape = {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}}
    client.responses.create(
        model="model-x", input=[{"role": "user", "content": content}], tools=tools, text=shape
    )
    sent = msgspec.json.decode(gateway.seen[-1].body)
    assert sent["tools"] == tools
    assert sent["input"] == [{"role": "user", "content": content}]
    assert sent["text"] == shape
    assert sent["user"].startswith("u-")


def test_embeddings(gateway, client):
    made = client.embeddings.create(model="model-x", input=["one two", "three"], encoding_format="float")
    assert len(made.data) == 2
    raw = client.embeddings.with_raw_response.create(
        model="model-x", input=["one two", "three"], encoding_format="float"
    )
    assert completion_of(gateway, raw.headers["x-request-id"])["input_tokens"] == 3


def test_completions_whole_and_streamed(gateway, client):
    made = client.completions.create(model="model-x", prompt="once upon")
    assert made.choices[0].text.startswith("[sandbox")
    stream = client.completions.create(model="model-x", prompt="once upon", stream=True)
    pieces = list(stream)
    assert all(piece.choices for piece in pieces), (
        "the usage event asked for on the client's behalf is taken out"
    )
    assert completion_of(gateway, stream.response.headers["x-request-id"])["input_tokens"] == 2


def test_moderations_need_a_model_because_it_decides(client):
    assert client.moderations.create(model="model-x", input="sandbox:flag").results[0].flagged
    with pytest.raises(openai.BadRequestError) as caught:
        client.moderations.create(input="x")
    assert caught.value.code == "model_missing"


def test_count_tokens_counts_and_names_nobody_upstream(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY) as client:
        counted = client.messages.count_tokens(model="model-x", messages=ASK)
        beta = client.beta.messages.count_tokens(model="model-x", messages=ASK, betas=["some-2026-01-01"])
    assert (counted.input_tokens, beta.input_tokens) == (2, 2)
    assert b"user_id" not in gateway.seen[-1].body
    assert gateway.seen[-1].target == "/v1/messages/count_tokens"
    assert gateway.seen[-1].headers[b"anthropic-beta"] == [b"some-2026-01-01,token-counting-2024-11-01"]


def test_async_clients_and_raw_answers_on_every_route(gateway):
    async def ask():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY) as client:
            response, vector, legacy, verdict = await asyncio.gather(
                client.responses.create(model="model-x", input="hi"),
                client.embeddings.create(model="model-x", input="hi", encoding_format="float"),
                client.completions.create(model="model-x", prompt="hi"),
                client.moderations.create(model="model-x", input="hi"),
            )
            raw = await client.responses.with_raw_response.retrieve(response.id)
            stream = await client.responses.create(model="model-x", input="hi", stream=True)
            events = [event.type async for event in stream]
            return response, vector, legacy, verdict, raw, events

    response, vector, legacy, verdict, raw, events = asyncio.run(ask())
    assert response.status == "completed"
    assert vector.data
    assert legacy.choices
    assert verdict.results
    assert raw.headers["x-request-id"].startswith("dec_")
    assert events[0] == "response.created"
    assert events[-1] == "response.completed"


def test_images_audio_structured_output_and_caching_of_both_wires_pass_unharmed(gateway, client):
    content = [
        {"type": "text", "text": "what is this"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    ]
    shape = {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
    }
    client.chat.completions.create(
        model="model-x",
        messages=[{"role": "user", "content": content}],
        response_format=shape,
        prompt_cache_key="k",
        extra_headers={"OpenAI-Beta": "one=v1"},
    )
    sent = msgspec.json.decode(gateway.seen[-1].body)
    assert sent["messages"] == [{"role": "user", "content": content}]
    assert (sent["response_format"], sent["prompt_cache_key"]) == (shape, "k")
    assert gateway.seen[-1].headers[b"openai-beta"] == [b"one=v1"]
    blocks = [
        {"type": "text", "text": "long context", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ]
    tools = [{"name": "t", "input_schema": {"type": "object"}, "cache_control": {"type": "ephemeral"}}]
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY) as other:
        other.messages.create(
            model="model-x",
            max_tokens=50,
            messages=[{"role": "user", "content": blocks}],
            tools=tools,
            system=[{"type": "text", "text": "be brief", "cache_control": {"type": "ephemeral"}}],
        )
    sent = msgspec.json.decode(gateway.seen[-1].body)
    assert sent["messages"] == [{"role": "user", "content": blocks}]
    assert sent["tools"] == tools
    assert sent["system"][0]["cache_control"] == {"type": "ephemeral"}
