"""Whether the promise about a new index holds in a state that a crash left."""

from __future__ import annotations

import json
from pathlib import Path

from cis490_receiver.index.generation import GENERATION_NAME, Generation
from cis490_receiver.index.renewal import SET_ASIDE_FILE
from cis490_receiver.models import Episode
from cis490_receiver.stamps import Stamps
from tests.faults.support import beside
from tests.faults.support.course import Scenario
from tests.faults.support.episodes import EpisodeInspector, stamps_of
from tests.faults.support.inspecting import Broken
from tests.faults.support.model import State
from tests.faults.support.recording import Promise, Recording


class ReindexInspector(EpisodeInspector):
    """A new index: the old or the new one whole, no line lost, and another run ends in agreement."""

    def __init__(self, what: Scenario, scratch: Path, recording: Recording) -> None:
        super().__init__(what, scratch, recording)
        start = {
            name: recording.contents[i]
            for (_, name), i in recording.entries.items()
            if i in recording.contents
        }
        old = start["index.jsonl"].split(b"\n")[:-1]
        self._stored = {name.removesuffix(".tar.zst") for name in start if name.endswith(".tar.zst")}
        #: Lines that stay, those that go, and what was set aside long ago.
        self._good = [
            line for line in old if (episode := _episode(line)) and episode.episode_id in self._stored
        ]
        self._bad = [line for line in old if line not in self._good]
        self._aside = _set_aside(start.get(SET_ASIDE_FILE, b""))
        self._real = {inode: str(number) for inode, number in recording.real.items()}
        #: How the index began in each of its generations.
        self._began: dict[str, bytes] = {}

    def _inspect(self, state: State, data: Path) -> None:
        self._check_raw(state, data)
        super()._inspect(state, data)

    def _use(self, data: Path, promised: set[Promise]) -> None:
        super()._use(data, promised)
        lines, aside = _lines(data / "index.jsonl"), _set_aside(_text(data / SET_ASIDE_FILE), healed=True)
        if wrong := [line for line in self._good if line not in lines or line in aside]:
            raise Broken(f"another run has set aside or lost {wrong[0][:60]!r}")
        if wrong := [line for line in self._bad if line in lines or line not in aside]:
            raise Broken(f"another run has not set aside {wrong[0][:60]!r}")

    def _is_told(self, episode: Episode) -> bool:
        """A line that reindex made has what meta.json says."""
        stamps = stamps_of(episode)
        of_meta = stamps == Stamps(2, stamps.code_commit, "control", "idle")
        return of_meta or super()._is_told(episode)

    def _settle(self, data: Path) -> None:
        super()._settle(data)
        beside.run_reindex(data)

    def _look(self, state: State, data: Path) -> None:
        self._check_raw(state, data)

    def _build(self, state: State) -> None:
        """A file keeps its number over a crash, and its generation is noted by that."""
        super()._build(state)
        path = self._root / "data" / GENERATION_NAME
        try:
            noted: dict[str, str] = json.loads(path.read_bytes())
        except (OSError, ValueError):
            return
        made = [number for number in noted if number not in self._real.values()]
        for name, (inode, _) in state.files.items():
            if name.startswith("data/index.jsonl"):
                for number in [self._real[inode]] if inode in self._real else made:
                    noted[str((self._root / name).stat().st_ino)] = noted.pop(number, "")
        path.write_text(json.dumps(noted).ljust(511) + "\n")

    def _check_generation(self, data: Path) -> None:
        """No follower's offset leads from one history into another."""
        journal = data / "index.jsonl"
        with journal.open("rb") as stream:
            generation = Generation(data / GENERATION_NAME).of(stream.fileno())
            first = stream.readline()
        if self._began.setdefault(generation, first) != first:
            raise Broken("the index became another one within a generation")

    def _check_raw(self, state: State, data: Path) -> None:
        """What has to hold before anything was made good."""
        self._check_generation(data)
        lines, aside = _lines(data / "index.jsonl"), _set_aside(_text(data / SET_ASIDE_FILE))
        found = {(e.host_id, e.episode_id): e for line in lines if (e := _episode(line)) is not None}
        if lost := [line for line in self._bad if line not in lines and line not in aside]:
            raise Broken(f"in neither file: {lost[0][:60]!r}")
        if lost := [line for line in self._aside if line not in aside]:
            raise Broken(f"set aside long ago, and lost: {lost[0][:60]!r}")
        if lost := [line for line in self._good if line not in lines]:
            raise Broken(f"lost from the index: {lost[0][:60]!r}")
        gone = [line for line in self._bad if line not in lines]
        if gone and (len(gone) < len(self._bad) or self._missing(found)):
            raise Broken("the index is neither the old nor the new one")
        if len(found) != len([line for line in lines if _episode(line) is not None]):
            raise Broken("an episode has two lines")
        # An append beside it may be torn, as any.
        if odd := [line for line in lines[:-1] if _episode(line) is None and line not in self._bad]:
            raise Broken(f"a line of the index is none: {odd[0][:60]!r}")
        for key, episode in found.items():
            path = data / "episodes" / key[0] / f"{key[1]}.tar.zst"
            if episode.to_line()[:-1] not in self._bad and not path.exists():
                raise Broken(f"{key} has a line and is not there")
        for promise in state.promises:
            if isinstance(promise, Promise):
                line = found.get((promise.host, promise.episode))
                if line is None or line.sha256 != promise.sha256:
                    raise Broken(f"{promise.episode} was acknowledged and is not in the index")

    def _missing(self, found: dict[tuple[str, str], Episode]) -> set[str]:
        """The episodes that were stored all the time and are not in a new index."""
        return self._stored - {episode for _, episode in found}


def _lines(path: Path) -> list[bytes]:
    """The whole lines of an index."""
    if not path.exists():
        raise Broken("there is no index")
    return path.read_bytes().split(b"\n")[:-1]


def _text(path: Path) -> bytes:
    return path.read_bytes() if path.exists() else b""


def _episode(line: bytes) -> Episode | None:
    try:
        return Episode.from_line(line)
    except ValueError:
        return None


def _set_aside(text: bytes, *, healed: bool = False) -> list[bytes]:
    """The lines that were set aside. Those of an unfinished append may be torn, until it is `healed`."""
    found = []
    for line in text.split(b"\n")[:-1]:
        try:
            found.append(str(json.loads(line)["line"]).encode())
        except ValueError:
            if healed:
                raise Broken(f"a torn line stays set aside: {line[:60]!r}") from None
    return found
