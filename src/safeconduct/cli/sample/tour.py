"""What `run` prints once everything listens: the story in commands to paste, and the files these commands use."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from safeconduct.cli.sample.enrolment import Enrolment, project_name
from safeconduct.cli.sample.reconstruction import Sample, SampleRow
from safeconduct.kernel.clock import format_instant
from safeconduct.sdk.holder import write_private

BIN = ".venv/bin/"

_PASSPORT_SCRIPT = '''"""Ask {variant} as {subject}: {description}. The {vendor} client is the vendor's own; only its auth is ours."""

from pathlib import Path

from safeconduct.sdk import AccessRefused, Holder, PassportAuth, {client}

holder = Holder.load(Path(__file__).parent.parent / "holders" / "{subject}.json")
auth = PassportAuth(holder, models=["{variant}"], project="{project}", purpose="{purpose}")
client = {client}(auth)

try:
{call}
except AccessRefused as refused:
    print("refused:", refused.code, "-", refused.remedy)
except {error} as denied:
    error = denied.body["error"] if "error" in denied.body else denied.body
    for reason in error.get("reasons") or error["details"]["reasons"]:
        print(f"denied: {{reason['code']}} - {{reason['detail']}}")
        print(f"  remedy: {{reason['remedy']}}")
    print("decision:", denied.request_id)
'''

_KEY_SCRIPT = '''"""Ask {variant} with a gateway key ({description}). The client is the vendor's own and unchanged."""

from pathlib import Path

import anthropic

key = Path(__file__).with_name("gateway.key").read_text().strip()
client = anthropic.Anthropic(base_url="{gateway}", api_key=key)

try:
    answer = client.messages.create(
        model="{variant}", max_tokens=50, messages=[{{"role": "user", "content": "Say hello."}}]
    )
    print(answer.content[0].text)
except anthropic.APIStatusError as denied:
    for reason in denied.body["error"]["details"]["reasons"]:
        print(f"denied: {{reason['code']}} - {{reason['detail']}}")
        print(f"  remedy: {{reason['remedy']}}")
'''

_ANTHROPIC_CALL = """    with client.messages.stream(
        model="{variant}", max_tokens=200, messages=[{{"role": "user", "content": "{prompt}"}}]
    ) as stream:
        for text in stream.text_stream:
            print(text, end="", flush=True)
    print()"""

_OPENAI_CALL = """    answer = client.chat.completions.create(
        model="{variant}", messages=[{{"role": "user", "content": "{prompt}"}}]
    )
    print(answer.choices[0].message.content)"""


class Tour:
    """Writes the tour's files below `home/tour` and says what to do with them."""

    def __init__(self, home: Path, sample: Sample) -> None:
        self.home = home
        self.sample = sample
        self.directory = home / "tour"

    def row(self, subject: str, variant: str) -> SampleRow:
        """The row of the table."""
        return next(one for one in self.sample.rows if (one.subject, one.variant) == (subject, variant))

    def _project(self, row: SampleRow) -> str:
        return project_name(row.project, self.sample.subject(row.subject).organisation)

    def write_once(self, enrolment: Enrolment) -> None:
        """The files that last as long as the data: a gateway key and two programs."""
        self.directory.mkdir(mode=0o700, exist_ok=True)
        keyed = next(one for one in self.sample.rows if one.credential == "gateway_key")
        text = enrolment.gateway_key(
            keyed.subject, project=self._project(keyed), purpose=keyed.purpose, lifetime=30 * 86_400
        )
        write_private(self.directory / "gateway.key", text.encode())
        script = _KEY_SCRIPT.format(
            variant=keyed.variant,
            description=self.sample.subject(keyed.subject).description,
            gateway=enrolment.gateway,
        )
        (self.directory / "ask_with_key.py").write_text(script, encoding="utf-8")
        self._program(
            "ask_with_passport.py", self.sample.rows[1], "anthropic", "Name one way to triage a bug report."
        )
        self._program("ask_unlisted.py", self.sample.rows[-1], "openai", "Say hello.")

    def _program(self, name: str, row: SampleRow, vendor: str, prompt: str) -> None:
        call = _ANTHROPIC_CALL if vendor == "anthropic" else _OPENAI_CALL
        text = _PASSPORT_SCRIPT.format(
            variant=row.variant,
            subject=row.subject,
            description=self.sample.subject(row.subject).description,
            project=self._project(row),
            purpose=row.purpose,
            vendor=vendor,
            client=f"{vendor}_client",
            error="APIStatusError",
            call=call.format(variant=row.variant, prompt=prompt),
        ).replace(
            "from pathlib import Path\n",
            f"from pathlib import Path\n\nfrom {vendor} import APIStatusError\n",
            1,
        )
        (self.directory / name).write_text(text, encoding="utf-8")

    def write_order(self, now: int) -> str:
        """A draft of the order, in force from now on, under a number of its own; returns the id it will have."""
        one = self.sample.directive("licence-required")
        number = f"sample-{now}"
        claims: dict[str, Any] = {
            "iss": self.sample.authority.party,
            "iat": now,
            "number": number,
            "version": 1,
            "kind": one.kind,
            "force": one.force,
            "visibility": one.visibility,
            "title": one.title,
            "variants": list(one.variants),
            "applies_to": one.applies_to,
            "effective_from": format_instant(now),
            "in_flight": one.in_flight,
            "legal_source": one.legal_source,
            "packs": list(one.packs),
        }
        path = self.directory / "licence-required.json"
        path.write_bytes(msgspec.json.format(msgspec.json.encode(claims), indent=2) + b"\n")
        return f"{self.sample.authority.party}/{number}/1"

    def lines(self, *, order: str) -> list[tuple[str, str]]:
        """Pairs of what a step shows and the command for it."""
        keyed = next(one for one in self.sample.rows if one.credential == "gateway_key")
        tour = _shown(self.directory)
        safeconduct = f"{BIN}safeconduct"
        where = "" if self.home == Path("run").absolute() else f" --data {_shown(self.home)}"
        return [
            (
                f"{keyed.variant} with a gateway key ({self.sample.subject(keyed.subject).description})",
                f"{BIN}python {tour}/ask_with_key.py",
            ),
            (
                f"{self.sample.rows[1].variant} with a passport, by the vendor's own client",
                f"{BIN}python {tour}/ask_with_passport.py",
            ),
            (
                f"{self.sample.rows[-1].variant} for somebody whose organisation is on no list: denied, with reasons",
                f"{BIN}python {tour}/ask_unlisted.py",
            ),
            (
                "who would lose access under an order that takes effect now, before anybody signs it",
                f"{safeconduct} directive preview {tour}/licence-required.json{where}",
            ),
            (
                "sign it at the authority's desk and hand it in",
                (
                    f"{safeconduct} directive sign {tour}/licence-required.json{where} | "
                    f"{BIN}safeconduct directive import -{where}"
                ),
            ),
            ("the same request again", f"{BIN}python {tour}/ask_with_passport.py"),
            ("rescind it; the request is allowed again", f"{safeconduct} directive rescind {order}{where}"),
            (
                "verify both logs: every entry, every tile, the signed checkpoints",
                f"{safeconduct} audit verify{where}",
            ),
        ]


def _shown(path: Path) -> str:
    """Relative to the current directory where that is shorter: what is printed is to be pasted."""
    relative = os.path.relpath(path)
    return relative if not relative.startswith("..") else str(path)
