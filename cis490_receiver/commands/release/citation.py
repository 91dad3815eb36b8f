"""A release as an entry of a bibliography."""

from __future__ import annotations

from typing import Final

from cis490_receiver import page
from cis490_receiver.index.base.releases import Release

#: What TeX takes for something else (The TeXbook, chapter 7), as it is printed.
_PRINTED: Final = {
    **{char: f"\\{char}" for char in "#$%&_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
}


def bibtex(release: Release, public_url: str | None, institution: str | None) -> str:
    """The entry, for BibTeX and biblatex. The digest stands in its note: with the name, it proves a copy."""
    table = f"{release.name}.jsonl"
    fields = {
        "title": f"{{Malware-behaviour episodes, release {_text(release.name)}}}",
        "author": f"{{{_text(institution)}}}" if institution else None,
        "year": release.about.created_at_wall[:4],
        "url": f"{public_url.rstrip('/')}/v1/releases/{table}" if public_url else None,
        "note": _text(
            f"{release.episodes} episodes, {page.size(release.episode_bytes)}; "
            f"SHA-256 of the table of contents {table}: {release.sha256}"
        ),
    }
    lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value is not None]
    return "\n".join([f"@misc{{{release.name},", *lines, "}"])


def _text(text: str) -> str:
    return "".join(_PRINTED.get(char, char) for char in text)
