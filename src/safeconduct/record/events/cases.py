"""Events about KYC cases, legal holds and erasures. Pseudonyms and commitments only: who somebody is stays in the KYC store.

All times are seconds since the epoch.
"""

from __future__ import annotations

import msgspec

from safeconduct.kernel.ids import CaseId, SubjectId
from safeconduct.kernel.vocabulary import CaseState, Level, Risk


class KycCaseOpened(msgspec.Struct, frozen=True, gc=False, tag="kyc_case_opened", tag_field="type"):
    """A case was handed in for the first time. level: the one asked for; opened_at: when its draft was begun."""

    case: CaseId
    subject: SubjectId
    level: Level
    opened_at: int


class KycCaseChanged(msgspec.Struct, frozen=True, gc=False, tag="kyc_case_changed", tag_field="type"):
    """A case came to another state, or began another round (a refresh, an appeal).

    by: a reviewer's key, `applicant`, `clock` or `event`. reviewers: who decided, when it was decided.
    commitment: SHA-256(salt || the case as it then was) in hex; the salt is in the KYC store and goes with the person.
    level, valid_until: what stands, None when nothing does. risk: as rated, None before.
    """

    case: CaseId
    state: CaseState
    round: int
    by: str
    at: int
    commitment: str
    level: Level | None = None
    valid_until: int | None = None
    risk: Risk | None = None
    reviewers: tuple[str, ...] = ()


class LegalHoldChanged(msgspec.Struct, frozen=True, gc=False, tag="legal_hold_changed", tag_field="type"):
    """A subject's data must not be deleted, or may be again. matter: the number of the matter, never its content."""

    subject: SubjectId
    held: bool
    matter: str
    by: str
    at: int


class SubjectErased(msgspec.Struct, frozen=True, gc=False, tag="subject_erased", tag_field="type"):
    """A subject's data key is destroyed. receipt: SHA-256 (hex) of the receipt that the subject was given."""

    subject: SubjectId
    receipt: str
    at: int
