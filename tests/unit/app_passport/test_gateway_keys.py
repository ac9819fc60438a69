"""Gateway keys: made once from a presentation, compared by digest, bound to networks, ended by revocation."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.credentials import HUMAN, Credentials
from tests.support.holders import CountedBytes
from tests.support.instances import operator, organisation

from safeconduct.app.register_gateway_key import MadeKey, register_gateway_key
from safeconduct.app.revoke_gateway_key import revoke_gateway_key
from safeconduct.app.verify_credential import CredentialVerifier
from safeconduct.kernel.errors import Forbidden, InvalidInput, NotFound, VerificationFailed
from safeconduct.kernel.ids import ProjectId
from safeconduct.kernel.vocabulary import Binding, Level, Purpose
from safeconduct.passport.gateway_key import check_networks, generate, network_permits, parse, secret_fits
from safeconduct.passport.principal import Principal


def make(at: Credentials, **changes: Any) -> MadeKey:
    given: dict[str, Any] = {"networks": ("192.0.2.0/24",), "purpose": Purpose.CODING, **changes}
    return register_gateway_key(at.desk, at.presentation(["level", "ial"]), **given)


def ask(
    at: Credentials,
    text: str,
    verifier: CredentialVerifier | None = None,
    *,
    header: str = "x",
    **changes: Any,
) -> Principal:
    given: dict[str, Any] = {
        "authorization": None if header == "x" else b"Bearer " + text.encode(),
        "x_api_key": text.encode() if header in ("x", "both") else None,
        "dpop": [], "method": "POST", "url": f"{at.instance.audience}/v1/messages", "source": "192.0.2.7",
        "now": at.embedded.now, **changes,
    }  # fmt: skip
    return (verifier or at.verifier()).verify(**given)


def code_of(*given: Any, **changes: Any) -> str:
    with pytest.raises(VerificationFailed) as failed:
        ask(*given, **changes)
    return str(failed.value.code)


@pytest.mark.parametrize("header", ["x", "bearer", "both"])
def test_a_key_is_accepted_in_either_header_with_the_claims_disclosed_then(
    at: Credentials, header: str
) -> None:
    principal = ask(at, make(at).text, header=header)
    assert (principal.subject, principal.binding, principal.aal) == (HUMAN, Binding.KEY, 3)
    assert principal.claims.level is Level.C3
    assert principal.claims.citizenships is None
    assert principal.purpose is Purpose.CODING


def test_nothing_but_the_secrets_digest_is_kept(at: Credentials, tmp_path: Any) -> None:
    made = make(at)
    secret = made.text.rsplit("_", 1)[1].encode()
    at.embedded.close()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(secret not in path.read_bytes() for path in files)
    assert secret.decode() not in repr(made)


def test_two_credentials_that_differ_are_refused(at: Credentials) -> None:
    text = make(at).text
    other = b"Bearer " + make(at).text.encode()
    assert code_of(at, text, authorization=other) == "PASSPORT_INVALID"


@pytest.mark.parametrize("place", [3, 8, 30, -1])
def test_a_key_with_one_character_changed_is_refused(at: Credentials, place: int) -> None:
    text = make(at).text
    place %= len(text)
    other = "b" if text[place] != "b" else "c"
    verifier = at.verifier()
    ask(at, text, verifier)
    assert code_of(at, text[:place] + other + text[place + 1 :], verifier) == "PASSPORT_INVALID"
    assert code_of(at, text + "a", verifier) == "PASSPORT_INVALID"
    assert code_of(at, text[:-1], verifier) == "PASSPORT_INVALID"


def test_a_revoked_key_is_refused_at_once_also_when_it_was_cached(at: Credentials) -> None:
    made, verifier = make(at), at.verifier()
    ask(at, made.text, verifier)
    revoke_gateway_key(at.instance, operator(), made.key)
    assert code_of(at, made.text, verifier) == "PASSPORT_INVALID"
    assert at.instance.vault.get("key-claims", made.key) is None


def test_a_cached_key_ends_at_its_time(at: Credentials) -> None:
    made, verifier = make(at, lifetime=60), at.verifier()
    ask(at, made.text, verifier)
    assert code_of(at, made.text, verifier, now=at.embedded.now + 60) == "PASSPORT_INVALID"


def test_a_key_never_outlives_its_passport(at: Credentials) -> None:
    assert make(at).event.valid_until == at.issued.event.valid_until


def test_a_key_from_another_network_is_refused_each_time(at: Credentials) -> None:
    made, verifier = make(at), at.verifier()
    ask(at, made.text, verifier)
    for source in ("198.51.100.1", "::1", "unix", ""):
        assert code_of(at, made.text, verifier, source=source) == "BINDING_MISSING"
    assert ask(at, made.text, verifier, source="::ffff:192.0.2.9").subject == HUMAN


def test_a_loopback_key_needs_a_gateway_on_loopback(at: Credentials) -> None:
    made = make(at, networks=(), loopback_only=True)
    assert ask(at, made.text, source="127.0.0.1").subject == HUMAN
    assert code_of(at, made.text, source="192.0.2.7") == "BINDING_MISSING"
    assert code_of(at, made.text, at.verifier(loopback=False), source="127.0.0.1") == "BINDING_MISSING"


def test_a_development_key_is_none_in_production(at: Credentials) -> None:
    assert code_of(at, make(at).text, at.verifier(profile="production")) == "PASSPORT_INVALID"


@pytest.mark.parametrize(
    "changes",
    [
        {"level_limit": Level.C3},
        {"networks": ()},
        {"lifetime": 30 * 86_400 + 1},
        {"lifetime": 0},
        {"networks": ("0.0.0.0/0",)},
        {"networks": ("192.0.2.1/24",)},
        {"networks": ("everywhere",)},
        {"purpose": Purpose.RANSOMWARE},
    ],
)
def test_a_key_beyond_what_keys_are_good_for_is_refused(at: Credentials, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        make(at, **changes)
    assert not at.embedded.state.gateway_keys


def test_at_c1_no_network_list_is_needed(at: Credentials) -> None:
    assert make(at, networks=(), level_limit=Level.C1).event.level_limit is Level.C1


def test_a_key_for_an_unknown_project_leaves_nothing_behind(at: Credentials) -> None:
    with pytest.raises(NotFound):
        make(at, project=ProjectId("nowhere"))
    assert at.instance.vault.names("key-claims") == []


def test_an_organisation_cannot_end_a_persons_key(at: Credentials) -> None:
    made = make(at)
    with pytest.raises(Forbidden):
        revoke_gateway_key(at.instance, organisation("org_sample"), made.key)


def test_a_keys_text_is_read_back() -> None:
    key = generate("production", CountedBytes("key"))
    read = parse(key.text.encode())
    assert read == key
    assert secret_fits(key, key.sha256())
    assert not secret_fits(key, "0" * 64)
    assert key.secret.decode() not in repr(key)


@pytest.mark.parametrize(
    "text", [b"", b"sc_", b"sc_dev_a_b", b"sk-ant-api03", b"sc_test_" + b"a" * 16 + b"_" + b"a" * 52]
)
def test_other_texts_are_no_keys(text: bytes) -> None:
    assert parse(text) is None


def test_networks_are_matched_by_address_not_by_text() -> None:
    networks = check_networks(("10.0.0.0/8", "2001:db8::/32"))
    assert network_permits(networks, "10.255.0.1")
    assert network_permits(networks, "2001:db8:0:0::1")
    assert not network_permits(networks, "11.0.0.1")
    assert not network_permits(networks, "10.0.0.1, 11.0.0.1")
