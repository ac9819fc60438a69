"""The official openai and anthropic clients, unchanged, over the wire."""

import asyncio

import anthropic
import openai
import pytest
from tests.support.gateways import KEY, RunningGateway, principal_of
from tests.support.worlds import plain_world

ASK = [{"role": "user", "content": "hello there"}]
TOOL_SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("gateway"), plain_world()) as running:
        yield running
        assert running.reported == []


@pytest.fixture
def openai_client(gateway):
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=10) as client:
        yield client


@pytest.fixture
def anthropic_client(gateway):
    with anthropic.Anthropic(base_url=gateway.url, api_key=KEY, timeout=10) as client:
        yield client


def test_openai_answers(openai_client):
    answer = openai_client.chat.completions.create(model="model-x", messages=ASK)
    assert "[sandbox provider" in answer.choices[0].message.content
    assert answer.usage.prompt_tokens == 2
    assert answer._request_id.startswith("dec_")


def test_anthropic_answers(anthropic_client):
    answer = anthropic_client.messages.create(model="model-x", max_tokens=100, messages=ASK)
    assert "[sandbox provider" in answer.content[0].text
    assert answer.usage.input_tokens == 2
    assert answer._request_id.startswith("dec_")


def test_anthropic_beta_answers_and_its_header_is_forwarded(gateway, anthropic_client):
    answer = anthropic_client.beta.messages.create(
        model="model-x", max_tokens=100, messages=ASK, betas=["one-2025-01-01", "two-2025-02-02"]
    )
    assert answer.type == "message"
    assert gateway.seen[-1].headers[b"anthropic-beta"] == [b"one-2025-01-01,two-2025-02-02"]


def test_openai_streams(openai_client):
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in openai_client.chat.completions.create(model="model-x", messages=ASK, stream=True)
    ]
    assert "".join(pieces).startswith("[sandbox provider")


def test_openai_streams_usage_when_asked(openai_client):
    chunks = list(
        openai_client.chat.completions.create(
            model="model-x", messages=ASK, stream=True, stream_options={"include_usage": True}
        )
    )
    assert chunks[-1].choices == []
    assert chunks[-1].usage.prompt_tokens == 2


def test_anthropic_streams(anthropic_client):
    with anthropic_client.messages.stream(model="model-x", max_tokens=100, messages=ASK) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    assert text.startswith("[sandbox provider")
    assert final.stop_reason == "end_turn"
    assert final.usage.output_tokens > 5


def test_openai_tools(openai_client):
    tool = {"type": "function", "function": {"name": "weather", "parameters": TOOL_SCHEMA}}
    answer = openai_client.chat.completions.create(model="model-x", messages=ASK, tools=[tool])
    call = answer.choices[0].message.tool_calls[0]
    assert (call.function.name, call.function.arguments) == ("weather", '{"city":"sandbox"}')
    with openai_client.chat.completions.stream(model="model-x", messages=ASK, tools=[tool]) as stream:
        final = stream.get_final_completion()
    assert final.choices[0].finish_reason == "tool_calls"


def test_anthropic_tools(anthropic_client):
    tool = {"name": "weather", "input_schema": TOOL_SCHEMA}
    answer = anthropic_client.messages.create(model="model-x", max_tokens=100, messages=ASK, tools=[tool])
    assert answer.content[0].input == {"city": "sandbox"}
    with anthropic_client.messages.stream(
        model="model-x", max_tokens=100, messages=ASK, tools=[tool]
    ) as stream:
        final = stream.get_final_message()
    assert final.stop_reason == "tool_use"
    assert final.content[0].input == {"city": "sandbox"}


def test_async_clients_answer_and_stream(gateway):
    async def run():
        async with openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, timeout=10) as client:
            answers = await asyncio.gather(
                *(client.chat.completions.create(model="model-x", messages=ASK) for _ in range(20))
            )
            assert len({answer._request_id for answer in answers}) == 20
            stream = await client.chat.completions.create(model="model-x", messages=ASK, stream=True)
            pieces = [chunk.choices[0].delta.content or "" async for chunk in stream]
            assert "".join(pieces).startswith("[sandbox")
        async with anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY, timeout=10) as client:
            async with client.messages.stream(model="model-x", max_tokens=100, messages=ASK) as stream:
                assert (await stream.get_final_text()).startswith("[sandbox")

    asyncio.run(run())


def test_both_clients_list_models(openai_client, anthropic_client):
    assert [model.id for model in openai_client.models.list()] == ["model-x"]
    assert [model.id for model in anthropic_client.models.list()] == ["model-x"]
    assert openai_client.models.retrieve("model-x").owned_by == "lab"
    assert anthropic_client.models.retrieve("model-x").display_name == "model-x"


def count_of(gateway):
    return gateway.credentials.asked


@pytest.mark.parametrize(
    ("model", "error", "code"),
    [("model-none", "NotFoundError", "MODEL_UNKNOWN"), ("model-x", "PermissionDeniedError", "GRANT_MISSING")],
)
def test_denials_raise_the_clients_own_errors_after_exactly_one_request(gateway, model, error, code):
    world = gateway.world
    if "stranger" not in world.claims:
        world.person("stranger", "org-a")
        gateway.change()
        gateway.credentials.principals["stranger-key"] = principal_of(world, "stranger")
    before, reached = count_of(gateway), len(gateway.seen)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="stranger-key", max_retries=3) as client:
        with pytest.raises(getattr(openai, error)) as caught:
            client.chat.completions.create(model=model, messages=ASK)
    assert caught.value.code == code
    assert caught.value.body["reasons"][0]["code"] == code
    assert caught.value.body["remedy"]
    assert caught.value.request_id.startswith("dec_")
    assert count_of(gateway) == before + 1
    with anthropic.Anthropic(base_url=gateway.url, api_key="stranger-key", max_retries=3) as client:
        with pytest.raises(getattr(anthropic, error)) as caught:
            client.messages.create(model=model, max_tokens=10, messages=ASK)
    details = caught.value.body["error"]["details"]
    assert details["error_code"] == code
    assert details["reasons"][0]["code"] == code
    assert caught.value.request_id.startswith("dec_")
    assert count_of(gateway) == before + 2
    assert len(gateway.seen) == reached


def test_a_wrong_key_raises_the_clients_authentication_error_once(gateway):
    before = count_of(gateway)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="wrong", max_retries=3) as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="model-x", messages=ASK)
    assert caught.value.code == "PASSPORT_INVALID"
    with anthropic.Anthropic(base_url=gateway.url, api_key="wrong", max_retries=3) as client:
        with pytest.raises(anthropic.AuthenticationError):
            client.messages.create(model="model-x", max_tokens=10, messages=ASK)
    assert count_of(gateway) == before + 2


def test_an_unserved_route_raises_not_found_in_both_clients(gateway, openai_client, anthropic_client):
    with pytest.raises(openai.NotFoundError) as caught:
        openai_client.images.generate(model="model-x", prompt="x")
    assert caught.value.code == "ROUTE_UNKNOWN"
    with pytest.raises(anthropic.NotFoundError) as caught:
        anthropic_client.messages.batches.list()
    assert caught.value.body["error"]["details"]["error_code"] == "ROUTE_UNKNOWN"
    assert gateway.entries("refusal")[-1]["route"] == "GET /v1/messages/batches"


def test_a_providers_error_reaches_the_client_as_the_provider_meant_it(gateway):
    reached = len(gateway.seen)
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=KEY, max_retries=0) as client:
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(
                model="model-x", messages=[{"role": "user", "content": "[[sandbox:error-429]]"}]
            )
        # The client would obey ten minutes literally.
        assert int(caught.value.response.headers["retry-after"]) <= 30
        with pytest.raises(openai.InternalServerError):
            client.chat.completions.create(
                model="model-x", messages=[{"role": "user", "content": "[[sandbox:error-500]]"}]
            )
    assert len(gateway.seen) == reached + 2


def test_a_stream_that_the_provider_breaks_off_raises_in_both_clients(
    gateway, openai_client, anthropic_client
):
    broken = [{"role": "user", "content": "[[sandbox:broken-after-4]]"}]
    with pytest.raises(openai.APIError) as caught:
        list(openai_client.chat.completions.create(model="model-x", messages=broken, stream=True))
    assert "closed the connection" in str(caught.value)
    with pytest.raises(anthropic.APIError) as caught:
        list(anthropic_client.messages.create(model="model-x", max_tokens=100, messages=broken, stream=True))
    assert "closed the connection" in str(caught.value)
    assert [each["ended"] for each in gateway.entries("completion")[-2:]] == ["upstream_error"] * 2
