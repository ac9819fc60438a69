"""How hits on lists are shown to whoever reviews them: both sides, the score and what it is made of, what was cleared."""

from __future__ import annotations

from typing import Any

from safeconduct.cli.output import print_lines, print_table

_MOST_TERMS = 5


def show_matches(found: dict[str, Any]) -> None:
    """A person's or an organisation's hits, as the API tells them."""
    screening = found.get("screening", found)
    if screening is None:
        print_lines("not screened yet")
        return
    used = ", ".join(f"{one['name']} {one['sha256'][:12]}" for one in screening["lists"]) or "no list"
    print_lines(f"{screening['result']}: {len(found['open_hits'])} open hits against {used}")
    print_lines(*(f"not clear, because {reason}" for reason in screening["reasons"]))
    if screening.get("same_data") is False:
        print_lines("the person's data changed after this: screen again")
    for one in found["open_hits"]:
        hit = one["hit"]
        print_lines(
            "",
            f"{hit['list']} {hit['entry']}: {hit['score']:.4f}, {hit['band']}",
            f"  ours    {one['asked']}",
            f"  listed  {hit['name']}; born {', '.join(one['born']) or '?'}; {', '.join(one['countries']) or 'no country'};"
            f" {', '.join(hit.get('programmes', ())) or 'no programme'}",
        )
        why = hit.get("explanation")
        if why:
            print_lines(
                *(
                    f"  {term['effect']:8.4f}  {term['feature']}: {term['query']!r} against {term['entry']!r}"
                    for term in why["terms"][:_MOST_TERMS]
                ),
                *(
                    f"  {shift['amount']:+8.4f}  {shift['fact']}: {shift['query']} against {shift['entry']}"
                    for shift in why["shifts"]
                ),
            )
    if found["cleared"]:
        print_lines("", "cleared:")
        print_table(
            ("list", "entry", "score", "by", "at", "because"),
            [
                (
                    one["list"],
                    one["entry"],
                    f"{one['score']:.4f}",
                    one["by"][:12],
                    str(one["at"]),
                    one["rationale"],
                )
                for one in found["cleared"]
            ],
            empty="",
        )
    print_lines("", f"scored by {screening['scorer']}, weights {screening['weights'][:12]}")
