"""Whom a change would touch: the same questions decided before and after it.

Owns the counting. Refuses to judge by another rule than `decide`: a preview is the decisions themselves, so it equals what
is then observed.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import msgspec

from safeconduct.decision.evaluation import Opened, decide
from safeconduct.decision.request import DecisionRequest
from safeconduct.decision.response import Decision, Deny, Permit
from safeconduct.kernel.ids import SubjectId, VariantId
from safeconduct.kernel.vocabulary import Code, Purpose, Surface
from safeconduct.record.state import State


class Change(msgspec.Struct, frozen=True):
    """One question whose outcome the change turns. codes: of the denial, before or after."""

    subject: SubjectId
    variant: VariantId
    purpose: Purpose | None
    surface: Surface
    region: str | None
    allowed_after: bool
    codes: tuple[Code, ...]


class Impact(msgspec.Struct, frozen=True):
    """By subject, at one moment, each list ordered by id.

    loses: allowed before and denied after for at least one question. keeps: allowed before for at least one, and after in
    all of these. gains: denied before and allowed after for at least one. untouched: allowed in none, before or after.
    changes: the single questions that turn. questions: how many were asked.
    """

    at: int
    loses: tuple[SubjectId, ...]
    keeps: tuple[SubjectId, ...]
    gains: tuple[SubjectId, ...]
    untouched: tuple[SubjectId, ...]
    changes: Sequence[Change]
    questions: int

    @property
    def counts(self) -> dict[str, int]:
        """How many subjects lose, keep, gain, and are untouched."""
        return {
            "loses": len(self.loses),
            "keeps": len(self.keeps),
            "gains": len(self.gains),
            "untouched": len(self.untouched),
        }


Answered = tuple[DecisionRequest, Decision, Opened]
"""A question, its answer before the change, and the question as far as the answer does not depend on orders."""


_NOBODY_ELSE: Final[Mapping[VariantId, tuple[VariantId, ...]]] = MappingProxyType({})


class Outcome(msgspec.Struct, frozen=True):
    """What one subject's questions amount to. turned: those that turn, in the order in which they were asked."""

    questions: int
    allowed: bool
    turned: tuple[Change, ...]

    @property
    def loses(self) -> bool:
        """Whether at least one was allowed before and is not after."""
        return any(not one.allowed_after for one in self.turned)

    @property
    def gains(self) -> bool:
        """Whether at least one was not allowed before and is after."""
        return any(one.allowed_after for one in self.turned)


def outcome_of(
    answered: Iterator[Answered],
    after: State,
    at: int,
    same: frozenset[VariantId] = frozenset(),
    *,
    orders_only: bool = False,
    alike: Mapping[VariantId, tuple[VariantId, ...]] = _NOBODY_ELSE,
) -> Outcome:
    """Decide one subject's questions after the change. same: variants that the change does not touch.

    orders_only: what `differ_in_orders_only` says of the states before and after.
    alike: by variant asked about, all variants whose answers are known with its own.
    """
    asked, allowed = 0, False
    turned: list[Change] = []
    for question, before, opened in answered:
        variants = alike.get(question.variant, (question.variant,))
        asked += len(variants)
        was = isinstance(before, Permit)
        allowed = allowed or was
        if question.variant in same:
            continue
        then = opened.under(after) if orders_only else decide(question, after, at)
        if isinstance(before, Permit) and isinstance(then, Deny):
            change = _change(question, after, allowed_after=False, codes=then.codes)
        elif isinstance(before, Deny) and isinstance(then, Permit):
            change = _change(question, after, allowed_after=True, codes=before.codes)
        else:
            continue
        turned.append(change)
        turned += [msgspec.structs.replace(change, variant=other) for other in variants[1:]]
    if alike:
        # As if all had been asked about, one variant after the other.
        turned.sort(key=operator.attrgetter("variant"))
    return Outcome(asked, allowed, tuple(turned))


def preview(state: State, candidate_state: State, questions: Iterable[DecisionRequest], at: int) -> Impact:
    """Decide each question under both states at `at` (seconds; a directive's `effective_from`) and compare."""
    asked = 0
    seen: set[SubjectId] = set()
    allowed: set[SubjectId] = set()
    loses: set[SubjectId] = set()
    gains: set[SubjectId] = set()
    changes: list[Change] = []
    for question in questions:
        asked += 1
        subject = question.subject
        seen.add(subject)
        before, after = decide(question, state, at), decide(question, candidate_state, at)
        if isinstance(before, Permit):
            allowed.add(subject)
        if isinstance(before, Permit) and isinstance(after, Deny):
            loses.add(subject)
            changes.append(_change(question, state, allowed_after=False, codes=after.codes))
        elif isinstance(before, Deny) and isinstance(after, Permit):
            gains.add(subject)
            changes.append(_change(question, state, allowed_after=True, codes=before.codes))
    return Impact(
        at=at,
        loses=tuple(sorted(loses)),
        keeps=tuple(sorted(allowed - loses)),
        gains=tuple(sorted(gains)),
        untouched=tuple(sorted(seen - allowed - gains)),
        changes=tuple(changes),
        questions=asked,
    )


def _change(
    question: DecisionRequest, state: State, *, allowed_after: bool, codes: tuple[Code, ...]
) -> Change:
    deployment = state.deployments.get(question.deployment) if question.deployment is not None else None
    return Change(
        subject=question.subject,
        variant=question.variant,
        purpose=question.purpose,
        surface=question.surface,
        region=deployment.registered.region if deployment is not None else None,
        allowed_after=allowed_after,
        codes=codes,
    )
