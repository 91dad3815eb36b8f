"""Charts are well-formed, say in words what they show, and tell things apart by more than colour."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest
from markupsafe import Markup

from cis490_receiver.views import charts

ODD = '</title><script>alert("1")</script>&'


@pytest.mark.parametrize(
    "draw",
    [
        lambda label: charts.sparkline([0, 3, 3, 1e9, 0], label),
        lambda label: charts.sparkline([], label),
        lambda label: charts.bar(1, 3, label),
        lambda label: charts.stacked_bar([1, 2, 3], label),
        lambda label: charts.stacked_bar([0, 0], label),
        lambda label: charts.stacked_columns([[1, 2, 3], [0, 0, 0]], label),
        lambda label: charts.stacked_columns([], label),
        lambda label: charts.heat_map([[0, 1], [2, 3]], label),
        lambda label: charts.heat_map([], label),
    ],
)
def test_a_chart_is_one_image_with_a_name_and_no_inline_style(draw: Callable[[str], Markup]) -> None:
    svg = ET.fromstring(draw(ODD))
    assert svg.tag == "svg" and svg.get("role") == "img"
    assert [element.text for element in svg.iter("title")] == [ODD]
    assert svg.find(".//script") is None
    assert not any("style" in element.attrib for element in svg.iter())
    assert min(float(number) for number in svg.get("viewBox", "").split()[2:]) >= 0


def outline(path: str) -> list[tuple[int, int]]:
    """The corners of a path of M, h, v, H and z."""
    x = y = 0
    corners = []
    for letter, numbers in re.findall(r"([MhvHz])([-0-9 ]*)", path):
        if letter == "M":
            x, y = map(int, numbers.split())
        elif letter == "H":
            x = int(numbers)
        elif letter == "h":
            x += int(numbers)
        elif letter == "v":
            y += int(numbers)
        corners.append((x, y))
    return corners


def mark(svg: Markup, name: str) -> str:
    for path in ET.fromstring(svg).iter("path"):
        if path.get("class") == name:
            return path.get("d", "")
    return ""


def test_a_sparkline_has_a_step_for_each_value_and_ends_at_nothing() -> None:
    corners = outline(mark(charts.sparkline([0, 10, 10, 5, 0, 10], "x"), "mark"))
    assert corners == [
        (0, 20), (4, 20), (4, 1), (12, 1), (12, 10), (16, 10), (16, 20), (20, 20), (20, 1), (24, 1), (24, 20),
        (0, 20), (0, 20),
    ]  # fmt: skip
    # A single episode among thousands is still to be seen.
    assert (4, 19) in outline(mark(charts.sparkline([1, 100_000], "x"), "mark"))
    assert mark(charts.sparkline([0, 0], "x"), "mark") == "M0 20H0z"


def test_two_hundred_sparklines_of_a_day_fit_a_page() -> None:
    values = [(hour * 7919) % 20 for hour in range(24)]
    assert len(charts.sparkline(values, "lab-001: 120 episodes in 24 h")) < 400


def test_stacked_parts_lie_end_to_end_and_have_a_pattern_each() -> None:
    svg = charts.stacked_columns([[1, 1, 2], [0, 0, 1]], "x")
    first, second, third = (outline(mark(svg, f"series-{number}")) for number in (1, 2, 3))
    assert first == [(0, 90), (10, 90), (10, 120), (0, 120), (0, 120)]
    assert second[0] == (0, 60) and third[0] == (0, 0)
    assert third[5:] == [(12, 90), (22, 90), (22, 120), (12, 120), (12, 120)]
    fills = {path.get("fill") for path in ET.fromstring(svg).iter("path")}
    known = {f"url(#{pattern.get('id')})" for pattern in ET.fromstring(charts.patterns()).iter("pattern")}
    assert fills == known and len(known) == charts.SERIES
    textures = [path.get("d") for path in ET.fromstring(charts.patterns()).iter("path")]
    assert len(set(textures)) == charts.SERIES
    with pytest.raises(ValueError, match="told apart"):
        charts.stacked_bar([1] * (charts.SERIES + 1), "x")


def test_a_heat_map_says_more_by_size_as_well_as_by_class() -> None:
    svg = charts.heat_map([[0, 1, 50], [100, 100, 101]], "x", top=100)
    assert mark(svg, "level-0") == "M5 6h2"
    assert mark(svg, "level-1") == "M16 6h4"
    assert mark(svg, "level-5") == "M0 18h11M12 18h11M24 18h11"
    sizes = [charts.cell_size(level) for level in range(charts.LEVELS + 1)]
    assert sizes == sorted(set(sizes)) and sizes[-1] < 12
