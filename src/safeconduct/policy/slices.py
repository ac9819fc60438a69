"""Cedar slices: a handful of policies compiled once and asked about one question.

Owns the handles and the reading of Cedar's answer. Refuses a doubtful answer: any error in the diagnostics, no decision, or
a denial without a policy behind it raises `PolicyFailed`, and a decision that sees that denies.
"""

from __future__ import annotations

import functools
from typing import Any, Final

import cedarpy
import msgspec

from safeconduct.kernel.vocabulary import Code

MAX_POLICIES: Final = 5
"""Policies per slice, the base permit included: Cedar scans, so what it is asked stays small."""

BASE: Final = '@id("core/base")\npermit (principal, action == Action::"use", resource);\n'

_NO_ENTITIES: Final = cedarpy.Entities.from_json_str("[]")
# Policies see facts, never who asks or for what by name. Objects, since Cedar parses text anew each time.
_NOBODY: Final = {"type": "Subject", "id": "-"}
_USE: Final = {"type": "Action", "id": "use"}
_ANY_VARIANT: Final = {"type": "Variant", "id": "-"}
_encode = msgspec.json.Encoder().encode


class PolicyFailed(Exception):
    """Cedar did not give a clean answer; the question must be denied."""


class Question(msgspec.Struct, frozen=True):
    """The context of a policy, as `packs/schema.cedarschema` declares it. The defaults ask for nothing and offer nothing."""

    required_level: int = 0
    compartments: tuple[str, ...] = ()
    ial: int = 0
    aal: int = 0
    sender_constrained: bool = True
    stage_closed: bool = False
    organisation_listed: bool = False
    order_open: bool = False
    us_person_under: tuple[str, ...] = ()
    order_regimes: tuple[str, ...] = ()
    order_countries: tuple[str, ...] = ()
    deemed_export_ear: tuple[str, ...] = ()
    deemed_export_itar: tuple[str, ...] = ()
    minimum_age: int = 0
    age_over_18: bool = False
    enclave_asked: bool = False
    origin_attested: bool = False
    deployment_attested: bool = False
    location: str = ""
    location_groups: tuple[str, ...] = ()
    nationality_known: bool = True
    nationality_groups: tuple[str, ...] = ()
    seat_groups: tuple[str, ...] = ()


class Clause(msgspec.Struct, frozen=True):
    """One policy's annotations: what a reason that rests on it says."""

    id: str
    code: Code
    source: str
    detail: str
    remedy: str
    pack: str
    version: str

    @property
    def citation(self) -> str:
        """`pack@version: source`."""
        return f"{self.pack}@{self.version}: {self.source}"


class Source(msgspec.Struct, frozen=True):
    """Cedar text of one version of a pack."""

    pack: str
    version: str
    policies: str


class Slice(msgspec.Struct, frozen=True, eq=False):
    """Compiled policies and, by Cedar's positional id, the clause each of them is. Compared by identity."""

    handle: Any
    clauses: dict[str, Clause]


def annotated(source: Source) -> dict[str, Clause]:
    """The clauses of a pack by Cedar's positional ids. Raises PolicyFailed when one lacks an annotation."""
    found: dict[str, Clause] = {}
    for position, policy in cedarpy.PolicySet.from_str(source.policies).to_pst().static_policies.items():
        notes = policy.annotations
        try:
            found[position] = Clause(
                id=notes["id"],
                code=Code(notes["code"]),
                source=notes["source"],
                detail=notes["detail"],
                remedy=notes["remedy"],
                pack=source.pack,
                version=source.version,
            )
        except (KeyError, ValueError) as error:
            raise PolicyFailed(f"{source.pack}: {position}: annotation {error}") from None
    return found


@functools.lru_cache(maxsize=256)
def compile_slices(sources: tuple[Source, ...]) -> tuple[Slice, ...]:
    """Compile packs into as few slices as `MAX_POLICIES` allows; one, for what ships here.

    Raises PolicyFailed for a pack with more policies than one slice holds, ValueError for text that is not Cedar.
    """
    groups: list[list[Source]] = [[]]
    room = MAX_POLICIES - 1
    for source in sources:
        size = len(annotated(source))
        if size > MAX_POLICIES - 1:
            raise PolicyFailed(f"{source.pack} has {size} policies, {MAX_POLICIES - 1} fit a slice")
        if size > room:
            groups.append([])
            room = MAX_POLICIES - 1
        groups[-1].append(source)
        room -= size
    return tuple(_compile(group) for group in groups)


def _compile(sources: list[Source]) -> Slice:
    clauses: dict[str, Clause] = {}
    by_id = {clause.id: clause for source in sources for clause in annotated(source).values()}
    handle = cedarpy.PolicySet.from_str(BASE + "\n".join(source.policies for source in sources))
    for position, policy in handle.to_pst().static_policies.items():
        name = policy.annotations["id"]
        if name in by_id:
            clauses[position] = by_id[name]
    if not len(clauses) == len(by_id) == sum(len(annotated(source)) for source in sources):
        raise PolicyFailed("two policies have the same @id")
    return Slice(handle=handle, clauses=clauses)


@functools.lru_cache(maxsize=4096)
def forbidding(compiled: Slice, question: Question) -> tuple[Clause, ...]:
    """The clauses that forbid, in order of their text; none means that the slice permits. Raises PolicyFailed.

    Remembered: a question holds all that a policy can see and no identity, so few different ones are asked. A failure is
    not remembered.
    """
    answer = cedarpy.is_authorized(
        {
            "principal": _NOBODY,
            "action": _USE,
            "resource": _ANY_VARIANT,
            "context": _encode(question).decode(),
        },
        compiled.handle,
        _NO_ENTITIES,
    )
    diagnostics = answer.diagnostics
    # An erroring forbid is skipped by Cedar: any error at all must deny.
    if diagnostics.errors:
        raise PolicyFailed("; ".join(map(str, diagnostics.errors))[:500])
    if answer.decision is cedarpy.Decision.Allow:
        return ()
    if answer.decision is not cedarpy.Decision.Deny:
        raise PolicyFailed("Cedar gave no decision")
    try:
        found = tuple(compiled.clauses[position] for position in sorted(diagnostics.reasons))
    except KeyError as error:
        raise PolicyFailed(f"a policy without a clause forbids: {error}") from None
    if not found:
        raise PolicyFailed("denied by default: the base policy did not match")
    return found
