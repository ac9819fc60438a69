"""What commands print: tables and lines for people, JSON for programs, errors with a remedy on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from safeconduct.kernel.errors import InvalidInput, SafeconductError

FAILED = 1
WRONG_USE = 2


def print_json(value: Any) -> None:
    """JSON with sorted members on standard output."""
    import msgspec  # noqa: PLC0415

    data = msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2)
    sys.stdout.write(data.decode() + "\n")


def print_json_line(value: Any) -> None:
    """JSON on one line of standard output, flushed: for a program that reads along."""
    import msgspec  # noqa: PLC0415

    sys.stdout.write(msgspec.json.encode(value, order="sorted").decode() + "\n")
    sys.stdout.flush()


def print_lines(*lines: str) -> None:
    """Plain lines on standard output."""
    sys.stdout.write("".join(f"{line}\n" for line in lines))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[Any]], *, empty: str) -> None:
    """A table; `empty` says what it means when there is nothing."""
    if not rows:
        print_lines(empty)
        return
    from rich import box  # noqa: PLC0415
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=box.SIMPLE, header_style="bold", pad_edge=False)
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        # Text, not markup: what comes from the record must not style the terminal.
        table.add_row(*(Text(_plain(cell)) for cell in row))
    console = Console()
    # In a pipe nothing is folded away: the whole width that the content needs.
    if not console.is_terminal:
        console = Console(width=240)
    console.print(table)


def _plain(cell: Any) -> str:
    if cell is None:
        return ""
    text = ", ".join(str(one) for one in cell) if isinstance(cell, (list, tuple)) else str(cell)
    return "".join(char if char.isprintable() or char == "\n" else "?" for char in text)


def print_error(error: SafeconductError, *, as_json: bool) -> int:
    """The error on standard error; returns the exit status: 2 for wrong use, 1 for anything else."""
    if as_json:
        import msgspec  # noqa: PLC0415

        body = {
            "error": error.kind,
            "message": error.message,
            "field": error.field,
            "remedy": error.remedy,
        }
        sys.stderr.write(msgspec.json.encode(body, order="sorted").decode() + "\n")
    else:
        where = f"{error.field}: " if error.field else ""
        sys.stderr.write(f"error: {_plain(where + error.message)}\n")
        if error.remedy:
            sys.stderr.write(f"remedy: {_plain(error.remedy)}\n")
    return WRONG_USE if isinstance(error, InvalidInput) else FAILED


class Advance(Protocol):
    """Tells a progress bar how far the work is."""

    def __call__(self, done: int, total: int) -> None:
        """`done` of `total` units."""
        ...


@contextmanager
def progress(title: str, *, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar on standard error, only when that is a terminal."""
    if quiet or not sys.stderr.isatty():
        yield lambda done, total: None  # noqa: ARG005
        return
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
