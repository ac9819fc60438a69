"""Every shipped pack: valid, cited, and right on its own cases."""

import msgspec
import pytest

from safeconduct.identity.customer_file import CustomerFile, check_customer_file
from safeconduct.kernel.errors import InvalidInput
from safeconduct.policy.completeness import missing, read_asked
from safeconduct.policy.packs import load_cases, load_computations, load_shipped
from safeconduct.policy.publish import validate
from safeconduct.policy.slices import Source, compile_slices, forbidding

PACKS = load_shipped()
CASES = [(pack, case) for pack in PACKS for case in load_cases()[pack.pack]]


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.pack)
def test_a_shipped_pack_is_valid_and_has_cases(pack):
    validate(pack)
    assert load_cases()[pack.pack]


@pytest.mark.parametrize(("pack", "case"), CASES, ids=lambda one: getattr(one, "pack", None) or one.name)
def test_a_shipped_pack_answers_its_cases(pack, case):
    (compiled,) = compile_slices((Source(pack.pack, pack.version, pack.policies),))
    assert tuple(clause.id for clause in forbidding(compiled, case.context)) == case.forbids


def test_what_an_ordinary_request_is_asked_fits_one_slice():
    """Packs that wait for an occasion (an age limit, an enclave, a closed stage) may take a second one."""
    for occasion in ("every_request", "closed_stage", "cited_order", "age_limit", "enclave"):
        running = [p for p in PACKS if p.parameters["scope"] in ("every_request", occasion)]
        sources = tuple(Source(p.pack, p.version, p.policies) for p in running)
        assert len(compile_slices(sources)) <= (2 if occasion == "cited_order" else 1), occasion
    june = [p for p in PACKS if p.pack in ("assurance.minimum", "org.approved", "us.is_informed.2026")]
    assert len(compile_slices(tuple(Source(p.pack, p.version, p.policies) for p in june))) == 1


COMPUTATIONS = load_computations()
FILES = [(pack, case) for pack, (_, cases) in COMPUTATIONS.items() for case in cases]


@pytest.mark.parametrize(("pack", "case"), FILES, ids=lambda one: one if isinstance(one, str) else one.name)
def test_a_completeness_pack_answers_its_cases(pack, case):
    metadata, _ = COMPUTATIONS[pack]
    check_customer_file(case.file, "file")
    assert missing(read_asked(metadata.parameters), case.file) == case.missing


def test_the_draft_rule_of_customer_identification_lists_and_denies_nothing():
    """A computation pack is no decision pack: it cannot be published to run per request."""
    metadata, _ = COMPUTATIONS["us.iaas.cip"]
    assert (metadata.kind, metadata.status) == ("computation", "draft")
    assert "us.iaas.cip" not in {pack.pack for pack in PACKS}
    with pytest.raises(InvalidInput, match="computation"):
        validate(msgspec.structs.replace(PACKS[0], kind=metadata.kind))


@pytest.mark.parametrize(
    "asked", [None, [{"sentence": "x", "any_of": []}], [{"sentence": "x", "any_of": ["birth_date"]}]]
)
def test_a_rule_that_asks_for_what_no_file_has_is_refused(asked):
    with pytest.raises(InvalidInput):
        read_asked({"asked": asked})


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"email": "no address"}, "email"),
        ({"phone": "12"}, "phone"),
        ({"ip_addresses": ("300.0.0.1",)}, "ip_addresses[0]"),
        ({"address": "x" * 5_000}, "address"),
        ({"name": "a\u202eb"}, "name"),
        ({"beneficial_owners": ("x",) * 99}, "beneficial_owners"),
    ],
)
def test_a_customers_file_that_is_malformed_is_refused_by_name(change, field):
    with pytest.raises(InvalidInput) as failure:
        check_customer_file(CustomerFile(**change), "customer")
    assert failure.value.field == f"customer.{field}"
