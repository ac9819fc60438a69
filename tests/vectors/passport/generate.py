"""Writes one file per hostile presentation, named for its defect: `python tests/vectors/passport/generate.py`.

Keys, salts and signatures are deterministic: running it again changes nothing (a test checks that).
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from tests.support.holders import (  # noqa: E402
    HOLDER_KEY,
    ISSUER,
    ISSUER_KEY,
    NONCE,
    NOW,
    OTHER_KEY,
    make_passport,
    make_presentation,
    sign_raw,
)

from safeconduct.kernel.canonical import b64u, b64u_decode, canonical_json, strict_json  # noqa: E402
from safeconduct.passport.issuance import digest, open_passport  # noqa: E402

HERE = Path(__file__).resolve().parent
Vector = tuple[str, str, str, str, str]

_signed, *_rest = make_passport().split("~")
HEADER: dict[str, Any] = strict_json(b64u_decode(_signed.split(".")[0]))
PAYLOAD: dict[str, Any] = strict_json(b64u_decode(_signed.split(".")[1]))
DISCLOSURES = _rest[:-1]
PATHS = dict(open_passport(make_passport()).paths)


def bound(
    signed: str,
    disclosures: list[str],
    *,
    header: dict[str, Any] | None = None,
    signer: Any = HOLDER_KEY,
    drop: str = "",
    **changes: Any,
) -> str:
    """Signed part and disclosures with a key binding made over them."""
    start = "~".join((signed, *disclosures, ""))
    claims = {"iat": NOW, "aud": ISSUER, "nonce": NONCE, "sd_hash": digest(start), **changes}
    claims.pop(drop, None)
    return start + sign_raw(header or {"typ": "kb+jwt", "alg": "ES256"}, claims, signer)


def reissued(
    disclosures: list[str] | None = None,
    *,
    header: dict[str, Any] | None = None,
    signer: Any = ISSUER_KEY,
    drop: str = "",
    **changes: Any,
) -> str:
    """A passport that the issuer (or `signer`) signed with these changes, bound by its holder."""
    payload = {**PAYLOAD, **changes}
    payload.pop(drop, None)
    return bound(
        sign_raw({**HEADER, **(header or {})}, payload, signer),
        DISCLOSURES if disclosures is None else disclosures,
    )


def disclosure(*parts: Any) -> str:
    return b64u(canonical_json([b64u(hashlib.sha256(repr(parts).encode()).digest()[:16]), *parts]))


def with_disclosure(name: str, value: Any) -> str:
    """The issuer signed the digest of one more disclosure, and it is shown."""
    extra = disclosure(name, value)
    return reissued([*DISCLOSURES, extra], _sd=sorted([*PAYLOAD["_sd"], digest(extra)]))


def flipped(text: str, place: int) -> str:
    raw = bytearray(b64u_decode(text))
    raw[place] ^= 1
    return b64u(bytes(raw))


def deep(levels: int) -> tuple[list[str], str]:
    """Disclosures each of which is referenced only by the value of the one above."""
    made = [disclosure("leaf", 1)]
    for _ in range(levels):
        made.append(disclosure("role", {"_sd": [digest(made[-1])]}))
    return made, digest(made[-1])


def vectors() -> Iterator[Vector]:
    """(name, what is wrong, presentation, step, code)."""
    good = make_presentation()
    bad, missing = "PASSPORT_INVALID", "BINDING_MISSING"
    yield "expired", "exp lies in the past", reissued(exp=NOW - 1), "times", bad
    yield "not-yet-valid", "nbf lies in the future", reissued(nbf=NOW + 3600), "times", bad
    yield "issued-in-the-future", "iat lies in the future", reissued(iat=NOW + 3600), "times", bad
    yield "exp-missing", "a passport without exp", reissued(drop="exp"), "times", bad
    yield "nbf-missing", "a passport without nbf", reissued(drop="nbf"), "times", bad
    yield "exp-a-float", "exp is not a whole number", reissued(exp=NOW + 0.5), "times", bad
    yield "exp-null", "exp is null, which is no time", reissued(exp=None), "times", bad
    yield "nbf-null", "nbf is null, which is no time", reissued(nbf=None), "times", bad
    yield "exp-true", "exp is a boolean", reissued(exp=True), "times", bad
    yield "wrong-typ", "typ of another kind of token", reissued(header={"typ": "at+jwt"}), "header", bad
    yield "typ-missing", "typ is not a string", reissued(header={"typ": None}), "header", bad
    yield (
        "alg-none",
        "alg none with an empty signature",
        (
            bound(
                sign_raw({**HEADER, "alg": "none"}, PAYLOAD, ISSUER_KEY).rsplit(".", 1)[0] + ".", DISCLOSURES
            )
        ),
        "header",
        bad,
    )
    yield (
        "alg-hs256",
        "HMAC where an asymmetric key is pinned",
        reissued(header={"alg": "HS256"}),
        "header",
        bad,
    )
    yield (
        "header-jwk",
        "the message brings its own key",
        reissued(header={"jwk": OTHER_KEY.public_jwk()}, signer=OTHER_KEY),
        "header",
        bad,
    )
    yield (
        "header-jku",
        "the message names its key by address",
        reissued(header={"jku": "https://attacker.example/jwks"}),
        "header",
        bad,
    )
    yield (
        "header-x5u",
        "the message names a certificate by address",
        reissued(header={"x5u": "https://attacker.example/cert"}),
        "header",
        bad,
    )
    yield (
        "crit-unknown",
        "a critical extension that nobody knows",
        reissued(header={"crit": ["exp2"], "exp2": 1}),
        "header",
        bad,
    )
    yield "kid-missing", "no kid", reissued(header={"kid": None}), "header", bad
    yield (
        "other-issuer",
        "iss is not the pinned issuer",
        reissued(iss="https://other.example"),
        "signature",
        bad,
    )
    yield (
        "foreign-key",
        "signed with a key that is not the issuer's, under its kid",
        reissued(signer=OTHER_KEY),
        "signature",
        bad,
    )
    yield (
        "unknown-kid",
        "a kid that is not the issuer's",
        reissued(header={"kid": "nobody"}),
        "signature",
        bad,
    )
    signed = sign_raw(HEADER, PAYLOAD, ISSUER_KEY)
    head, body, signature = signed.split(".")
    yield (
        "signature-over-long",
        "r and s with a byte too many",
        bound(f"{head}.{body}.{b64u(b64u_decode(signature) + b'0')}", DISCLOSURES),
        "signature",
        bad,
    )
    yield (
        "signature-flipped",
        "one bit of the issuer's signature",
        bound(f"{head}.{body}.{flipped(signature, 5)}", DISCLOSURES),
        "signature",
        bad,
    )
    yield (
        "signature-padded",
        "base64 padding after the signature",
        bound(f"{signed}==", DISCLOSURES),
        "structure",
        bad,
    )
    duplicate = canonical_json(PAYLOAD)[:-1] + b',"sub":"sub_victim"}'
    yield (
        "duplicate-member",
        "sub stands twice in the payload",
        bound(sign_raw(canonical_json(HEADER), duplicate, ISSUER_KEY), DISCLOSURES),
        "structure",
        bad,
    )
    yield "unknown-member", "a fact in the open", reissued(level="C4"), "structure", bad
    yield "sd-alg-downgrade", "_sd_alg names a weaker digest", reissued(_sd_alg="md5"), "structure", bad
    yield "sd-alg-missing", "_sd_alg left out", reissued(drop="_sd_alg"), "structure", bad
    yield "wrong-vct", "another type of credential", reissued(vct="urn:example:other"), "structure", bad
    yield "cnf-missing", "no holder key", reissued(drop="cnf"), "structure", bad
    yield (
        "cnf-private-key",
        "the holder key carries its private part",
        reissued(cnf={"jwk": {**PAYLOAD["cnf"]["jwk"], "d": "AAAA"}}),
        "structure",
        bad,
    )
    yield (
        "cnf-symmetric-key",
        "a symmetric holder key",
        reissued(cnf={"jwk": {"kty": "oct", "k": "AAAA"}}),
        "structure",
        bad,
    )
    yield "status-missing", "no status reference", reissued(drop="status"), "structure", bad
    yield (
        "payload-nested-2000-deep",
        "arrays 2,000 deep in the payload",
        bound(sign_raw(canonical_json(HEADER), b'{"x":' + b"[" * 2000 + b"]" * 2000 + b"}", ISSUER_KEY), []),
        "structure",
        bad,
    )
    yield "over-64-kib", "longer than any passport", good + "A" * 70_000, "structure", bad
    yield (
        "salt-bit-flipped",
        "one bit of a salt",
        bound(signed, [flipped(PATHS["level"], 4), *DISCLOSURES[1:]]),
        "disclosures",
        bad,
    )
    yield (
        "value-bit-flipped",
        "one bit of a value: C3 reads C2",
        bound(signed, [flipped(PATHS["level"], len(b64u_decode(PATHS["level"])) - 3)]),
        "disclosures",
        bad,
    )
    yield (
        "disclosure-unreferenced",
        "a disclosure nobody signed",
        bound(signed, [*DISCLOSURES, disclosure("level", "C4")]),
        "disclosures",
        bad,
    )
    yield (
        "disclosure-twice",
        "the same disclosure twice",
        bound(signed, [*DISCLOSURES, DISCLOSURES[0]]),
        "disclosures",
        bad,
    )
    yield (
        "orphan-recursive-child",
        "a compartment without the list that holds its digest",
        bound(signed, [PATHS["level"], PATHS["compartments.CYB"]]),
        "disclosures",
        bad,
    )
    twice = disclosure("level", "C3")
    yield (
        "digest-twice",
        "the same digest twice in _sd",
        reissued([twice], _sd=[digest(twice), digest(twice)]),
        "disclosures",
        bad,
    )
    element = disclosure("CYB")
    parent = disclosure("compartments", [{"...": digest(element)}, {"...": digest(element)}])
    yield (
        "digest-twice-in-array",
        "the same digest twice in an array",
        reissued([parent, element], _sd=[digest(parent)]),
        "disclosures",
        bad,
    )
    company = disclosure("compartments", [{"...": digest(element), "also": 1}])
    yield (
        "array-digest-in-company",
        "an array element with a digest and something else",
        reissued([company, element], _sd=[digest(company)]),
        "disclosures",
        bad,
    )
    yield "name-sd", "a disclosure named _sd", with_disclosure("_sd", ["x"]), "disclosures", bad
    yield "name-dots", "a disclosure named ...", with_disclosure("...", "x"), "disclosures", bad
    yield (
        "shadows-status",
        "a disclosure over status",
        with_disclosure("status", {"status_list": {"idx": 0, "uri": f"{ISSUER}/status/0"}}),
        "disclosures",
        bad,
    )
    yield (
        "shadows-cnf",
        "a disclosure over cnf",
        with_disclosure("cnf", {"jwk": OTHER_KEY.public_jwk()}),
        "disclosures",
        bad,
    )
    yield "shadows-exp", "a disclosure over exp", with_disclosure("exp", NOW + 10**8), "disclosures", bad
    yield (
        "fact-twice",
        "two disclosures of one fact, both signed",
        with_disclosure("level", "C4"),
        "disclosures",
        bad,
    )
    yield (
        "fact-unknown",
        "a fact that no passport has",
        with_disclosure("clearance", "C4"),
        "disclosures",
        bad,
    )
    yield (
        "fact-out-of-range",
        "ial 4",
        reissued([disclosure("ial", 4)], _sd=[digest(disclosure("ial", 4))]),
        "disclosures",
        bad,
    )
    yield (
        "element-where-a-member-belongs",
        "[salt, value] in _sd",
        reissued([element], _sd=[digest(element)]),
        "disclosures",
        bad,
    )
    yield (
        "disclosure-not-an-array",
        "an object as disclosure",
        bound(signed, [b64u(b'{"a":1}')]),
        "disclosures",
        bad,
    )
    yield (
        "disclosure-padded",
        "base64 padding in a disclosure",
        bound(signed, [DISCLOSURES[0] + "="]),
        "disclosures",
        bad,
    )
    chain, top = deep(40)
    yield (
        "disclosures-nested-40-deep",
        "each disclosure inside the one before",
        reissued(chain, _sd=[top]),
        "disclosures",
        bad,
    )
    nested = b64u(b'["c2FsdA","role",' + b'{"a":' * 2000 + b"1" + b"}" * 2000 + b"]")
    yield (
        "value-nested-2000-deep",
        "one disclosure whose value is 2,000 deep",
        reissued([nested], _sd=[digest(nested)]),
        "disclosures",
        bad,
    )
    yield "binding-stripped", "no key binding", good.rsplit("~", 1)[0] + "~", "key_binding", missing
    yield (
        "binding-over-other-disclosures",
        "the key binding was made over more disclosures",
        ("~".join((signed, PATHS["level"], "")) + good.rsplit("~", 1)[1]),
        "key_binding",
        bad,
    )
    yield (
        "binding-by-another-key",
        "the key binding is signed with another key",
        bound(signed, DISCLOSURES, signer=OTHER_KEY),
        "key_binding",
        bad,
    )
    yield (
        "binding-wrong-typ",
        "a JWT that is no key binding",
        bound(signed, DISCLOSURES, header={"typ": "JWT", "alg": "ES256"}),
        "key_binding",
        bad,
    )
    yield (
        "binding-alg-none",
        "a key binding without a signature",
        bound(signed, DISCLOSURES, header={"typ": "kb+jwt", "alg": "none"}),
        "key_binding",
        bad,
    )
    yield (
        "binding-brings-a-key",
        "a key binding with its own jwk",
        bound(
            signed,
            DISCLOSURES,
            header={"typ": "kb+jwt", "alg": "ES256", "jwk": OTHER_KEY.public_jwk()},
            signer=OTHER_KEY,
        ),
        "key_binding",
        bad,
    )
    yield (
        "binding-iat-far-past",
        "a key binding from yesterday",
        bound(signed, DISCLOSURES, iat=NOW - 86_400),
        "key_binding",
        bad,
    )
    yield (
        "binding-iat-far-future",
        "a key binding from tomorrow",
        bound(signed, DISCLOSURES, iat=NOW + 86_400),
        "key_binding",
        bad,
    )
    yield (
        "binding-exp-null",
        "exp of a key binding is null, which is no time",
        bound(signed, DISCLOSURES, exp=None),
        "key_binding",
        bad,
    )
    yield (
        "binding-iat-missing",
        "a key binding without iat",
        bound(signed, DISCLOSURES, drop="iat"),
        "key_binding",
        bad,
    )
    yield (
        "binding-wrong-aud",
        "meant for another verifier",
        bound(signed, DISCLOSURES, aud="https://other.example"),
        "key_binding",
        bad,
    )
    yield (
        "binding-aud-a-list",
        "meant for several verifiers",
        bound(signed, DISCLOSURES, aud=[ISSUER, "https://other.example"]),
        "key_binding",
        bad,
    )
    yield (
        "binding-nonce-of-another-gateway",
        "a nonce that this verifier never gave",
        bound(signed, DISCLOSURES, nonce="nonce-of-another-gateway"),
        "key_binding",
        bad,
    )
    yield "binding-nonce-missing", "no nonce", bound(signed, DISCLOSURES, drop="nonce"), "key_binding", bad
    yield (
        "binding-sd-hash-missing",
        "no sd_hash",
        bound(signed, DISCLOSURES, drop="sd_hash"),
        "key_binding",
        bad,
    )


def files() -> dict[str, str]:
    """File name to content."""
    out = {}
    for name, description, presentation, step, code in vectors():
        content = {"name": name, "description": description, "step": step, "code": code, "now": NOW}
        content |= {
            "issuer": ISSUER,
            "audience": ISSUER,
            "nonce": NONCE,
            "issuer_jwk": ISSUER_KEY.public_jwk(),
        }
        content["presentation"] = presentation
        assert f"{name}.json" not in out
        out[f"{name}.json"] = json.dumps(content, indent=1) + "\n"
    return out


if __name__ == "__main__":
    for old in HERE.glob("*.json"):
        old.unlink()
    for name, content in files().items():
        (HERE / name).write_text(content)
