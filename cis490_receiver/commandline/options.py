"""What the commands of either end have in common in their options and their help."""

from __future__ import annotations

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")

quiet_option = click.option("--quiet", is_flag=True, help="Do not tell of progress.")


def example(line: str) -> str:
    """The end of a command's help, which shows `line` as it is typed."""
    return f"\b\nExample:\n  {line}"
