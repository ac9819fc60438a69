"""Organisations' cases: who may submit and decide, what an approval needs, and what a lapsed number does. All made up."""

from __future__ import annotations

import msgspec
import pytest
from tests.support.instances import adjudicator, make_instance, operator
from tests.unit.identity.test_golden_copy import made_up_lei

from safeconduct.app.decide_organisation_case import DecideOrganisationCase, decide_organisation_case
from safeconduct.app.import_lei_records import ImportLeiRecords, import_lei_records
from safeconduct.app.organisation_cases import load_case
from safeconduct.app.ports import Caller
from safeconduct.app.submit_organisation_case import submit_organisation_case
from safeconduct.identity.evidence import Outcome
from safeconduct.identity.lei_record import EntityStatus, LeiRecord, LeiStatus
from safeconduct.identity.organisation_case import (
    LAPSE_GRACE,
    OrganisationApplication,
    OrganisationCaseState,
    RegistryLookup,
)
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound
from safeconduct.kernel.vocabulary import Role, Screening
from safeconduct.record.events.holders import OrganisationStandingChanged

LEI = made_up_lei(7)
DIGEST = "ab" * 32
APPROVED, SUBMITTED = OrganisationCaseState.APPROVED, OrganisationCaseState.SUBMITTED
REFRESH, EXPIRED = OrganisationCaseState.REFRESH_DUE, OrganisationCaseState.EXPIRED


@pytest.fixture
def embedded(tmp_path):
    with make_instance(tmp_path) as embedded:
        yield embedded


def application(**change):
    given = {
        "organisation": "acme-sample",
        "legal_name": "Acme Sample, Inc.",
        "country": "US",
        "sector": "security_vendor",
        "activity": {"revision": "nace-2.1", "code": "62.10"},
        "lei": LEI,
        "registry": {"authority": "RA000602", "number": "4711"},
        "representatives": [
            {"name": "Made-up Maria", "role": "director", "power": "sole", "document": DIGEST}
        ],
        "beneficial_owners": [
            {"name": "Made-up Otto", "country": "US", "kind": "equity", "basis_points": 6_000}
        ],
        "terms": [
            {"terms": "t-1", "document": DIGEST, "signed_by": ["Made-up Maria"], "signed_at": 1_780_000_000}
        ],
        **change,
    }
    return msgspec.convert(given, OrganisationApplication)


def record(embedded, **change):
    return LeiRecord(
        **{
            "lei": LEI,
            "legal_name": "ACME SAMPLE INC",
            "country": "US",
            "status": LeiStatus.ISSUED,
            "entity": EntityStatus.ACTIVE,
            "updated": embedded.now - 1000,
            "renewal": embedded.now + 100 * 86_400,
            **change,
        }
    )


def submit(embedded, by=None, **change):
    return submit_organisation_case(embedded.instance, by or operator(), application(**change))


def look_up(embedded, *, absent=(), by=None, published=None, **change):
    ask = ImportLeiRecords(
        file=DIGEST,
        published=embedded.now if published is None else published,
        records=() if absent else (record(embedded, **change),),
        absent=absent,
    )
    return import_lei_records(embedded.instance, by or operator(), ask)


def decide(embedded, outcome=APPROVED, by=None, **given):
    ask = DecideOrganisationCase(outcome=outcome, rationale="it all agrees", **given)
    return decide_organisation_case(embedded.instance, by or adjudicator(), "acme-sample", ask)


def approved(embedded):
    submit(embedded)
    look_up(embedded)
    return decide(embedded)


def standing(embedded):
    return embedded.state.organisations["acme-sample"].standing


def test_an_approved_case_verifies_the_organisation_by_the_number_that_was_looked_up(embedded):
    assert approved(embedded).state is APPROVED
    organisation = embedded.state.organisations["acme-sample"]
    assert organisation.registered.lei == LEI
    # The register's number was stated and not looked up: nothing is matched by it.
    assert organisation.registered.registry is None
    assert organisation.standing.verified_until == embedded.now + 100 * 86_400 + LAPSE_GRACE
    assert organisation.standing.screening is Screening.NONE


def test_a_register_extract_looked_up_by_the_decider_verifies_too(embedded):
    submit(embedded, lei=None)
    lookup = RegistryLookup(number="4711", outcome=Outcome.PASS, document=DIGEST, at=embedded.now)
    decide(embedded, registry_lookup=lookup)
    registered = embedded.state.organisations["acme-sample"].registered
    assert (registered.lei, registered.registry.number) == (None, "4711")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"representatives": [], "terms": []}, "power to bind"),
        (
            {
                "representatives": [
                    {"name": "Made-up Maria", "role": "x", "power": "joint", "document": DIGEST}
                ]
            },
            "power to bind",
        ),
        ({"beneficial_owners": []}, "beneficial owners"),
        ({"terms": []}, "terms are signed"),
        ({"legal_name": "Another Sample, Inc."}, "contradicts"),
        ({"country": "FR"}, "contradicts"),
        ({"lei": made_up_lei(8)}, "looked up"),
    ],
)
def test_an_approval_needs_every_sentence(embedded, change, sentence):
    submit(embedded, **change)
    look_up(embedded)
    with pytest.raises(Conflict, match=sentence):
        decide(embedded)
    assert "acme-sample" not in embedded.state.organisations
    assert load_case(embedded.instance, "acme-sample").state is SUBMITTED


def test_two_who_bind_together_bind(embedded):
    people = [
        {"name": name, "role": "x", "power": "joint", "document": DIGEST} for name in ("Sample A", "Sample B")
    ]
    terms = {"terms": "t", "document": DIGEST, "signed_at": 1_780_000_000}
    submit(embedded, representatives=people, terms=[{**terms, "signed_by": ["Sample A"]}])
    look_up(embedded)
    with pytest.raises(Conflict, match="terms are signed"):
        decide(embedded)
    submit(embedded, representatives=people, terms=[{**terms, "signed_by": ["Sample A", "Sample B"]}])
    assert decide(embedded).state is APPROVED


def test_nobody_decides_their_own_request_or_that_of_their_organisation(embedded):
    submit(embedded)
    look_up(embedded)
    submitter = msgspec.structs.replace(
        adjudicator(), id=load_case(embedded.instance, "acme-sample").submitted_by
    )
    with pytest.raises(Forbidden, match="own request"):
        decide(embedded, by=submitter)
    tied = msgspec.structs.replace(adjudicator(), organisation="acme-sample")
    with pytest.raises(Forbidden, match="tied"):
        decide(embedded, by=tied)
    with pytest.raises(Forbidden):
        decide(embedded, by=operator())


def test_an_organisation_submits_its_own_case_only(embedded):
    own = Caller(role=Role.ORGANISATION, party="organisation:acme-sample", id="k", organisation="acme-sample")
    assert submit(embedded, by=own).submitted_by == "k"
    other = msgspec.structs.replace(own, organisation="other")
    with pytest.raises(Forbidden):
        submit(embedded, by=other)
    with pytest.raises(Forbidden):
        look_up(embedded, by=own)


def test_a_lapse_calls_for_a_refresh_and_ends_verification_in_a_month(embedded):
    approved(embedded)
    found = look_up(embedded, status=LeiStatus.LAPSED)
    assert "lapsed" in found.refresh["acme-sample"]
    assert load_case(embedded.instance, "acme-sample").state is REFRESH
    assert standing(embedded).verified_until == embedded.now + LAPSE_GRACE
    with pytest.raises(Conflict, match="contradicts"):
        decide(embedded)
    look_up(embedded)
    assert decide(embedded).state is APPROVED
    assert standing(embedded).verified_until > embedded.now + LAPSE_GRACE


@pytest.mark.parametrize("how", ["retired", "inactive", "absent"])
def test_a_number_that_ended_ends_verification_at_once(embedded, how):
    approved(embedded)
    if how == "absent":
        look_up(embedded, absent=(LEI,))
    elif how == "retired":
        look_up(embedded, status=LeiStatus.RETIRED)
    else:
        look_up(embedded, entity=EntityStatus.INACTIVE)
    assert standing(embedded).verified_until == 0
    assert load_case(embedded.instance, "acme-sample").state is EXPIRED


def test_submitting_again_is_no_way_round_a_lapse(embedded):
    approved(embedded)
    submit(embedded)
    look_up(embedded, status=LeiStatus.RETIRED)
    assert standing(embedded).verified_until == 0


def test_a_number_that_is_only_claimed_costs_nobody_anything(embedded):
    """An operator's case for a verified organisation under a dead number must not take its standing."""
    submit(embedded, lei=None)
    lookup = RegistryLookup(number="4711", outcome=Outcome.PASS, document=DIGEST, at=embedded.now)
    decide(embedded, registry_lookup=lookup)
    before = standing(embedded)
    submit(embedded)
    look_up(embedded, status=LeiStatus.RETIRED)
    assert standing(embedded) == before


def test_an_older_file_never_replaces_a_newer_one(embedded):
    approved(embedded)
    assert look_up(embedded, published=embedded.now - 10, status=LeiStatus.RETIRED).matched == ()
    assert load_case(embedded.instance, "acme-sample").state is APPROVED
    with pytest.raises(InvalidInput, match="future"):
        look_up(embedded, published=embedded.now + 10)


def test_an_approval_leaves_screening_and_suspension_alone(embedded):
    approved(embedded)
    changed = msgspec.structs.replace(
        standing(embedded),
        screening=Screening.CLEAR,
        screened_at=embedded.now,
        list_digests=(DIGEST,),
        suspended=True,
        cause="made up",
    )
    assert isinstance(changed, OrganisationStandingChanged)
    embedded.instance.record.commit([changed])
    submit(embedded)
    decide(embedded)
    after = standing(embedded)
    assert (after.screening, after.suspended, after.cause) == (Screening.CLEAR, True, "made up")
    assert after.list_digests == (DIGEST,)


def test_an_identifier_of_another_organisation_is_refused_before_anything_is_written(embedded):
    approved(embedded)
    submit_organisation_case(embedded.instance, operator(), application(organisation="other-sample"))
    look_up(embedded)
    ask = DecideOrganisationCase(outcome=APPROVED, rationale="x")
    position = embedded.state.position
    with pytest.raises(Conflict, match="already"):
        decide_organisation_case(embedded.instance, adjudicator(), "other-sample", ask)
    assert embedded.state.position == position
    assert load_case(embedded.instance, "other-sample").state is SUBMITTED


@pytest.mark.parametrize(
    "outcome", [OrganisationCaseState.REJECTED, OrganisationCaseState.RETURNED_WITHOUT_ACTION]
)
def test_other_ends_record_nothing_and_are_final_until_submitted_again(embedded, outcome):
    submit(embedded)
    assert decide(embedded, outcome).state is outcome
    assert "acme-sample" not in embedded.state.organisations
    with pytest.raises(Conflict, match=str(outcome)):
        decide(embedded)
    assert submit(embedded).decisions[0].state is outcome


def test_a_case_survives_a_restart_and_what_is_not_there_is_not_found(embedded):
    approved(embedded)
    embedded.reopen()
    assert load_case(embedded.instance, "acme-sample").state is APPROVED
    with pytest.raises(NotFound):
        load_case(embedded.instance, "nobody")


def test_a_changed_number_forgets_what_was_looked_up(embedded):
    submit(embedded)
    look_up(embedded)
    assert submit(embedded).lei_lookup is not None
    assert submit(embedded, lei=made_up_lei(9)).lei_lookup is None


@pytest.mark.parametrize(
    "change",
    [
        {"lei": LEI[:-1] + "x"},
        {"lei": LEI[:-2] + "00"},
        {"country": "usa"},
        {"legal_name": "x" * 5_000},
        {"legal_name": "a\u202eb"},
        {"activity": {"revision": "nace-2.1", "code": "6210"}},
        {"nobody_above_threshold": True},
        {"beneficial_owners": [{"name": "A", "country": "US", "kind": "equity"}]},
        {"beneficial_owners": [{"name": "A", "country": "US", "kind": "board", "basis_points": 1}]},
        {"beneficial_owners": [{"name": "A", "country": "US", "kind": "votes", "basis_points": 9_000}] * 2},
        {"terms": [{"terms": "t", "document": DIGEST, "signed_by": ["Nobody"], "signed_at": 1}]},
        {"terms": [{"terms": "t", "document": "x", "signed_by": ["Made-up Maria"], "signed_at": 1}]},
        {"terms": [{"terms": "t", "document": DIGEST, "signed_by": ["Made-up Maria"], "signed_at": 1 << 33}]},
        {"organisation": "Not An Id"},
    ],
)
def test_an_application_that_is_malformed_is_refused_by_name(embedded, change):
    with pytest.raises(InvalidInput) as failure:
        submit(embedded, **change)
    assert failure.value.field
    with pytest.raises(NotFound):
        load_case(embedded.instance, "acme-sample")
