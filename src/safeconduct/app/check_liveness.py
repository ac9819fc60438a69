"""Use case: have a provider check that the applicant is alive and is the person on the document, and take its signed result.

Owns the session: opened for one case and one document with one vendor, good for an hour and for one result. Results that come
again, late, from another vendor or for another case change nothing; those that nobody could send by mistake raise an alert.
"""

from __future__ import annotations

import hashlib
import threading

import msgspec

from safeconduct.app.commit import instant, is_production
from safeconduct.app.import_evidence import Alert, raise_alert
from safeconduct.app.ports import Instance
from safeconduct.identity.evidence import Outcome, Verification
from safeconduct.identity.liveness import (
    DEVELOPMENT_VENDOR,
    LivenessResult,
    LivenessVendor,
    Scheme,
    sign_timestamped,
    verification_of,
    verify_result,
)
from safeconduct.kernel.canonical import b64u, canonical_json
from safeconduct.kernel.errors import Conflict, Forbidden, InvalidInput, NotFound, UnsafeConfiguration
from safeconduct.kernel.ids import SubjectId
from safeconduct.kernel.signing import Secret

SESSION_SECONDS = 3600
MAX_ATTEMPTS = 5
"""Sessions that one case may open: whoever needs more is looked at by a person."""
_SESSION = "liveness-session"
_ATTEMPTS = "liveness-attempts"


class LivenessSession(msgspec.Struct, frozen=True):
    """A check that was asked for. nonce: what the vendor must give back. evidence: the document's id in the case.

    result: None until the vendor answered. Instants: seconds.
    """

    case: str
    subject: SubjectId
    vendor: str
    nonce: str
    evidence: str
    opened: int
    until: int
    result: LivenessResult | None = None
    development: bool = False


class LivenessDesk:
    """The providers of one process's instance. Thread-safe.

    A development profile without a configured provider has one of its own, which says what it is told to say and is named so.
    """

    def __init__(self, instance: Instance, vendors: tuple[LivenessVendor, ...] = ()) -> None:
        if is_production(instance) and any(vendor.development for vendor in vendors):
            raise UnsafeConfiguration(
                "a development provider of liveness checks",
                field="liveness_vendors",
                remedy="configure a provider whose results are its own",
            )
        self.instance = instance
        self._development_secret: Secret | None = None
        known = {vendor.name: vendor for vendor in vendors}
        if not is_production(instance):
            # Made anew at each start and told nobody: nobody outside this process can sign for it.
            self._development_secret = Secret(b64u(instance.random(32)))
            known[DEVELOPMENT_VENDOR] = LivenessVendor(
                name=DEVELOPMENT_VENDOR,
                scheme=Scheme.HMAC_TIMESTAMPED,
                header="development-signature",
                secrets=(self._development_secret,),
                development=True,
            )
        self._vendors = known
        self._lock = threading.Lock()

    @property
    def names(self) -> tuple[str, ...]:
        """The vendors that may be asked, those configured first."""
        return tuple(sorted(self._vendors, key=lambda name: (name == DEVELOPMENT_VENDOR, name)))

    def vendor(self, name: str) -> LivenessVendor:
        """A vendor by name. Raises NotFound."""
        if name not in self._vendors:
            raise NotFound("there is no such provider of liveness checks", field="vendor")
        return self._vendors[name]

    def development_message(
        self, session: LivenessSession, *, liveness: str, match: str
    ) -> tuple[str, bytes]:
        """What the development provider would send: header and body. Raises UnsafeConfiguration in production."""
        if self._development_secret is None:
            raise UnsafeConfiguration(
                "the development provider of liveness checks is for a development profile only",
                field="vendor",
                remedy="configure a provider (liveness_vendors)",
            )
        if session.vendor != DEVELOPMENT_VENDOR:
            raise Forbidden("another provider's session", field="session")
        now = instant(self.instance)
        body = canonical_json(
            {
                "event": f"development-{b64u(self.instance.random(12))}",
                "case": session.case,
                "nonce": session.nonce,
                "liveness": liveness,
                "selfie_match": match,
                "at": now,
                "note": "development provider: nobody was looked at",
            }
        )
        return sign_timestamped(self._development_secret, body, at=now), body

    # -- the store ---------------------------------------------------------------------------------------------

    def sessions(self, case: str) -> list[LivenessSession]:
        """Every session of a case that was not erased, oldest first."""
        listed = self.instance.vault.get(_ATTEMPTS, case)
        names: list[str] = msgspec.json.decode(listed, type=list[str]) if listed is not None else []
        found = [self.instance.vault.get(_SESSION, name) for name in names]
        return [msgspec.json.decode(each, type=LivenessSession) for each in found if each is not None]

    def verifications(self, case: str) -> tuple[Verification, ...]:
        """What the answers amount to, for the assessment of the case: the latest one per document.

        A later success undoes a failure (bad light), which is why the sessions of a case are few and a reviewer sees them all.
        """
        production = is_production(self.instance)
        latest: dict[str, LivenessResult] = {}
        for session in self.sessions(case):
            result = session.result
            # INVARIANT: what a development provider said counts for nothing in production, whenever it was said.
            if result is None or (production and result.development):
                continue
            known = latest.get(session.evidence)
            # At the same instant the failure wins.
            if known is None or (result.at, result.outcome is Outcome.FAIL) > (
                known.at,
                known.outcome is Outcome.FAIL,
            ):
                latest[session.evidence] = result
        return tuple(verification_of(result, evidence) for evidence, result in sorted(latest.items()))

    def session(self, nonce: str) -> LivenessSession | None:
        """The session opened with a nonce."""
        found = self.instance.vault.get(_SESSION, _name(nonce))
        return None if found is None else msgspec.json.decode(found, type=LivenessSession)

    def keep(self, session: LivenessSession) -> None:
        """Store or replace, durable on return."""
        self.instance.vault.put(_SESSION, _name(session.nonce), session.subject, msgspec.json.encode(session))

    def add(self, session: LivenessSession) -> None:
        """Store a new session of its case. Raises Conflict when the case had too many."""
        with self._lock:
            listed = self.instance.vault.get(_ATTEMPTS, session.case)
            names: list[str] = msgspec.json.decode(listed, type=list[str]) if listed is not None else []
            if len(names) >= MAX_ATTEMPTS:
                raise Conflict(
                    f"the case had {MAX_ATTEMPTS} liveness checks",
                    field="case",
                    remedy="have a person compare the portrait",
                )
            self.keep(session)
            names.append(_name(session.nonce))
            self.instance.vault.put(_ATTEMPTS, session.case, session.subject, msgspec.json.encode(names))

    def complete(self, session: LivenessSession, result: LivenessResult) -> LivenessSession:
        """Give a session its one result. Raises Conflict when it has one."""
        with self._lock:
            latest = self.session(session.nonce)
            if latest is None or latest.result is not None:
                raise Conflict("the session has its result", field="nonce", remedy="open another session")
            done = msgspec.structs.replace(latest, result=result)
            self.keep(done)
            return done


def _name(nonce: str) -> str:
    # The nonce is what a result is bound to, so its name in the vault does not tell it.
    return hashlib.sha256(nonce.encode()).hexdigest()


def open_liveness_session(
    desk: LivenessDesk, *, case: str, subject: SubjectId, evidence: str, vendor: str | None = None
) -> LivenessSession:
    """Open a session; the applicant's device takes its case and nonce to the vendor.

    vendor: the first configured one when left out. Raises NotFound, Conflict (too many), UnsafeConfiguration (none configured).
    """
    if not desk.names:
        raise UnsafeConfiguration(
            "no provider of liveness checks is configured",
            field="liveness_vendors",
            remedy="name a file of providers in SAFECONDUCT_LIVENESS_VENDORS",
        )
    chosen = desk.vendor(vendor if vendor is not None else desk.names[0])
    now = instant(desk.instance)
    session = LivenessSession(
        case=case,
        subject=subject,
        vendor=chosen.name,
        nonce=b64u(desk.instance.random(24)),
        evidence=evidence,
        opened=now,
        until=now + SESSION_SECONDS,
        development=chosen.development,
    )
    desk.add(session)
    return session


def receive_liveness_result(
    desk: LivenessDesk, vendor: str, header: str | None, body: bytes
) -> LivenessSession:
    """Take a vendor's signed message.

    Raises NotFound (vendor, session), VerificationFailed naming the step, Conflict (used before, late, another case's or vendor's).
    """
    now = instant(desk.instance)
    result = verify_result(desk.vendor(vendor), header, body, now=now)
    session = desk.session(result.nonce)
    if session is None:
        raise NotFound("no session was opened with this nonce", field="nonce")
    if session.vendor != result.vendor or session.case != result.case:
        wrong = "vendor" if session.vendor != result.vendor else "case"
        _alert(desk, session, f"a liveness result for its nonce came for another {wrong}", result, now)
        raise Conflict(f"the session is another {wrong}'s", field=wrong)
    if session.result is not None:
        if session.result.sha256 != result.sha256:
            _alert(desk, session, "a second, different liveness result came for one session", result, now)
        raise Conflict("the result was received before", field="nonce", remedy="nothing more is to be done")
    if now >= session.until:
        raise Conflict("the session has ended", field="nonce", remedy="open another session")
    if result.at < session.opened - 60:
        raise Conflict("the result is older than its session", field="at")
    return desk.complete(session, result)


def simulate_liveness_result(
    desk: LivenessDesk, nonce: str, *, liveness: str = "pass", match: str = "pass"
) -> LivenessSession:
    """Have the development provider answer a session, through the same door as any vendor.

    Raises UnsafeConfiguration in production, NotFound, InvalidInput.
    """
    for name, word in (("liveness", liveness), ("match", match)):
        if word not in ("pass", "fail"):
            raise InvalidInput("is neither pass nor fail", field=name)
    session = desk.session(nonce)
    if session is None:
        raise NotFound("no session was opened with this nonce", field="nonce")
    header, body = desk.development_message(session, liveness=liveness, match=match)
    return receive_liveness_result(desk, session.vendor, header, body)


def _alert(desk: LivenessDesk, session: LivenessSession, text: str, result: LivenessResult, now: int) -> None:
    raise_alert(
        desk.instance,
        Alert(
            subject=session.subject,
            other=session.subject,
            text=f"{text} (vendor {result.vendor})",
            document=result.sha256,
            at=now,
        ),
    )
