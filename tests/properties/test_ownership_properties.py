"""Ownership on small graphs equals a reading of the rules by brute force, and a holding more never unblocks anybody."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from safeconduct.identity.ownership.designation import Designation, designated_under
from safeconduct.identity.ownership.edge import EdgeKind, Holding
from safeconduct.identity.ownership.explanation import explain
from safeconduct.identity.ownership.fixed_point import Assessment, strongly_connected
from safeconduct.identity.ownership.graph import Graph
from safeconduct.identity.ownership.regime import Outcome, read_regime
from safeconduct.identity.ownership.share import UNITS, WHOLE, Share
from safeconduct.policy.packs import load_regimes

REGIMES = {pack.pack: read_regime(pack.policies, version=pack.version) for pack in load_regimes()}
NODES = tuple(f"other:n:{place}" for place in range(6))
RANK = {Outcome.CLEAR: 0, Outcome.UNKNOWN: 1, Outcome.BLOCKED: 2}
known = st.sampled_from([0, 10, 20, 25, 30, 40, 49.9999, 50, 50.0001, 60, 100]).map(
    lambda per_cent: int(Fraction(str(per_cent)) * UNITS)
)
shares = st.one_of(
    known.map(lambda units: Share(units, units)),
    st.tuples(known, known).map(lambda pair: Share(min(pair), max(pair))),
    st.just(Share(0, WHOLE)),
)
kinds = st.sampled_from([EdgeKind.EQUITY] * 4 + list(EdgeKind))
keys = st.tuples(st.sampled_from(NODES), st.sampled_from(NODES), kinds)
graphs = st.dictionaries(keys, shares, max_size=12)
listed_nodes = st.sets(st.sampled_from(NODES[:3]), min_size=1, max_size=2)


def holdings(edges):
    return [Holding(owner, owned, kind, share, ()) for (owner, owned, kind), share in sorted(edges.items())]


def designated(regime, listed):
    return designated_under(
        regime, tuple(Designation(node, regime.lists[0].list, "1", node) for node in sorted(listed))
    )


# The oracle: sets of nodes and fractions of the whole, each rule read off again until nothing changes.


def part(share, bound):
    return Fraction(share.low if bound == "low" else share.high, WHOLE)


def reaches(limb, edges, owners, owned, bound, joint):
    """Whether `owners` hold enough of `owned`. joint: parties of a joint arrangement hold what all of them hold."""
    into = {
        (owner, kind): share
        for (owner, target, kind), share in edges.items()
        if target == owned != owner and kind in limb.kinds
    }
    if limb.kinds == (EdgeKind.CONTROL,):
        return any(limb.met(getattr(share, bound)) for (owner, _), share in into.items() if owner in owners)
    arranged = any(owner in owners and kind is EdgeKind.JOINT_ARRANGEMENT for owner, kind in into)

    def counts(owner, kind):
        return owner in owners or (joint and arranged and kind is EdgeKind.JOINT_ARRANGEMENT)

    mine = sum(part(share, bound) for key, share in into.items() if counts(*key))
    if bound == "high":
        all_low = sum(part(share, "low") for share in into.values())
        others = sum(part(share, "low") for key, share in into.items() if not counts(*key))
        mine = min(mine, 1 - others if all_low <= 1 else 1)
    threshold = Fraction(limb.threshold, WHOLE)
    return mine > threshold if limb.operator == ">" else mine >= threshold


def under(person, regime, edges, bound):
    group = {person}
    while True:
        more = {
            node
            for node in NODES
            for limb in regime.limbs
            if not limb.aggregate and reaches(limb, edges, group, node, bound, True)
        }
        if more <= group:
            return group
        group |= more


def oracle(regime, edges, listed, bound):
    caught = set(listed)
    while True:
        more = {
            node
            for node in NODES
            for limb in regime.limbs
            if limb.aggregate and reaches(limb, edges, caught, node, bound, False)
        }
        more |= {node for person in caught for node in under(person, regime, edges, bound)}
        if more <= caught:
            return caught
        caught |= more


def expected(regime, edges, listed):
    low, high = (oracle(regime, edges, listed, bound) for bound in ("low", "high"))
    return {
        node: Outcome.BLOCKED if node in low else Outcome.UNKNOWN if node in high else Outcome.CLEAR
        for node in NODES
    }


def computed(regime, edges, listed):
    assessment = Assessment(Graph(holdings(edges)), regime, designated(regime, listed))
    return {node: assessment.outcome(node) for node in NODES}


@pytest.mark.parametrize("name", sorted(REGIMES))
@settings(max_examples=300, deadline=None, derandomize=True)
@given(edges=graphs, listed=listed_nodes)
def test_the_fixed_point_equals_the_rules_read_by_brute_force(name, edges, listed):
    assert computed(REGIMES[name], edges, listed) == expected(REGIMES[name], edges, listed)


@pytest.mark.parametrize("name", sorted(REGIMES))
@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    edges=graphs,
    listed=listed_nodes,
    more=keys,
    share=known.map(lambda units: Share(units, units)),
)
def test_a_holding_more_of_a_blocked_owner_never_unblocks(name, edges, listed, more, share):
    regime = REGIMES[name]
    before = computed(regime, edges, listed)
    if more in edges or before[more[0]] is not Outcome.BLOCKED:
        return
    after = computed(regime, {**edges, more: share}, listed)
    blocked = {node for node, outcome in before.items() if outcome is Outcome.BLOCKED}
    assert all(after[node] is Outcome.BLOCKED for node in blocked)
    # Where what is stated adds up, nobody is so much as lifted from unknown to clear.
    total = sum(part(held, "low") for (_, owned, kind), held in edges.items() if owned == more[1])
    if total + part(share, "low") <= 1:
        assert all(RANK[after[node]] >= RANK[before[node]] for node in NODES)


@pytest.mark.parametrize("name", sorted(REGIMES))
@settings(max_examples=100, deadline=None, derandomize=True)
@given(edges=graphs, listed=listed_nodes, more=st.sampled_from(NODES))
def test_a_designation_more_never_unblocks(name, edges, listed, more):
    before = computed(REGIMES[name], edges, listed)
    after = computed(REGIMES[name], edges, listed | {more})
    assert all(RANK[after[node]] >= RANK[before[node]] for node in NODES)


@pytest.mark.parametrize("name", sorted(REGIMES))
@settings(max_examples=150, deadline=None, derandomize=True)
@given(edges=graphs, listed=listed_nodes)
def test_every_outcome_is_explained_by_a_sum_that_reaches_the_threshold_and_by_a_path(name, edges, listed):
    regime = REGIMES[name]
    assessment = Assessment(Graph(holdings(edges)), regime, designated(regime, listed))
    for node in NODES:
        told = explain(assessment, node, "2025-10-01")
        assert told.computed is assessment.outcome(node)
        if node in listed:
            assert told.designations
            continue
        worst = max((RANK[one.caught] for one in told.sums), default=0)
        assert worst == RANK[told.computed]
        if told.computed is not Outcome.CLEAR:
            assert told.paths
            assert all(path[0].owner in listed and path[-1].owned == node for path in told.paths)
            assert told.most_restrictive == regime.lists[0].list


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.dictionaries(st.integers(0, 7), st.sets(st.integers(0, 7)), max_size=8))
def test_components_are_who_reaches_each_other_each_after_what_it_leads_to(drawn):
    out = {node: sorted(drawn.get(node, ())) for node in range(8)}
    components = strongly_connected(out, out)

    def reach(node):
        seen, work = set(), [node]
        while work:
            for then in out[work.pop()]:
                if then not in seen:
                    seen.add(then)
                    work.append(then)
        return seen

    place = {node: at for at, component in enumerate(components) for node in component}
    assert sorted(place) == sorted(out)
    for one in out:
        for other in out:
            together = one == other or (other in reach(one) and one in reach(other))
            assert (place[one] == place[other]) is together
            if other in reach(one):
                assert place[other] <= place[one]
