"""Every shipped pack: valid, cited, and right on its own cases."""

import pytest

from safeconduct.policy.packs import load_cases, load_shipped
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
