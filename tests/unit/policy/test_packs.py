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


def test_all_shipped_packs_fit_one_slice():
    assert len(compile_slices(tuple(Source(p.pack, p.version, p.policies) for p in PACKS))) == 1
