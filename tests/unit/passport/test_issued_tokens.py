"""Access tokens: bound, short, strictly read; the memory of verified ones goes by the whole text and the record."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from tests.support.holders import (
    CLAIMS,
    GATEWAY,
    ISSUER,
    ISSUER_KEY,
    NOW,
    OTHER_KEY,
    CountedBytes,
    issuer_key,
    sign_raw,
)

from safeconduct.kernel.canonical import b64u_decode, strict_json
from safeconduct.kernel.errors import InvalidInput, VerificationFailed
from safeconduct.kernel.ids import MandateId, PassportId, SubjectId, VariantId
from safeconduct.kernel.vocabulary import Binding, SubjectKind
from safeconduct.passport.principal import Principal
from safeconduct.passport.tokens import (
    AccessToken,
    StatusIndexes,
    VerifiedTokens,
    issue_access_token,
    verify_access_token,
)

PRINCIPAL = Principal(
    subject=SubjectId("sub_1"), holder=SubjectId("sub_1"), kind=SubjectKind.HUMAN, passport=PassportId("psp_1"),
    claims=CLAIMS, aal=3, authenticated_at=NOW, binding=Binding.DPOP, expires=NOW + 300, credential="",
    organisation=CLAIMS.organisation, variants=(VariantId("v"),),
)  # fmt: skip


def issued(principal: Principal = PRINCIPAL, **changes: Any) -> str:
    given: dict[str, Any] = {
        "jkt": "thumb", "actors": (), "status": StatusIndexes(4), "issuer": ISSUER, "audience": GATEWAY,
        "signer": ISSUER_KEY, "now": NOW, "random": CountedBytes("token"), **changes,
    }  # fmt: skip
    return issue_access_token(principal, **given)


def read(text: str, **changes: Any) -> AccessToken:
    given: dict[str, Any] = {
        "issuer": ISSUER,
        "issuer_key": issuer_key,
        "audience": GATEWAY,
        "now": NOW,
        **changes,
    }
    return verify_access_token(text, **given)


CONTENT: dict[str, Any] = strict_json(b64u_decode(issued().split(".")[1]))
HEADER = {"typ": "at+jwt", "alg": "ES256", "kid": ISSUER_KEY.kid}


def test_a_token_says_what_was_put_in() -> None:
    found = read(issued())
    assert msgspec.structs.replace(found.principal, credential="") == PRINCIPAL
    assert (found.jkt, found.status) == ("thumb", StatusIndexes(4))


def test_an_agents_chain_has_the_asking_agent_outermost() -> None:
    agent = msgspec.structs.replace(
        PRINCIPAL,
        subject=SubjectId("agt_2"),
        kind=SubjectKind.AGENT,
        mandates=(MandateId("m1"), MandateId("m2")),
    )
    text = issued(agent, actors=(SubjectId("agt_1"), SubjectId("agt_2")), status=StatusIndexes(4, (5, 6)))
    assert strict_json(b64u_decode(text.split(".")[1]))["act"] == {"sub": "agt_2", "act": {"sub": "agt_1"}}
    assert read(text).principal.subject == "agt_2"
    assert read(text).principal.holder == "sub_1"


@pytest.mark.parametrize(
    "changes",
    [
        {"cnf": None}, {"cnf": {}}, {"cnf": {"jkt": "a", "x": 1}}, {"aud": "https://other.example"}, {"iss": "https://x"},
        {"aud": [GATEWAY, "x"]}, {"exp": NOW + 301}, {"exp": NOW}, {"iat": None}, {"aal": 4}, {"aal": "3"}, {"aal": True},
        {"kind": "root"}, {"kind": "agent"}, {"act": {"sub": "agt"}}, {"mandates": ["m"]}, {"admin": True},
        {"facts": {"level": "C9"}}, {"facts": {"superuser": True}}, {"authorization_details": []},
        {"authorization_details": [{"type": "other"}]}, {"status_indexes": {"passport": 4, "mandates": [1]}},
    ],
)  # fmt: skip
def test_a_token_that_is_not_as_we_issue_them_is_refused(changes: dict[str, Any]) -> None:
    content = {name: value for name, value in {**CONTENT, **changes}.items() if value is not None}
    with pytest.raises(VerificationFailed) as failed:
        read(sign_raw(HEADER, content, ISSUER_KEY))
    assert failed.value.code == "PASSPORT_INVALID"


@pytest.mark.parametrize("typ", ["JWT", "kb+jwt", "dc+sd-jwt", "role+jwt", "dpop+jwt"])
def test_another_type_of_token_is_refused(typ: str) -> None:
    with pytest.raises(VerificationFailed):
        read(sign_raw({**HEADER, "typ": typ}, CONTENT, ISSUER_KEY))


def test_a_token_of_another_key_is_refused() -> None:
    with pytest.raises(VerificationFailed):
        read(sign_raw(HEADER, CONTENT, OTHER_KEY))


@pytest.mark.parametrize("seconds", [0, -1, 301])
def test_no_token_lives_longer_than_five_minutes(seconds: int) -> None:
    with pytest.raises(InvalidInput):
        issued(msgspec.structs.replace(PRINCIPAL, expires=NOW + seconds))


def test_the_memory_of_tokens_ends_with_the_epoch_the_time_and_the_text() -> None:
    text = issued()
    memory = VerifiedTokens(2)
    memory.put(text.encode(), read(text), epoch=7)
    assert memory.get(text.encode(), epoch=7, now=NOW) is not None
    assert memory.get(text.encode(), epoch=8, now=NOW) is None
    assert memory.get(text.encode(), epoch=7, now=NOW + 300) is None
    assert memory.get(text.encode()[:-1] + b"A", epoch=7, now=NOW) is None
    memory.put(b"b", read(text), epoch=7)
    memory.put(b"c", read(text), epoch=7)
    assert memory.get(text.encode(), epoch=7, now=NOW) is None
