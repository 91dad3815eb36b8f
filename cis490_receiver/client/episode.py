"""An episode on the host's disk: its name, and what a PUT of it says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json, protocol
from cis490_receiver.errors import BadEpisodeName

#: meta.json's names to the headers that carry them.
_STAMPS: Final = {
    "schema_version": protocol.HEADER_SCHEMA_VERSION,
    "code_commit": protocol.HEADER_CODE_COMMIT,
    "episode_type": protocol.HEADER_EPISODE_TYPE,
    "benign_profile": protocol.HEADER_BENIGN_PROFILE,
}
RENAME: Final = "give the file a name of that kind: it becomes the episode's id"
_WORDS: Final = {"episode_type": protocol.EPISODE_TYPES, "benign_profile": protocol.BENIGN_PROFILES}


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
    named = {header: _as_header(meta.get(name)) for name, header in _STAMPS.items()}
    return {header: value for header, value in named.items() if value}


def _as_header(value: Any) -> str:
    """`value` where a header can carry it; else nothing."""
    text = value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
    return text if len(text) <= 200 and text.isascii() and text.isprintable() else ""


def shortcomings(meta: dict[str, Any]) -> Iterator[str]:
    """What the index will not say of an episode with this ``meta.json``, and why."""
    missing = [name for name in ("schema_version", "code_commit", "episode_type") if meta.get(name) is None]
    if missing:
        yield f"meta.json has no {', '.join(missing)}"
    commit = meta.get("code_commit")
    if commit is not None and not protocol.is_commit(_as_header(commit).lower()):
        yield f"code_commit in meta.json is {_shown(commit)} and not the 40 hex digits of a commit"
    for name, words in _WORDS.items():
        value = meta.get(name)
        if value is not None and _as_header(value).lower() not in words:
            yield f"{name} in meta.json is {_shown(value)} and none of {', '.join(sorted(words))}"


def _shown(value: Any) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
