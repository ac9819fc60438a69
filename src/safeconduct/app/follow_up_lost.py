"""Use case: give permits of an earlier life of this process their follow-up, so that none stands there without an end.

Owns what is said of them: that the process ended, and nothing that it cannot know. Looks at the end of the log only
(`LOOKED_AT` entries): a request older than that had ended long before.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from safeconduct.app.decision_log import DecisionLog
from safeconduct.decision.entry import COMPLETION_TYPE, DECISION_TYPE, Completion, DecisionSummary
from safeconduct.kernel.errors import InvalidInput
from safeconduct.kernel.ids import SubjectId
from safeconduct.record.envelope import Envelope, open_body, read_entry

LOOKED_AT = 100_000
ENDED = "lost"
CAUSE = ("process_ended",)
# Decided to be told, not to be acted upon.
_DRY_RUN = "dry_run"


def follow_up_lost(decisions: DecisionLog, entries: Iterable[bytes]) -> int:
    """Write a completion for each permit among `entries` that has none; how many. Before anything is served.

    entries: the last ones of the very log that `decisions` writes. Raises LogUnavailable.
    """
    without: dict[str, Envelope] = {}
    for entry in entries:
        envelope = read_entry(entry)
        if envelope.type == COMPLETION_TYPE:
            without.pop(envelope.uid.removesuffix(".end"), None)
        elif envelope.type == DECISION_TYPE:
            without[envelope.uid] = envelope
    lost = 0
    for envelope in without.values():
        try:
            summary = msgspec.json.decode(open_body(envelope), type=DecisionSummary)
        except (InvalidInput, msgspec.MsgspecError):
            continue
        if summary.outcome != "permit" or summary.route == _DRY_RUN:
            continue
        decisions.completion(
            Completion(decision=summary.decision, ended=ENDED, status=0, cause=CAUSE),
            b"{}",
            holder=SubjectId(envelope.key),
            organisation=summary.organisation,
            jurisdiction=envelope.jurisdiction,
        )
        lost += 1
    return lost
