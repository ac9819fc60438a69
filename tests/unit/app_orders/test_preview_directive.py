from __future__ import annotations

import hashlib

import msgspec
import pytest
from tests.support.authorities import LAB, LISTED, NORTH, OPERATOR
from tests.support.june import TABLE
from tests.support.june_records import REGISTER, JuneRecords, june_signer
from tests.support.records import move_to
from tests.support.worlds import DAY, ISSUER

from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.preview_directive import PreviewDirective, preview_directive
from safeconduct.authorization.annex import AnnexLine, write_annex
from safeconduct.authorization.directive import sign_directive
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Permit
from safeconduct.kernel.canonical import canonical_json
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput


def draft(records, **changes):
    n = records.june.names
    return {
        "iss": ISSUER,
        "iat": int(records.instance.clock.now()),
        "number": "1",
        "version": 1,
        "kind": "licence_required",
        "force": "binding",
        "visibility": "public",
        "variants": [n["restricted"], n["lesser"]],
        "applies_to": {"not": {"us_person": "yes"}},
        "effective_from": records.june.at("2026-06-12"),
        "in_flight": "cut",
        "legal_source": "Sample Act, section 1",
        **changes,
    }


def annexed(records):
    data = write_annex(
        (AnnexLine("Sample", registry_authority=REGISTER, registry_number=records.june.names["annexed-org"]),)
    )
    reference = {
        "name": "a",
        "media_type": "application/jsonl",
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return reference, {"a": data}


def preview(records, claims, files=None, caller=OPERATOR):
    return preview_directive(records.instance, caller, PreviewDirective(canonical_json(claims), files or {}))


def signed_in(records, claims, files=None):
    jws = sign_directive(claims, june_signer())
    return import_directive(records.instance, OPERATOR, ImportDirective(jws, files or {}))


def outcomes(records, column, at):
    """subject -> model -> allowed, as the gateway would answer at `at`."""
    found = {}
    for who, model, _ in TABLE.values():
        for asked in {model, "restricted", "lesser"} if who != "agent" else {model}:
            request = msgspec.structs.replace(records.request(who, asked, column), authenticated_at=at)
            answer = decide(request, records.instance.record.state, at)
            found[who, asked] = isinstance(answer, Permit)
    return found


def mandated(records, column):
    """The agent holds a mandate of that column, as it would have signed for its next session."""
    records.request("agent", "restricted", column)


def test_the_preview_names_those_whom_the_order_then_denies_and_no_others():
    records = JuneRecords()
    move_to(records.instance, records.june.at("2026-06-12"))
    mandated(records, "06-12")
    at = records.june.noon("06-12")
    claims = draft(records, effective_from=at)
    before = outcomes(records, "06-12", at)
    seen = preview(records, claims)
    signed_in(records, claims)
    after = outcomes(records, "06-12", at)
    lost = {who for (who, model), allowed in before.items() if allowed and not after[who, model]}
    kept = {who for who, _ in before if before_any(before, who) and who not in lost}
    assert seen.at == at
    assert lost == set(seen.impact.loses) & {who for who, _ in before}
    assert set(seen.impact.loses) == lost | {"undeclared-annexed"}
    assert kept == set(seen.impact.keeps) == {"citizen", "resident"}
    assert seen.impact.counts["loses"] == 8


def before_any(before, who):
    return any(allowed for (name, _), allowed in before.items() if name == who)


def test_the_preview_of_an_amendment_and_of_a_rescission_names_those_who_gain():
    records = JuneRecords()
    june = records.june
    move_to(records.instance, june.at("2026-06-12"))
    signed_in(records, draft(records))
    move_to(records.instance, june.at("2026-06-26"))
    mandated(records, "06-26")
    reference, files = annexed(records)
    amendment = draft(
        records,
        number="2",
        kind="partially_authorise",
        variants=[june.names["restricted"]],
        applies_to={"all": []},
        amends=["1"],
        annexes=[reference],
        effective_from=june.noon("06-26"),
        **{"except": [{"organisation": {"in": "annex:a"}}, {"employee_of_provider": True}]},
    )
    seen = preview(records, amendment, files)
    assert set(seen.impact.gains) == {"annexed", "employee", "misuse", "agent", "undeclared-annexed"}
    assert seen.impact.loses == ()
    assert {one.variant for one in seen.impact.changes} == {june.names["restricted"]}
    signed_in(records, amendment, files)
    rescission = draft(
        records,
        number="3",
        kind="rescind",
        applies_to={"all": []},
        amends=["1"],
        effective_from=june.at("2026-06-30"),
    )
    seen = preview(records, rescission)
    assert {"subsidiary", "undeclared", "outsider", "annexed"} <= set(seen.impact.gains)
    assert seen.impact.loses == ()


def test_a_preview_writes_nothing():
    records = JuneRecords()
    before = records.instance.record.state
    preview(records, draft(records))
    assert records.instance.record.state is before


def test_a_signed_directive_previews_like_its_draft():
    records = JuneRecords()
    claims = draft(records)
    jws = sign_directive(claims, june_signer()).encode()
    signed = preview_directive(records.instance, OPERATOR, PreviewDirective(jws))
    assert signed.impact == preview(records, claims).impact


def test_a_past_effective_from_is_asked_about_as_of_now():
    records = JuneRecords()
    move_to(records.instance, records.june.noon("06-26"))
    seen = preview(records, draft(records))
    assert seen.at == records.june.noon("06-26")
    assert "annexed" in seen.impact.loses


def test_whoever_has_no_readable_claims_is_listed_and_not_counted():
    records = JuneRecords()
    records.instance.vault.forget("annexed")
    seen = preview(records, draft(records))
    assert seen.without_claims == ("annexed",)
    assert "annexed" not in seen.impact.loses


@pytest.mark.parametrize("caller", [LAB, LISTED])
def test_a_preview_names_people_and_so_is_for_operators_authorities_and_auditors(caller):
    records = JuneRecords()
    with pytest.raises(Forbidden):
        preview(records, draft(records), caller=caller)


def test_an_authority_previews_its_own_directives_only():
    records = JuneRecords()
    with pytest.raises(Forbidden):
        preview(records, draft(records), caller=NORTH)
    own = msgspec.structs.replace(NORTH, party=ISSUER)
    assert preview(records, draft(records), caller=own).kind == "licence_required"


def test_a_preview_refuses_what_the_import_would_refuse():
    records = JuneRecords()
    for error, changes in (
        (InvalidInput, {"kind": "recall"}),
        (InvalidInput, {"variants": ["nothing"]}),
        (InvalidInput, {"surprise": 1}),
        (Forbidden, {"iss": "authority:nobody"}),
    ):
        with pytest.raises(error):
            preview(records, draft(records, **changes))
    signed_in(records, draft(records))
    with pytest.raises(Conflict):
        preview(records, draft(records))
    with pytest.raises(InvalidInput):
        preview_directive(records.instance, OPERATOR, PreviewDirective("é".encode()))


def test_a_draft_of_an_authority_whose_key_has_ended_is_refused():
    records = JuneRecords()
    move_to(records.instance, records.june.noon("06-11") + 91 * DAY)
    with pytest.raises(Forbidden) as caught:
        preview(records, draft(records))
    assert caught.value.field == "kid"
