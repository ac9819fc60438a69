"""Replay: every logged decision run again at its position of the record, and compared with what was answered then.

Owns the comparison. Needs the bytes of the two logs and, to open what a decision was given, the subjects' data keys; nothing
else. Refuses to count what it could not open as equal: without keys a decision is `sealed`, after erasure it is `erased`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import msgspec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from safeconduct.decision.entry import DECISION_TYPE, DecisionRecord, DecisionSummary
from safeconduct.decision.evaluation import decide
from safeconduct.decision.response import Decision, Deny
from safeconduct.kernel.errors import InvalidInput, LogCorrupt, NotFound
from safeconduct.kernel.vocabulary import Code
from safeconduct.record.envelope import Envelope, open_body, read_entry, unsealed_part
from safeconduct.record.events import decode
from safeconduct.record.state import State

DataKey = Callable[[str], AESGCM | None]

# Denials given before `decide` was asked, for reasons that are not in the record: a path, a credential's bytes, a disk.
OUTSIDE = frozenset(
    {
        Code.ROUTE_UNKNOWN,
        Code.AUDIT_UNAVAILABLE,
        Code.STATE_STALE,
        Code.PASSPORT_INVALID,
        Code.BINDING_MISSING,
    }
)

_record_decoder = msgspec.json.Decoder(DecisionRecord)
_summary_decoder = msgspec.json.Decoder(DecisionSummary)


class Difference(msgspec.Struct, frozen=True):
    """A decision that comes out otherwise than it was recorded."""

    decision: str
    position: int
    recorded: Decision
    repeated: Decision


class Unreadable(msgspec.Struct, frozen=True):
    """An entry that could not be run again though it should have been, and why."""

    decision: str
    why: str


class ReplayReport(msgspec.Struct, frozen=True):
    """equal: came out the same to the last byte. sealed: no key was given. erased: the subject's key is destroyed.

    outside: denied before the rules were asked, for what is not in the record (an unknown route, a forged credential).
    """

    equal: int
    differs: tuple[Difference, ...]
    sealed: int
    erased: int
    outside: int
    unreadable: tuple[Unreadable, ...]

    @property
    def clean(self) -> bool:
        """True when nothing differs and nothing was unreadable; sealed and erased decisions prove nothing either way."""
        return not self.differs and not self.unreadable

    @property
    def total(self) -> int:
        """Decisions seen."""
        return (
            self.equal + len(self.differs) + self.sealed + self.erased + self.outside + len(self.unreadable)
        )


class _Entry(msgspec.Struct, frozen=True):
    envelope: Envelope
    summary: DecisionSummary


def replay(
    decision_log_entries: Iterable[bytes],
    record_entries: Iterable[bytes],
    aead_for: DataKey | None,
    *,
    progress: Callable[[int], None] | None = None,
) -> ReplayReport:
    """Run every decision again.

    record_entries: the record from its first entry on. aead_for: gives a subject's data key, None for one that is
    destroyed; None instead of the function when there is no unwrapping key. progress: told how many are done.
    Raises LogCorrupt when an entry of the record itself is not readable.
    """
    entries, unreadable = _decisions(decision_log_entries)
    # The log is in the order of writing, which is nearly that of positions; sorted, the record is folded once.
    entries.sort(key=lambda entry: entry.summary.position)
    states = _States(record_entries)
    counts = {"equal": 0, "sealed": 0, "erased": 0, "outside": 0}
    differs: list[Difference] = []
    for done, entry in enumerate(entries, start=1):
        if progress is not None:
            progress(done)
        name = entry.summary.decision
        aead = _key_of(aead_for, entry.envelope.key)
        if aead is None:
            counts["sealed" if aead_for is None else "erased"] += 1
            continue
        try:
            record = _open(entry, aead)
            state = states.at(record.position)
        except InvalidInput as error:
            unreadable.append(Unreadable(name, str(error)))
            continue
        repeated = decide(record.request, state, record.now)
        if repeated == record.outcome:
            counts["equal"] += 1
        elif isinstance(record.outcome, Deny) and OUTSIDE.issuperset(record.outcome.codes):
            counts["outside"] += 1
        else:
            differs.append(Difference(name, record.position, record.outcome, repeated))
    return ReplayReport(differs=tuple(differs), unreadable=tuple(unreadable), **counts)


def _key_of(aead_for: DataKey | None, subject: str) -> AESGCM | None:
    if aead_for is None:
        return None
    try:
        return aead_for(subject)
    except NotFound:
        return None


def _decisions(log: Iterable[bytes]) -> tuple[list[_Entry], list[Unreadable]]:
    entries: list[_Entry] = []
    unreadable: list[Unreadable] = []
    for place, data in enumerate(log):
        try:
            envelope = read_entry(data)
            if envelope.type != DECISION_TYPE:
                continue
            summary = _summary_decoder.decode(open_body(envelope))
        except (InvalidInput, msgspec.MsgspecError) as error:
            unreadable.append(Unreadable(f"entry {place}", str(error)))
            continue
        entries.append(_Entry(envelope, summary))
    return entries, unreadable


def _open(entry: _Entry, aead: AESGCM) -> DecisionRecord:
    """The sealed part, held against the open body that auditors read."""
    try:
        record = _record_decoder.decode(unsealed_part(entry.envelope, aead))
    except msgspec.MsgspecError as error:
        raise InvalidInput(f"the sealed part is no decision: {error}") from None
    if (record.decision, record.position) != (entry.summary.decision, entry.summary.position):
        raise InvalidInput("the open body speaks of another decision than the sealed part")
    told: Decision = record.outcome
    if isinstance(told, Deny) == (not entry.summary.codes):
        raise InvalidInput("the open body says another outcome than the sealed part")
    return record


class _States:
    """The state at each position, in rising order of the questions."""

    def __init__(self, record_entries: Iterable[bytes]) -> None:
        self._entries: Iterator[bytes] = iter(record_entries)
        self._state = State.empty()

    def at(self, position: int) -> State:
        """The fold of the first `position` entries. Raises InvalidInput when the record is shorter."""
        while self._state.position < position:
            data = next(self._entries, None)
            if data is None:
                raise InvalidInput(
                    f"the record ends at position {self._state.position}, before {position}",
                    remedy="give the whole record",
                )
            index = self._state.position
            try:
                envelope = read_entry(data)
                event = decode(open_body(envelope))
            except InvalidInput as error:
                raise LogCorrupt(f"entry {index} of the record is not readable: {error}") from None
            if envelope.seq != index:
                raise LogCorrupt(f"entry {index} of the record says that it is entry {envelope.seq}")
            self._state = self._state.apply(event, index + 1)
        return self._state
