"""Plays the table cell by cell: moves the clock, issues the orders of the day, asks as each subject would, compares."""

from __future__ import annotations

import importlib.resources
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from safeconduct.bootstrap import initialise_instance
from safeconduct.cli.client import InstanceFiles
from safeconduct.cli.sample.enrolment import Enrolment, parties_of, project_name
from safeconduct.cli.sample.reconstruction import Sample, SampleEvent, SampleRow, midnight
from safeconduct.cli.story.server import StoryServer
from safeconduct.kernel.clock import SimulatedClock
from safeconduct.kernel.errors import SafeconductError
from safeconduct.sdk import AccessRefused, AgentAuth, PassportAuth, anthropic_client, openai_client
from safeconduct.sdk.auth import BoundAuth
from safeconduct.settings import read_settings

ALLOW = "allow"
NOON = 12 * 3600
# A mandate of one column is still in force when the next day's order is previewed, and not much longer.
MANDATE_LIFE = 20 * 3600
KEY_LIFE = 86_400

Outcome = str | list[str]


class ExpectedRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A row of the table: date -> `allow`, or the codes of the denial in order."""

    subject: str
    variant: str
    expected: dict[str, Outcome]


class Expected(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file of expected outcomes."""

    notice: str
    columns: tuple[str, ...]
    cells: tuple[ExpectedRow, ...]


class StoryDiffers(SafeconductError):
    """A cell, or the preview of an order, is not as expected."""

    kind = "story_differs"


class Cell(msgspec.Struct, frozen=True):
    """What happened: `allow`, or the codes in order; and what was expected."""

    row: int
    column: str
    observed: Outcome
    expected: Outcome


def read_expected(data: bytes | None = None) -> Expected:
    """The expected outcomes that ship with the story, or others in the same form."""
    if data is None:
        data = importlib.resources.files(__package__).joinpath("june_2026.expected.json").read_bytes()
    return msgspec.json.decode(data, type=Expected)


class Story:
    """One run in a fresh directory. tell: progress in words; show: called with each cell as it is known."""

    def __init__(
        self,
        home: Path,
        sample: Sample,
        expected: Expected,
        *,
        tell: Callable[[str], None],
        show: Callable[[Cell], None],
    ) -> None:
        self.home = home
        self.sample = sample
        self.expected = expected
        self.tell = tell
        self.show = show
        self.cells: dict[tuple[int, str], Cell] = {}
        self.clock = SimulatedClock(midnight(sample.enrolled_on) + NOON)
        self.server = StoryServer(home, self.clock)
        self._previews: list[tuple[str, str, set[str]]] = []

    def play(self) -> None:
        """Everything up to the last cell. Raises StoryDiffers at the first cell that is not as expected."""
        api_port, gateway_port = _free_ports()
        initialise_instance(
            read_settings({}, home=self.home, api_port=api_port, gateway_port=gateway_port),
            profile="development",
            parties=parties_of(self.sample),
            clock=self.clock,
        )
        with self.server:
            self.server.start(api_port=api_port, gateway_port=gateway_port)
            holders = self.home / "holders"
            holders.mkdir(mode=0o700)
            self.enrolment = Enrolment(
                self.sample,
                InstanceFiles(self.home),
                api=self.server.api,
                gateway=self.server.gateway,
                sandbox=self.server.sandbox,
                holders=holders,
                clock=self.clock,
            )
            self.enrolment.enrol(self.tell)
            for column in self.sample.columns:
                self._column(column)

    def _column(self, column: str) -> None:
        before = midnight(column)
        for event in self.sample.events:
            start = midnight(event.on)
            if self.clock.now() < start <= before:
                self.server.move_to(start)
                self._happen(event, column)
        self.server.move_to(before + NOON)
        # Mandates are signed each column by everybody who has an agent in the table.
        for place, row in enumerate(self.sample.rows):
            self.tell(f"{column}: {row.subject} asks for {row.variant}")
            cell = Cell(
                row=place,
                column=column,
                observed=self._ask(row),
                expected=self.expected.cells[place].expected[column],
            )
            self.cells[place, column] = cell
            self.show(cell)
            if cell.observed != cell.expected:
                raise StoryDiffers(
                    f"{row.subject} on {row.variant}: {cell.observed}, expected {cell.expected}",
                    field=column,
                    remedy="explain the decision with `safeconduct explain`; the data are kept",
                )
        self._compare_previews(column)

    # -- what happens

    def _happen(self, event: SampleEvent, column: str) -> None:
        if event.do == "misuse_signal":
            self.tell(f"{event.on}: misuse signal about {event.subject}; the adjudicator revokes")
            self.enrolment.signal_misuse(
                event.subject, provider=event.provider, variant=event.variant, kind=event.kind
            )
            return
        assert event.directive is not None
        self.tell(f"{event.on}: {event.directive.title}")
        start = midnight(event.on)
        preview = self.enrolment.preview(event.directive, start)
        labels = {subject: label for label, subject in self.enrolment.subjects.items()}
        losers = {labels[subject] for subject in preview["impact"]["loses"] if subject in labels}
        self._previews.append((event.on, column, losers))
        self.enrolment.order(event.directive, start)

    def _compare_previews(self, column: str) -> None:
        """The preview named exactly those who then lost access on the wire since the column before."""
        columns = self.sample.columns
        for on, when, losers in self._previews:
            if when != column or on != column:
                continue
            earlier = columns[columns.index(column) - 1]
            lost = {
                row.subject
                for place, row in enumerate(self.sample.rows)
                if self.cells[place, earlier].observed == ALLOW
                and self.cells[place, column].observed != ALLOW
            }
            if lost != losers:
                raise StoryDiffers(
                    f"the preview named {sorted(losers)}, the wire shows {sorted(lost)}", field=column
                )

    # -- one cell

    def _ask(self, row: SampleRow) -> Outcome:
        organisation = self.sample.subject(row.subject).organisation
        project = project_name(row.project, organisation)
        try:
            if row.credential == "gateway_key":
                return self._ask_with_key(row, project)
            return self._call(row, self._auth(row, project))
        except AccessRefused as refused:
            codes = [str(reason["code"]) for reason in refused.reasons]
            return list(dict.fromkeys(codes or [refused.code]))

    def _auth(self, row: SampleRow, project: str) -> BoundAuth:
        wanted: dict[str, Any] = {
            "models": [row.variant],
            "purpose": row.purpose,
            "project": project,
            "clock": self.clock,
        }
        if self.sample.subject(row.subject).kind == "agent":
            agent = self.enrolment.delegate(
                row.subject,
                variants=(row.variant,),
                purpose=row.purpose,
                project=project,
                lifetime=MANDATE_LIFE,
            )
            return AgentAuth(agent, **wanted)
        return PassportAuth(self.enrolment.holder(row.subject), **wanted)

    def _call(self, row: SampleRow, auth: BoundAuth) -> Outcome:
        if self._speaks_openai(row.variant):
            with openai_client(auth, max_retries=0) as client:
                return _outcome_openai(client, row.variant)
        with anthropic_client(auth, max_retries=0) as client:
            return _outcome_anthropic(client, row.variant)

    def _ask_with_key(self, row: SampleRow, project: str) -> Outcome:
        import anthropic  # noqa: PLC0415

        key = self.enrolment.gateway_key(row.subject, project=project, purpose=row.purpose, lifetime=KEY_LIFE)
        with anthropic.Anthropic(
            api_key=key,
            auth_token=None,
            base_url=self.server.gateway,
            max_retries=0,
            http_client=anthropic.DefaultHttpxClient(trust_env=False, follow_redirects=False),
        ) as client:
            return _outcome_anthropic(client, row.variant)

    def _speaks_openai(self, variant: str) -> bool:
        """The first provider's models are called with the Anthropic client, the others with OpenAI's."""
        first = self.sample.models[0]
        return variant not in {one.variant for one in first.variants}


def _outcome_anthropic(client: Any, variant: str) -> Outcome:
    import anthropic  # noqa: PLC0415

    try:
        answer = client.messages.create(
            model=variant, max_tokens=64, messages=[{"role": "user", "content": "Say hello."}]
        )
    except anthropic.APIStatusError as error:
        return codes_of(error.body)
    return ALLOW if answer.content[0].text else ["(empty answer)"]


def _outcome_openai(client: Any, variant: str) -> Outcome:
    import openai  # noqa: PLC0415

    try:
        answer = client.chat.completions.create(
            model=variant, messages=[{"role": "user", "content": "Say hello."}]
        )
    except openai.APIStatusError as error:
        return codes_of(error.body)
    return ALLOW if answer.choices[0].message.content else ["(empty answer)"]


def codes_of(body: Any) -> list[str]:
    """The codes of a denial in either vendor's error body, in order, each once."""
    found: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            reasons = value.get("reasons")
            if isinstance(reasons, list):
                found.extend(str(one["code"]) for one in reasons if isinstance(one, dict) and "code" in one)
            for each in value.values():
                if isinstance(each, dict):
                    walk(each)

    walk(body)
    return list(dict.fromkeys(found)) or [f"(no reasons in {body!r})"]


def _free_ports() -> tuple[int, int]:
    with socket.socket() as one, socket.socket() as other:
        one.bind(("127.0.0.1", 0))
        other.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1]), int(other.getsockname()[1])
