"""A directive's preview asks with the very claims that issuing kept in the vault."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.authorities import DIRECTIVE_KINDS, directive_claims, trusted
from tests.support.credentials import HUMAN, VARIANT, Credentials
from tests.support.holders import CLAIMS
from tests.support.instances import operator

from safeconduct.app.preview_directive import PreviewDirective, preview_directive, questions
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import VerificationFailed


@pytest.fixture
def at(tmp_path: Path):
    found = Credentials(tmp_path)
    now = found.embedded.now
    found.instance.record.commit(
        [
            trusted(
                "auth-1",
                "authority:north",
                DIRECTIVE_KINDS,
                valid_from=now - 60,
                valid_until=now + 86_400,
            )
        ]
    )
    yield found
    found.embedded.close()


def preview(at: Credentials):
    now = at.embedded.now
    draft = directive_claims(iat=now, effective_from=now + 60, variants=[VARIANT])
    return preview_directive(at.instance, operator(), PreviewDirective(canonical_json(draft)))


def test_a_preview_asks_with_the_claims_of_the_passport_as_it_was_issued(at: Credentials) -> None:
    asked = list(questions(at.instance, at.embedded.state, at.embedded.now + 60))
    assert asked
    assert {question.subject for question in asked} == {HUMAN}
    assert all(question.claims == CLAIMS for question in asked)
    assert {question.passport for question in asked} == {at.issued.passport}
    seen = preview(at)
    assert seen.without_claims == ()
    assert seen.impact.questions == len(asked)


def test_a_preview_can_say_nothing_of_an_issued_passport_whose_subject_was_erased(at: Credentials) -> None:
    at.instance.vault.forget(HUMAN)
    assert preview(at).without_claims == (HUMAN,)


def test_a_preview_does_not_ask_with_claims_that_differ_from_the_record(at: Credentials) -> None:
    document = at.instance.vault.get("claims", at.issued.passport)
    assert document is not None
    forged = document.replace(b'"FR"', b'"US"')
    assert forged != document
    at.instance.vault.put("claims", at.issued.passport, HUMAN, forged)
    with pytest.raises(VerificationFailed):
        preview(at)
