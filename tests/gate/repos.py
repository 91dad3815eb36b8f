"""Real git repositories: the maintainer's, a lab host's clone, the receiver's clone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.support.receiver import BIN, clean_environment


def git_environment(home: Path) -> dict[str, str]:
    """An environment in which git knows nobody's configuration."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "CIS490_"))}
    return plain | {"HOME": str(home), "GIT_CONFIG_NOSYSTEM": "1", "XDG_CONFIG_HOME": str(home)}


class Repo:
    """A work tree or a bare repository."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def git(self, *arguments: str) -> str:
        identity = ["-c", "user.name=Ada", "-c", "user.email=ada@lab.example"]
        return subprocess.run(
            ["git", *identity, "-c", "init.defaultBranch=main", "-C", str(self.path), *arguments],
            env=git_environment(self.path.parent),
            check=True,
            capture_output=True,
            text=True,
        ).stdout.strip()

    def head(self, ref: str = "HEAD") -> str:
        return self.git("rev-parse", ref)

    def commit(self, message: str, **files: str) -> str:
        """Commit `files` (name to content; an underscore stands for the dot), and give the id."""
        for name, content in files.items():
            (self.path / name.replace("_", ".")).write_text(content)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", message)
        return self.head()


class World:
    """An upstream with some history and the maintainer's own clone of it."""

    def __init__(self, folder: Path, *, commits: int = 5) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.upstream = Repo(folder / "upstream.git")
        Repo(folder).git("init", "--quiet", "--bare", str(self.upstream.path))
        self.maintainer = self.clone("maintainer")
        self.advance(commits)

    def clone(self, name: str, *options: str) -> Repo:
        Repo(self.folder).git("clone", "--quiet", *options, str(self.upstream.path), name)
        return Repo(self.folder / name)

    def advance(self, count: int = 1) -> str:
        """The maintainer commits to main and pushes; gives the new head."""
        for _ in range(count):
            number = len(self.maintainer.git("rev-list", "--all").split()) + 1
            self.maintainer.commit(f"step {number}", recorder_py=f"STEP = {number}\n")
        self.maintainer.git("push", "--quiet", "--force", "origin", "HEAD:main")
        return self.maintainer.head()


def run_command(
    *arguments: str, environment: dict[str, str] | None = None, **settings: object
) -> subprocess.CompletedProcess[str]:
    """`cis490-receiver` with `settings` and nothing else of anybody's."""
    return subprocess.run(
        [sys.executable, "-m", "cis490_receiver", *arguments],
        env=clean_environment(**settings) | (environment or {}),
        cwd=BIN,
        capture_output=True,
        text=True,
        timeout=60,
    )
