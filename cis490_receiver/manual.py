"""Manual pages and shell completions of our programs, made from what click knows of them.

``python -m cis490_receiver.manual FOLDER`` writes them as they lie below a share folder: bin/install-receiver and
bin/install-lab-host run it for each release and link to what it made.
"""

from __future__ import annotations

import datetime as dt
import gzip
import inspect
import os
import re
import sys
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import Final

import click
from click.shell_completion import get_completion_class

_DISTRIBUTION: Final = "cis490-receiver"
#: Where each shell looks, below a share folder.
_COMPLETIONS: Final = {
    "bash": "bash-completion/completions/{}",
    "zsh": "zsh/site-functions/_{}",
    "fish": "fish/vendor_completions.d/{}.fish",
}


def main() -> None:
    """Write everything below the folder that the first argument names."""
    share = Path(sys.argv[1])
    for entry in distribution(_DISTRIBUTION).entry_points.select(group="console_scripts"):
        program = entry.load()
        for name, page in pages(program, entry.name):
            # No time in it: the same page is the same bytes.
            _write(share / "man" / "man1" / f"{name}.1.gz", gzip.compress(page.encode(), mtime=0))
        for shell, place in _COMPLETIONS.items():
            _write(share / place.format(entry.name), completion(program, entry.name, shell).encode())


def completion(program: click.Command, name: str, shell: str) -> str:
    """The script by which `shell` completes what follows `name`."""
    variable = f"_{name}_COMPLETE".replace("-", "_").upper()
    kind = get_completion_class(shell)
    assert kind is not None
    return kind(program, {}, name, variable).source()


def pages(program: click.Command, name: str) -> Iterator[tuple[str, str]]:
    """Each manual page of a program, its commands' among them: the name, and the page as man(7) has it."""
    yield from _pages(program, _context(program, name, None))


def _context(command: click.Command, name: str, parent: click.Context | None) -> click.Context:
    return click.Context(command, info_name=name, parent=parent, **command.context_settings)


def _pages(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    yield _page_name(context), "\n".join(_page(command, context)) + "\n"
    for name, below in _below(command, context):
        yield from _pages(below, _context(below, name, context))


def _below(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield name, below


def _page_name(context: click.Context) -> str:
    return context.command_path.replace(" ", "-")


def _page(command: click.Command, context: click.Context) -> Iterator[str]:
    name = _page_name(context)
    version = distribution(_DISTRIBUTION).version
    yield f'.TH {_escaped(name.upper())} 1 {_date()} "{_DISTRIBUTION} {version}" "User Commands"'
    yield from (".SH NAME", rf"{_escaped(name)} \- {_escaped(_summary(command))}")
    yield from (".SH SYNOPSIS", rf"\fB{_escaped(context.command_path)}\fR", ".RI " + _usage(command, context))
    yield ".SH DESCRIPTION"
    yield from _text(command.help or "")
    yield ".SH OPTIONS"
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record and record[1]:
            yield from (".TP", rf"\fB{_escaped(record[0])}\fR", _escaped(record[1]))
    below = dict(_below(command, context))
    if below:
        yield ".SH COMMANDS"
    for word, one in below.items():
        yield from (".TP", rf"\fB{_escaped(word)}\fR", _escaped(_summary(one)))
    if command.epilog:
        heading, *lines = inspect.cleandoc(command.epilog.replace("\b", "")).splitlines()
        yield from (
            f".SH {heading.rstrip(':').upper()}",
            ".EX",
            *(_escaped(line.strip()) for line in lines),
            ".EE",
        )
    related = [f"{name}-{word}" for word in below]
    if context.parent is not None:
        related.insert(0, _page_name(context.parent))
    if related:
        yield ".SH SEE ALSO"
        yield ",\n".join(rf"\fB{_escaped(page)}\fR(1)" for page in related)


def _usage(command: click.Command, context: click.Context) -> str:
    pieces = command.collect_usage_pieces(context)
    return '"' + _escaped(" ".join(pieces)).replace('"', r"\(dq") + '"'


def _summary(command: click.Command) -> str:
    text = command.get_short_help_str(limit=200).rstrip(".")
    return text[:1].lower() + text[1:]


def _text(text: str) -> Iterator[str]:
    """Paragraphs; those that click leaves as they are stay so."""
    for number, paragraph in enumerate(re.split(r"\n\s*\n", inspect.cleandoc(text).partition("\f")[0])):
        lines = paragraph.splitlines()
        if number:
            yield ".PP"
        if lines and lines[0].strip() == "\b":
            yield from (".EX", *map(_escaped, lines[1:]), ".EE")
        else:
            yield _escaped(" ".join(line.strip() for line in lines))


def _escaped(text: str) -> str:
    """Text that means itself in roff (groff_man(7))."""
    text = text.replace("\\", r"\e").replace("-", r"\-").replace("'", r"\(aq").replace("`", r"\(ga")
    return rf"\&{text}" if text.startswith(".") else text


def _date() -> str:
    """Today, or what SOURCE_DATE_EPOCH says."""
    seconds = os.environ.get("SOURCE_DATE_EPOCH")
    moment = dt.datetime.fromtimestamp(int(seconds), dt.UTC) if seconds else dt.datetime.now(dt.UTC)
    return moment.strftime("%Y-%m-%d")


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    main()
