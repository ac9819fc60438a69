"""Delegation: narrowing, depth, cycles, revocation of any link, and an agent's exchange."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.credentials import HUMAN, VARIANT, Credentials, call
from tests.support.holders import CLAIMS, HOLDER_KEY, NamedSigner
from tests.support.instances import adjudicator, organisation

from safeconduct.app.change_passport_status import change_passport_status
from safeconduct.app.check_presentation import CredentialRefused
from safeconduct.app.publish_status_list import StatusListPublisher, statuses
from safeconduct.app.register_mandate import register_mandate
from safeconduct.app.revoke_mandate import revoke_mandate
from safeconduct.kernel.errors import Forbidden
from safeconduct.kernel.ids import MandateId, SubjectId, VariantId
from safeconduct.kernel.signing import FileSigner, VerifyingKey
from safeconduct.kernel.vocabulary import Code, PassportStatus, Purpose, SubjectKind, Surface
from safeconduct.passport.mandate import (
    MANDATE_TOKEN_TYPE,
    Mandate,
    Scope,
    present_mandate,
    sign_mandate,
)
from safeconduct.passport.status_list import StatusLists
from safeconduct.record.events.holders import MandateRegistered


def key(agent: str) -> FileSigner:
    return NamedSigner(agent)


def scope(at: Credentials, **changes: Any) -> Scope:
    given: dict[str, Any] = {
        "variants": (VARIANT,), "purposes": (Purpose.CODING,), "surfaces": (Surface.API,),
        "valid_from": at.embedded.now, "valid_until": at.embedded.now + 3600,
    }  # fmt: skip
    return Scope(**{**given, **changes})


def delegate(
    at: Credentials, agent: str, above: MandateRegistered | None = None, **changes: Any
) -> MandateRegistered:
    """`agent` gets a mandate from the human, or from the agent of `above`."""
    signer = HOLDER_KEY if above is None else key(above.agent)
    mandate = Mandate(
        id=MandateId(changes.pop("id", f"mdt_{agent}")),
        principal=HUMAN if above is None else above.agent,
        agent=SubjectId(agent),
        scope=scope(at, **changes.pop("scope", {})),
        agent_jwk=changes.pop("agent_jwk", key(agent).public_jwk()),
        signed_at=changes.pop("signed_at", at.embedded.now),
        parent=None if above is None else above.mandate,
    )
    text = sign_mandate(mandate, audience=at.instance.issuer, signer=changes.pop("signer", signer))
    if above is None:
        return register_mandate(at.desk, mandate=text, presentation=at.presentation())
    return register_mandate(
        at.desk, mandate=text, presentation=presented(at, above), principal_jwk=signer.public_jwk()
    )


def presented(at: Credentials, mandate: MandateRegistered) -> str:
    return present_mandate(
        mandate.mandate,
        agent=mandate.agent,
        signer=key(mandate.agent),
        audience=at.instance.issuer,
        nonce=at.nonces.give()[0],
        now=at.embedded.now,
        jti=at.random(8).hex(),
    )


def exchange(at: Credentials, mandate: MandateRegistered, **changes: Any) -> Any:
    given: dict[str, Any] = {
        "subject_token": presented(at, mandate),
        "subject_token_type": MANDATE_TOKEN_TYPE,
        "dpop": (at.proof(key(mandate.agent)),),
        **changes,
    }
    return at.token(**given)


def refused(*given: Any, **changes: Any) -> Code:
    with pytest.raises(CredentialRefused) as failed:
        delegate(*given, **changes)
    return failed.value.code


def test_an_agent_gets_a_token_with_its_humans_claims_and_its_mandates_scope(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    child = delegate(at, "agt_2", first)
    token = exchange(at, child).access_token
    url = f"{at.instance.audience}/v1/messages"
    proof = at.proof(key("agt_2"), url=url, access_token=token).encode()
    principal = call(at, at.verifier(), token, dpop=[proof])
    assert (principal.subject, principal.holder, principal.kind) == ("agt_2", HUMAN, SubjectKind.AGENT)
    assert principal.mandates == (first.mandate, child.mandate)
    assert (principal.claims, principal.aal) == (CLAIMS, 3)
    assert (principal.variants, principal.purpose) == ((VARIANT,), Purpose.CODING)
    assert principal.authenticated_at == first.signed_at
    assert (first.depth, child.depth) == (1, 2)


@pytest.mark.parametrize(
    "wider",
    [
        {"purposes": (Purpose.CODING, Purpose.EXPLOIT_VALIDATION)},
        {"surfaces": (Surface.WEIGHTS,)},
        {"variants": (VARIANT, VariantId("other"))},
        {"valid_until": 4_000_000_000},
    ],
)
def test_a_scope_above_the_humans_is_refused(at: Credentials, wider: dict[str, Any]) -> None:
    with pytest.raises(CredentialRefused):
        delegate(at, "agt_1", scope=wider)
    assert not at.embedded.state.mandates
    assert at.instance.vault.names("mandate-claims") == []


@pytest.mark.parametrize(
    "wider",
    [{"purposes": (Purpose.GENERAL,)}, {"surfaces": (Surface.AGENT,)}, {"valid_until": 1}, {"valid_from": 0}],
)
def test_a_scope_above_the_mandates_is_refused(at: Credentials, wider: dict[str, Any]) -> None:
    first = delegate(at, "agt_1")
    if wider.get("valid_until"):
        wider = {"valid_until": first.valid_until + 1}
    assert refused(at, "agt_2", first, scope=wider) is Code.DELEGATION


def test_a_chain_has_at_most_four_links(at: Credentials) -> None:
    link = delegate(at, "agt_1")
    for number in (2, 3, 4):
        link = delegate(at, f"agt_{number}", link)
    assert link.depth == 4
    assert refused(at, "agt_5", link) is Code.DELEGATION


def test_a_cycle_is_refused(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    second = delegate(at, "agt_2", first)
    assert refused(at, "agt_1", second, id="mdt_again") is Code.DELEGATION
    assert refused(at, HUMAN, first, id="mdt_back", agent_jwk=key("agt_3").public_jwk()) is Code.DELEGATION


def test_a_mandate_signed_with_another_key_is_refused(at: Credentials) -> None:
    assert refused(at, "agt_1", signer=key("thief")) is Code.PASSPORT_INVALID


def test_a_mandate_counts_once_and_its_claims_stay(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    assert refused(at, "agt_1") is Code.DELEGATION
    assert exchange(at, first).access_token


def test_an_old_signature_is_refused(at: Credentials) -> None:
    assert refused(at, "agt_1", signed_at=at.embedded.now - 301) is Code.DELEGATION


def test_an_agent_with_its_humans_or_another_agents_key_is_refused(at: Credentials) -> None:
    assert refused(at, "agt_1", agent_jwk=HOLDER_KEY.public_jwk()) is Code.DELEGATION
    delegate(at, "agt_2")
    assert refused(at, "agt_3", agent_jwk=key("agt_2").public_jwk()) is Code.DELEGATION


@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_revoked_mandate_ends_every_agent_below_it(at: Credentials, which: int) -> None:
    links = [delegate(at, "agt_1")]
    for number in (2, 3):
        links.append(delegate(at, f"agt_{number}", links[-1]))
    revoke_mandate(at.instance, adjudicator(), links[which].mandate)
    for place, link in enumerate(links):
        if place < which:
            assert exchange(at, link).access_token
        else:
            with pytest.raises(CredentialRefused) as failed:
                exchange(at, link)
            assert failed.value.code is Code.DELEGATION
    found = dict(statuses(at.embedded.state, 0))
    assert set(found) == {link.status_index for link in links[which:]}


def test_with_the_humans_passport_all_agents_end(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    change_passport_status(
        at.instance, adjudicator(), at.issued.passport, PassportStatus.INVALID, cause="test"
    )
    with pytest.raises(CredentialRefused) as failed:
        exchange(at, first)
    assert (failed.value.code, failed.value.subject, failed.value.holder) == (
        Code.PASSPORT_REVOKED,
        "agt_1",
        HUMAN,
    )
    assert dict(statuses(at.embedded.state, 0))[first.status_index] is PassportStatus.INVALID


def test_another_key_cannot_use_a_mandate(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    with pytest.raises(CredentialRefused):
        exchange(at, first, dpop=(at.proof(key("thief")),))


@pytest.mark.parametrize("asked", [{"models": ["other"]}, {"purpose": "general"}])
def test_an_agent_cannot_ask_for_more_than_its_mandate(at: Credentials, asked: dict[str, Any]) -> None:
    first = delegate(at, "agt_1")
    with pytest.raises(CredentialRefused) as failed:
        exchange(at, first, authorization_details=[{"type": "safeconduct_model_access", **asked}])
    assert failed.value.code is Code.DELEGATION


def test_an_organisation_cannot_revoke_a_persons_mandate(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    with pytest.raises(Forbidden):
        revoke_mandate(at.instance, organisation("org_sample"), first.mandate)


def test_the_published_list_says_what_the_record_says(at: Credentials) -> None:
    first = delegate(at, "agt_1")
    publisher = StatusListPublisher(at.instance)
    status_key = VerifyingKey(at.instance.keys.signer("status").public_jwk())
    lists = StatusLists(lambda kid: status_key if kid == status_key.kid else None)
    uri = f"{at.instance.issuer}/status/0"
    lists.accept(publisher.publish(0), uri=uri, now=at.embedded.now)
    assert lists.status(uri, first.status_index, now=at.embedded.now) is PassportStatus.VALID
    change_passport_status(
        at.instance, adjudicator(), at.issued.passport, PassportStatus.SUSPENDED, cause="test"
    )
    lists.accept(publisher.publish(0), uri=uri, now=at.embedded.now)
    assert lists.status(uri, 0, now=at.embedded.now) is PassportStatus.SUSPENDED
    assert lists.status(uri, first.status_index, now=at.embedded.now) is PassportStatus.SUSPENDED
