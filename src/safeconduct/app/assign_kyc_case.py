"""Use cases: put a reviewer on a case, or step back from one. Who has a stake in it, or decided it before, is kept out."""

from __future__ import annotations

from safeconduct.app.kyc_desk import KycDesk, reviewer_named, reviewer_of
from safeconduct.app.kyc_files import KycFile, load, save
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_case import assign, check_reviewer, recuse


def assign_kyc_case(desk: KycDesk, caller: Caller, case: str, *, reviewer: str | None = None) -> KycFile:
    """Take a case, or give it to somebody else of the desk. reviewer: a key's id, the caller's own when None.

    Raises Forbidden (a conflict of interest), NotFound, Conflict.
    """
    mine = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    # Who is kept out of a case does not choose its reviewers either.
    check_reviewer(file.case, mine)
    who = mine if reviewer is None or reviewer == caller.id else reviewer_named(desk, reviewer)
    return save(desk.instance, file, case=assign(file.case, who))


def recuse_from_kyc_case(desk: KycDesk, caller: Caller, case: str) -> KycFile:
    """Step back for good. Raises Forbidden, NotFound, Conflict."""
    mine = reviewer_of(desk, caller)
    file = load(desk.instance, case)
    return save(desk.instance, file, case=recuse(file.case, mine))
