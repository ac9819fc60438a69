"""`story june-2026`: plays the reconstruction, shows the table as it grows, verifies the logs offline and replays."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from safeconduct.cli.options import AsJson

if TYPE_CHECKING:
    from safeconduct.cli.story.play import Cell, Expected, Story

commands = typer.Typer(help="Stories to play against an instance of their own.")

SHORT = {
    "LICENCE_MISSING": "LICENCE",
    "ORG_NOT_LISTED": "ORG",
    "NATIONALITY_UNDECLARED": "NATIONALITY",
    "PASSPORT_REVOKED": "REVOKED",
}


@commands.callback()
def _stories() -> None:
    pass


@commands.command("june-2026")
def june_2026(
    directory: Annotated[
        Path | None,
        typer.Option(
            "--directory", help="Fresh directory to keep (default: one that is removed at the end)."
        ),
    ] = None,
    shift_days: Annotated[int, typer.Option(help="Move every date by so many days.")] = 0,
    rename: Annotated[
        bool, typer.Option("--rename", help="Give models, organisations and countries other names.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Play June 2026 as the press reported it: a reconstruction, against simulated providers and a simulated clock.

    Exits with 1 at the first cell that differs from what is expected.

    Example: safeconduct story june-2026
    """
    import tempfile  # noqa: PLC0415

    from safeconduct.cli.sample.reconstruction import read_sample  # noqa: PLC0415
    from safeconduct.cli.story.play import Story, read_expected  # noqa: PLC0415
    from safeconduct.cli.story.transform import transformed  # noqa: PLC0415
    from safeconduct.kernel.errors import Conflict  # noqa: PLC0415

    sample, expected = transformed(read_sample(), read_expected(), days=shift_days, renamed=rename)
    if directory is not None and directory.exists() and any(directory.iterdir()):
        raise Conflict("the directory is not empty", field="--directory", remedy="name a fresh one")
    with tempfile.TemporaryDirectory(prefix="safeconduct-story-") as temporary:
        home = directory if directory is not None else Path(temporary)
        home.mkdir(parents=True, exist_ok=True)
        screen = _Screen(expected, total=len(expected.cells) * len(expected.columns), quiet=as_json)
        story = Story(home, sample, expected, tell=screen.tell, show=screen.show)
        with screen:
            screen.title(f"{sample.title}. {sample.notice}")
            story.play()
        found = _prove(home)
    if as_json:
        from safeconduct.cli.output import print_json  # noqa: PLC0415

        print_json({"cells": _cells(story), **found})
    else:
        for line in found["lines"]:
            sys.stdout.write(line + "\n")
    if not found["ok"]:
        raise typer.Exit(1)


def _cells(story: Story) -> list[dict[str, Any]]:
    rows = story.sample.rows
    return [
        {
            "subject": rows[cell.row].subject,
            "variant": rows[cell.row].variant,
            "date": cell.column,
            "observed": cell.observed,
            "expected": cell.expected,
        }
        for cell in story.cells.values()
    ]


def _prove(home: Path) -> dict[str, Any]:
    """Verify both logs from their files, then run every decision again in a process of its own."""
    import subprocess  # noqa: PLC0415

    import msgspec  # noqa: PLC0415

    command = [sys.executable, "-m", "safeconduct"]
    verified = subprocess.run(  # noqa: S603 - our own command
        [*command, "audit", "verify", "--data", str(home), "--json"],
        capture_output=True,
        text=True,
        check=False,
    )
    replayed = subprocess.run(  # noqa: S603 - our own command
        [
            *(*command, "replay", "--record", str(home / "data" / "record")),
            *("--log", str(home / "data" / "decisions" / "log")),
            *("--root-key", str(home / "keys" / "root.key"), "--json"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    ok = verified.returncode == 0 and replayed.returncode == 0
    report: dict[str, Any] = msgspec.json.decode(replayed.stdout) if replayed.stdout else {}
    lines = [
        "logs verified offline: "
        + (
            "every entry and tile fits its signed checkpoint"
            if verified.returncode == 0
            else verified.stderr.strip()
        ),
        (
            f"replay: {report.get('equal', 0)} decisions run again from the record, "
            f"{len(report.get('differs', []))} differences"
            if report
            else f"replay failed: {replayed.stderr.strip()}"
        ),
    ]
    return {"ok": ok, "lines": lines, "replay": report}


class _Screen:
    """The table as it grows, with a bar; plain lines where the output is not a terminal."""

    def __init__(self, expected: Expected, *, total: int, quiet: bool) -> None:
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

        self._expected = expected
        self._quiet = quiet
        self._cells: dict[tuple[int, str], Cell] = {}
        self._console = Console(stderr=quiet)
        self._live: Any = None
        self._bar = Progress(
            BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"), console=self._console
        )
        self._task = self._bar.add_task("starting", total=total)

    def __enter__(self) -> Self:
        from rich.live import Live  # noqa: PLC0415

        if self._console.is_terminal and not self._quiet:
            self._live = Live(self._shown(), console=self._console, refresh_per_second=8)
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.update(self._table())
            self._live.stop()
        elif not self._quiet:
            from rich.console import Console  # noqa: PLC0415

            Console(width=150).print(self._table())

    def title(self, text: str) -> None:
        if not self._quiet:
            self._console.print(text, markup=False)

    def tell(self, text: str) -> None:
        self._bar.update(self._task, description=text)
        self._refresh()

    def show(self, cell: Cell) -> None:
        self._cells[cell.row, cell.column] = cell
        self._bar.advance(self._task)
        self._refresh()

    def _refresh(self) -> None:
        if self._live is not None:
            self._live.update(self._shown())

    def _shown(self) -> Any:
        from rich.console import Group  # noqa: PLC0415

        return Group(self._table(), self._bar)

    def _table(self) -> Any:
        from rich import box  # noqa: PLC0415
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415

        table = Table(box=box.SIMPLE, pad_edge=False)
        for name in ("subject", "model", *(column[5:] for column in self._expected.columns)):
            table.add_column(name)
        for place, row in enumerate(self._expected.cells):
            marks = []
            for column in self._expected.columns:
                cell = self._cells.get((place, column))
                marks.append(Text("...", style="dim") if cell is None else _mark(cell))
            table.add_row(row.subject, row.variant, *marks)
        return table


def _mark(cell: Cell) -> Any:
    from rich.text import Text  # noqa: PLC0415

    if isinstance(cell.observed, str):
        text = cell.observed
    else:
        text = "deny " + " ".join(SHORT.get(code, code) for code in cell.observed)
    if cell.observed != cell.expected:
        return Text(f"{text} (differs)", style="bold red")
    return Text(text, style="green" if isinstance(cell.observed, str) else "yellow")
