"""Charts as inline SVG (SVG 1.1), made on the server.

Pure functions from numbers to markup. None of it has an inline style, which the pages' Content-Security-Policy forbids:
classes name what a mark is, and the style sheet gives it its colour. Every chart is one image to a screen reader
(``role="img"``) with the text of its ``<title>``. No meaning is in a colour alone: the length, the size or the
pattern of a mark says the same.

A chart is one path for each kind of mark, not an element for each value, so that 200 of them fit a page.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from markupsafe import Markup, escape

#: How many series a stacked chart tells apart, each by a colour and a pattern of its own.
SERIES: Final = 3
#: How many sizes and shades a heat map has for what is more than nothing.
LEVELS: Final = 5

_SPARK_STEP: Final = 4
_SPARK_HEIGHT: Final = 20
_BAR_LENGTH: Final = 200
_BAR_HEIGHT: Final = 10
_COLUMN_WIDTH: Final = 10
_COLUMN_GAP: Final = 2
_COLUMN_HEIGHT: Final = 120
_CELL: Final = 12


def sparkline(values: Sequence[float], label: str, *, top: float | None = None) -> Markup:
    """A small picture of how `values` go, oldest first: a filled staircase above a line at nothing.

    `label` says what it shows, with the figures that matter. `top` has the full height, the largest value where it is
    None; give it where several are to be compared.
    """
    heights = _scaled(values, top, _SPARK_HEIGHT - 1)
    width, floor = _SPARK_STEP * len(heights), _SPARK_HEIGHT
    path, level, run = [f"M0 {floor}"], 0, 0
    for height in heights:
        if height != level:
            path.append(f"{_run(run)}v{level - height}")
            level, run = height, 0
        run += _SPARK_STEP
    path.append(f"{_run(run)}v{level}H0" if level else "H0")
    return _svg("sparkline", width, floor, label, _path("mark", "".join(path) + "z"))


def bar(value: float, top: float, label: str) -> Markup:
    """A horizontal bar: `value` of at most `top`."""
    (length,) = _scaled([value], top, _BAR_LENGTH)
    return _svg("bar", _BAR_LENGTH, _BAR_HEIGHT, label, _boxes("mark", [(0, 0, length, _BAR_HEIGHT)]))


def stacked_bar(parts: Sequence[float], label: str, *, top: float | None = None) -> Markup:
    """A horizontal bar of at most `SERIES` parts, the first at its left. The sum `top` has the full length; that of
    `parts` where it is None."""
    ends = _scaled_ends(parts, sum(parts) if top is None else top, _BAR_LENGTH)
    marks = [
        _boxes(_series(number), [(start, 0, end - start, _BAR_HEIGHT)])
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False))
    ]
    return _svg("stacked-bar", _BAR_LENGTH, _BAR_HEIGHT, label, *marks)


def stacked_columns(columns: Sequence[Sequence[float]], label: str, *, top: float | None = None) -> Markup:
    """A column for each of `columns`, of at most `SERIES` parts, the first at its foot. The sum `top` has
    the full height; the largest one where it is None."""
    highest = max(map(sum, columns), default=0) if top is None else top
    boxes: list[list[tuple[int, int, int, int]]] = [[] for _ in range(SERIES)]
    for place, parts in enumerate(columns):
        left = place * (_COLUMN_WIDTH + _COLUMN_GAP)
        ends = _scaled_ends(parts, highest, _COLUMN_HEIGHT)
        for number, (start, end) in enumerate(zip([0, *ends], ends, strict=False)):
            boxes[number].append((left, _COLUMN_HEIGHT - end, _COLUMN_WIDTH, end - start))
    width = max(1, len(columns)) * (_COLUMN_WIDTH + _COLUMN_GAP) - _COLUMN_GAP
    marks = [_boxes(_series(number), of_series) for number, of_series in enumerate(boxes)]
    return _svg("columns", width, _COLUMN_HEIGHT, label, *marks, stretched=True)


def heat_map(rows: Sequence[Sequence[float]], label: str, *, top: float | None = None) -> Markup:
    """A square for each value, the darker and the larger the more it is; a dot where there is nothing. `top` is of the
    last level; the largest value where it is None."""
    highest = max((max(row, default=0) for row in rows), default=0) if top is None else top
    paths: list[list[str]] = [[] for _ in range(LEVELS + 1)]
    for down, row in enumerate(rows):
        for across, level in enumerate(_scaled(row, highest, LEVELS)):
            size = cell_size(level)
            left, middle = across * _CELL + (_CELL - size) // 2, down * _CELL + _CELL // 2
            paths[level].append(f"M{left} {middle}h{size}")
    marks = [
        Markup('<path class="level-{}" stroke-width="{}" d="{}"/>').format(
            level, cell_size(level), "".join(path)
        )
        for level, path in enumerate(paths)
        if path
    ]
    width, height = max(1, *map(len, rows), 1) * _CELL, max(1, len(rows)) * _CELL
    return _svg("heat", width, height, label, *marks)


def patterns() -> Markup:
    """The patterns that tell the series of a stacked chart apart. To be once in each page that has one."""
    lines = ("", "M-1 1l2-2M0 6l6-6M5 7l2-2", "M0 3h6")
    pattern = Markup(
        '<pattern id="series-{0}" patternUnits="userSpaceOnUse" width="6" height="6">'
        '<rect class="ground-{0}" width="6" height="6"/><path class="texture" d="{1}"/></pattern>'
    )
    found = Markup("").join(pattern.format(number, line) for number, line in enumerate(lines, 1))
    return Markup('<svg class="patterns" width="0" height="0" aria-hidden="true">{}</svg>').format(found)


def swatch(number: int) -> Markup:
    """The key to series `number` of a stacked chart, from 0, beside its name."""
    box = _boxes(_series(number), [(0, 0, _CELL, _CELL)])
    return Markup('<svg class="swatch" width="12" height="12" aria-hidden="true">{}</svg>').format(box)


def cell_size(level: int) -> int:
    """The side of a heat map's square of `level`, 0 to `LEVELS`."""
    return 2 + level * 2 - (level == LEVELS)


def _scaled(values: Sequence[float], top: float | None, size: int) -> list[int]:
    """`values` as whole lengths of at most `size`. What is more than nothing is at least 1."""
    highest = max([*values, 0]) if top is None else top
    return [_length(value, highest, size) for value in values]


def _length(value: float, highest: float, size: int) -> int:
    if value <= 0 or highest <= 0:
        return 0
    return max(1, round(min(value / highest, 1) * size))


def _scaled_ends(parts: Sequence[float], highest: float, size: int) -> list[int]:
    """Where each of `parts` ends when they are put behind one another, so that no rounding adds up."""
    if len(parts) > SERIES:
        raise ValueError(f"more than {SERIES} series cannot be told apart")
    ends, total = [], 0.0
    for part in parts:
        total += max(part, 0)
        ends.append(_length(total, highest, size))
    return ends


def _run(length: int) -> str:
    return f"h{length}" if length else ""


def _series(number: int) -> str:
    return f"series-{number + 1}"


def _boxes(name: str, boxes: Sequence[tuple[int, int, int, int]]) -> Markup:
    """Boxes (left, top, width, height) as one path; a series has the pattern of its name."""
    path = "".join(f"M{x} {y}h{wide}v{high}h-{wide}z" for x, y, wide, high in boxes if wide and high)
    if not path:
        return Markup("")
    return _path(name, path)


def _path(name: str, path: str) -> Markup:
    # Our own words; escaping them would cost half of a page with 200 charts.
    fill = f' fill="url(#{name})"' if name.startswith("series-") else ""
    return Markup(f'<path class="{name}"{fill} d="{path}"/>')  # noqa: S704


def _svg(name: str, width: int, height: int, label: str, *marks: Markup, stretched: bool = False) -> Markup:
    aspect = ' preserveAspectRatio="none"' if stretched else ""
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"{aspect}'
    inner = f"<title>{escape(label)}</title>{''.join(marks)}"
    return Markup(f'<svg class="chart {name}" role="img" {size}>{inner}</svg>')  # noqa: S704
