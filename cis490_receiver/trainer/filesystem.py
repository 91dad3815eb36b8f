"""The files in a dataset's episodes as a file system of fsspec, ``cis490://HOST/EPISODE/FILE`` (extra ``fsspec``).

>>> pandas.read_json("cis490://lab-1/run-7/telemetry.jsonl", lines=True,
...                  storage_options={"source": "https://receiver.lab", "token": token})
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import PurePosixPath
from typing import IO, Any, Final

from fsspec.spec import AbstractFileSystem

from cis490_receiver.trainer.dataset import Dataset
from cis490_receiver.trainer.episode import Episode

#: Larger files are put on the disk while they are open.
_IN_MEMORY_BYTES: Final = 64 << 20


class EpisodeFileSystem(AbstractFileSystem):
    """Folders are hosts and, in them, episodes; files are the files in these. To be read only.

    `source`, `token` and all other options are those of `Dataset`. What there is, is settled when the file system is
    made; `invalidate_cache` looks anew.
    """

    protocol = "cis490"

    def __init__(self, source: str, token: Any = None, release: str | None = None, **options: Any) -> None:
        """See `Dataset`."""
        super().__init__()
        self._dataset = Dataset(source, token, release, **options)
        self._episodes: dict[str, dict[str, Episode]] = {}

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look anew at what there is."""
        self._dataset.refresh()
        self._episodes = {}

    def ls(self, path: str, detail: bool = True, **_: Any) -> list[Any]:
        """What is in the folder `path`; see fsspec."""
        found = self._list(self._strip_protocol(path))
        return found if detail else [item["name"] for item in found]

    def _open(self, path: str, mode: str = "rb", **_: Any) -> IO[bytes]:
        if mode != "rb":
            raise NotImplementedError("episodes are never changed")
        host, name, member = _parts(path)
        if not member:
            raise IsADirectoryError(path)
        copy: IO[bytes] = tempfile.SpooledTemporaryFile(_IN_MEMORY_BYTES)  # noqa: SIM115 - given to the caller
        try:
            with self._episode(host, name, path).open(member) as stream:
                shutil.copyfileobj(stream, copy)
        except KeyError:
            raise FileNotFoundError(path) from None
        copy.seek(0)
        return copy

    def _list(self, path: str) -> list[dict[str, Any]]:
        host, name, member = _parts(path)
        if not host:
            return [_folder(item) for item in self._hosts()]
        if not name:
            if host not in self._hosts():
                raise FileNotFoundError(path)
            return [_folder(f"{host}/{item}") for item in self._hosts()[host]]
        files: list[dict[str, Any]] = [
            {"name": f"{host}/{name}/{item.name.removeprefix('./')}", "size": item.size_bytes, "type": "file"}
            for item in self._episode(host, name, path).members()
            if item.kind == "file"
        ]
        if not member:
            return files
        found = [item for item in files if item["name"] == path or item["name"].startswith(f"{path}/")]
        if not found:
            raise FileNotFoundError(path)
        return found

    def _episode(self, host: str, name: str, path: str) -> Episode:
        try:
            return self._hosts()[host][name]
        except KeyError:
            raise FileNotFoundError(path) from None

    def _hosts(self) -> dict[str, dict[str, Episode]]:
        if not self._episodes:
            for episode in self._dataset[:]:
                self._episodes.setdefault(episode.host_id, {})[episode.episode_id] = episode
        return self._episodes


def _parts(path: str) -> tuple[str, str, str]:
    """Host, episode and file; what is missing is empty."""
    parts = [part for part in PurePosixPath(path).parts if part != "/"]
    return (*parts[:2], *[""] * (2 - len(parts)), "/".join(parts[2:]))  # type: ignore[return-value]


def _folder(name: str) -> dict[str, Any]:
    return {"name": name, "size": 0, "type": "directory"}
