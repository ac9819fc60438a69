"""What may be published as a pack, and how slices are made of packs."""

import cedarpy
import msgspec
import pytest
from immutables import Map

from safeconduct.kernel.canonical import sha256_hex
from safeconduct.kernel.errors import InvalidInput
from safeconduct.policy.packs import load_shipped
from safeconduct.policy.publish import validate
from safeconduct.policy.selection import select, selected
from safeconduct.policy.slices import (
    MAX_POLICIES,
    PolicyFailed,
    Question,
    Slice,
    Source,
    compile_slices,
    forbidding,
)
from safeconduct.record.projections import PackState

NOTES = '@id("p/{0}") @code("DIRECTIVE") @source("s") @detail("d") @remedy("r")\n'


def policy(name="x", condition="context.ial < 1", notes=NOTES, effect="forbid"):
    return f'{notes.format(name)}{effect} (principal, action == Action::"use", resource) when {{ {condition} }};\n'


def pack(policies=None, **changes):
    text = policy() if policies is None else policies
    base = msgspec.structs.replace(
        load_shipped()[0],
        pack="p",
        policies=text,
        sha256=sha256_hex(text.encode()),
        parameters={"scope": "every_request"},
    )
    return msgspec.structs.replace(base, **changes)


def test_a_pack_in_order_is_accepted():
    validate(pack())


@pytest.mark.parametrize(
    ("broken", "field"),
    [
        (pack(pack="Bad Name"), "pack"),
        (pack(version=""), "version"),
        (pack(kind="gate"), "kind"),
        (pack(status="on"), "status"),
        (pack(legal_source=""), "legal_source"),
        (pack(effective_from=5, effective_until=5), "effective_until"),
        (pack(sha256="00"), "sha256"),
        (pack(parameters={}), "parameters.scope"),
        (pack(parameters={"scope": "sometimes"}), "parameters.scope"),
        (pack("not cedar"), "policies"),
        (pack(""), "policies"),
        (pack(policy(effect="permit")), "policies.policy0"),
        (pack(policy("x") + policy("x")), "policies.policy1"),
        (pack(policy(condition="context.no_such < 1")), "policies"),
        (pack(policy(condition='context.ial == "one"')), "policies"),
        (pack(policy(notes=NOTES.replace("p/", "q/"))), "policies.policy0"),
        (pack(policy(notes=NOTES.replace("DIRECTIVE", "NOPE"))), "policies.policy0"),
        (pack(policy(notes=NOTES.replace("DIRECTIVE", "MODEL_UNKNOWN"))), "policies.policy0"),
        (pack(policy(notes=NOTES.replace("DIRECTIVE", "ACCESS_RESTRICTED"))), "policies.policy0"),
        (pack(policy(notes=NOTES.replace('@source("s") ', ""))), "policies.policy0"),
        (pack(policy(notes=NOTES.replace('@remedy("r")', '@remedy("")'))), "policies.policy0"),
        (pack("".join(policy(str(n)) for n in range(MAX_POLICIES))), "policies"),
    ],
)
def test_a_pack_that_may_not_run_is_refused_by_field(broken, field):
    with pytest.raises(InvalidInput) as refused:
        validate(broken)
    assert refused.value.field == field


def test_a_template_is_refused():
    with pytest.raises(InvalidInput, match="template"):
        validate(
            pack(NOTES.format("x") + 'forbid (principal == ?principal, action == Action::"use", resource);')
        )


def test_more_packs_than_fit_one_slice_make_several_and_all_are_asked():
    sources = tuple(
        Source(f"p{n}", "1", policy(notes=NOTES.replace("p/", f"p{n}/"), condition="context.ial < 3"))
        for n in range(6)
    )
    slices = compile_slices(sources)
    assert [len(one.clauses) for one in slices] == [4, 2]
    found = [clause.pack for one in slices for clause in forbidding(one, Question())]
    assert found == [f"p{n}" for n in range(6)]


def test_two_packs_with_one_id_do_not_compile():
    with pytest.raises(PolicyFailed):
        compile_slices((Source("a", "1", policy()), Source("b", "1", policy())))


def test_a_slice_that_denies_by_default_fails_rather_than_deny_without_a_reason():
    (compiled,) = compile_slices((Source("p", "1", policy(condition="false")),))
    bare = Slice(handle=cedarpy.PolicySet.from_str(policy(condition="false")), clauses=compiled.clauses)
    with pytest.raises(PolicyFailed):
        forbidding(bare, Question())


def version(number, since, until=None, status="active", name="p"):
    return PackState(
        published=pack(version=number, effective_from=since, effective_until=until, pack=name), status=status
    )


def names(selection):
    return [one.name for one in selection.packs]


def test_the_version_in_force_is_the_one_that_began_last():
    packs = Map(
        {"p": (version("1", 0), version("2", 100), version("3", 50, 60), version("4", 0, status="draft"))}
    )
    assert names(select(packs, 0)) == ["p@1"]
    assert names(select(packs, 55)) == ["p@3"]
    assert names(select(packs, 60)) == ["p@1"]
    assert names(select(packs, 100)) == ["p@2"]
    assert select(packs, 0).until == 50
    assert select(packs, 55).until == 60
    assert select(packs, 100).until is None


def test_a_remembered_selection_is_right_at_any_time_and_for_any_packs():
    first = Map({"p": (version("1", 10, 20),)})
    second = Map({"p": (version("2", 10, 20),)})
    for packs in (first, second, first):
        for now in (15, 5, 25, 19, 20, 9, 10):
            assert selected(packs, now) == select(packs, now)
