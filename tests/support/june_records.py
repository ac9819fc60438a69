"""The world of June as an instance in memory: its events in a record, its people's claims in a vault, its logs as bytes."""

from __future__ import annotations

import msgspec
from tests.support.authorities import DIRECTIVE_KINDS, key, trusted
from tests.support.june import COLUMNS, TABLE, June
from tests.support.records import memory_instance, move_to
from tests.support.worlds import DAY, ISSUER, JURISDICTION

from safeconduct.app.ports import Instance
from safeconduct.app.stored_claims import PASSPORT_CLAIMS, keep_claims
from safeconduct.decision.entry import DECISION_TYPE, DecisionRecord, DecisionSummary
from safeconduct.decision.evaluation import decide
from safeconduct.decision.explanation import told_codes
from safeconduct.decision.response import Permit
from safeconduct.kernel.canonical import canonical_json
from safeconduct.record.envelope import sealed_entry
from safeconduct.record.events.holders import PassportIssued, RegistryNumber
from safeconduct.record.events.trust import InstanceInitialised

REGISTER = "RA-SAMPLE"


class JuneRecords:
    """June's world committed to a record as its days pass."""

    def __init__(self, june: June | None = None) -> None:
        self.june = june or June()
        start = self.june.noon("06-11")
        self.instance: Instance = memory_instance(
            start,
            events=[
                InstanceInitialised(
                    origin="june.example/simulated",
                    profile="development",
                    issuer="http://127.0.0.1:8781",
                    officers=(),
                    issuer_keys=(),
                    created_at=start,
                ),
                trusted(
                    "june-key",
                    ISSUER,
                    DIRECTIVE_KINDS,
                    jurisdiction=JURISDICTION,
                    valid_from=start - DAY,
                    valid_until=start + 90 * DAY,
                ),
            ],
        )
        self._committed = 0
        self._keep_claims()
        self.sync()
        # The builders' LEIs have no check digits, so annexes of signed orders name organisations by register number.
        self.instance.record.commit(
            [
                msgspec.structs.replace(entry.registered, registry=RegistryNumber(REGISTER, name))
                for name, entry in sorted(self.instance.record.state.organisations.items())
            ]
        )
        self.log: list[bytes] = []

    def _keep_claims(self) -> None:
        """Claims into the vault as the issuer keeps them, their commitments into the passports' events."""
        world = self.june.world
        commitments = {
            name: keep_claims(
                self.instance.vault,
                PASSPORT_CLAIMS,
                f"pass-{name}",
                subject=name,
                claims=claims,
                random=self.instance.random,
            )
            for name, claims in world.claims.items()
        }
        world.events[:] = [
            msgspec.structs.replace(event, commitment=commitments[event.subject])
            if isinstance(event, PassportIssued)
            else event
            for event in world.events
        ]

    def sync(self) -> None:
        """Commit what the world gained."""
        events = self.june.world.events
        if events[self._committed :]:
            self.instance.record.commit(events[self._committed :])
        self._committed = len(events)

    def pass_to(self, column: str, *, orders: bool = True) -> None:
        """Move to noon of that date; its events are recorded on the way."""
        if orders:
            self.june.world.add(*self.june.events_of(column))
            self.sync()
        move_to(self.instance, self.june.noon(column))

    def request(self, who: str, model: str, column: str):
        request = self.june.request(who, model, column)
        self.sync()
        return request

    def ask_all(self, column: str) -> dict[str, str]:
        """Decide and log every row; the codes told, or `allow`."""
        found = {}
        for row, (who, model, _) in TABLE.items():
            request = self.request(who, model, column)
            found[row] = self.ask(request, f"{column} {row}")
        return found

    def ask(self, request, name: str) -> str:
        """Decide and log one question, sealed under the holder's key."""
        state, now = self.instance.record.state, int(self.instance.clock.now())
        outcome = decide(request, state, now)
        record = DecisionRecord(
            decision=name,
            now=now,
            position=state.position,
            request=request,
            outcome=outcome,
            route="POST /v1/messages",
            asked=request.variant,
            credential="cred",
            node="node-1",
        )
        codes = told_codes(outcome)
        summary = DecisionSummary(
            decision=name,
            outcome="permit" if isinstance(outcome, Permit) else "deny",
            codes=codes,
            subject=request.subject,
            variant=request.variant,
            deployment=request.deployment,
            purpose=request.purpose,
            project=request.project,
            organisation=request.organisation,
            position=state.position,
            now=now,
            route="POST /v1/messages",
            node="node-1",
        )
        self.log.append(
            sealed_entry(
                msgspec.json.encode(record),
                aead=self.instance.vault.aead(request.holder, create=True),
                key=request.holder,
                uid=name,
                seq=len(self.log),
                time_ms=now * 1000,
                type=DECISION_TYPE,
                body=canonical_json(summary),
                random=self.instance.random,
            )
        )
        return " ".join(codes) or "allow"

    @property
    def record_entries(self) -> list[bytes]:
        return self.instance.record.entries


def played() -> JuneRecords:
    """All columns played and logged."""
    records = JuneRecords()
    for column in COLUMNS:
        records.pass_to(column)
        records.ask_all(column)
    return records


def june_signer():
    """The authority's key."""
    return key("june-key")
