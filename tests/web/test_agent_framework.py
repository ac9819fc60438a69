"""An agent framework from the package index, unchanged, with tools: over chat, responses and messages."""

import asyncio

import anthropic
import openai
import pytest
from pydantic_ai import Agent
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.anthropic import AnthropicProvider
from pydantic_ai.providers.openai import OpenAIProvider
from tests.support.gateways import KEY, RunningGateway
from tests.support.worlds import order, plain_world


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with RunningGateway(tmp_path_factory.mktemp("gateway"), plain_world()) as running:
        yield running
        assert running.reported == []


def models_of(gateway):
    made = openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", api_key=KEY)
    claude = anthropic.AsyncAnthropic(base_url=gateway.url, api_key=KEY)
    return {
        "chat": OpenAIChatModel("model-x", provider=OpenAIProvider(openai_client=made)),
        "responses": OpenAIResponsesModel("model-x", provider=OpenAIProvider(openai_client=made)),
        "messages": AnthropicModel("model-x", provider=AnthropicProvider(anthropic_client=claude)),
    }


@pytest.mark.parametrize("wire", ["chat", "messages"])
def test_an_agent_calls_its_tool_and_each_of_its_calls_is_decided(gateway, wire):
    asked = []

    async def run():
        agent = Agent(models_of(gateway)[wire])

        @agent.tool_plain
        def weather(city: str) -> str:
            """The weather."""
            asked.append(city)
            return "sunny"

        return await agent.run("what is the weather")

    before = len(gateway.entries("decision"))
    result = asyncio.run(run())
    assert asked == ["sandbox"]
    assert "sandbox provider" in result.output
    assert len(gateway.entries("decision")) == before + 2


def test_an_agent_over_responses_answers(gateway):
    async def run():
        return await Agent(models_of(gateway)["responses"]).run("hello there")

    assert "hello there" in asyncio.run(run()).output


def test_an_agents_stream_is_text_from_the_first_event_on(gateway):
    async def run():
        async with Agent(models_of(gateway)["chat"]).run_stream("hello there") as stream:
            return [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]

    pieces = asyncio.run(run())
    assert len(pieces) > 3
    assert "hello" in "".join(pieces)


def test_a_denial_reaches_the_agents_code_with_its_reasons(tmp_path):
    from pydantic_ai.exceptions import ModelHTTPError  # noqa: PLC0415

    with RunningGateway(tmp_path) as own:
        own.change(order("7", "suspend", ["model-x"], own.world.now - 1))

        async def run():
            return await Agent(models_of(own)["chat"]).run("hello")

        with pytest.raises(ModelHTTPError) as caught:
            asyncio.run(run())
        assert caught.value.status_code == 403
        assert caught.value.body["reasons"][0]["code"] == "DIRECTIVE"
