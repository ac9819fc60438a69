"""What an applicant and a KYC analyst must be able to do: one test for each story that needs no screen."""

import msgspec
import pytest
from tests.support.evidence import PERSON_ORGANISATION
from tests.support.instances import adjudicator, operator
from tests.support.kyc import DAY

from safeconduct.app.approve_project import ApproveProject, approve_project
from safeconduct.app.assign_kyc_case import assign_kyc_case
from safeconduct.app.dry_run import DryRun, dry_run
from safeconduct.app.ports import Caller
from safeconduct.app.read_kyc_cases import list_kyc_cases, show_kyc_case
from safeconduct.app.withdraw_kyc_case import appeal_kyc_case, withdraw_kyc_case
from safeconduct.decision.response import Deny
from safeconduct.identity.kyc_fields import kyc_fields, read_fields
from safeconduct.identity.kyc_states import Outcome
from safeconduct.identity.screening.port import POSSIBLE_NAME
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput
from safeconduct.kernel.vocabulary import CaseState, Code, Compartment, Level, Purpose, Role
from safeconduct.record.events.registrations import ModelRegistered, ProviderRegistered, VariantRegistered


def test_applicant_sees_every_field_its_reason_and_its_retention_before_entering_anything(bench):
    known = {field.field: field for field in kyc_fields()}
    asked = {"legal_name", "other_names", "email", "address", "citizenships", "residencies", "us_status",
             "birth_date", "role", "purpose", "terms", "document", "document_image", "liveness", "authenticator",
             "organisation"}  # fmt: skip
    assert asked <= set(known)
    for field in known.values():
        assert field.reason.strip()
        assert field.erasable or field.kept_source
    # Nothing can be stated that is not among them.
    assert set(bench.applicant().application().__struct_fields__) <= set(known)


@pytest.mark.parametrize(
    "change",
    [{"reason": " "}, {"asked_from": "C9"}, {"erasable": True}, {"kept_source": None}, {"kept_days": 0}],
)
def test_a_field_without_a_reason_or_kept_without_a_law_is_refused(change):
    field = {
        "field": "legal_name",
        "asked_from": "C1",
        "reason": "To know.",
        "source": None,
        "erasable": False,
        "kept_days": 10,
        "kept_source": "a law",
    }
    assert read_fields(msgspec.json.encode({"version": 1, "fields": [field]}))
    with pytest.raises(InvalidInput, match="legal_name"):
        read_fields(msgspec.json.encode({"version": 1, "fields": [{**field, **change}]}))


def test_applicant_reuses_unexpired_evidence_for_a_second_model(bench):
    anna = bench.applicant()
    anna.complete(level=Level.C1)
    bench.screen(anna.case)
    bench.rate(anna.case)
    bench.decide(anna.case)
    first = anna.case
    bench.later(DAY)
    anna.open(level=Level.C2)
    shown = show_kyc_case(bench.desk, anna.caller, anna.case)
    # Only what the first one did not ask for is lacking: no document, no passkey, no liveness check again.
    assert shown["lacking"] == ["the organisation's word that you belong to it"]
    assert shown["assurance"]["ial"] == 2
    anna.attest()
    anna.submit()
    bench.screen(anna.case, "analyst-2")
    bench.rate(anna.case, party="analyst-2")
    bench.decide(anna.case, party="analyst-2")
    assert bench.state.subjects[anna.subject].clearance.granted.level is Level.C2
    assert bench.file(first).case.state is CaseState.APPROVED


def test_expired_evidence_is_not_reused(bench):
    anna = bench.applicant()
    anna.complete(level=Level.C1)
    bench.screen(anna.case)
    bench.rate(anna.case)
    bench.decide(anna.case)
    bench.later(5 * 366 * DAY)
    anna.open(level=Level.C1)
    assert "a document that has not expired" in show_kyc_case(bench.desk, anna.caller, anna.case)["lacking"]


def test_applicant_appeals_to_another_reviewer_once_and_in_time(bench):
    anna = bench.applicant()
    case = anna.complete()
    bench.screen(case)
    bench.rate(case)
    bench.decide(case, Outcome.REJECTED)
    shown = show_kyc_case(bench.desk, anna.caller, case)
    assert shown["notice"].adverse
    assert "appeal" in shown["notice"].next
    appeal_kyc_case(bench.desk, anna.caller, case, "The reason does not hold.")
    with pytest.raises(Forbidden):
        assign_kyc_case(bench.desk, bench.reviewer(), case)
    assign_kyc_case(bench.desk, bench.reviewer("analyst-2"), case)
    bench.rate(case, party="analyst-2")
    bench.decide(case, Outcome.REJECTED, "analyst-2")
    assert bench.file(case).case.appeal.outcome == "upheld"
    with pytest.raises(Conflict, match="before"):
        appeal_kyc_case(bench.desk, anna.caller, case, "Once more.")
    bruno = bench.applicant("Bruno Specimen Example")
    bruno.complete()
    bench.screen(bruno.case)
    bench.rate(bruno.case)
    bench.decide(bruno.case, Outcome.REJECTED)
    bench.later(31 * DAY)
    with pytest.raises(Conflict, match="over"):
        appeal_kyc_case(bench.desk, bruno.caller, bruno.case, "Too late.")


def test_applicant_withdraws_and_gets_a_receipt_that_lists_what_the_law_retains(bench):
    anna = bench.applicant()
    anna.complete()
    bench.approve(anna.case)
    _, receipt = withdraw_kyc_case(bench.desk, anna.caller, anna.case)
    assert receipt.erased
    assert {one.field for one in receipt.retained} >= {"legal_name", "screening", "decision"}
    assert all(one.source and one.until > bench.now for one in receipt.retained)
    assert not {one.field for one in receipt.retained} & set(receipt.deleted)


def test_applicant_is_told_the_code_rule_version_and_remedy_of_a_denial(bench):
    anna = bench.applicant()
    anna.complete()
    bench.approve(anna.case)
    anna.collect()
    bench.instance.record.commit(
        [
            ProviderRegistered(provider="lab-a", organisation=PERSON_ORGANISATION, jurisdiction="US"),
            ModelRegistered(model="guarded", provider="lab-a"),
            VariantRegistered(variant="guarded-1", model="guarded", level=3, compartments=("CYB",)),
        ]
    )
    holder = Caller(role=Role.HOLDER, party="holder", id=anna.subject, subject=anna.subject)
    outcome = dry_run(bench.instance, holder, DryRun(model="guarded-1")).outcome
    assert isinstance(outcome, Deny)
    codes = [reason.code for reason in outcome.reasons]
    assert {Code.LEVEL_LOW, Code.COMPARTMENT} <= set(codes)
    for reason in outcome.reasons:
        assert reason.rule
        assert reason.version
        assert reason.remedy


def test_the_ends_of_a_case_are_told_apart(bench):
    notices = []
    for outcome in (Outcome.APPROVED, Outcome.REJECTED, Outcome.RETURNED_WITHOUT_ACTION):
        anna = bench.applicant(f"Anna {outcome.name.split('_')[0].title()} Example")
        anna.complete()
        bench.screen(anna.case)
        bench.rate(anna.case)
        bench.decide(anna.case, outcome)
        notices.append(show_kyc_case(bench.desk, anna.caller, anna.case)["notice"])
    assert len({notice.text for notice in notices}) == 3
    assert [notice.adverse for notice in notices] == [False, True, False]


def test_analyst_clears_a_possible_match_only_with_a_rationale(bench):
    anna = bench.applicant()
    anna.open()
    anna.state(other_names=(POSSIBLE_NAME,))
    anna.look(anna.hand_in())
    anna.passkey()
    anna.attest()
    anna.submit()
    bench.screen(anna.case)
    bench.rate(anna.case)
    with pytest.raises(InvalidInput):
        bench.clear_match(anna.case, "")
    with pytest.raises(Conflict):
        bench.decide(anna.case)
    bench.clear_match(anna.case, "Born in another decade.")
    assert bench.decide(anna.case).case.approval is not None
    assert bench.file(anna.case).person.cleared[0].rationale == "Born in another decade."


def project(bench):
    approve_project(
        bench.instance,
        adjudicator(),
        ApproveProject(
            project="sample-project",
            organisation=PERSON_ORGANISATION,
            purposes=(Purpose.VULN_TRIAGE,),
            compartments=(Compartment.CYB,),
            duration=400 * DAY,
            requested_by="somebody-there",
        ),
    )


def test_analyst_cannot_decide_c3_and_two_different_adjudicators_must(bench):
    project(bench)
    anna = bench.applicant()
    case = anna.complete(level=Level.C3, compartments=(Compartment.CYB,))
    bench.screen(case)
    bench.rate(case)
    with pytest.raises(Forbidden, match="adjudicators"):
        bench.decide(case)
    for party in ("adjudicator", "adjudicator-2"):
        assign_kyc_case(bench.desk, bench.reviewer(party), case)
    assert bench.decide(case, party="adjudicator").case.state is CaseState.REVIEW
    assert bench.state.subjects.get(anna.subject) is None
    with pytest.raises(Forbidden, match="somebody else"):
        bench.decide(case, party="adjudicator")
    assert bench.decide(case, party="adjudicator-2").case.state is CaseState.APPROVED
    granted = bench.state.subjects[anna.subject].clearance.granted
    assert (granted.level, granted.compartments) == (Level.C3, (Compartment.CYB,))
    assert len(set(granted.adjudicators)) == 2


def test_c3_without_a_project_in_force_is_not_approved(bench):
    anna = bench.applicant()
    case = anna.complete(level=Level.C3)
    bench.screen(case, "adjudicator")
    bench.rate(case, party="adjudicator")
    with pytest.raises(Conflict) as refused:
        bench.decide(case, party="adjudicator")
    assert refused.value.field == "level"
    assert "project" in refused.value.remedy


def test_analyst_with_a_conflict_of_interest_is_kept_out(bench):
    anna = bench.applicant()
    case = anna.complete()
    tied = bench.reviewer("tied-analyst")
    with pytest.raises(Forbidden, match="tied to the applicant"):
        assign_kyc_case(bench.desk, tied, case)
    listed = {one["case"]: one for one in list_kyc_cases(bench.desk, tied)}
    assert listed[case]["kept_out"] == "tied to the applicant's organisation"
    assert not any("Anna" in str(value) for value in listed[case].values())


def test_the_desk_sees_pseudonyms_until_a_case_is_assigned(bench):
    anna = bench.applicant()
    case = anna.complete()
    for caller in (bench.reviewer(), operator()):
        (listed,) = list_kyc_cases(bench.desk, caller)
        assert listed["subject"] == anna.subject
        assert "Anna" not in str(listed)
    assign_kyc_case(bench.desk, bench.reviewer(), case)
    assert show_kyc_case(bench.desk, bench.reviewer(), case)["application"].legal_name == anna.name
