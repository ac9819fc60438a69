"""Our passport verifier beside two that we did not write: what ours accepts, both accept; what they let through is named.

The two read the same presentations at the same instant; `openvc` takes the issuer's times from the machine's clock, so it is
given ours. Neither is a run-time dependency.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
import json
import random
import types
from pathlib import Path

import openvc.proof._verify_common as openvc_clock
import pytest
from openvc.proof.errors import ProofError
from openvc.proof.sd_jwt import SdJwtVcProofSuite
from polaris_oid4vp.sdjwt import verify_presentation
from tests.support.holders import (
    HOLDER_KEY,
    ISSUER,
    ISSUER_KEY,
    NONCE,
    NOW,
    OTHER_KEY,
    make_presentation,
    sign_raw,
    verify,
)

from safeconduct.kernel.canonical import b64u, b64u_decode
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.passport.issuance import digest
from safeconduct.passport.verification import KEY_BINDING_SECONDS, VCT

HERE = Path(__file__).resolve().parent
FILES = {path.stem: json.loads(path.read_text()) for path in sorted(HERE.glob("*.json"))}
OPENVC, POLARIS = "openvc", "polaris"
# Where an oracle is laxer, and why. Everything else they refuse as we do.
LAXER = {
    # RFC 9901 leaves these to the verifier's profile; a passport's profile asks for them.
    "exp-missing": ({OPENVC, POLARIS}, "exp is optional to them"),
    "nbf-missing": ({OPENVC, POLARIS}, "nbf is optional to them"),
    "status-missing": (
        {OPENVC, POLARIS},
        "a status reference is optional to them, and its reading another step",
    ),
    "sd-alg-missing": ({OPENVC, POLARIS}, "RFC 9901 4.1.1 lets it default to sha-256"),
    "exp-a-float": ({OPENVC, POLARIS}, "RFC 7519 2 allows fractions of a second"),
    "issued-in-the-future": ({POLARIS}, "it does not judge the issuer's iat"),
    # Which issuer, key and facts is the caller's business there, who hands over one key.
    "other-issuer": ({OPENVC, POLARIS}, "the issuer is pinned by its key alone"),
    "kid-missing": ({OPENVC}, "takes the one key it is given"),
    "unknown-kid": ({OPENVC}, "takes the one key it is given"),
    "fact-out-of-range": ({OPENVC, POLARIS}, "they do not know what the facts mean"),
    "fact-unknown": ({OPENVC, POLARIS}, "they do not know what facts a passport has"),
    # Hygiene that RFC 9901 does not ask for.
    "header-jku": ({OPENVC, POLARIS}, "an address in the header is not followed, nor refused"),
    "header-x5u": ({OPENVC, POLARIS}, "an address in the header is not followed, nor refused"),
    "cnf-private-key": ({OPENVC, POLARIS}, "the private part of a disclosed key is ignored"),
    "duplicate-member": ({OPENVC, POLARIS}, "the JSON reader keeps the last of two members"),
    "signature-padded": ({OPENVC}, "its base64url reader takes padding"),
    "disclosures-nested-40-deep": ({OPENVC, POLARIS}, "their bound on depth lies higher"),
}


@pytest.fixture(autouse=True)
def _one_instant(monkeypatch):
    monkeypatch.setattr(openvc_clock, "time", types.SimpleNamespace(time=lambda: NOW))


def accepted_by(presentation: str, *, leeway: int) -> set[str]:
    """Which of the two oracles accept it. leeway: seconds a clock may be off."""
    found = set()
    try:
        SdJwtVcProofSuite(leeway_s=leeway).verify(
            presentation,
            public_key_jwk=ISSUER_KEY.public_jwk(),
            audience=ISSUER,
            nonce=NONCE,
            require_key_binding=True,
            expected_vct=VCT,
            kb_max_age_s=KEY_BINDING_SECONDS,
            now=dt.datetime.fromtimestamp(NOW, dt.UTC),
        )
        found.add(OPENVC)
    except ProofError:
        pass
    # Its one allowance stands for the clock and for the age of a key binding.
    verdict = verify_presentation(
        presentation,
        expected_nonce=NONCE,
        expected_audience=ISSUER,
        issuer_jwks=[ISSUER_KEY.public_jwk()],
        expected_vct=VCT,
        now=NOW,
        max_skew_seconds=KEY_BINDING_SECONDS + leeway if leeway else 0,
    )
    if verdict.authentic:
        found.add(POLARIS)
    return found


def accepted_by_us(presentation: str) -> bool:
    try:
        verify(presentation)
    except VerificationFailed:
        return False
    return True


def test_all_three_accept_a_passport_in_order():
    for disclose in (None, (), ("ial",), ("citizenships", "us_person")):
        presentation = make_presentation(disclose)
        assert accepted_by_us(presentation)
        assert accepted_by(presentation, leeway=0) == {OPENVC, POLARIS}


@pytest.mark.parametrize("name", FILES)
def test_the_oracles_refuse_the_hostile_files_but_for_the_named(name):
    vector = FILES[name]
    assert (vector["issuer"], vector["audience"], vector["nonce"], vector["now"]) == (
        ISSUER,
        ISSUER,
        NONCE,
        NOW,
    )
    laxer, _why = LAXER.get(name, (set(), ""))
    assert accepted_by(vector["presentation"], leeway=0) == laxer


def test_every_named_exception_is_a_file_that_ours_refuses():
    assert set(LAXER) <= set(FILES)
    assert not [name for name in LAXER if accepted_by_us(FILES[name]["presentation"])]


# -- Mutations ------------------------------------------------------------------------------------------------------------
def _generator():
    spec = importlib.util.spec_from_file_location(
        "generate_passport_vectors_for_oracles", HERE / "generate.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


GEN = _generator()
# Sets of disclosures that stand together: an element is shown with what it is an element of.
SHOWN = [
    make_presentation(facts).split("~")[1:-1]
    for facts in (None, (), ("ial",), ("citizenships", "us_person"), ("compartments", "level", "role"))
]
WORDS = (
    "iss",
    "exp",
    "nbf",
    "iat",
    "cnf",
    "vct",
    "status",
    "_sd",
    "_sd_alg",
    "...",
    "ial",
    "role",
    "aud",
    "x",
)
VALUES = (
    None,
    True,
    0,
    1,
    -1,
    NOW,
    NOW + 30,
    NOW + 31,
    NOW - 330,
    NOW - 331,
    1.5,
    "",
    "x",
    "sha-256",
    "sha-512",
    [],
    {},
    ["x"],
    ISSUER,
)


def _rewritten(dice, raw: bytes) -> bytes:
    """The same JSON in other bytes: order, spaces, escapes."""
    data = json.loads(raw)
    if dice.random() < 0.5:
        names = list(data)
        dice.shuffle(names)
        data = {name: data[name] for name in names}
    return json.dumps(data, indent=dice.choice((None, 1)), ensure_ascii=dice.random() < 0.5).encode()


def _changed(dice, claims: dict) -> dict:
    claims = dict(claims)
    name = dice.choice([*claims, *WORDS])
    match dice.randrange(4):
        case 0:
            claims.pop(name, None)
        case 1:
            claims[name] = dice.choice(VALUES)
        case 2 if isinstance(claims.get(name), int):
            claims[name] += dice.choice((-1, 1, 29, 30, 31, 86_400))
        case _:
            claims[dice.choice(WORDS)] = claims.get(name, "x")
    return claims


def _mutated(dice) -> str:
    """A presentation in which something was changed, and everything else signed and bound again."""
    disclosures = dice.choice(SHOWN)[:]
    header, payload = dict(GEN.HEADER), dict(GEN.PAYLOAD)
    binding_header = {"typ": "kb+jwt", "alg": "ES256"}
    changes: dict = {}
    issuer, holder = ISSUER_KEY, HOLDER_KEY
    kind = dice.randrange(12)
    if kind == 0:
        payload = _changed(dice, payload)
    elif kind == 1:
        header = _changed(dice, header)
    elif kind == 2:
        extra = GEN.disclosure(
            *dice.choice(((dice.choice(WORDS), dice.choice(VALUES)), (dice.choice(VALUES),), ("role", "x")))
        )
        disclosures.append(extra)
        if dice.random() < 0.7:
            payload["_sd"] = [*payload["_sd"], digest(extra)]
    elif kind == 3 and disclosures:
        disclosures.append(dice.choice(disclosures))
    elif kind == 4 and disclosures:
        place = dice.randrange(len(disclosures))
        disclosures[place] = GEN.flipped(
            disclosures[place], dice.randrange(len(b64u_decode(disclosures[place])))
        )
    elif kind == 5:
        issuer, holder = dice.choice(
            ((OTHER_KEY, HOLDER_KEY), (ISSUER_KEY, OTHER_KEY), (HOLDER_KEY, HOLDER_KEY))
        )
    elif kind == 6:
        payload["_sd"] = [*payload["_sd"], digest(f"decoy {dice.random()}")]
        dice.shuffle(payload["_sd"])
    elif kind == 7:
        changes = {
            dice.choice(("iat", "aud", "nonce", "sd_hash", "exp", "nbf")): dice.choice(
                (*VALUES, NONCE, [ISSUER])
            )
        }
    elif kind == 8:
        binding_header = _changed(dice, binding_header)
    elif kind == 9:
        dice.shuffle(disclosures)
    elif kind == 10 and disclosures:
        place = dice.randrange(len(disclosures))
        disclosures[place] = b64u(json.dumps(json.loads(b64u_decode(disclosures[place])), indent=1).encode())
    raw = json.dumps(payload).encode()
    if dice.random() < 0.2:
        raw = _rewritten(dice, raw)
    start = "~".join((sign_raw(header, raw, issuer), *disclosures, ""))
    claims = {"iat": NOW, "aud": ISSUER, "nonce": NONCE, "sd_hash": digest(start), **changes}
    presentation = start + sign_raw(binding_header, claims, holder)
    if kind == 11:
        # Afterwards, on the wire.
        place = dice.randrange(len(presentation))
        presentation = dice.choice(
            (
                presentation[:place] + dice.choice("aA0-_~.= \n") + presentation[place + 1 :],
                presentation[:place] + presentation[place + 1 :],
                presentation[:place] + dice.choice("aA0~.") + presentation[place:],
                presentation[: presentation.rindex("~") + 1],
                presentation + "~",
            )
        )
    return presentation


@pytest.mark.parametrize("seed", range(4))
def test_what_ours_accepts_both_oracles_accept(seed):
    dice = random.Random(seed)
    accepted = refused = 0
    for number in range(400):
        presentation = _mutated(dice)
        if not accepted_by_us(presentation):
            refused += 1
            continue
        accepted += 1
        assert accepted_by(presentation, leeway=30) == {OPENVC, POLARIS}, (seed, number, presentation)
    # Neither half is empty, or nothing was compared.
    assert min(accepted, refused) >= 80, (accepted, refused)
