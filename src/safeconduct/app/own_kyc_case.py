"""Whose case it is: the applicant finds their own, and nobody else's exists for them."""

from __future__ import annotations

from safeconduct.app.kyc_desk import KycDesk
from safeconduct.app.kyc_files import KycFile, load
from safeconduct.app.open_kyc_case import subject_of
from safeconduct.app.ports import Caller
from safeconduct.app.scope import require_role
from safeconduct.kernel.errors import NotFound
from safeconduct.kernel.vocabulary import Role


def own_file(desk: KycDesk, caller: Caller, case: str) -> KycFile:
    """The applicant's own case. Raises NotFound for anybody else's: they may not know that it exists."""
    require_role(caller, Role.APPLICANT, Role.HOLDER)
    file = load(desk.instance, case)
    if subject_of(desk, caller) != file.case.subject:
        raise NotFound(f"there is no case {case[:60]!r}", field="case", remedy="list your own")
    return file
