"""What a reader of our documents has before their eyes: sections, commands, the table of step 1."""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.support.receiver import ROOT


def section(text: str, heading: str) -> str:
    """What stands under the second-level heading that begins with `heading`."""
    found = re.search(rf"^## {re.escape(heading)}.*?\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert found is not None, f"no section {heading!r}"
    return found[1]


def commands(text: str) -> list[str]:
    """The shell blocks, in order."""
    return re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Row:
    """A row of the table: patterns of a line, and what it is then."""

    patterns: tuple[re.Pattern[str], ...]
    verdict: str

    @property
    def branch(self) -> str:
        """The letter of the branch that the row points to, "fine", or "elsewhere"."""
        if found := re.match(r"\[([A-F])\]\(#", self.verdict):
            return found[1]
        return "fine" if self.verdict.startswith("nothing is wrong") else "elsewhere"


class Guide:
    """FIXYOURSELF.md, read as it tells its reader to."""

    def __init__(self) -> None:
        self.text = (ROOT / "FIXYOURSELF.md").read_text()
        first = section(self.text, "1. ")
        self.recognise_commands = "".join(commands(first))
        self.check_commands = "".join(commands(section(self.text, "2. ")))
        cells = re.findall(r"^\| (`.*?) \| (.*) \|$", first, re.MULTILINE)
        self.rows = [
            Row(tuple(_pattern(code) for code in re.findall(r"`([^`]+)`", seen)), verdict)
            for seen, verdict in cells
        ]

    def branch_commands(self, letter: str) -> str:
        """What branch `letter` says to run."""
        return "".join(commands(section(self.text, f"{letter}. ")))

    def recognise(self, output: str) -> str:
        """The branch of the first row of the table that fits what the commands printed."""
        lines = [line.strip() for line in output.splitlines()]
        for row in self.rows:
            if any(pattern.fullmatch(line) for pattern in row.patterns for line in lines):
                return row.branch
        raise AssertionError(f"no row fits:\n{output}")


def _pattern(code: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in code.split("…")))
