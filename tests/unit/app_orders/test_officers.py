"""The two officers give their office to others: both present ones sign, and each new one proves the new key."""

from __future__ import annotations

import pytest
from tests.support.authorities import DAY, NOW, OPERATOR, ORIGIN, key, key_addition, world

from safeconduct.app.change_trust import change_trust
from safeconduct.authorization.trust_change import sign_trust_change
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.signing import EDDSA, FileSigner

OLD = ("officer-1", "officer-2")


def replacement(new, signers, **more):
    claims = {
        "origin": ORIGIN,
        "iat": NOW,
        "exp": NOW + DAY,
        "officers": [one.public_jwk() for one in new],
        **more,
    }
    return sign_trust_change(claims, signers)


@pytest.fixture
def old():
    return [key(name) for name in OLD]


@pytest.fixture
def new():
    return [FileSigner.generate(), FileSigner.generate()]


def test_new_officers_change_the_list_and_the_old_ones_no_more(old, new):
    instance = world()
    (event,) = change_trust(instance, OPERATOR, replacement(new, [*old, *new]))
    assert set(event.by) == {one.verifying_key().thumbprint for one in old}
    claims = {"origin": ORIGIN, "iat": NOW, "exp": NOW + DAY, "add": [key_addition("later")]}
    with pytest.raises(Forbidden):
        change_trust(instance, OPERATOR, sign_trust_change(claims, old))
    with pytest.raises(Forbidden):
        change_trust(instance, OPERATOR, sign_trust_change(claims, [old[0], new[0]]))
    change_trust(instance, OPERATOR, sign_trust_change(claims, new))
    assert "later" in instance.record.state.trust


def test_one_officer_stays_and_one_goes(old, new):
    instance = world()
    change_trust(instance, OPERATOR, replacement([old[0], new[0]], [*old, new[0]]))
    claims = {"origin": ORIGIN, "iat": NOW, "exp": NOW + DAY, "add": [key_addition("later")]}
    staying = FileSigner.from_pem(old[0].to_pem())
    change_trust(instance, OPERATOR, sign_trust_change(claims, [staying, new[0]]))


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_every_signature_is_needed(old, new, missing):
    instance, signers = world(), [*old, *new]
    del signers[missing]
    with pytest.raises(Forbidden):
        change_trust(instance, OPERATOR, replacement(new, signers))


def test_new_officers_alone_appoint_nobody(new):
    with pytest.raises(Forbidden, match="two different officers"):
        change_trust(world(), OPERATOR, replacement(new, new))


def test_a_new_key_under_a_present_officers_kid_is_not_that_officer(old):
    forged = [FileSigner.generate(kid=old[0].kid), FileSigner.generate(kid=old[1].kid)]
    with pytest.raises(Exception) as refused:
        change_trust(world(), OPERATOR, replacement(forged, forged))
    assert "officer" in str(refused.value) or "verify" in str(refused.value)


@pytest.mark.parametrize("officers", ["one", "three", "twice", "ed25519", "text"])
def test_officers_are_two_different_p256_keys(old, new, officers):
    given = {
        "one": new[:1],
        "three": [*new, FileSigner.generate()],
        "twice": [new[0], new[0]],
        "ed25519": [new[0], FileSigner.generate(EDDSA)],
        "text": new,
    }[officers]
    more = {"officers": "x"} if officers == "text" else {}
    with pytest.raises(InvalidInput) as refused:
        change_trust(world(), OPERATOR, replacement(given, [*old, *given], **more))
    assert refused.value.field.startswith("officers")


def test_a_key_of_the_trust_list_is_no_officers(old, new):
    instance = world()
    listed = FileSigner.from_pem(key("auth-1").to_pem())
    with pytest.raises(Conflict, match="on the trust list"):
        change_trust(instance, OPERATOR, replacement([listed, new[0]], [*old, listed, new[0]]))
