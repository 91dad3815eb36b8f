"""An episode on the host's disk: whether it is whole, and what a PUT of it says."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from cis490_receiver import protocol
from cis490_receiver.errors import BadArchive, BadEpisodeName

#: meta.json's names to the headers that carry them.
_STAMPS: Final = {
    "schema_version": protocol.HEADER_SCHEMA_VERSION,
    "code_commit": protocol.HEADER_CODE_COMMIT,
    "episode_type": protocol.HEADER_EPISODE_TYPE,
    "benign_profile": protocol.HEADER_BENIGN_PROFILE,
}


class Unfinished(BadArchive):
    """The file ends within a zstd frame: it is being written, or its writer died."""

    code = "unfinished"


@dataclass(frozen=True, slots=True)
class Described:
    """What a PUT of a file says.

    Attributes:
        url_path: where it goes.
        sha256: its digest.
        headers: the digest and what its own meta.json says of it.
    """

    url_path: str
    sha256: str
    headers: dict[str, str]


def describe(path: Path, host_id: str) -> Described:
    """Read the file `path` through, once, and its ``meta.json``.

    Raises:
        BadEpisodeName: its name is none for an episode.
        OSError: it cannot be read.
    """
    episode_id = path.name.removesuffix(protocol.EPISODE_SUFFIX)
    if episode_id == path.name or not protocol.is_valid_id(episode_id):
        raise BadEpisodeName(
            f"{path.name} is no name of an episode: 1 to 128 of A-Z a-z 0-9 . _ -, then {protocol.EPISODE_SUFFIX}"
        )
    with open(path, "rb") as stream:
        sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    headers = {protocol.HEADER_SHA256: sha256} | stamps(path)
    return Described(protocol.episode_path(host_id, episode_id), sha256, headers)


def stamps(path: Path) -> dict[str, str]:
    """The headers that say what ``meta.json`` in the tarball says; none where it cannot be read. Whether that is
    enough is the receiver's to say."""
    from cis490_receiver import archive

    try:
        with open(path, "rb") as stream:
            meta = archive.read_meta(stream)
    except archive.ArchiveError:
        return {}
    named = {header: _as_header(meta.get(name)) for name, header in _STAMPS.items()}
    return {header: value for header, value in named.items() if value}


def _as_header(value: Any) -> str:
    """`value` where a header can carry it; else nothing."""
    text = value.strip() if isinstance(value, str) else str(value) if type(value) is int else ""
    return text if len(text) <= 200 and text.isascii() and text.isprintable() else ""


def check_whole(path: Path) -> None:
    """See that the file ends where its last zstd frame does, by walking over the blocks, without decoding them.

    Raises:
        Unfinished: it ends before.
        BadArchive: it is no zstd file.
        OSError: it cannot be read.
    """
    from cis490_receiver import archive

    try:
        with open(path, "rb") as stream:
            archive.check_frames(stream)
    except archive.CutShort as exc:
        raise Unfinished(str(exc)) from None
    except archive.ArchiveError as exc:
        raise BadArchive(str(exc)) from None
