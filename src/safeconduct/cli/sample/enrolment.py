"""Enrols the sample through the public API: evidence, passports, models, lists and grants, each said by whoever may say it.

Owns the order of these steps and the development keys of the sample's people. Touches no store: everything goes over HTTP.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safeconduct.app.initialise import (
    DEFAULT_PARTIES,
    Party,
    authority_party,
    organisation_party,
    provider_party,
)
from safeconduct.authorization.annex import AnnexLine, write_annex
from safeconduct.authorization.directive import sign_directive
from safeconduct.authorization.misuse import sign_misuse_signal
from safeconduct.authorization.org_list import sign_org_list
from safeconduct.cli.client import ApiClient, InstanceFiles
from safeconduct.cli.sample.reconstruction import DAY, Sample, SampleDirective, SampleSubject
from safeconduct.identity.evidence_import import sign_evidence_import
from safeconduct.kernel.clock import Clock
from safeconduct.kernel.errors import Conflict
from safeconduct.kernel.ids import MandateId, ProjectId, SubjectId, VariantId, new_id
from safeconduct.kernel.signing import FileSigner
from safeconduct.kernel.vocabulary import Purpose, Stage, Surface
from safeconduct.passport.mandate import Mandate, Scope
from safeconduct.sdk.holder import Holder

Step = Callable[[str], None]

OPERATOR = "operator"
ADJUDICATOR = "adjudicator"
DESK = "evidence-desk"
PASSPORT_LIFE = 90 * DAY
GRANT_LIFE = 180 * DAY
# Evidence and approvals are older than the day of enrolment.
EARLIER = 5 * DAY
_STAGES = tuple(Stage)
_SCREENED = [{"name": "sample list", "sha256": hashlib.sha256(b"sample list").hexdigest()}]


def parties_of(sample: Sample) -> tuple[Party, ...]:
    """Whose keys a development instance of the sample makes: providers, organisations, the authority."""
    return (
        *DEFAULT_PARTIES,
        *(provider_party(one.id) for one in sample.providers),
        *(organisation_party(one.id) for one in sample.organisations),
        authority_party(sample.authority.party.removeprefix("authority:"), sample.authority.jurisdiction),
    )


class Enrolment:
    """Says what the sample's parties say. files: of the instance; api: its URL; holders: directory for holder files."""

    def __init__(
        self,
        sample: Sample,
        files: InstanceFiles,
        *,
        api: str,
        gateway: str,
        sandbox: str,
        holders: Path,
        clock: Clock,
    ) -> None:
        self.sample = sample
        self.files = files
        self.api = api
        self.gateway = gateway
        self.sandbox = sandbox
        self.holders = holders
        self.clock = clock
        self.subjects: dict[str, SubjectId] = {}
        self._serial = 0
        self._approved_at = self.now - DAY

    @property
    def now(self) -> int:
        """Seconds since the epoch."""
        return int(self.clock.now())

    def speak(self, party: str) -> ApiClient:
        """A client of the API that speaks for a party."""
        return ApiClient(self.files, party, url=self.api, clock=self.clock)

    def enrol(self, step: Step) -> None:
        """All of it, in the order in which each thing needs the one before. step: told what comes next."""
        step("organisations: evidence, verified and screened")
        for one in self.sample.organisations:
            self._organisation(one.id)
        step("the list of approved organisations")
        for one_list in self.sample.org_lists:
            self._org_list(one_list.list, one_list.organisations)
        step("providers, models, findings, release stages")
        self._models()
        people = [one for one in self.sample.subjects if one.kind == "human"]
        for one_subject in people:
            step(f"{one_subject.label}: evidence and passport")
            self._person(one_subject)
        step("grants: each provider's to organisations, each organisation's to its people")
        self._grants()

    # -- organisations, lists, models

    def _evidence(self, content: dict[str, Any]) -> Any:
        self._serial += 1
        signed = sign_evidence_import(
            content,
            party=DESK,
            audience=self.files.descriptor.issuer,
            jti=f"sample-{self._serial}",
            signer=self.files.role_key(DESK),
            now=self.now,
        )
        with self.speak(OPERATOR) as client:
            return client.post("/api/evidence", {"jws": signed})

    def _organisation(self, name: str) -> None:
        one = self.sample.organisation(name)
        content: dict[str, Any] = {
            "organisation": one.id,
            "legal_name": one.legal_name,
            "country": one.country,
            "sector": one.sector,
            "lei": one.lei,
            "verifications": [
                {
                    "source": "lei_record",
                    "reference": one.lei,
                    "outcome": "pass",
                    "at": self.now - EARLIER,
                }
            ],
            "screening": {"result": "clear", "lists": _SCREENED, "at": self.now - DAY},
        }
        provider = next((each.id for each in self.sample.providers if each.organisation == one.id), None)
        if provider is not None:
            content["provider"] = provider
        if one.parent is not None:
            content["parent"] = one.parent
        self._evidence({"organisation": content})

    def lines(self, organisations: tuple[str, ...]) -> bytes:
        """Organisations as the JSON lines of an annex or list."""
        return write_annex(
            tuple(
                AnnexLine(found.legal_name, found.lei, None, None)
                for found in map(self.sample.organisation, organisations)
            )
        )

    def _org_list(self, name: str, organisations: tuple[str, ...]) -> None:
        entries = self.lines(organisations)
        party = self.sample.authority.party
        signed = sign_org_list(
            {
                "iss": party,
                "iat": self.now,
                "list": name,
                "version": 1,
                "media_type": "application/jsonl",
                "sha256": hashlib.sha256(entries).hexdigest(),
                "valid_from": self.now - DAY,
            },
            self.files.role_key(party),
        )
        with self.speak(party) as client:
            client.post("/api/org-lists", {"jws": signed, "entries": base64.b64encode(entries).decode()})

    def _models(self) -> None:
        with self.speak(OPERATOR) as client:
            for provider in self.sample.providers:
                client.post(
                    "/api/providers",
                    {
                        "provider": provider.id,
                        "organisation": provider.organisation,
                        "jurisdiction": provider.jurisdiction,
                    },
                )
        for model in self.sample.models:
            with self.speak(f"provider:{model.provider}") as client:
                client.post(
                    "/api/models",
                    {
                        "model": model.model,
                        "variants": [
                            {
                                "variant": one.variant,
                                "level": one.level,
                                "compartments": one.compartments,
                                "terms": one.terms,
                            }
                            for one in model.variants
                        ],
                    },
                )
                for one in model.variants:
                    client.post(
                        "/api/findings",
                        {
                            "variant": one.variant,
                            "domain": one.finding.domain,
                            "scheme": one.finding.scheme,
                            "raw": one.finding.raw,
                            "normalised": one.finding.normalised,
                            "evidence": hashlib.sha256(one.finding.raw.encode()).hexdigest(),
                        },
                    )
                    client.post(
                        "/api/deployments",
                        {
                            "deployment": f"{one.variant}-sandbox",
                            "variant": one.variant,
                            "kind": "sandbox",
                            "base_url": self.sandbox,
                            "upstream_model": one.variant,
                            "region": self.sample.region,
                            "jurisdiction": self.sample.jurisdiction,
                        },
                    )
                    for stage in _STAGES[1 : _STAGES.index(Stage(one.stage)) + 1]:
                        asked: dict[str, Any] = {"variant": one.variant, "stage": stage}
                        if stage is Stage.GOVERNMENT_APPROVED_ORGANISATIONS:
                            asked["org_list"] = one.org_list or self.sample.org_lists[0].list
                        client.post("/api/stages", asked)

    # -- people

    def _person(self, one: SampleSubject) -> None:
        key = FileSigner.generate()
        earlier = self.now - EARLIER
        content: dict[str, Any] = {
            "reference": one.label,
            "requester": f"{one.organisation}-lead",
            "requested": {"level": one.level, "compartments": one.compartments},
            "organisation": one.organisation,
            "affiliation": "org_attested",
            "role": one.role,
            "us_status": one.us_status,
            "age_over_18": True,
            "evidence": [
                {
                    "id": "chip",
                    "kind": "passport",
                    "strength": "SUPERIOR",
                    "issuer": "sample",
                    "number": f"SAMPLE-{one.label}",
                    "expires": self.now + 4 * 365 * DAY,
                }
            ],
            "validations": [
                {
                    "evidence": "chip",
                    "method": "cryptographic",
                    "outcome": "pass",
                    "at": earlier,
                    "attributes": "signed",
                }
            ],
            "verifications": [
                {"evidence": "chip", "method": "facial_automated", "outcome": "pass", "at": earlier}
            ],
            "proofing": {"type": "remote_unattended", "at": earlier},
            "authenticators": [
                {
                    "kind": "file_key_development",
                    "phishing_resistant": True,
                    "hardware_bound": True,
                    "public_jwk": key.public_jwk(),
                }
            ],
            "screening": {"result": "clear", "lists": _SCREENED, "at": self.now - DAY},
            "terms": [
                {"terms": name, "sha256": hashlib.sha256(text.encode()).hexdigest(), "signed_at": earlier}
                for name, text in self.sample.terms.items()
            ],
            "projects": self._projects_of(one),
            "adjudicators": ["adjudicator-a", "adjudicator-b"],
        }
        if one.citizenships:
            content["citizenships"] = [{"country": country} for country in one.citizenships]
        found = self._evidence({"person": content})
        if found["level"] != one.level:
            raise Conflict(
                f"{one.label} reached {found['level']} only: {'; '.join(found['missing'])}", field=one.label
            )
        self.subjects[one.label] = SubjectId(found["subject"])
        with self.speak(OPERATOR) as client:
            issued = client.post("/api/passports", {"subject": found["subject"], "duration": PASSPORT_LIFE})
        Holder(
            issuer=self.files.descriptor.issuer,
            gateway=self.gateway,
            signer=key,
            passport=issued["sd_jwt"],
        ).save(self.holders / f"{one.label}.json")

    def _projects_of(self, one: SampleSubject) -> list[dict[str, Any]]:
        """The projects of the person's organisation, the same to the second for everybody in it."""
        return [
            {
                "project": project_name(project.id, one.organisation),
                "purposes": project.purposes,
                "compartments": project.compartments,
                "valid_from": self._approved_at,
                "valid_until": self._approved_at + GRANT_LIFE,
                "approved_by": ["approver-a"],
                "requested_by": f"{one.organisation}-lead",
                "whole_organisation": True,
            }
            for project in self.sample.projects
            if one.organisation in project.organisations
        ]

    def _grants(self) -> None:
        for grant in self.sample.grants:
            with self.speak(f"provider:{grant.provider}") as client:
                for organisation in grant.organisations:
                    client.post(
                        "/api/grants",
                        {
                            "variants": grant.variants,
                            "purposes": grant.purposes,
                            "duration": GRANT_LIFE,
                            "to_organisation": organisation,
                            "requested_by": f"{organisation}-lead",
                        },
                    )
            for label in grant.subjects:
                with self.speak(f"organisation:{self.sample.subject(label).organisation}") as client:
                    client.post(
                        "/api/grants",
                        {
                            "variants": grant.variants,
                            "purposes": grant.purposes,
                            "to_subject": self.subjects[label],
                            "requested_by": label,
                        },
                    )

    # -- what happens later

    def directive_claims(
        self, one: SampleDirective, effective_from: int
    ) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The claims of a directive that begins at an instant, and its annex files."""
        files = {annex.name: self.lines(annex.organisations) for annex in one.annexes}
        claims: dict[str, Any] = {
            "iss": self.sample.authority.party,
            "iat": self.now,
            "number": one.number,
            "version": one.version,
            "kind": one.kind,
            "force": one.force,
            "visibility": one.visibility,
            "variants": list(one.variants),
            "applies_to": one.applies_to,
            "except": list(one.except_),
            "amends": list(one.amends),
            "effective_from": effective_from,
            "in_flight": one.in_flight,
            "annexes": [
                {
                    "name": name,
                    "media_type": "application/jsonl",
                    "sha256": hashlib.sha256(data).hexdigest(),
                }
                for name, data in files.items()
            ],
            "legal_source": one.legal_source,
            "title": one.title,
            "packs": list(one.packs),
        }
        return claims, files

    def preview(self, one: SampleDirective, effective_from: int) -> Any:
        """Who would lose and who would keep access."""
        claims, files = self.directive_claims(one, effective_from)
        with self.speak(OPERATOR) as client:
            return client.post("/api/directives/preview", {"document": claims, "annexes": _encoded(files)})

    def order(self, one: SampleDirective, effective_from: int) -> Any:
        """Sign a directive at the authority's desk and hand it in."""
        claims, files = self.directive_claims(one, effective_from)
        party = self.sample.authority.party
        signed = sign_directive(claims, self.files.role_key(party))
        with self.speak(party) as client:
            return client.post("/api/directives", {"jws": signed, "annexes": _encoded(files)})

    def signal_misuse(self, label: str, *, provider: str, variant: str, kind: str) -> None:
        """The provider signals misuse; an adjudicator upholds it, and the passport is revoked."""
        sender = f"provider:{provider}"
        signal = f"sample-{label}"
        signed = sign_misuse_signal(
            {
                "iss": sender,
                "iat": self.now,
                "signal": signal,
                "subject": self.subjects[label],
                "variant": variant,
                "kind": kind,
                "evidence": hashlib.sha256(f"evidence of {signal}".encode()).hexdigest(),
            },
            self.files.role_key(sender),
        )
        with self.speak(sender) as client:
            client.post("/api/misuse-signals", {"jws": signed})
        with self.speak(ADJUDICATOR) as client:
            client.post(
                "/api/misuse-signals/adjudicate",
                {
                    "sender": sender,
                    "signal": signal,
                    "outcome": "revoke",
                    "rationale": "the sample's adjudicator upholds the signal",
                },
            )

    def holder(self, label: str) -> Holder:
        """A holder as their file says."""
        return Holder.load(self.holders / f"{label}.json")

    def delegate(
        self, label: str, *, variants: tuple[str, ...], purpose: str, project: str, lifetime: int
    ) -> Holder:
        """The accountable human signs a mandate for the agent and registers it; returns the agent as a holder."""
        human = self.sample.subject(label).accountable
        assert human is not None
        principal = self.holder(human)
        key = FileSigner.generate()
        now = self.now
        mandate = Mandate(
            id=MandateId(new_id("mdt")),
            principal=self.subjects[human],
            agent=SubjectId(f"sample-{label}"),
            scope=Scope(
                variants=tuple(VariantId(one) for one in variants),
                purposes=(Purpose(purpose),),
                surfaces=(Surface.API, Surface.AGENT),
                valid_from=now,
                valid_until=now + lifetime,
                project=ProjectId(project),
            ),
            agent_jwk=key.public_jwk(),
            signed_at=now,
        )
        assert principal.passport is not None
        with self.speak(OPERATOR) as client:
            client.post_presenting(
                "/api/mandates",
                {"mandate": principal.sign_mandate(mandate)},
                principal.passport,
                principal.signer,
            )
        agent = Holder(
            issuer=principal.issuer,
            gateway=self.gateway,
            signer=key,
            mandate=mandate.id,
            agent=mandate.agent,
        )
        agent.save(self.holders / f"{label}.json")
        self.subjects[label] = mandate.agent
        return agent

    def gateway_key(self, label: str, *, project: str, purpose: str, lifetime: int) -> str:
        """Make a gateway key for a holder; returns its text."""
        holder = self.holder(label)
        assert holder.passport is not None
        with self.speak(OPERATOR) as client:
            made = client.post_presenting(
                "/api/gateway-keys",
                {
                    "project": project,
                    "purpose": purpose,
                    "lifetime": lifetime,
                    "loopback_only": True,
                    "level_limit": "C2",
                },
                holder.passport,
                holder.signer,
            )
        return str(made["text"])


def project_name(project: str, organisation: str) -> str:
    """A project belongs to one organisation, so each has its own of the sample's."""
    return f"{project}-{organisation}"


def _encoded(files: dict[str, bytes]) -> dict[str, str]:
    return {name: base64.b64encode(data).decode("ascii") for name, data in files.items()}
