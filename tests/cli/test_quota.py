"""`quota` and `model price` against a running instance."""

import json

import pytest
from tests.support.running_api import running_api

from safeconduct.cli.application import run
from safeconduct.gateway.quotas import charge_of
from safeconduct.kernel.vocabulary import Level
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    with running_api(tmp_path_factory.mktemp("quota")) as bench:
        bench.record.commit(
            [
                ProviderRegistered(provider="lab-a", organisation="org-b", jurisdiction="US"),
                ModelRegistered(model="swift", provider="lab-a"),
                VariantRegistered(variant="swift-1", model="swift", level=Level.C1, compartments=()),
            ]
        )
        yield bench


@pytest.fixture
def cli(bench, capsys):
    def call(*words, status=0):
        found = run([*words, "--data", str(bench.home)])
        out, err = capsys.readouterr()
        assert found == status, (words, found, out, err)
        return out if status == 0 else err

    return call


def test_a_quota_is_set_shown_and_ended(cli, bench):
    words = ("--organisation", "org-a", "--requests", "100", "--every", "60s", "--sliding")
    text = cli("quota", "set", "--name", "acme", *words)
    assert "100 requests in any 60 s, organisation org-a" in text
    quota = bench.record.state.quotas["acme"]
    charge = charge_of(quota, {})
    bench.quotas.reserve([charge], bench.now * 1000, lambda held: None)
    counter = bench.quotas._counters[charge.counter]
    counter.buckets[bench.now * 1000 // charge.width] = 7
    shown = json.loads(cli("quota", "show", "--json"))
    assert [(one["quota"], one["used"]) for one in shown] == [("acme", 7)]
    assert "7 requests" in cli("quota", "show", "--as", "organisation:org-a")
    assert "no quotas" in cli("quota", "show", "--as", "provider:lab-a")
    assert "ended acme" in cli("quota", "end", "acme")


def test_a_quota_with_a_counter_for_each_says_which_are_to_be_named(cli):
    made = json.loads(cli("quota", "set", "--tokens", "500", "--every", "24h", "--per", "subject", "--json"))
    assert made["quota"].startswith("quota_")
    assert "say which subject" in cli("quota", "show")
    shown = json.loads(cli("quota", "show", "--subject", "sub-holder", "--json"))
    assert shown[0]["used"] == 0
    cli("quota", "end", made["quota"])


def test_a_price_and_a_budget(cli, bench):
    cli("model", "price", "swift-1", "--input", "3.00USD", "--output", "15.5 USD", "--max-output", "4096")
    metering = bench.record.state.variants["swift-1"].metering
    assert (metering.price.input, metering.price.output) == (3_000_000, 15_500_000)
    listed = json.loads(cli("model", "list", "--json"))
    assert listed[0]["price"]["currency"] == "USD"
    assert listed[0]["max_output_tokens"] == 4096
    words = ("--model", "swift-1", "--money", "0.000001USD", "--every", "30d")
    assert "0.000001 USD in each 2592000 s" in cli("quota", "set", "--name", "b", *words)
    cli("quota", "end", "b")


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("quota", "set", "--every", "60s"), "--requests"),
        (("quota", "set", "--every", "60s", "--requests", "1", "--tokens", "1"), "--requests"),
        (("quota", "set", "--every", "soon", "--requests", "1"), "--every"),
        (("quota", "set", "--every", "60s", "--requests", "1", "--per", "subjct"), "--per"),
        (("quota", "set", "--every", "60s", "--money", "1.0000001USD"), "--money"),
        (("quota", "set", "--every", "60s", "--money", "12"), "--money"),
        (("model", "price", "m", "--input", "1USD"), "--input"),
        (("model", "price", "m", "--input", "1USD", "--output", "1EUR"), "--output"),
        (("model", "price", "m", "--request", "1USD"), "--input"),
    ],
)
def test_wrong_use_names_the_option(cli, words, field):
    assert f"error: {field}" in cli(*words, status=2)
