"""The demo applicant: one made-up person, from nothing to a model's answer, through the public API only.

Nobody is this person, and the passport is a specimen of a state that does not exist. Real are the passive authentication, the
passkey ceremonies, the case, the record, the passport and the decision. Development providers screen and look at nobody, and say so.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx2
import msgspec

from safeconduct.cli.applicant_client import ApplicantClient
from safeconduct.cli.client import TIMEOUT, ApiClient, InstanceFiles
from safeconduct.cli.sample.utopia import Utopia
from safeconduct.kernel.clock import SystemClock
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.signing import FileSigner
from safeconduct.sdk.auth import PassportAuth
from safeconduct.sdk.development_authenticator import DevelopmentAuthenticator
from safeconduct.sdk.holder import Holder

ORGANISATION = "sample-vetted"
PROJECT = f"defensive-research-{ORGANISATION}"
PURPOSE = "secure_code_review"
VARIANT = "fable-5"
TERMS = ("frontier-use", "Sample terms of use of frontier models, version 1")
NAME = ("Example", "Anna Specimen")
BIRTH = dt.date(1990, 2, 28)


class Done(msgspec.Struct, frozen=True):
    """One step: what was done, what came of it, and how long it took (milliseconds)."""

    step: str
    result: str
    milliseconds: int


Tell = Callable[[Done], None]


class DemoApplicant:
    """Walks the steps. files: of a development instance with the sample in it, for the parties who are not the applicant."""

    def __init__(self, files: InstanceFiles, *, api: str, gateway: str, tell: Tell) -> None:
        self._files = files
        self._api = api
        self._gateway = gateway
        self._tell = tell
        self.steps: list[Done] = []
        self.answer = ""
        self._result = ""

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        self._result = ""
        began = time.perf_counter()
        yield
        done = Done(name, self._result, round((time.perf_counter() - began) * 1000))
        self.steps.append(done)
        self._tell(done)

    def _as(self, party: str) -> ApiClient:
        return ApiClient(self._files, party, url=self._api)

    def walk(self) -> None:
        """All of it. Raises ProblemAnswer at the first step that is refused, Conflict when a result is not what it should be."""
        issuer = self._files.descriptor.issuer
        now = int(SystemClock().now())
        utopia = Utopia(now=now)
        with (
            self._step("operator: trust the authority of Utopia's specimens"),
            self._as("operator") as client,
        ):
            found = client.post(
                "/api/kyc/authorities",
                {
                    "file": base64.b64encode(utopia.authority).decode(),
                    "sha256": hashlib.sha256(utopia.authority).hexdigest(),
                },
            )
            self._result = f"{found['certificates']} authority imported, {found['authorities']} trusted"
        signer = FileSigner.generate()
        with ApplicantClient(signer, issuer=issuer, url=self._api) as applicant:
            case = self._apply(applicant, utopia, signer, issuer)
            self._decide(case)
            self._collect_and_ask(applicant, case, signer, issuer)

    def _apply(self, applicant: ApplicantClient, utopia: Utopia, signer: FileSigner, issuer: str) -> str:
        with self._step("applicant: read what will be asked, and why"):
            fields = httpx2.get(f"{self._api}/api/kyc/fields", timeout=TIMEOUT, trust_env=False).json()[
                "items"
            ]
            kept = sum(1 for field in fields if field.get("kept_source"))
            self._result = (
                f"{len(fields)} fields, each with its reason; the law keeps {kept} of them for a time"
            )
        with self._step("applicant: open a case for C2"):
            opened = applicant.post("/api/kyc/cases", {"level": "C2", "organisation": ORGANISATION})
            case = str(opened["case"])
            self._result = f"{case}: {opened['state']}"
        path = f"/api/kyc/cases/{case}"
        with self._step("applicant: state name, address, purpose, agree to the terms"):
            applicant.put(
                f"{path}/application",
                {
                    "legal_name": f"{NAME[1]} {NAME[0]}",
                    "email": "anna.specimen@example.org",
                    "address": "1 Sample Street, Nowhere, Utopia",
                    "purpose": "Reviewing our own code with a model. A made-up application.",
                    "citizenships": ["FR"],
                    "us_status": "other",
                    "role": "engineer",
                    "terms": [{"terms": TERMS[0], "sha256": hashlib.sha256(TERMS[1].encode()).hexdigest()}],
                },
            )
            self._result = "stated; what of it counts is worked out from documents"
        with self._step("applicant: hand in a passport's chip (passive authentication)"):
            export = utopia.export(surname=NAME[0], given_names=NAME[1], birth=BIRTH)
            document = applicant.post(
                f"{path}/documents", {"kind": "chip", "content": base64.b64encode(export).decode()}
            )
            self._result = f"{document['strength']}: {document['verdict']}"
        with self._step("applicant: register a passkey (software authenticator, development)"):
            authenticator = DevelopmentAuthenticator(signer, origin=issuer)
            options = applicant.post(f"{path}/authenticators/options")
            passkey = applicant.post(f"{path}/authenticators", {"credential": authenticator.create(options)})
            self._result = f"AAL{passkey['aal']}: {passkey['sentence']}"
        with self._step("applicant: liveness check (development provider: nobody is looked at)"):
            session = applicant.post(f"{path}/liveness", {"document": document["document"]})
            with self._as("operator") as client:
                answered = client.post("/api/liveness/development", {"nonce": session["nonce"]})
            self._result = f"{answered['vendor']}: {answered['outcome']}"
        with self._step(f"organisation {ORGANISATION}: attest the affiliation"):
            with self._as(f"organisation:{ORGANISATION}") as client:
                client.post(f"{path}/affiliation", {})
            self._result = "attested"
        with self._step("applicant: hand the case in"):
            handed = applicant.post(f"{path}/submit")
            assurance = handed["assurance"]
            self._result = f"{handed['state']}: evidence amounts to IAL{assurance['ial']} AAL{assurance['aal']} FAL{assurance['fal']}"
        return case

    def _decide(self, case: str) -> None:
        path = f"/api/kyc/cases/{case}"
        with self._as("analyst") as analyst:
            with self._step("analyst: take the case, screen it (development screening: searches no list)"):
                taken = analyst.post(f"{path}/assign", {})
                screened = analyst.post(f"{path}/screen", {"version": taken["version"]})
                self._result = f"{screened['screening']['result']}; case {screened['state']}"
            with self._step("analyst: rate the risk, with reasons"):
                rated = analyst.post(
                    f"{path}/rate",
                    {
                        "version": screened["version"],
                        "risk": "standard",
                        "reasons": ["a verified organisation, defensive work, nothing on any list"],
                    },
                )
                self._result = rated["risk"]
            with self._step("analyst: decide"):
                decided = analyst.post(
                    f"{path}/decide",
                    {
                        "version": rated["version"],
                        "outcome": "approved",
                        "reasons": ["identity, affiliation and screening are as C2 asks"],
                    },
                )
                if decided["state"] != "approved":
                    raise Conflict(f"the case is {decided['state']}", field="case")
                until = dt.datetime.fromtimestamp(decided["valid_until"], tz=dt.UTC).date()
                self._result = f"{decided['state']} until {until}"

    def _collect_and_ask(
        self, applicant: ApplicantClient, case: str, signer: FileSigner, issuer: str
    ) -> None:
        with self._step("applicant: collect the passport"):
            issued: dict[str, Any] = applicant.post(f"/api/kyc/cases/{case}/passport", {})
            self._result = f"{issued['passport']}, bound to an authenticator of AAL{issued['aal']}"
        with self._step(f"organisation {ORGANISATION}: grant {VARIANT}"):
            with self._as(f"organisation:{ORGANISATION}") as client:
                client.post(
                    "/api/grants",
                    {
                        "variants": [VARIANT],
                        "purposes": [PURPOSE],
                        "to_subject": issued["subject"],
                        "requested_by": case,
                    },
                )
            self._result = f"to {issued['subject']}"
        with self._step(f"applicant: ask {VARIANT} (C2) a question"):
            holder = Holder(issuer=issuer, gateway=self._gateway, signer=signer, passport=issued["sd_jwt"])
            auth = PassportAuth(holder, models=[VARIANT], project=PROJECT, purpose=PURPOSE)
            with httpx2.Client(auth=auth, timeout=TIMEOUT, follow_redirects=False, trust_env=False) as client:
                answer = client.post(
                    f"{self._gateway}/v1/messages",
                    json={
                        "model": VARIANT,
                        "max_tokens": 60,
                        "messages": [{"role": "user", "content": "Say that you hear me."}],
                    },
                    headers={"anthropic-version": "2023-06-01"},
                )
            if answer.status_code != 200:
                raise Conflict(
                    f"the gateway answered {answer.status_code}: {answer.text[:300]}", field="answer"
                )
            self.answer = str(answer.json()["content"][0]["text"])
            self._result = self.answer[:80]
