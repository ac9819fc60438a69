from __future__ import annotations

import pytest
from tests.support.authorities import (
    DIGEST,
    LAB,
    LISTED,
    NORTH,
    OPERATOR,
    RIVAL,
    annex,
    directive_claims,
    org_list_jws,
    organisation,
    raw_directive,
    world,
)

from safeconduct.app.change_stage import ChangeStage, change_stage
from safeconduct.app.change_standing import ChangeStanding, change_standing
from safeconduct.app.import_directive import ImportDirective, import_directive
from safeconduct.app.import_org_list import ImportOrgList, import_org_list
from safeconduct.app.record_finding import RecordFinding, record_finding
from safeconduct.app.register_deployment import (
    CREDENTIAL_KIND,
    RegisterDeployment,
    register_deployment,
    retire_deployment,
)
from safeconduct.app.register_model import RegisterModel, VariantOffer, register_model
from safeconduct.app.register_provider import RegisterProvider, register_provider
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.vocabulary import FindingDomain, Level, Severity, Stage, Standing


def refused(error, call, instance, *args):
    before = instance.record.state
    with pytest.raises(error) as caught:
        call(instance, *args)
    assert instance.record.state is before
    return caught.value


def model(name="fresh", variants=("fresh-1",), provider=None, **offer):
    offers = tuple(VariantOffer(variant=one, level=Level.C1, **offer) for one in variants)
    return RegisterModel(model=name, variants=offers, provider=provider)


def deployment(**changes):
    facts = {
        "deployment": "d-1",
        "variant": "big-open",
        "kind": "openai",
        "base_url": "https://models.example/v1/",
        "upstream_model": "x",
        "region": "r",
        "jurisdiction": "XA",
        "credential": "sk-canary-1",
    }
    return RegisterDeployment(**{**facts, **changes})


def finding(variant="big-open", severity=Severity.CRITICAL, scheme="own", domain=FindingDomain.BIO, **more):
    return RecordFinding(
        variant=variant, domain=domain, scheme=scheme, raw="r", normalised=severity, evidence=DIGEST, **more
    )


def test_an_operator_registers_a_provider_under_a_known_organisation():
    instance = world(more=[organisation("new-org")])
    register_provider(instance, OPERATOR, RegisterProvider("fresh", "new-org", "XA"))
    assert instance.record.state.providers["fresh"].organisation == "new-org"
    for error, caller, ask in (
        (Conflict, OPERATOR, RegisterProvider("fresh", "new-org", "XA")),
        (NotFound, OPERATOR, RegisterProvider("p", "nowhere", "XA")),
        (InvalidInput, OPERATOR, RegisterProvider("P!", "new-org", "XA")),
        (InvalidInput, OPERATOR, RegisterProvider("p", "new-org", "somewhere")),
        (Forbidden, LAB, RegisterProvider("p", "new-org", "XA")),
    ):
        refused(error, register_provider, instance, caller, ask)


def test_a_provider_registers_its_models_and_an_operator_for_it_but_no_other_provider():
    instance = world()
    register_model(instance, LAB, model())
    register_model(instance, OPERATOR, model("fresh2", ("fresh2-1",), provider="lab"))
    assert instance.record.state.variants["fresh2-1"].provider == "lab"
    refused(Forbidden, register_model, instance, RIVAL, model("m3", ("m3-1",), provider="lab"))
    refused(Forbidden, register_model, instance, NORTH, model("m3", ("m3-1",), provider="lab"))
    refused(Conflict, register_model, instance, RIVAL, model("big", ("big-x",)))


def test_variants_are_registered_apart_and_start_internal():
    instance = world()
    register_model(instance, LAB, model("m", ("m", "m-mini")))
    state = instance.record.state
    assert state.variants_of["m"] == ("m", "m-mini")
    assert {state.variants[name].stage for name in ("m", "m-mini")} == {Stage.INTERNAL}


def test_a_name_that_would_mean_two_things_is_refused():
    instance = world()
    refused(Conflict, register_model, instance, LAB, model("m", ("big",)))
    refused(Conflict, register_model, instance, LAB, model("other-1", ("x-1",)))
    refused(Conflict, register_model, instance, LAB, model("m", ("big-open",)))
    refused(Conflict, register_model, instance, LAB, model("m", ("m-1", "m-1")))
    refused(InvalidInput, register_model, instance, LAB, model("m", ()))
    refused(InvalidInput, register_model, instance, LAB, model("m", ("m-1",), safeguards=("hope",)))
    refused(InvalidInput, register_model, instance, LAB, model("m", ("m-1",), minimum_age=17))


def test_a_new_variant_does_not_slip_out_of_an_order_on_the_whole_model():
    instance = world()
    import_directive(instance, OPERATOR, ImportDirective(raw_directive(directive_claims(variants=["big"]))))
    error = refused(Conflict, register_model, instance, LAB, model("big", ("big-copy",)))
    assert "escape" in error.message
    register_model(instance, LAB, model("elsewhere", ("elsewhere-1",)))


def test_a_new_variant_is_free_where_the_order_names_variants():
    instance = world()
    import_directive(
        instance, OPERATOR, ImportDirective(raw_directive(directive_claims(variants=["big-open"])))
    )
    register_model(instance, LAB, model("big", ("big-copy",)))
    assert "big-copy" in instance.record.state.variants


def test_a_deployments_credential_is_kept_encrypted_and_stands_nowhere_else():
    instance = world()
    ask = deployment()
    event = register_deployment(instance, LAB, ask)
    assert instance.vault.get(CREDENTIAL_KIND, "d-1") == b"sk-canary-1"
    assert event.base_url == "https://models.example/v1"
    assert "canary" not in repr(ask) + repr(event)
    assert b"canary" not in b"".join(instance.record.entries)
    retire_deployment(instance, LAB, "d-1")
    assert instance.vault.get(CREDENTIAL_KIND, "d-1") is None


def test_a_refused_deployment_leaves_no_credential_behind():
    instance = world()
    refused(NotFound, register_deployment, instance, LAB, deployment(variant="nothing"))
    refused(Forbidden, register_deployment, instance, RIVAL, deployment())
    refused(InvalidInput, register_deployment, instance, LAB, deployment(credential="a\r\nx: y"))
    refused(InvalidInput, register_deployment, instance, LAB, deployment(base_url="http://models.example"))
    assert instance.vault.get(CREDENTIAL_KIND, "d-1") is None


def test_a_deployment_cannot_be_taken_over_by_registering_it_again():
    instance = world()
    register_deployment(instance, LAB, deployment())
    refused(Conflict, register_deployment, instance, LAB, deployment(credential="other"))
    assert instance.vault.get(CREDENTIAL_KIND, "d-1") == b"sk-canary-1"
    refused(Forbidden, retire_deployment, instance, RIVAL, "d-1")


def test_a_sandbox_deployment_is_refused_in_production():
    ask = deployment(kind="sandbox", base_url="http://127.0.0.1:1")
    refused(UnsafeConfiguration, register_deployment, world(profile="production"), OPERATOR, ask)
    register_deployment(world(), OPERATOR, ask)


def test_a_finding_raises_what_the_variant_asks_for():
    instance = world()
    record_finding(instance, LAB, finding())
    state = instance.record.state.variants["big-open"]
    assert (state.required_level, state.needs_project) == (Level.C3, True)


def test_a_provider_does_not_lower_its_demand_by_a_later_finding_and_an_authority_does():
    instance = world()
    record_finding(instance, LAB, finding())
    lower = finding(severity=Severity.BELOW)
    refused(Conflict, record_finding, instance, LAB, lower)
    far = NORTH.__class__(**{**as_dict(NORTH), "jurisdiction": "XB"})
    refused(Conflict, record_finding, instance, far, lower)
    record_finding(instance, NORTH, lower)
    assert instance.record.state.variants["big-open"].required_level is Level.C2


def as_dict(caller):
    return {name: getattr(caller, name) for name in caller.__struct_fields__}


def test_findings_come_from_the_provider_itself_or_an_authority():
    for caller in (RIVAL, OPERATOR, LISTED):
        refused(Forbidden, record_finding, world(), caller, finding())
    refused(NotFound, record_finding, world(), LAB, finding("nothing"))
    refused(
        InvalidInput,
        record_finding,
        world(),
        LAB,
        RecordFinding("big-open", FindingDomain.BIO, "s", "r", Severity.HIGH, "nope"),
    )


def test_a_stage_advance_without_findings_fails_and_with_one_succeeds_step_by_step():
    instance = world()
    step = ChangeStage("big-cyber", Stage.GOVERNMENT_EVALUATION)
    assert "findings" in refused(Conflict, change_stage, instance, LAB, step).message
    record_finding(instance, LAB, finding("big-cyber", Severity.BELOW))
    refused(Conflict, change_stage, instance, LAB, ChangeStage("big-cyber", Stage.TRUSTED_PREVIEW))
    change_stage(instance, LAB, step)
    change_stage(instance, LAB, ChangeStage("big-cyber", Stage.TRUSTED_PREVIEW))
    change_stage(instance, LAB, ChangeStage("big-cyber", Stage.GOVERNMENT_EVALUATION))
    assert instance.record.state.variants["big-cyber"].stage is Stage.GOVERNMENT_EVALUATION
    kinds = [entry for entry in instance.record.entries if b'"stage_changed"' in entry]
    assert len(kinds) == 4  # three here and one of the world: history is intact


def test_only_the_provider_moves_its_stages():
    for caller in (RIVAL, OPERATOR, NORTH):
        refused(Forbidden, change_stage, world(), caller, ChangeStage("big-open", Stage.VERIFIED))


def test_a_closed_stage_admits_a_published_list():
    instance = world()
    record_finding(instance, LAB, finding("big-cyber", Severity.BELOW))
    step = ChangeStage("big-cyber", Stage.GOVERNMENT_EVALUATION, org_list="approved")
    refused(NotFound, change_stage, instance, LAB, step)
    _, data = annex("listed")
    import_org_list(instance, OPERATOR, ImportOrgList(org_list_jws(data), data))
    change_stage(instance, LAB, step)
    assert instance.record.state.variants["big-cyber"].org_list == "approved"


def test_an_operator_may_suspend_a_variant_and_only_the_provider_restores_it():
    instance = world()
    change_standing(instance, OPERATOR, ChangeStanding("big-open", Standing.SUSPENDED, "incident"))
    back = ChangeStanding("big-open", Standing.ACTIVE, "fixed")
    refused(Forbidden, change_standing, instance, OPERATOR, back)
    refused(Forbidden, change_standing, instance, RIVAL, back)
    refused(
        NotFound,
        change_standing,
        instance,
        LAB,
        ChangeStanding("big-open", Standing.COHORT_RESTORED, "some", cohort="nobody"),
    )
    refused(InvalidInput, change_standing, instance, LAB, ChangeStanding("big-open", Standing.ACTIVE, " "))
    change_standing(instance, LAB, back)
    assert instance.record.state.variants["big-open"].standing is Standing.ACTIVE
