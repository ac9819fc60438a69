"""LiteLLM as a client. Its pin on the OpenAI client contradicts ours, so it runs from the environment of the bench's peers."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from tests.support.gateways import KEY, RunningGateway
from tests.support.worlds import order

PYTHON = Path(
    os.environ.get(
        "SAFECONDUCT_TEST_LITELLM", Path(__file__).parents[2] / "bench/peers/env/litellm/bin/python"
    )
)
pytestmark = pytest.mark.skipif(
    not PYTHON.exists(), reason="needs LiteLLM: bench/peers/set-up litellm, or SAFECONDUCT_TEST_LITELLM"
)
ASKING = """
import json, os, sys
import litellm

litellm.suppress_debug_info = True
url, key = sys.argv[1:]
ask = [{"role": "user", "content": "hello there"}]
told = {}
for name, model, base in (
    ("openai", "openai/model-x", url + "/v1"), ("anthropic", "anthropic/model-x", url)
):
    given = {"model": model, "messages": ask, "api_base": base, "api_key": key, "max_tokens": 60, "num_retries": 0}
    try:
        answer = litellm.completion(**given)
        pieces = [piece.choices[0].delta.content or "" for piece in litellm.completion(stream=True, **given)]
        told[name] = [answer.choices[0].message.content, "".join(pieces), answer.usage.prompt_tokens]
    except litellm.exceptions.APIError as error:
        told[name] = [error.status_code, str(error)]
    except Exception as error:
        told[name] = [getattr(error, "status_code", 0), str(error)]
print(json.dumps(told))
"""


def ask(gateway):
    environment = {
        name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")
    } | {"LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    done = subprocess.run(
        [PYTHON, "-c", ASKING, gateway.url, KEY],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_litellm_is_answered_whole_and_in_streams_on_both_wires(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        for whole, streamed, tokens in ask(gateway).values():
            assert "sandbox provider" in whole
            assert streamed.split() == whole.split()
            assert tokens == 2
        assert gateway.reported == []


def test_a_denial_reaches_litellms_caller_with_its_code(tmp_path):
    with RunningGateway(tmp_path) as gateway:
        gateway.change(order("7", "suspend", ["model-x"], gateway.world.now - 1))
        for status, text in ask(gateway).values():
            assert status == 403
            assert "DIRECTIVE" in text
