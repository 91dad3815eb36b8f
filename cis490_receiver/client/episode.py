"""An episode on the host's disk: its name, and what a PUT of it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.errors import BadEpisodeName
from cis490_receiver.stamps import DECLARED, Declaration

RENAME: Final = "give the file a name of that kind: it becomes the episode's id"


@dataclass(frozen=True, slots=True)
class Described:
    """What a PUT of a file says.

    Attributes:
        url_path: where it goes.
        sha256: its digest.
        headers: the digest and what its own meta.json says of it.
        notes: what a reader of the index will miss, and why: sentences for a person.
    """

    url_path: str
    sha256: str
    headers: dict[str, str]
    notes: tuple[str, ...] = ()


def url_path(path: Path, host_id: str) -> str:
    """Where the file `path` goes.

    Raises:
        BadEpisodeName: its name is none for an episode.
    """
    episode_id = path.name.removesuffix(protocol.EPISODE_SUFFIX)
    if episode_id == path.name or not protocol.is_valid_id(episode_id):
        raise BadEpisodeName(
            f"{i_json.readable(path.name)} is no name of an episode: 1 to 128 of A-Z a-z 0-9 . _ -, then "
            f"{protocol.EPISODE_SUFFIX}"
        )
    return protocol.episode_path(host_id, episode_id)


def stamps(meta: dict[str, Any]) -> dict[str, str]:
    """The headers that say what a ``meta.json`` says. Whether that is enough is the receiver's to say."""
    named = {declared.header: _as_header(meta.get(declared.name)) for declared in DECLARED}
    return {header: value for header, value in named.items() if value}


def _as_header(value: Any) -> str:
    """`value` where a header can carry it; else nothing."""
    text = value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
    return text if len(text) <= 200 and text.isascii() and text.isprintable() else ""


def shortcomings(meta: dict[str, Any]) -> Iterator[str]:
    """What the index will not say of an episode with this ``meta.json``, and why."""
    missing = [
        declared.name for declared in DECLARED if declared.expected and meta.get(declared.name) is None
    ]
    if missing:
        yield f"meta.json has no {', '.join(missing)}"
    for declared in DECLARED:
        value = meta.get(declared.name)
        if value is not None and not _is_taken(declared, value):
            yield f"{declared.name} in meta.json is {_shown(value)} and not {declared.grammar.text}"


def _is_taken(declared: Declaration, value: Any) -> bool:
    try:
        declared.grammar.parse(_as_header(value))
    except ValueError:
        return False
    return True


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
