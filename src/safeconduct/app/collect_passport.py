"""Use case: the holder of an approved case collects their passport. It is signed then and there, and shown this once."""

from __future__ import annotations

from safeconduct.app.import_evidence import load_assessment
from safeconduct.app.issue_passport import IssuedPassport, sign_and_record
from safeconduct.app.kyc_desk import KycDesk, standing_asked
from safeconduct.app.own_kyc_case import own_file
from safeconduct.app.ports import Caller
from safeconduct.identity.kyc_ends import standing
from safeconduct.kernel.errors import Conflict, InvalidInput
from safeconduct.kernel.suggest import did_you_mean
from safeconduct.kernel.vocabulary import PassportStatus

PASSPORT_LIFE = 90 * 86_400


def collect_passport(desk: KycDesk, caller: Caller, case: str, *, key: str | None = None) -> IssuedPassport:
    """Issue it to one of the person's authenticators. key: its thumbprint, the strongest when None.

    It lives for 90 days or until the approval ends, whichever is earlier, and replaces the one before.
    Raises Conflict (nothing stands, or something was suspended), InvalidInput, NotFound.
    """
    file = own_file(desk, caller, case)
    now = desk.now()
    if not standing(file.case, now):
        raise Conflict(
            f"nothing stands in a case that is {file.case.state}",
            field="state",
            remedy="see the case's notice",
        )
    asked = standing_asked(desk, file.case.subject, now)
    if asked is None or asked.until is None or file.case.subject not in desk.instance.record.state.subjects:
        raise Conflict("the approval is being recorded", field="state", remedy="try again in a moment")
    assessment = load_assessment(desk.instance, file.case.subject)
    # What was registered when the case was decided, and is still good.
    good = {
        found.public_jwk["x"] for found in desk.proofs(file.case.subject).authenticators if found.public_jwk
    }
    keys = [one for one in assessment.keys if one.public_jwk["x"] in good]
    chosen = next((one for one in keys if key in (None, one.thumbprint)), None)
    if chosen is None:
        raise InvalidInput(
            f"not an authenticator of yours{did_you_mean(key or '', [one.thumbprint for one in keys])}",
            field="key",
            remedy="give the thumbprint of one that was registered when the case was decided",
        )
    state = desk.instance.record.state
    held = state.subjects[file.case.subject].passports
    before = [name for name in held if state.passports[name].status is not PassportStatus.INVALID]
    return sign_and_record(
        desk.instance,
        by=caller.id,
        subject=file.case.subject,
        claims=assessment.claims,
        holder_jwk=chosen.public_jwk,
        aal=chosen.aal,
        valid_until=min(now + PASSPORT_LIFE, asked.until),
        supersedes=before[-1] if before else None,
    )
