"""An explanation as a picture: SVG of its own making, the same bytes for the same explanation.

Owns the layout: the organisation below, its owners in rows above it, nearest first. Meaning is never in colour alone: every
box says its outcome. Refuses anything active: no script, no reference to another file, all text escaped.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from xml.sax.saxutils import escape

import msgspec

from safeconduct.identity.ownership.edge import EdgeKind
from safeconduct.identity.ownership.explanation import Explanation, Held, as_text
from safeconduct.identity.ownership.regime import Outcome

MOST_BOXES: Final = 60
_WIDTH, _HEIGHT, _ACROSS, _DOWN, _MARGIN = 240, 74, 40, 96, 24
_HEAD: Final = 64
_LONGEST: Final = 30
_WORDS: Final = {
    EdgeKind.EQUITY: "equity",
    EdgeKind.VOTES: "votes",
    EdgeKind.BOARD: "board",
    EdgeKind.JOINT_ARRANGEMENT: "joint",
    EdgeKind.CONTROL: "control",
}
# Contrast of text on its ground is at least 4.5 to 1 in both schemes (WCAG 2.2, 1.4.3).
_STYLE: Final = """
svg{color-scheme:light dark;--ground:#fff;--ink:#1b1b1f;--line:#5b5b66;--blocked:#fde2e1;--unknown:#fff1cc;--clear:#e9eef5}
@media (prefers-color-scheme:dark){svg{--ground:#16171b;--ink:#f2f2f5;--line:#a6a6b3;--blocked:#5a1d1b;--unknown:#4d3b08;--clear:#26303d}}
.ground{fill:var(--ground)}text{fill:var(--ink);font:13px system-ui,sans-serif}.strong{font-weight:600}
rect.box{stroke:var(--line);stroke-width:1.5}.blocked{fill:var(--blocked)}.unknown{fill:var(--unknown)}.clear{fill:var(--clear)}
rect.blocked{stroke-width:3}rect.unknown{stroke-dasharray:6 3}
path{stroke:var(--line);stroke-width:1.5;fill:none}path.tip{fill:var(--line)}rect.label{fill:var(--ground)}
"""


class _Box(msgspec.Struct, frozen=True):
    name: str
    outcome: Outcome
    mark: str
    row: int
    column: int


def _clean(text: str) -> str:
    # Characters that XML 1.0 does not allow (2.2), and those that turn the direction of text, become visible.
    return "".join(one if one.isprintable() and one not in "\u200e\u200f\u061c" else "\ufffd" for one in text)


def _text(text: str) -> str:
    return escape(_clean(text), {'"': "&quot;"})


def _short(text: str) -> str:
    text = _clean(text)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 9]}\u2026{text[-8:]}"


def _boxes(explanation: Explanation) -> dict[str, _Box]:
    root = explanation.organisation
    own = ", ".join(sorted({one.list for one in explanation.designations}))
    boxes = {root: _Box(root, explanation.outcome, own, 0, 0)}
    columns = [1]
    for held in explanation.held:
        if held.owner in boxes or held.owned not in boxes or len(boxes) >= MOST_BOXES:
            continue
        row = boxes[held.owned].row + 1
        if row == len(columns):
            columns.append(0)
        mark = ", ".join(sorted({one.list for one in held.designations}))
        boxes[held.owner] = _Box(held.owner, held.outcome, mark, row, columns[row])
        columns[row] += 1
    return boxes


def as_picture(explanation: Explanation, names: Mapping[str, str] | None = None) -> str:
    """The explanation as SVG. names: what to write for a node instead of its id."""
    names = names or {}
    boxes = _boxes(explanation)
    rows = max(box.row for box in boxes.values())
    widest = [sum(box.row == row for box in boxes.values()) for row in range(rows + 1)]
    across = max(widest)
    width = max(across * (_WIDTH + _ACROSS) - _ACROSS, 560) + 2 * _MARGIN
    height = _HEAD + (rows + 1) * (_HEIGHT + _DOWN) - _DOWN + 2 * _MARGIN

    def corner(box: _Box) -> tuple[int, int]:
        row_width = widest[box.row] * (_WIDTH + _ACROSS) - _ACROSS
        return (
            (width - row_width) // 2 + box.column * (_WIDTH + _ACROSS),
            _HEAD + _MARGIN + (rows - box.row) * (_HEIGHT + _DOWN),
        )

    def named(node: str) -> str:
        return names.get(node, node)

    title = (
        f"{named(explanation.organisation)}: {explanation.outcome.value} under {explanation.regime} "
        f"on {explanation.on}"
    )
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-labelledby="title desc">',
        f'<title id="title">{_text(title)}</title>',
        # The whole explanation in words, for those who cannot see the picture.
        f'<desc id="desc">{" ".join(_text(line.strip()) for line in as_text(explanation).splitlines())}</desc>',
        f"<style>{_STYLE}</style>",
        f'<rect class="ground" width="{width}" height="{height}"/>',
        f'<text class="strong" x="{_MARGIN}" y="{_MARGIN + 6}">{_text(title)}</text>',
    ]
    rule = f"version {explanation.version}, {explanation.status}"
    sums = [
        f"{one.limb} {one.share} ({one.asked} is caught)"
        for one in explanation.sums
        if one.caught is not Outcome.CLEAR
    ]
    out.append(f'<text x="{_MARGIN}" y="{_MARGIN + 28}">{_text("; ".join([rule, *sums[:2]]))}</text>')
    shown = [held for held in explanation.held if held.owner in boxes and held.owned in boxes]
    lines: dict[tuple[str, str], list[Held]] = {}
    for held in shown:
        lines.setdefault((held.owner, held.owned), []).append(held)
    labels: list[str] = []
    for (owner, owned), several in lines.items():
        path, label = _line(corner(boxes[owner]), corner(boxes[owned]), several)
        out.append(path)
        labels.append(label)
    out += labels
    for box in boxes.values():
        left, top = corner(box)
        mark = f"on {box.mark}" if box.mark else ""
        out.append(
            f"<g><title>{_text(named(box.name))} ({_text(box.name)})</title>"
            f'<rect class="box {box.outcome.value}" x="{left}" y="{top}" width="{_WIDTH}" height="{_HEIGHT}" rx="6"/>'
            f'<text class="strong" x="{left + 12}" y="{top + 24}">{_text(_short(named(box.name)))}</text>'
            f'<text x="{left + 12}" y="{top + 44}">{box.outcome.value.upper()}</text>'
            f'<text x="{left + 12}" y="{top + 63}">{_text(_short(mark))}</text></g>'
        )
    out.append("</svg>\n")
    return "\n".join(out)


def _line(start: tuple[int, int], end: tuple[int, int], several: list[Held]) -> tuple[str, str]:
    """An arrow from an owner's box to what it owns, and its label."""
    x1, x2 = start[0] + _WIDTH // 2, end[0] + _WIDTH // 2
    if start[1] < end[1]:
        y1, y2, bend = start[1] + _HEIGHT, end[1] - 8, 0
    elif start[1] == end[1]:
        # Beside each other, or itself: below both.
        y1, y2, bend = start[1] + _HEIGHT, end[1] + _HEIGHT + 8, 60
    else:
        y1, y2, bend = start[1], end[1] + _HEIGHT + 8, 0
        x1, x2 = x1 + 40, x2 + 40
    up = -1 if y2 < y1 and not bend else 1
    if bend:
        drawn = f"M{x1} {y1}C{x1} {y1 + bend} {x2} {y2 + bend} {x2} {y2}"
        tip = f"M{x2} {y2 - 8}l5 9h-10z"
        middle = ((x1 + x2) // 2, y1 + bend * 3 // 4)
    else:
        drawn = f"M{x1} {y1}C{x1} {y1 + up * 40} {x2} {y2 - up * 40} {x2} {y2}"
        tip = f"M{x2} {y2 + up * 8}l5 {-up * 9}h-10z"
        # Nearer to the owner, where fewer lines meet.
        middle = ((3 * x1 + x2) // 4, (3 * y1 + y2) // 4 + up * 6)
    words = " + ".join(f"{one.share} {_WORDS[one.kind]}" for one in several)
    size = 7 * len(words) + 10
    label = (
        f'<rect class="label" x="{middle[0] - size // 2}" y="{middle[1] - 12}" width="{size}" height="18"/>'
        f'<text x="{middle[0]}" y="{middle[1] + 2}" text-anchor="middle">{_text(words)}</text>'
    )
    return f'<path d="{drawn}"/><path class="tip" d="{tip}"/>', label
