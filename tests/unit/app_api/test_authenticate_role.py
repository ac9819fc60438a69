"""Role tokens: what is accepted, and every way in which one is not."""

import base64
import json

import pytest
from tests.support.role_tokens import role_key, role_token

from safeconduct.app.authenticate_role import RoleAuthenticator, SpentTokens
from safeconduct.kernel.errors import Forbidden, Unauthenticated
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Role
from safeconduct.record.events.trust import TrustKeyRevoked
from safeconduct.record.projections import TrustedKey

NOW = 1_780_000_000
US = "http://127.0.0.1:8781"


def _trust(*entries):
    return {entry.kid: TrustedKey(added=entry) for entry in entries}


def _authenticate(token, trust, *, now=NOW, changing=False, started=NOW - 1000):
    return RoleAuthenticator(US, started=started).authenticate(token, trust=trust, now=now, changing=changing)


def test_a_role_token_gives_role_scope_and_the_id_of_the_key():
    signer, entry = role_key("provider", provider="lab-a")
    caller = _authenticate(role_token(signer, party="provider:lab-a", audience=US, now=NOW), _trust(entry))
    assert (caller.role, caller.provider, caller.party, caller.id) == (
        Role.PROVIDER,
        "lab-a",
        "provider:lab-a",
        signer.kid,
    )


def test_two_names_for_one_key_are_one_person():
    signer, entry = role_key("adjudicator")
    trust = _trust(entry)
    first, second = (
        _authenticate(role_token(signer, party="adjudicator", audience=US, now=NOW, sub=sub), trust).id
        for sub in ("anna", "bert")
    )
    assert first == second


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"iss": "operator:other"}, "iss"),
        ({"aud": "http://elsewhere"}, "aud"),
        ({"aud": [US]}, "aud"),
        ({"exp": NOW}, "exp"),
        ({"exp": NOW + 301}, "exp"),
        ({"iat": NOW + 31}, "iat"),
        ({"iat": "now"}, "iat"),
        ({"jti": ""}, "jti"),
        ({"jti": "x" * 129}, "jti"),
        ({"jti": 7}, "jti"),
        ({"sub": None}, "sub"),
        ({"nbf": NOW + 60}, "nbf"),
    ],
)
def test_a_wrong_claim_is_named(change, field):
    signer, entry = role_key("operator")
    token = role_token(signer, party="operator", audience=US, now=NOW, **change)
    with pytest.raises(Unauthenticated) as caught:
        _authenticate(token, _trust(entry))
    assert caught.value.field == f"authorization.{field}"


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "iat", "exp", "jti"])
def test_a_missing_claim_is_refused(name):
    signer, entry = role_key("operator")
    token = role_token(signer, party="operator", audience=US, now=NOW, drop=(name,))
    with pytest.raises(Unauthenticated):
        _authenticate(token, _trust(entry))


def test_another_type_of_token_is_refused():
    signer, entry = role_key("operator")
    token = role_token(signer, party="operator", audience=US, now=NOW, typ="at+jwt")
    with pytest.raises(Unauthenticated, match="typ"):
        _authenticate(token, _trust(entry))


def test_a_key_outside_the_trust_list_is_refused():
    signer, _ = role_key("operator")
    _, entry = role_key("operator")
    with pytest.raises(Unauthenticated, match="trust list"):
        _authenticate(role_token(signer, party="operator", audience=US, now=NOW), _trust(entry))


def test_a_kid_borrowed_from_the_trust_list_does_not_help_another_key():
    _, entry = role_key("operator", kid="operator-1")
    thief = FileSigner.generate(kid="operator-1")
    with pytest.raises(Unauthenticated, match="signature"):
        _authenticate(role_token(thief, party="operator", audience=US, now=NOW), _trust(entry))


def test_a_revoked_key_speaks_no_more():
    signer, entry = role_key("operator")
    revoked = TrustKeyRevoked(kid=entry.kid, from_=NOW, cause="lost", officers=(), recorded_at=NOW)
    trust = {entry.kid: TrustedKey(added=entry, revoked=revoked)}
    with pytest.raises(Unauthenticated, match="revoked"):
        _authenticate(role_token(signer, party="operator", audience=US, now=NOW), trust)


@pytest.mark.parametrize("when", [{"valid_from": NOW + 1}, {"valid_until": NOW}])
def test_a_key_speaks_only_within_its_time(when):
    signer, entry = role_key("operator", **when)
    with pytest.raises(Unauthenticated, match="not valid at this time"):
        _authenticate(role_token(signer, party="operator", audience=US, now=NOW), _trust(entry))


@pytest.mark.parametrize("kinds", [(), ("directive:suspend",), ("evidence_import", "passport")])
def test_a_key_for_documents_gives_no_role(kinds):
    signer, entry = role_key("operator", may_sign=kinds)
    with pytest.raises(Forbidden, match="no role"):
        _authenticate(role_token(signer, party="operator", audience=US, now=NOW), _trust(entry))


def test_a_role_that_the_key_was_not_given_cannot_be_claimed():
    signer, entry = role_key("auditor")
    token = role_token(signer, party="auditor", audience=US, now=NOW, role="operator")
    with pytest.raises(Forbidden):
        _authenticate(token, _trust(entry))


def test_a_key_with_two_roles_must_say_which():
    signer, entry = role_key("operator", may_sign=("role:operator", "role:auditor"))
    trust = _trust(entry)
    with pytest.raises(Forbidden, match="several"):
        _authenticate(role_token(signer, party="operator", audience=US, now=NOW), trust)
    token = role_token(signer, party="operator", audience=US, now=NOW, role="auditor")
    assert _authenticate(token, trust).role is Role.AUDITOR


@pytest.mark.parametrize("role", ["provider", "organisation"])
def test_a_scoped_role_without_its_object_is_refused(role):
    signer, entry = role_key(role)
    with pytest.raises(Forbidden, match=role):
        _authenticate(role_token(signer, party=role, audience=US, now=NOW), _trust(entry))


@pytest.mark.parametrize("role", ["holder", "root", ""])
def test_a_role_key_cannot_be_a_holder_or_an_unknown_role(role):
    signer, entry = role_key(role, party="p")
    with pytest.raises(Forbidden):
        _authenticate(role_token(signer, party="p", audience=US, now=NOW), _trust(entry))


def test_a_token_changes_state_once():
    signer, entry = role_key("operator")
    token = role_token(signer, party="operator", audience=US, now=NOW)
    roles = RoleAuthenticator(US, started=NOW)
    trust = _trust(entry)
    roles.authenticate(token, trust=trust, now=NOW, changing=False)
    roles.authenticate(token, trust=trust, now=NOW, changing=True)
    for changing in (True, False):
        with pytest.raises(Unauthenticated, match="used before"):
            roles.authenticate(token, trust=trust, now=NOW, changing=changing)


def test_a_spent_id_cannot_be_spent_again_under_another_text():
    signer, entry = role_key("operator")
    roles = RoleAuthenticator(US, started=NOW)
    trust = _trust(entry)
    for number, accepted in ((1, True), (2, False)):
        token = role_token(signer, party="operator", audience=US, now=NOW, jti="same", sub=f"s{number}")
        if accepted:
            roles.authenticate(token, trust=trust, now=NOW, changing=True)
        else:
            with pytest.raises(Unauthenticated, match="used before"):
                roles.authenticate(token, trust=trust, now=NOW, changing=True)


def test_a_token_from_before_the_start_changes_nothing():
    signer, entry = role_key("operator")
    token = role_token(signer, party="operator", audience=US, now=NOW - 10)
    with pytest.raises(Unauthenticated, match="older than this process"):
        _authenticate(token, _trust(entry), changing=True, started=NOW)
    assert _authenticate(token, _trust(entry), changing=False, started=NOW).role is Role.OPERATOR


def test_memory_of_spent_tokens_is_bounded_and_fails_closed():
    spent = SpentTokens(limit=2)
    assert spent.spend(("k", "a"), NOW + 10, NOW)
    assert spent.spend(("k", "b"), NOW + 20, NOW)
    assert not spent.spend(("k", "c"), NOW + 20, NOW)
    assert spent.spend(("k", "c"), NOW + 30, NOW + 10)
    assert not spent.spend(("k", "b"), NOW + 30, NOW + 10)


@pytest.mark.parametrize(
    "header",
    [
        {"alg": "none"},
        {"alg": "HS256"},
        {"jwk": {"kty": "EC"}},
        {"jku": "http://x"},
        {"crit": ["exp"]},
        {"kid": None},
        {"kid": ["x"]},
    ],
)
def test_headers_that_would_change_the_meaning_are_refused(header):
    signer, entry = role_key("operator")
    head, body, signature = role_token(signer, party="operator", audience=US, now=NOW).split(".")
    fields = json.loads(base64.urlsafe_b64decode(head + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**fields, **header}).encode()).rstrip(b"=").decode()
    with pytest.raises(Unauthenticated):
        _authenticate(f"{forged}.{body}.{signature}", _trust(entry))


@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "a.b.c.d", "." * 9, "x" * 5000, "é.é.é"])
def test_rubbish_is_refused(text):
    with pytest.raises(Unauthenticated):
        _authenticate(text, {})
