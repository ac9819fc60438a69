"""A preview in columns names the very people that asking everybody one by one names, with the same changes in the same order."""

import random

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.properties.test_decision_properties import RESTRICTING, VARIANTS, order_sequences, orders, times
from tests.support.records import memory_instance
from tests.support.worlds import World, order, plain_world

from safeconduct.app import preview_directive as module
from safeconduct.app.impact_desk import ImpactDesk, desk_of
from safeconduct.app.population import APART, UNREAD, profile_of
from safeconduct.app.stored_claims import PASSPORT_CLAIMS, keep_claims
from safeconduct.identity.ownership.regime import Outcome
from safeconduct.kernel.errors import VerificationFailed
from safeconduct.kernel.vocabulary import (
    Affiliation,
    ClearanceState,
    Compartment,
    Condition,
    Level,
    PassportStatus,
    Purpose,
    Screening,
    Sector,
    Stage,
    SubjectKind,
    Surface,
    UsPerson,
)
from safeconduct.passport.claims import Claims
from safeconduct.policy.selection import EAR_COUNTRY_GROUPS
from safeconduct.record.events import (
    DeploymentRegistered,
    GrantEnded,
    MisuseSignalReceived,
    ProjectApproved,
    ProjectEnded,
    SubjectEnrolled,
    SubjectScreened,
    VariantRegistered,
)
from safeconduct.record.events.geography import CountryGroupsImported

ORGANISATIONS = ("org-a", "org-b", "org-lab", None)
PURPOSES = (Purpose.VULN_TRIAGE, Purpose.CODING, Purpose.RANSOMWARE)
PROFILE = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def base(rng):
    """Two variants, three organisations, a list; usually open to whoever is in order."""
    usually = _usually(rng)
    world = World(start=0, end=140)
    world.provider("lab")
    for name in ("org-a", "org-b"):
        world.organisation(
            name,
            screening=usually(Screening.CLEAR, Screening.POSSIBLE),
            verified_until=usually(140, rng.randrange(1, 40)),
            suspended=usually(False, True),
        )
        if usually(False, True):
            world.owned(name, rng.choice(list(Outcome)[1:]), rng.randrange(30), rng.choice([None, 35]))
    if usually(False, True):
        # Countries in which everybody drawn here lives; the pack that reads them runs only then.
        groups = {"AA": ("D:1",), "BB": ("E:1",), "XX": rng.choice([(), ("E:2",)])}
        world.add(CountryGroupsImported(EAR_COUNTRY_GROUPS, "2026-01-01", "00", groups, "op", 0))
    world.org_list("l", rng.sample(["org-a", "org-b", "org-lab"], 2))
    world.variant(
        "model-x",
        "lab",
        level=Level.C2,
        terms=usually(None, "t"),
        minimum_age=rng.choice([None, 18]),
        stage=usually(Stage.GENERAL, rng.choice(list(Stage))),
        org_list=rng.choice([None, "l"]),
    )
    world.variant("model-y", "lab", level=Level.C3, compartments=(Compartment.CYB,))
    return world


def _usually(rng):
    """The first, or now and then the second: people in order, and every way of not being so."""
    rarely = rng.choice([0.01, 0.03])
    return lambda usual, otherwise: otherwise if rng.random() < rarely else usual


def populate(world, seed, count):
    """People who are mostly alike, each of whom may differ from the others in any of the things decisions read."""
    rng = random.Random(seed)
    usually = _usually(rng)

    def span():
        begin = usually(0, rng.randrange(1, 30))
        return {"valid_from": begin, "valid_until": usually(140, begin + 1 + rng.randrange(40))}

    def scope():
        return {
            "purposes": usually(PURPOSES[:2], PURPOSES[:1]),
            "surfaces": usually((Surface.API,), (Surface.CONSOLE,)),
            "regions": usually((), rng.choice([("r1",), ("r2",)])),
            "conditions": usually((), rng.choice([(Condition.REPORT,), (Condition.ENCLAVE,)])),
            **span(),
        }

    if rng.random() < 0.3:
        world.add(
            DeploymentRegistered(
                deployment="model-x-2",
                variant="model-x",
                kind="sandbox",
                base_url="http://127.0.0.1:1",
                upstream_model="model-x",
                wires=(),
                region="r2",
                jurisdiction="YY",
                enclave=rng.choice([None, "e"]),
            )
        )
    tops = {}
    for number, organisation in enumerate([*ORGANISATIONS[:3], *ORGANISATIONS[:3]]):
        name = f"top-{number}"
        tops.setdefault(organisation, []).append(name)
        world.grant(
            name,
            VARIANTS,
            by_provider=usually("lab", "other"),
            to_organisation=usually(organisation, "org-b"),
            **scope(),
        )
    for number, group in enumerate(["team", "crew"]):
        organisation = rng.choice(ORGANISATIONS[:2])
        world.grant(
            f"team-grant-{number}",
            usually(VARIANTS, VARIANTS[:1]),
            by_organisation=organisation,
            to_group=group,
            parent=usually(tops[organisation][0], "no-such"),
            **scope(),
        )
    people = [f"p{number:02d}" for number in range(count)]
    for name in people:
        organisation = usually(rng.choice(["org-a", "org-a", "org-b"]), rng.choice(["org-lab", None]))
        world.person(
            name,
            organisation,
            us_person=usually(
                rng.choice([UsPerson.YES, UsPerson.NO]), rng.choice([UsPerson.UNDECLARED, None])
            ),
            citizenships=usually(
                rng.choice([("AA",), ("BB",)]), rng.choice([None, (), ("AA", "BB"), ("CC",)])
            ),
            level=usually(Level.C3, Level.C1),
            compartments=usually((Compartment.CYB,), ()),
            caveats=usually((), rng.choice([("US_PERSON",), ("NO_ZDR",)])),
            adjudicators=usually(("a", "b"), rng.choice([("b", "a", "c"), ("a", "a"), ("a",)])),
            kind=usually(SubjectKind.HUMAN, SubjectKind.EVALUATOR),
            ial=usually(2, rng.choice([None, 1, 3])),
            aal=usually(3, 2),
            state=usually(ClearanceState.GRANTED, ClearanceState.SUSPENDED),
            clearance_until=usually(140, rng.randrange(1, 40)),
            evidence_expires=usually(140, rng.choice([None, rng.randrange(40)])),
            affiliation=usually(Affiliation.ORG_ATTESTED, rng.choice([Affiliation.SELF, None])),
            age_over_18=usually(True, rng.choice([False, None])),
            deemed_export=rng.choice([(), (("ear", ("AA",)),), (("ear", ("BB",)), ("itar", ("AA", "BB")))]),
            # What no decision reads must part nobody.
            fal=rng.choice([1, 2]),
            role=rng.choice([None, "chief"]),
            sector=rng.choice([None, Sector.ENERGY]),
            residencies=rng.choice([None, ("BB",)]),
        )
        claimed = usually(organisation, rng.choice(ORGANISATIONS))
        world.claims[name] = msgspec.structs.replace(world.claims[name], organisation=claimed)
        if rng.random() < 0.15:
            world.passport(
                name,
                aal=rng.choice([2, 3]),
                suffix="-2",
                valid_from=rng.randrange(30),
                valid_until=rng.randrange(30, 60),
            )
        if rng.random() < 0.1:
            world.passport_status(name, rng.choice([PassportStatus.SUSPENDED, PassportStatus.INVALID]))
        if rng.random() < 0.1:
            outcome = usually(Screening.CLEAR, rng.choice(list(Screening)))
            world.add(SubjectScreened(subject=name, screening=outcome, screened_at=0, list_digests=()))
        if usually(True, False):
            world.terms(name, "t", until=usually(None, rng.randrange(40)))
        for group in ("team", "crew"):
            if rng.random() < 0.07:
                world.group(usually(organisation or "org-a", "org-b"), group, name)
        for part in range(usually(1, rng.choice([0, 2]))):
            by = usually(organisation, "org-b")
            if by is None:
                world.grant(f"g-{name}-{part}", VARIANTS, by_provider="lab", to_subject=name, **scope())
            else:
                top = usually(tops[by][0], tops[by][1])
                variants = usually(VARIANTS, rng.choice([VARIANTS[:1], VARIANTS[1:]]))
                world.grant(
                    f"g-{name}-{part}", variants, by_organisation=by, to_subject=name, parent=top, **scope()
                )
    for number, organisation in enumerate(["org-a", "org-b", "org-lab", "org-a"]):
        owner = usually(None, rng.choice(people))
        world.add(
            ProjectApproved(
                project=f"project-{rng.randrange(100)}-{number}",
                organisation=usually(organisation, None if owner else "org-b"),
                owner=owner,
                purposes=usually(PURPOSES[:2], PURPOSES[1:]),
                compartments=usually((Compartment.CYB,), ()),
                members=tuple(rng.sample(people, rng.choice([0, 0, 0, 0, 0, 0, len(people) // 2]))),
                approved_by=("a",),
                requested_by="b",
                **span(),
            )
        )
        if rng.random() < 0.15:
            world.add(ProjectEnded(project=world.events[-1].project, at=rng.randrange(60)))
    if rng.random() < 0.4:
        ended = rng.choice(sorted(world.state.grants))
        world.add(GrantEnded(grant=ended, by="x", at=rng.randrange(60)))
    if rng.random() < 0.4:
        named = {"subjects": rng.sample(people, len(people) // 3), "annex": rng.choice([(), ("org-b",)])}
        classes = rng.choice([(), (), ("foreign_national",), ("employee_of_provider",)])
        world.licence(
            "licence", VARIANTS, classes=classes, **rng.choice([named, {"annex": ("org-a",)}]), **span()
        )
    if rng.random() < 0.3:
        world.agent("bot-2", people[0], None)
        world.mandate("m-2", "bot-2", people[0], VARIANTS)
    return world


TWINS = ("model-a", "model-z")


def twinned(world, further, seed):
    """The world and the directive with twins of model-x, which differ from it in nothing, or in one way that counts."""
    rng = random.Random(seed)
    twins = rng.choice([TWINS, TWINS[:1], TWINS[1:]])
    differ = rng.choice(
        ["", "variant", "deployment", "grant", "licence", "order", "order", "further", "further"]
    )
    twin = World(packs=False)
    twin.start, twin.end, twin.claims = world.start, world.end, world.claims
    for event in world.events:
        kind = type(event).__name__
        about = {"GrantGiven": "grant", "LicenceGiven": "licence", "DirectiveImported": "order"}.get(kind)
        twin.add(_naming(event, twins, rng, 0.5 if about == differ else 0))
        if getattr(event, "variant", None) != "model-x" or isinstance(event, MisuseSignalReceived):
            continue
        for name in twins:
            facts = {"variant": name}
            if isinstance(event, DeploymentRegistered):
                facts["deployment"] = event.deployment.replace("model-x", name)
                if differ == "deployment":
                    facts |= rng.choice([{"region": "r2"}, {"enclave": "e"}, {"certifications": ("cert",)}])
            elif isinstance(event, VariantRegistered) and differ == "variant":
                facts |= rng.choice([{"level": Level.C1}, {"terms": "other"}, {"minimum_age": 19}])
            twin.add(msgspec.structs.replace(event, **facts))
    return twin, _naming(further, twins, rng, 0.5 if differ == "further" else 0)


def _naming(event, twins, rng, left_out):
    """What names model-x names its twins too, but for some."""
    if "model-x" not in getattr(event, "variants", ()):
        return event
    added = tuple(name for name in twins if rng.random() >= left_out)
    return msgspec.structs.replace(event, variants=(*event.variants, *added))


def instance_of(world):
    """An instance whose record is the world's, with the claims of every passport in its vault."""
    instance = memory_instance(0)
    events = []
    for event in world.events:
        if type(event).__name__ == "PassportIssued":
            facts = world.claims.get(event.subject)
            if facts is not None:
                if event.passport.endswith("-2"):
                    facts = msgspec.structs.replace(facts, ial=3, citizenships=("AA",))
                commitment = keep_claims(
                    instance.vault,
                    PASSPORT_CLAIMS,
                    event.passport,
                    subject=event.subject,
                    claims=facts,
                    random=instance.random,
                )
                events.append(msgspec.structs.replace(event, commitment=commitment))
                continue
        events.append(event)
    instance.record.commit(events)
    return instance


def in_columns(instance, least=0, **given):
    return msgspec.structs.replace(
        instance, impact=ImpactDesk(instance.record, _reader(instance), least=least, **given)
    )


def _reader(instance):
    return desk_of(instance.record, instance.vault)._read


def compared(instance, quick, candidate, at):
    """The preview both ways: equal in everything but how it was come by."""
    state = instance.record.state
    plain = module._whom(instance, state, candidate, at)
    found = module._whom(quick, state, candidate, at)
    assert found["classes"] or found["singly"] or not plain["impact"].questions
    assert tuple(found["impact"].changes) == plain["impact"].changes
    assert found["impact"] == plain["impact"]
    assert len(found["impact"].changes) == len(plain["impact"].changes)
    assert found["without_claims"] == plain["without_claims"]
    return found


@st.composite
def cases(draw):
    seed = draw(st.integers(0, 1_000_000))
    world = populate(base(random.Random(-1 - seed)), seed, draw(st.integers(10, 60)))
    if draw(st.booleans()):
        world.add(*draw(order_sequences()))
    named = sorted(one.imported.number for one in world.state.directives.values())
    kinds = ["partially_authorise", "rescind"] if named and draw(st.booleans()) else list(RESTRICTING)
    kind = draw(st.sampled_from(kinds))
    amends = (draw(st.sampled_from(named)),) if kind in ("partially_authorise", "rescind") else ()
    further = draw(orders("new", (kind,), amends=amends))
    if draw(st.integers(0, 3)):
        world, further = twinned(world, further, seed)
    return world, further, draw(times)


@PROFILE
@given(cases())
def test_a_preview_in_columns_equals_asking_everybody(case):
    world, further, at = case
    instance = instance_of(world)
    state = instance.record.state
    compared(instance, in_columns(instance), state.apply(further, state.position + 1), at)


@settings(PROFILE, max_examples=30)
@given(cases(), st.integers(0, 10_000), st.data())
def test_columns_keep_up_with_the_record(case, seed, data):
    world, further, at = case
    instance = instance_of(world)
    quick = in_columns(instance)
    assert quick.impact.columns() is not None
    made = quick.impact._population
    rng = random.Random(seed)
    # A second population of the same names: everything that an event can change is changed for some of them.
    later = populate(World(start=0, end=140, packs=False), seed, data.draw(st.integers(3, 6)))
    for event in rng.sample(later.events, min(len(later.events), 12)):
        instance.record.commit([event])
    for name in rng.sample(sorted(instance.record.state.grants), 2):
        instance.record.commit([GrantEnded(grant=name, by="x", at=rng.randrange(60))])
    instance.record.commit(
        [
            MisuseSignalReceived(
                signal="s",
                sender="lab",
                subject="p01",
                organisation=rng.choice([None, "org-b"]),
                variant="model-x",
                kind="k",
                evidence="00",
                document="00",
                received_at=0,
            ),
            SubjectEnrolled(subject="newcomer", kind=SubjectKind.HUMAN, organisation="org-a"),
        ]
    )
    state = instance.record.state
    compared(instance, quick, state.apply(further, state.position + 1), at)
    assert quick.impact._population is made or made._outdated


THREE = ("model-x", *TWINS)
subsets = st.lists(st.sampled_from(THREE), min_size=1, max_size=3, unique=True)


@settings(PROFILE, max_examples=60)
@given(st.data())
def test_a_twin_that_something_names_alone_is_answered_alone(data):
    world = World(start=0, end=140).provider("lab").organisation("org-a")
    for name in THREE:
        world.variant(name, "lab", level=Level.C2)
    people = [f"p{number}" for number in range(6)]
    for number, name in enumerate(people):
        world.person(name, "org-a", us_person=UsPerson.YES if number % 3 else UsPerson.NO)
    world.project("project", "org-a").admit("lab", "org-a", people, THREE)
    draw = data.draw
    kinds = st.sampled_from(["suspend", "licence_required", "licence_required"])
    world.add(order("0", draw(kinds), draw(subsets), 0, {"us_person": "no"}))
    if draw(st.booleans()):
        world.licence("licence", draw(subsets), classes=("foreign_national",))
    if draw(st.booleans()):
        world.add(order("1", "rescind", draw(subsets), 0, amends=("0",)))
    further = draw(
        st.one_of(
            subsets.map(lambda named: order("2", "suspend", named, 0, {"us_person": "yes"})),
            subsets.map(lambda named: order("2", "rescind", named, 0, amends=("0",))),
            subsets.map(
                lambda named: order(
                    "2", "partially_authorise", named, 0, except_=({"all": []},), amends=("0",)
                )
            ),
        )
    )
    instance = instance_of(world)
    state = instance.record.state
    compared(instance, in_columns(instance), state.apply(further, state.position + 1), 1)


def large(count):
    world = plain_world(level=Level.C2)
    for number in range(count):
        world.person(f"p{number:04d}", "org-a", us_person=UsPerson.YES if number % 3 else UsPerson.NO)
    return world.admit("lab", "org-a", [f"p{number:04d}" for number in range(count)], ["model-x"])


def suspension(world, at):
    return order("1", "suspend", ["model-x"], at, {"us_person": "no"})


def test_people_who_are_alike_are_decided_once():
    world = large(300)
    instance = instance_of(world)
    state = instance.record.state
    found = compared(
        instance,
        in_columns(instance),
        state.apply(suspension(world, world.now), state.position + 1),
        world.now,
    )
    assert len(found["impact"].loses) == 100
    assert found["classes"] <= 3
    assert found["singly"] == 0


@pytest.mark.parametrize(
    ("predicate", "packs"),
    [
        ({"deemed_export": {"in": ["AA"]}}, ()),
        ({"all": [{"us_person": "no"}, {"citizenship": {"in": ["AA"]}}]}, ("us.deemed_export",)),
    ],
)
def test_people_are_parted_by_the_countries_that_an_order_or_its_pack_asks_for(predicate, packs):
    """Otherwise alike: one of each kind is asked, so a claim that is left out would answer for the others."""
    world = plain_world(level=Level.C2)
    names = [f"p{number:04d}" for number in range(60)]
    for number, name in enumerate(names):
        there = (("ear", ("AA",) if number % 3 else ("BB",)),)
        world.person(name, "org-a", us_person=UsPerson.NO, citizenships=("BB",), deemed_export=there)
    world.admit("lab", "org-a", names, ["model-x"])
    instance = instance_of(world)
    state = instance.record.state
    said = order("1", "licence_required", ["model-x"], world.now, predicate, packs=packs)
    found = compared(instance, in_columns(instance), state.apply(said, state.position + 1), world.now)
    assert len(found["impact"].loses) == 40
    assert found["classes"] <= 4


def test_a_small_population_is_asked_one_by_one_without_columns():
    world = large(3)
    instance = in_columns(instance_of(world), least=5)
    assert instance.impact.columns() is None


def test_who_was_touched_is_asked_singly_until_the_columns_are_made_anew():
    world = large(30)
    instance = instance_of(world)
    quick = in_columns(instance, most_singles=3)
    state = instance.record.state
    candidate = state.apply(suspension(world, world.now), state.position + 1)
    assert compared(instance, quick, candidate, world.now)["singly"] == 0
    for number in range(5):
        instance.record.commit(
            [
                SubjectScreened(
                    subject=f"p{number:04d}", screening=Screening.MATCH, screened_at=0, list_digests=()
                )
            ]
        )
        state = instance.record.state
        candidate = state.apply(suspension(world, world.now), state.position + 1)
        found = compared(instance, quick, candidate, world.now)
        assert found["singly"] == (number + 1 if number < 3 else (0 if number == 3 else 1))


def test_an_erasure_is_seen_at_the_next_preview():
    world = large(20)
    instance = instance_of(world)
    quick = msgspec.structs.replace(
        instance,
        impact=ImpactDesk(
            instance.record, _reader(instance), erasures=lambda: instance.vault.erasures, least=0
        ),
    )
    state = instance.record.state
    candidate = state.apply(suspension(world, world.now), state.position + 1)
    assert compared(instance, quick, candidate, world.now)["without_claims"] == ()
    instance.vault.forget("p0003")
    assert compared(instance, quick, candidate, world.now)["without_claims"] == ("p0003",)


def test_claims_that_differ_from_the_record_stop_the_preview():
    world = large(20)
    instance = instance_of(world)
    document = instance.vault.get(PASSPORT_CLAIMS, "pass-p0003")
    instance.vault.put(
        PASSPORT_CLAIMS, "pass-p0003", "p0003", document[:32] + document[32:].replace(b"YY", b"ZZ")
    )
    state = instance.record.state
    candidate = state.apply(suspension(world, world.now), state.position + 1)
    for one in (instance, in_columns(instance)):
        with pytest.raises(VerificationFailed):
            module._whom(one, state, candidate, world.now)


def test_every_claim_is_in_a_column_or_known_to_be_unread():
    # A new claim joins the profile by itself; only what is listed here is left out or has a column of its own.
    assert set(UNREAD | APART) <= set(Claims.__struct_fields__)
    full = Claims(
        ial=2,
        affiliation=Affiliation.SELF,
        citizenships=("AA",),
        us_person=(("ear", UsPerson.NO),),
        caveats=("x",),
        age_over_18=True,
    )
    assert profile_of(full) == full
