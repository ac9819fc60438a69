"""`audit verify|prove|fsck|tail`: the logs, offline or over HTTP."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from safeconduct.cli.options import AsJson, Data
from safeconduct.cli.output import print_json, print_lines, progress
from safeconduct.cli.session import AUDITOR, connect, files_of

if TYPE_CHECKING:
    from safeconduct.audit.checkpoint import LogVerifier
    from safeconduct.audit.fsck import Report
    from safeconduct.storage.log_files import FileLogDirectory

commands = typer.Typer(help="The transparency logs: verify, prove, check files, follow.")
Where = Annotated[
    str | None,
    typer.Argument(
        help="Directory of a log, or its URL (http...). Default: both logs of the running instance.",
        show_default=False,
    ),
]
Which = Annotated[str, typer.Option("--log", help="record or decisions, of the running instance.")]
LogKey = Annotated[
    str | None,
    typer.Option(
        "--log-key",
        help="Verifier key NAME+HASH+BASE64 of the log, or a file with it (default: this instance's own).",
        show_default=False,
    ),
]
LOGS = ("record", "decisions")


class _Source:
    """One log to look at: where its files come from and the key it must be signed with."""

    def __init__(
        self,
        name: str,
        fetch: Callable[[str], bytes],
        verifier: LogVerifier,
        directory: FileLogDirectory | None = None,
    ) -> None:
        self.directory = directory
        self.name = name
        self.fetch = fetch
        self.verifier = verifier


def _own_verifier(data: Path | None, name: str) -> LogVerifier:
    from safeconduct.audit.checkpoint import LogVerifier  # noqa: PLC0415

    files = files_of(data)
    descriptor = files.descriptor
    origin, key = (
        (descriptor.record_origin, "record-log")
        if name == "record"
        else (descriptor.decision_origin, "decision-log")
    )
    return LogVerifier.of(origin, files.keys.signer(key))


def _verifier(data: Path | None, log_key: str | None, origin: str) -> LogVerifier:
    """The given key, or the one of this instance's logs that has this origin. Raises NotFound."""
    from safeconduct.audit.checkpoint import LogVerifier  # noqa: PLC0415
    from safeconduct.kernel.errors import NotFound, SafeconductError  # noqa: PLC0415

    if log_key is not None:
        try:
            text = Path(log_key).read_text(encoding="utf-8") if Path(log_key).is_file() else log_key
        except OSError:
            text = log_key
        return LogVerifier.parse(text)
    try:
        for name in LOGS:
            own = _own_verifier(data, name)
            if own.name == origin:
                return own
    except SafeconductError:
        pass
    raise NotFound(
        f"no key is known for the log {origin!r}",
        field="--log-key",
        remedy="give the verifier key that was published when the log was made",
    )


def _name(which: str) -> str:
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    if which not in LOGS:
        raise InvalidInput(
            f"unknown log {which!r}{did_you_mean(which, LOGS)}", field="--log", remedy="record or decisions"
        )
    return which


@contextmanager
def _sources(
    where: str | None, data: Path | None, log_key: str | None, names: tuple[str, ...]
) -> Iterator[list[_Source]]:
    from safeconduct.audit.checkpoint import parse_checkpoint  # noqa: PLC0415
    from safeconduct.kernel.errors import NotFound  # noqa: PLC0415

    if where is not None and not where.startswith(("http://", "https://")):
        from safeconduct.storage.log_files import FileLogDirectory  # noqa: PLC0415

        directory = FileLogDirectory(Path(where))
        try:
            checkpoint = directory.read("checkpoint")
        except OSError:
            raise NotFound(
                "there is no log here",
                field=where,
                remedy="name the directory that holds `checkpoint`, e.g. run/data/record/log",
            ) from None
        origin = parse_checkpoint(checkpoint).origin
        yield [_Source(where, directory.read, _verifier(data, log_key, origin), directory)]
        return
    base = where.rstrip("/") if where is not None else None
    url, prefix = base.rsplit("/log/", 1) if base and "/log/" in base else (base, None)
    with connect(data, url, AUDITOR) as client:

        def fetch_from(name: str) -> Callable[[str], bytes]:
            def fetch(path: str) -> bytes:
                from safeconduct.cli.client import ProblemAnswer  # noqa: PLC0415

                try:
                    return client.fetch(f"/log/{name}/{path}", public=not path.startswith("tile/entries/"))
                except ProblemAnswer as problem:
                    if problem.status == 404:
                        raise FileNotFoundError(path) from None
                    raise

            return fetch

        found = []
        for name in (prefix,) if prefix else names:
            fetch = fetch_from(name)
            try:
                origin = parse_checkpoint(fetch("checkpoint")).origin
            except FileNotFoundError:
                raise NotFound("there is no such log there", field=name) from None
            found.append(_Source(f"{client.url}/log/{name}", fetch, _verifier(data, log_key, origin)))
        yield found


def _tell(reports: list[tuple[str, Report]], as_json: bool) -> None:
    ok = all(report.ok for _, report in reports)
    if as_json:
        print_json(
            [
                {
                    "log": name,
                    "origin": report.origin,
                    "ok": report.ok,
                    "size": report.size,
                    "root": report.root.hex(),
                    "problems": [
                        {"file": one.file, "entry": one.entry, "message": one.message}
                        for one in report.problems
                    ],
                    "notes": list(report.notes),
                }
                for name, report in reports
            ]
        )
    else:
        for name, report in reports:
            verdict = "verified" if report.ok else "NOT VERIFIED"
            print_lines(f"{verdict}  {report.origin}  {report.size} entries  root {report.root.hex()}")
            print_lines(f"          {name}")
            print_lines(*(f"  problem {one}" for one in report.problems))
            print_lines(*(f"  note    {one}" for one in report.notes))
    if not ok:
        raise typer.Exit(1)


@commands.command()
def verify(where: Where = None, log_key: LogKey = None, data: Data = None, as_json: AsJson = False) -> None:
    """Verify checkpoint, every entry and every tile of a log; of a directory that is not in use, every other file too.

    Without an argument: the running instance over HTTP, or its directories when it does not run.

    Example: safeconduct audit verify run/data/record/log
    """
    from safeconduct.cli.client import Unreachable  # noqa: PLC0415

    try:
        reports = _verify(where, data, log_key, as_json)
    except Unreachable:
        if where is not None:
            raise
        settings = files_of(data).settings
        reports = []
        for place in (settings.record_log, settings.decision_log):
            reports += _verify(str(place), data, log_key, as_json)
    _tell(reports, as_json)


def _verify(
    where: str | None, data: Path | None, log_key: str | None, as_json: bool
) -> list[tuple[str, Report]]:
    from safeconduct.audit.fsck import check  # noqa: PLC0415
    from safeconduct.audit.fsck import verify as verify_log  # noqa: PLC0415

    reports = []
    with _sources(where, data, log_key, LOGS) as sources:
        for source in sources:
            with progress(f"verifying {source.verifier.name}", quiet=as_json) as advance:
                if source.directory is not None and not _is_in_use(source.directory):
                    report = check(source.directory, source.verifier, progress=advance)
                else:
                    report = verify_log(source.fetch, source.verifier, progress=advance)
            reports.append((source.name, report))
    return reports


def _is_in_use(directory: FileLogDirectory) -> bool:
    """Whether a process writes there: its unfinished files are no damage. Looks without making or changing a file."""
    import fcntl  # noqa: PLC0415

    from safeconduct.audit.fsck import LOCK  # noqa: PLC0415

    try:
        with (directory.root / LOCK).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


@commands.command()
def fsck(
    where: Annotated[
        Path | None,
        typer.Argument(help="Directory of a log (default: both of this instance).", show_default=False),
    ] = None,
    log_key: LogKey = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Check a stopped log's own directory: all of `verify`, the write-ahead log and every other file.

    Example: safeconduct audit fsck run/data/record/log
    """
    from safeconduct.audit.checkpoint import parse_checkpoint  # noqa: PLC0415
    from safeconduct.audit.fsck import check  # noqa: PLC0415
    from safeconduct.kernel.errors import NotFound  # noqa: PLC0415
    from safeconduct.storage.log_files import FileLogDirectory  # noqa: PLC0415

    settings = files_of(data).settings
    places = [where] if where is not None else [settings.record_log, settings.decision_log]
    reports = []
    for place in places:
        directory = FileLogDirectory(place)
        try:
            origin = parse_checkpoint(directory.read("checkpoint")).origin
        except OSError:
            raise NotFound(
                "there is no log here", field=str(place), remedy="name the directory that holds `checkpoint`"
            ) from None
        verifier = _verifier(data, log_key, origin)
        with progress(f"checking {place}", quiet=as_json) as advance:
            reports.append((str(place), check(directory, verifier, progress=advance)))
    _tell(reports, as_json)


@commands.command()
def prove(
    index: Annotated[int, typer.Argument(help="Position of the entry in the log.")],
    where: Where = None,
    which: Which = "decisions",
    out: Annotated[
        Path | None, typer.Option(help="File for the proof (default: print it).", show_default=False)
    ] = None,
    log_key: LogKey = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Make the .tlog-proof of an entry, verified before it is handed out.

    Example: safeconduct audit prove 7 --log decisions --out decision.tlog-proof
    """
    from safeconduct.audit.proof import verify_proof  # noqa: PLC0415
    from safeconduct.audit.reader import PublishedLog  # noqa: PLC0415
    from safeconduct.cli.reading import write_new  # noqa: PLC0415

    with _sources(where, data, log_key, (_name(which),)) as sources:
        source = sources[0]
        log = PublishedLog(source.fetch, source.verifier)
        proof = log.prove(index)
        entry = next(iter(log.entries(index, index + 1)))
    verify_proof(proof, entry, log.verifier)
    if out is not None:
        write_new(out, proof)
    if as_json:
        print_json({"index": index, "origin": source.verifier.name, "proof": proof.decode()})
    else:
        print_lines(proof.decode().rstrip("\n") if out is None else f"proved entry {index}: {out}")


@commands.command()
def tail(
    where: Where = None,
    which: Which = "decisions",
    number: Annotated[int, typer.Option("--number", "-n", min=1, max=10_000, help="How many.")] = 10,
    log_key: LogKey = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Print the last entries of a log, each verified against the checkpoint.

    Example: safeconduct audit tail -n 5 --log record
    """
    import msgspec  # noqa: PLC0415

    from safeconduct.audit.reader import PublishedLog  # noqa: PLC0415

    with _sources(where, data, log_key, (_name(which),)) as sources:
        log = PublishedLog(sources[0].fetch, sources[0].verifier)
        size = log.checkpoint.size
        start = max(0, size - number)
        entries = list(log.entries(start, size))
    if as_json:
        print_json([msgspec.Raw(entry) for entry in entries])
        return
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    for index, entry in enumerate(entries, start):
        envelope = msgspec.json.decode(entry)
        body = envelope.get("body") or {}
        about = ", ".join(
            f"{name} {body[name]}"
            for name in ("outcome", "codes", "subject", "variant", "directive", "grant", "passport", "ended")
            if body.get(name)
        )
        when = format_instant(envelope["time"] / 1000)
        print_lines(
            f"{index:>8}  {when}  {envelope['type']:<24} {about or 'sealed' * ('sealed' in envelope)}"
        )
