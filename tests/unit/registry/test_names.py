from __future__ import annotations

import pytest

from safeconduct.kernel.errors import InvalidInput, UnsafeConfiguration
from safeconduct.kernel.vocabulary import Wire
from safeconduct.registry.deployment import check_base_url, check_deployment
from safeconduct.registry.model import variants_named

VARIANTS = {"a-1": "a", "a-2": "a", "b": "b", "b-mini": "b"}


def test_a_models_name_means_all_its_variants_also_when_one_has_the_same_name():
    assert variants_named(["a"], VARIANTS) == ("a-1", "a-2")
    assert variants_named(["b"], VARIANTS) == ("b", "b-mini")
    assert variants_named(["b-mini", "a-1", "a"], VARIANTS) == ("a-1", "a-2", "b-mini")


def test_an_unknown_name_is_refused_by_its_place():
    with pytest.raises(InvalidInput) as caught:
        variants_named(["a", "c"], VARIANTS)
    assert caught.value.field == "variants[1]"


@pytest.mark.parametrize(
    "url",
    [
        "http://models.example/v1",
        "https://user:secret@models.example",
        "https://models.example/?key=secret",
        "https://models.example/#x",
        "ftp://models.example",
        "https://",
        "https://models.example:port",
        "https://models.example\r\nx: y",
        "http://127.0.0.1.models.example",
        "file:///etc/passwd",
        "",
    ],
)
def test_an_address_that_would_show_a_credential_or_is_none_is_refused(url):
    with pytest.raises(InvalidInput):
        check_base_url(url)


@pytest.mark.parametrize(
    "url",
    ["https://models.example/v1", "http://127.0.0.1:8080", "http://[::1]:1", "http://localhost:11434/v1"],
)
def test_https_and_loopback_are_accepted(url):
    check_base_url(url)


def test_a_sandbox_is_refused_in_production():
    check_deployment("sandbox", "http://127.0.0.1:1", [Wire.OPENAI], production=False)
    with pytest.raises(UnsafeConfiguration):
        check_deployment("sandbox", "http://127.0.0.1:1", [Wire.OPENAI], production=True)


def test_a_deployment_speaks_only_the_wires_of_its_kind():
    for kind, wires in (("openai", [Wire.ANTHROPIC]), ("anthropic", []), ("teletype", [Wire.OPENAI])):
        with pytest.raises(InvalidInput):
            check_deployment(kind, "https://models.example", wires, production=False)
