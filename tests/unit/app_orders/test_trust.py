from __future__ import annotations

import json

import pytest
from tests.support.authorities import (
    DAY,
    LAB,
    NORTH,
    NOW,
    OPERATOR,
    key,
    key_addition,
    trust_change,
    world,
)

from safeconduct.app.change_trust import change_trust
from safeconduct.authorization.trust_change import sign_trust_change
from safeconduct.kernel.canonical import b64u, canonical_json
from safeconduct.kernel.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    UnsafeConfiguration,
    VerificationFailed,
)
from safeconduct.kernel.signing import FileSigner


def refused(error, document, instance=None, caller=OPERATOR):
    instance = instance or world()
    before = instance.record.state
    with pytest.raises(error) as caught:
        change_trust(instance, caller, document)
    assert instance.record.state is before
    return caught.value


def test_two_officers_add_a_key_with_its_scope():
    instance = world()
    change_trust(
        instance,
        OPERATOR,
        trust_change(add=[key_addition("new", variants=["big"], provider="lab", may_sign=["licence"])]),
    )
    added = instance.record.state.trust["new"].added
    assert (added.party, added.variants, added.provider) == (
        "authority:north",
        ("big-cyber", "big-open"),
        "lab",
    )
    assert set(added.officers) == {
        key("officer-1").verifying_key().thumbprint,
        key("officer-2").verifying_key().thumbprint,
    }
    assert added.recorded_at == NOW


@pytest.mark.parametrize("signers", [(), ("officer-1",), ("officer-1", "officer-1")])
def test_one_officer_is_not_enough_and_twice_the_same_is_one(signers):
    document = trust_change(add=[key_addition("new")], signers=signers)
    assert refused(Forbidden, document).field == "signatures"


def test_a_key_that_is_no_officers_does_not_count():
    assert refused(Forbidden, trust_change(add=[key_addition("new")], signers=("officer-1", "auth-1")))


def test_a_stranger_who_calls_itself_an_officer_does_not_count():
    claims = {"origin": "test.example/record", "iat": NOW, "exp": NOW + DAY, "add": [key_addition("new")]}
    forged = sign_trust_change(claims, [key("officer-1"), FileSigner.generate(kid="officer-2")])
    assert refused(VerificationFailed, forged).step == "signature"


def test_a_signature_over_another_payload_does_not_count():
    mine = json.loads(trust_change(add=[key_addition("new")]))
    other = json.loads(trust_change(add=[key_addition("other")]))
    mine["signatures"][1] = other["signatures"][1]
    assert refused(VerificationFailed, canonical_json(mine)).step == "signature"


def test_officers_who_sign_apart_put_their_signatures_together():
    one = json.loads(trust_change(add=[key_addition("new")], signers=("officer-1",)))
    two = json.loads(trust_change(add=[key_addition("new")], signers=("officer-2",)))
    one["signatures"] += two["signatures"]
    instance = world()
    change_trust(instance, OPERATOR, canonical_json(one))
    assert "new" in instance.record.state.trust


@pytest.mark.parametrize(
    "header",
    [
        {"typ": "directive+jwt"},
        {"alg": "none"},
        {"alg": "HS256"},
        {"crit": ["x"]},
        {"jwk": {}},
        {"b64": False},
        {"kid": 7},
    ],
)
def test_a_header_that_changes_the_meaning_of_a_signature_is_refused(header):
    document = json.loads(trust_change(add=[key_addition("new")]))
    protected = {"typ": "trust-change+jws", "alg": "ES256", "kid": "officer-1", **header}
    encoded = b64u(canonical_json(protected))
    signature = key("officer-1").sign(f"{encoded}.{document['payload']}".encode())
    document["signatures"][0] = {"protected": encoded, "signature": b64u(signature)}
    assert refused(VerificationFailed, canonical_json(document)).step == "header"


@pytest.mark.parametrize(
    ("document", "error"),
    [
        (b"{}", InvalidInput),
        (b"[]", InvalidInput),
        (b'{"payload":"e30","payload":"e30","signatures":[]}', InvalidInput),
        (b'{"payload":1,"signatures":[]}', InvalidInput),
        (b"x" * 50_000, InvalidInput),
        (trust_change(add=[key_addition("new")], origin="other.example/record"), Forbidden),
        (trust_change(add=[key_addition("new")], exp=NOW), VerificationFailed),
        (trust_change(add=[key_addition("new")], exp=NOW + 8 * DAY), VerificationFailed),
        (trust_change(add=[key_addition("new")], exp=None), VerificationFailed),
        (trust_change(add=[key_addition("new")], iat=NOW + DAY, exp=NOW + 2 * DAY), VerificationFailed),
        (trust_change(), InvalidInput),
        (trust_change(add=[key_addition("new")], officers=[]), InvalidInput),
        (trust_change(add=[key_addition("auth-1")]), Conflict),
        (trust_change(add=[{**key_addition("new"), "jwk": key("auth-1").public_jwk()}]), Conflict),
        (trust_change(add=[key_addition("new"), key_addition("new")]), Conflict),
        (trust_change(add=[key_addition("new", may_sign=["everything"])]), InvalidInput),
        (trust_change(add=[key_addition("new", may_sign=[])]), InvalidInput),
        (trust_change(add=[key_addition("new", valid_until=NOW)]), InvalidInput),
        (trust_change(add=[key_addition("new", provider="nobody")]), NotFound),
        (trust_change(add=[key_addition("new", variants=["nothing"])]), InvalidInput),
        (trust_change(add=[key_addition("new", jwk={"kty": "oct", "k": "x"})]), InvalidInput),
        (trust_change(revoke=[{"kid": "nobody", "from": NOW, "cause": "x"}]), NotFound),
        (trust_change(revoke=[{"kid": "auth-1", "from": NOW}]), InvalidInput),
    ],
)
def test_a_change_that_does_not_hold_is_refused_whole(document, error):
    refused(error, document)


def test_an_addition_and_a_bad_revocation_in_one_document_change_nothing():
    document = trust_change(add=[key_addition("new")], revoke=[{"kid": "nobody", "from": NOW, "cause": "x"}])
    refused(NotFound, document)


def test_a_change_handed_in_twice_is_refused():
    instance = world()
    document = trust_change(add=[key_addition("new")])
    change_trust(instance, OPERATOR, document)
    refused(Conflict, document, instance)
    ended = trust_change(revoke=[{"kid": "new", "from": NOW, "cause": "lost"}])
    change_trust(instance, OPERATOR, ended)
    refused(Conflict, ended, instance)


def test_a_revoked_key_does_not_come_back_under_another_name():
    instance = world()
    change_trust(instance, OPERATOR, trust_change(revoke=[{"kid": "auth-1", "from": NOW, "cause": "stolen"}]))
    again = {**key_addition("auth-9"), "jwk": key("auth-1").public_jwk()}
    refused(Conflict, trust_change(add=[again]), instance)


def test_only_an_operator_hands_a_change_in():
    for caller in (LAB, NORTH):
        assert refused(Forbidden, trust_change(add=[key_addition("new")]), caller=caller).field == "role"


def test_a_development_key_is_refused_in_production():
    document = trust_change(add=[key_addition("new", development=True)])
    refused(UnsafeConfiguration, document, world(profile="production"))
    change_trust(world(), OPERATOR, document)
