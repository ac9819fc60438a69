"""What a follower believes of a heartbeat, and how old it takes it to be."""

import pytest

from safeconduct.audit.checkpoint import LogVerifier
from safeconduct.audit.heartbeat import (
    GREETING,
    HEARTBEAT,
    Following,
    Greeting,
    read_greeting,
    sign_greeting,
    sign_heartbeat,
)
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.jose import sign_jwt
from safeconduct.kernel.signing import EDDSA, ES256, FileSigner

ORIGIN = "test.example/record"
KEY = FileSigner.generate(EDDSA)
VERIFIER = LogVerifier.of(ORIGIN, KEY)
NONCE = "n" * 24


def greeting(**changes):
    facts = {
        "iss": ORIGIN,
        "aud": "gateway:edge",
        "nonce": NONCE,
        "boot": "b1",
        "at": 1_000_000,
        "issuer": "https://c",
        "audience": "https://g",
        "profile": "development",
        "token_keys": (),
    }
    return Greeting(**{**facts, **changes})


def beat(signer=KEY, **changes):
    facts = {"origin": ORIGIN, "boot": "b1", "at": 1_000_000, "time": 0, "size": 3, "root": b"r" * 32}
    return sign_heartbeat(signer, **{**facts, **changes})


def following(asked=50.0):
    return Following(VERIFIER, party="gateway:edge", nonce=NONCE, asked=asked)


def test_a_heartbeat_counts_for_when_it_was_made_not_for_when_it_came():
    follower = following(asked=50.0)
    follower.greeted(sign_greeting(greeting(), KEY))
    assert follower.heartbeat(beat(at=1_000_000))[1] == 50.0
    assert follower.heartbeat(beat(at=1_007_500))[1] == 57.5
    # Recorded and played back a minute later it is still of that instant.
    assert follower.heartbeat(beat(at=1_007_500))[1] == 57.5


def test_the_reckoning_never_takes_a_heartbeat_for_younger_than_it_is():
    # The request travels 3 s: the greeting was made at 53 of our clock, and is counted as made at 50.
    follower = following(asked=50.0)
    follower.greeted(sign_greeting(greeting(at=2_000), KEY))
    made_at = 53.0 + 4.0
    assert follower.heartbeat(beat(at=6_000))[1] <= made_at


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: sign_greeting(greeting(nonce="o" * 24), KEY), id="another nonce: a replay"),
        pytest.param(lambda: sign_greeting(greeting(aud="gateway:other"), KEY), id="another gateway's"),
        pytest.param(lambda: sign_greeting(greeting(iss="other/record"), KEY), id="another log"),
        pytest.param(lambda: sign_greeting(greeting(), FileSigner.generate(EDDSA)), id="another key"),
        pytest.param(lambda: sign_greeting(greeting(), FileSigner.generate(ES256)), id="another algorithm"),
        pytest.param(beat, id="a heartbeat in its place"),
        pytest.param(lambda: sign_jwt({"iss": ORIGIN}, typ=GREETING, signer=KEY), id="members missing"),
        pytest.param(lambda: sign_greeting(greeting(), KEY)[:-4] + "AAAA", id="a signature altered"),
        pytest.param(lambda: "x" * 40_000, id="over-long"),
    ],
)
def test_a_greeting_that_is_not_for_this_following_is_refused(text):
    with pytest.raises(VerificationFailed):
        following().greeted(text())


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(lambda: beat(boot="b0"), id="an earlier start of the sender"),
        pytest.param(lambda: beat(origin="other/record"), id="another log"),
        pytest.param(lambda: beat(FileSigner.generate(EDDSA)), id="another key"),
        pytest.param(lambda: sign_greeting(greeting(), KEY), id="a greeting in its place"),
        pytest.param(
            lambda: sign_jwt({"iss": ORIGIN, "boot": "b1"}, typ=HEARTBEAT, signer=KEY), id="members missing"
        ),
    ],
)
def test_a_heartbeat_that_proves_nothing_is_refused(text):
    follower = following()
    follower.greeted(sign_greeting(greeting(), KEY))
    with pytest.raises(VerificationFailed):
        follower.heartbeat(text())


def test_a_heartbeat_before_the_greeting_is_refused():
    with pytest.raises(VerificationFailed, match="before the greeting"):
        following().heartbeat(beat())


def test_a_root_that_is_none_is_refused():
    follower = following()
    follower.greeted(sign_greeting(greeting(), KEY))
    found, _ = follower.heartbeat(beat(root=b"short"))
    with pytest.raises(VerificationFailed, match="32 bytes"):
        _ = found.root_hash


def test_a_greeting_that_was_kept_is_verified_again_when_it_is_read():
    text = sign_greeting(greeting(), KEY)
    assert read_greeting(text, VERIFIER).issuer == "https://c"
    with pytest.raises(VerificationFailed):
        read_greeting(text, LogVerifier.of(ORIGIN, FileSigner.generate(EDDSA)))
