"""`lists import|status|diff|rollback`: screening lists, their versions and how they stand."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table, progress
from safeconduct.cli.session import AUDITOR, OPERATOR, connect

if TYPE_CHECKING:
    from safeconduct.cli.client import ApiClient

commands = typer.Typer(help="Screening lists: what people are screened against, and since when.")

_PATH = "/api/screening/lists"
_CHUNK = 256 << 10
IMPORT_SECONDS = 1_800.0
_POLL_SECONDS = 0.5

Name = Annotated[
    str,
    typer.Argument(
        metavar="LIST",
        help="us.ofac.sdn, us.ofac.consolidated, un.sc, eu.fsf, uk.sanctions, us.csl, or ftm.<name>.",
    ),
]


@commands.command("import")
def import_(
    name: Name,
    files: Annotated[
        list[str] | None,
        typer.Argument(
            help="The list's files under the publisher's names, or ROLE=PATH (primary=...). A ZIP archive of one file will do.",
            show_default=False,
        ),
    ] = None,
    source: Annotated[
        list[str] | None,
        typer.Option(
            "--from",
            help="Fetch a file from this https address now; may be repeated. ROLE=URL says which file it is.",
            show_default=False,
        ),
    ] = None,
    sha256: Annotated[
        list[str] | None,
        typer.Option(
            help="SHA-256 that the files must have, in their order; may be repeated.", show_default=False
        ),
    ] = None,
    written_as: Annotated[
        str | None,
        typer.Option("--format", help="The files' format, where it cannot be told.", show_default=False),
    ] = None,
    published: Annotated[
        str | None,
        typer.Option(
            help="Date of publication (YYYY-MM-DD), where the files do not say.", show_default=False
        ),
    ] = None,
    confirm: Annotated[
        list[str] | None,
        typer.Option(
            help="Accept a defect that a refusal named, e.g. entries_lost; may be repeated; needs --reason.",
            show_default=False,
        ),
    ] = None,
    reason: Annotated[str, typer.Option(help="Why, for the record.", show_default=False)] = "",
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Import a version of a list and put it in force, when every check passes; otherwise nothing changes.

    Example: safeconduct lists import us.ofac.sdn sdn.csv add.csv alt.csv

    Example: safeconduct lists import un.sc --from https://scsanctions.un.org/resources/xml/en/consolidated.xml
    """
    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    if not files and not source:
        raise InvalidInput(
            "no file is named", field="FILES", remedy="name the list's files, or --from and an address"
        )
    body: dict[str, Any] = {"reason": reason, "confirm": confirm or [], "files": []}
    if written_as is not None:
        body["format"] = written_as
    if published is not None:
        body["published"] = published
    expected = list(sha256 or [])
    with connect(data, url, speaker or OPERATOR) as client:
        for given in files or []:
            role, path = _role(given)
            digest = _upload(client, path, quiet=as_json)
            if expected and (wanted := expected.pop(0).lower()) != digest:
                raise InvalidInput(
                    f"{path} has the SHA-256 {digest}", field="--sha256", remedy=f"not {wanted}"
                )
            body["files"].append({"name": role or path.name, "sha256": digest})
        for given in source or []:
            role, _, address = ("", "", given) if "://" in given.partition("=")[0] else given.partition("=")
            fetched = {"name": role or address.split("?")[0], "url": address}
            if expected:
                fetched["sha256"] = expected.pop(0).lower()
            body["files"].append(fetched)
        done = _import(client, name, body, quiet=as_json)
    if as_json:
        print_json(done)
        return
    version = done["version"]
    if not done["changed"]:
        print_lines(
            f"{name}: this is the version in force ({version['sha256'][:12]}, {version['entries']:,} entries)"
        )
        if "event" in done:
            print_lines("fetched again and unchanged: it counts as current from now on")
        return
    print_lines(
        f"{name}: version {version['sha256'][:12]} is in force: {version['entries']:,} entries, {version['names']:,} names",
        f"{done['gained']:,} entries are new, {done['lost']:,} are gone",
        *(f"  {part}: {count:,}" for part, count in version["by_list"].items()),
    )
    if version["confirmed"]:
        print_lines(*(f"confirmed: {defect}: {detail}" for defect, detail in version["confirmed"].items()))
    if version["damaged"]:
        print_lines(f"names that lost letters before they came here: {', '.join(version['damaged'])}")
    _tell_owners(done.get("ownership", {}))


def _tell_owners(found: dict[str, Any]) -> None:
    """What the version in force changed for those whom its entries own."""
    if found.get("fault"):
        print_lines(f"owners on it are designated as before: {found['fault']} ({found['remedy']})")
    if found.get("left"):
        print_lines(
            f"no designated entry is left on {', '.join(found['left'])}: theirs stand until a file of designations says otherwise"
        )
    if found.get("assessed"):
        print_lines(f"ownership changed for {', '.join(found['assessed'])}")


def _role(given: str) -> tuple[str, Path]:
    role, equals, path = given.partition("=")
    if equals and role.isalpha() and not Path(given).exists():
        return role, Path(path)
    return "", Path(given)


def _pieces(path: Path, advance: Callable[[int], None]) -> Iterator[bytes]:
    done = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            yield chunk
            done += len(chunk)
            advance(done)


def _upload(client: ApiClient, path: Path, *, quiet: bool) -> str:
    """Send a file; its SHA-256."""
    import hashlib  # noqa: PLC0415

    from safeconduct.kernel.errors import InvalidInput  # noqa: PLC0415

    try:
        size = path.stat().st_size
        digest = hashlib.sha256()
        for chunk in _pieces(path, lambda _done: None):
            digest.update(chunk)
    except OSError as error:
        raise InvalidInput(f"cannot be read: {error.strerror}", field=str(path)) from None
    if size == 0:
        raise InvalidInput("the file is empty", field=str(path), remedy="fetch it again from its publisher")
    with progress(f"sending {path.name}", quiet=quiet) as advance:
        client.put_file(
            f"/api/screening/files/{digest.hexdigest()}",
            _pieces(path, lambda done: advance(done, size)),
            size,
        )
    return digest.hexdigest()


def _import(client: ApiClient, name: str, body: dict[str, Any], *, quiet: bool) -> Any:
    """Ask for the import and show how far it is."""
    import sys  # noqa: PLC0415
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415
    from concurrent.futures import TimeoutError as Later  # noqa: PLC0415

    path = f"{_PATH}/{name}/import"
    if quiet or not sys.stderr.isatty():
        return client.post_slowly(path, body, seconds=IMPORT_SECONDS)
    from rich.console import Console  # noqa: PLC0415

    with ThreadPoolExecutor(1) as pool, Console(stderr=True).status(f"{name}: asking") as shown:
        asked = pool.submit(client.post_slowly, path, body, seconds=IMPORT_SECONDS)
        while True:
            try:
                return asked.result(timeout=_POLL_SECONDS)
            except Later:
                if asked.done():
                    raise
            step = next(
                (each.get("under_way") for each in client.get(_PATH)["items"] if each["list"] == name), None
            )
            if step:
                shown.update(f"{name}: {step['step']}, {step['entries']:,} entries")


@commands.command()
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="[LIST]", help="Only this list.", show_default=False)
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Show which version of each list is in force, how old it is, and whether it can still clear anybody.

    With a list's name also the versions that are kept, the last imported first.

    Example: safeconduct lists status
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415
    from safeconduct.kernel.errors import NotFound  # noqa: PLC0415
    from safeconduct.kernel.suggest import did_you_mean  # noqa: PLC0415

    with connect(data, url, speaker or AUDITOR) as client:
        items = client.get(_PATH)["items"]
        names = [each["list"] for each in items]
        kept = client.get(f"{_PATH}/{name}/versions")["items"] if name in names else []
    if name is not None:
        items = [each for each in items if each["list"] == name]
        if not items:
            raise NotFound(
                f"there is no list {name!r}{did_you_mean(name, names)}",
                field="LIST",
                remedy=f"one of: {', '.join(names)}",
            )
    if as_json:
        print_json(items)
        return
    print_table(
        ("list", "version", "entries", "published", "age", "limit", "state"),
        [
            (
                each["list"],
                each["in_force"]["sha256"][:12] if "in_force" in each else "",
                f"{each['in_force']['entries']:,}" if "in_force" in each else "",
                each.get("in_force", {}).get("published", "")[:10],
                _days(each["age"]) if "age" in each else "",
                _days(each["max_age"]),
                _state(each),
            )
            for each in items
        ],
        empty="no lists",
    )
    if kept:
        print_table(
            ("kept version", "entries", "names", "published", "imported"),
            [
                (
                    each["sha256"][:12],
                    f"{each['entries']:,}",
                    f"{each['names']:,}",
                    each.get("published", "")[:10],
                    format_instant(each["imported_at"]),
                )
                for each in kept
            ],
            empty="",
        )


def _days(seconds: int) -> str:
    return f"{seconds / 86_400:.1f} d" if seconds % 86_400 else f"{seconds // 86_400} d"


def _state(status: dict[str, Any]) -> str:
    if "under_way" in status:
        step = status["under_way"]["step"]
        return step if step.startswith("re-screening") else f"import under way: {step}"
    if "in_force" not in status:
        return "never imported"
    if status["fault"]:
        return f"unusable, so everybody goes to review: {status['fault']}"
    if status["past_age"]:
        return "past its age, so everybody goes to review: import it"
    return "in force"


@commands.command()
def diff(
    name: Name,
    before: Annotated[
        str | None, typer.Option(help="Digest of the earlier version, or its start.", show_default=False)
    ] = None,
    after: Annotated[
        str | None,
        typer.Option(help="Digest of the later one; what is in force when left out.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option(help="Entries shown of each kind, at most 1000.")] = 100,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Show what changed between two versions: entries added, removed, and changed with which members.

    Example: safeconduct lists diff us.ofac.sdn
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get(f"{_PATH}/{name}/changes", before=before, after=after, limit=limit)
    if as_json:
        print_json(found)
        return
    counts = found["counts"]
    print_lines(
        f"{name}: {found['before'][:12]} -> {found['after'][:12]}: "
        f"{counts['added']:,} added, {counts['removed']:,} removed, {counts['changed']:,} changed"
    )
    rows = [("added", each["id"], each["name"], "") for each in found["added"]]
    rows += [("removed", each["id"], each["name"], "") for each in found["removed"]]
    rows += [("changed", each["id"], each["name"], ", ".join(each["members"])) for each in found["changed"]]
    if rows:
        print_table(("change", "entry", "name", "members"), rows, empty="")


@commands.command()
def rollback(
    name: Name,
    reason: Annotated[str, typer.Option(help="Why, for the record.")],
    to: Annotated[
        str | None,
        typer.Option(
            help="Digest of the version, or its start; the one before when left out.", show_default=False
        ),
    ] = None,
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Put an earlier version of a list in force again. Its age goes on from where it was.

    Example: safeconduct lists rollback un.sc --reason "the new file lacks half of the entries"
    """
    body = {"reason": reason, **({"to": to} if to is not None else {})}
    with connect(data, url, speaker or OPERATOR) as client:
        done = client.post_slowly(f"{_PATH}/{name}/roll-back", body, seconds=IMPORT_SECONDS)
    if as_json:
        print_json(done)
    else:
        print_lines(f"{name}: version {done['sha256'][:12]} is in force again: {done['entries']:,} entries")
