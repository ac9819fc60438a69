"""`decide`, `explain`, `replay`: one decision beforehand, afterwards, and all of them again."""

# ruff: noqa: PLR0917 - options are bound by name, never by position

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from safeconduct.cli.options import AsJson, Data, Speaker, Url
from safeconduct.cli.output import print_json, print_lines, print_table, progress
from safeconduct.cli.session import AUDITOR, OPERATOR, connect, files_of


def decide(
    subject: Annotated[str, typer.Argument(help="Who would ask: a subject's or agent's id.")],
    model: Annotated[str, typer.Argument(help="The model they would name.")],
    purpose: Annotated[str | None, typer.Option(show_default=False)] = None,
    project: Annotated[str | None, typer.Option(show_default=False)] = None,
    deployment: Annotated[str | None, typer.Option(show_default=False)] = None,
    binding: Annotated[str, typer.Option(help="dpop, mtls or key: how the credential is bound.")] = "dpop",
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Dry run: allowed, or every unmet condition with its remedy.

    Example: safeconduct decide sub_abc swift-1 --purpose general
    """
    from safeconduct.kernel.clock import format_instant  # noqa: PLC0415

    body: dict[str, Any] = {"subject": subject, "model": model, "binding": binding}
    asked = {"purpose": purpose, "project": project, "deployment": deployment}
    body |= {name: value for name, value in asked.items() if value is not None}
    with connect(data, url, speaker or OPERATOR) as client:
        found = client.post("/api/decide", body)
    if as_json:
        print_json(found)
        return
    if found["outcome"] == "permit":
        print_lines(
            f"allowed: {subject} may use {model} until {format_instant(found['valid_until'])}",
            f"decision {found['decision']} at position {found['position']}",
        )
        return
    print_lines(f"denied: {len(found['reasons'])} unmet condition(s)")
    for reason in found["reasons"]:
        print_lines(
            f"{reason['code']}: {reason['detail']}",
            f"  rule {reason['rule']} version {reason['version']}; source: {reason['source']}",
            *(f"  also: {citation}" for citation in reason.get("citations", ())),
            f"  remedy: {reason['remedy']}",
        )
    print_lines(f"decision {found['decision']} at position {found['position']}")


def explain(
    decision: Annotated[str, typer.Argument(help="Id of the decision: the answer's request id.")],
    data: Data = None,
    url: Url = None,
    speaker: Speaker = None,
    as_json: AsJson = False,
) -> None:
    """Explain a recorded decision: who asked, every reason, from rule to signed document.

    Example: safeconduct explain dec_abc
    """
    with connect(data, url, speaker or AUDITOR) as client:
        found = client.get(f"/api/decisions/{decision}")
    if as_json:
        print_json(found)
    else:
        print_lines(*found["lines"])


def replay(
    record: Annotated[
        Path | None,
        typer.Option(help="The record directory (log and subjects' keys), or a copy.", show_default=False),
    ] = None,
    log: Annotated[
        Path | None, typer.Option(help="The decision log's directory, or a copy.", show_default=False)
    ] = None,
    root_key: Annotated[
        Path | None,
        typer.Option(
            help="The unwrapping key; without it every decision is reported sealed.", show_default=False
        ),
    ] = None,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Run every recorded decision again from files alone: no database, no network.

    Exit status 1 when one comes out otherwise than it was recorded.

    Example: safeconduct replay --record run/data/record --log run/data/decisions/log --root-key run/keys/root.key
    """
    from safeconduct.cli.log_entries import entries_of  # noqa: PLC0415
    from safeconduct.inspection.replay import replay as run_again  # noqa: PLC0415
    from safeconduct.storage.subject_keys import open_subject_keys_read_only  # noqa: PLC0415

    if record is None or log is None:
        settings = files_of(data).settings
        record = record or settings.record_directory
        log = log or settings.decision_log
    decisions, count = entries_of(log)
    keys = open_subject_keys_read_only(record, root_key) if root_key is not None else None
    with progress("replaying", quiet=as_json) as advance:
        record_entries, _ = entries_of(record / "log" if (record / "log").is_dir() else record)
        report = run_again(
            decisions,
            record_entries,
            keys.aead if keys is not None else None,
            progress=lambda done: advance(done, count),
        )
    if keys is not None:
        keys.close()
    if as_json:
        print_json(
            {
                "equal": report.equal,
                "differs": [
                    {
                        "decision": one.decision,
                        "position": one.position,
                        "recorded": one.recorded,
                        "repeated": one.repeated,
                    }
                    for one in report.differs
                ],
                "sealed": report.sealed,
                "erased": report.erased,
                "outside": report.outside,
                "unreadable": [{"decision": one.decision, "why": one.why} for one in report.unreadable],
                "clean": report.clean,
            }
        )
    else:
        print_table(
            ("", "decisions"),
            [
                ("equal", report.equal),
                ("differs", len(report.differs)),
                ("sealed (no key given)", report.sealed),
                ("erased", report.erased),
                ("outside the rules", report.outside),
                ("unreadable", len(report.unreadable)),
            ],
            empty="",
        )
        from safeconduct.decision.explanation import describe  # noqa: PLC0415

        for one in report.differs:
            print_lines(f"{one.decision} at position {one.position}")
            print_lines(
                f"  recorded: {describe(one.recorded)[0]}", f"  repeated: {describe(one.repeated)[0]}"
            )
        print_lines(*(f"{one.decision}: {one.why}" for one in report.unreadable))
        print_lines(f"{len(report.differs)} differences")
    if report.differs or report.unreadable:
        raise typer.Exit(1)


def add_to(application: typer.Typer) -> None:
    """Put these commands at the root."""
    application.command("decide")(decide)
    application.command("explain")(explain)
    application.command("replay")(replay)
