"""Ask git about a clone: no shell, a scrubbed environment, a time limit, and failures by name."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cis490_receiver.errors import ReceiverError
from cis490_receiver.policy.gate import GateCommit

#: What of the caller's environment git may see: where programs, keys and proxies are. GIT_* is not among it.
_INHERITED: Final = ("HOME", "PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy")
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
#: Nothing that a clone's own configuration names is run.
_OPTIONS: Final = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "protocol.ext.allow=never",
)
_SEPARATOR: Final = "\x1f"
READ_SECONDS: Final = 30.0
FETCH_SECONDS: Final = 120.0


class GitError(ReceiverError):
    """git could not say; what is known of the clone stands as it was."""

    code = "git-failed"


class GitConfigError(GitError):
    """Nothing but a person can mend it: the message says how."""


class GitMissing(GitConfigError):
    code = "git-missing"


class RepoMissing(GitConfigError):
    code = "repo-missing"


class RepoOwnership(GitConfigError):
    code = "repo-ownership"


class RefMissing(GitConfigError):
    code = "ref-missing"


class FetchFailed(GitError):
    code = "fetch-failed"


class GitTimeout(GitError):
    code = "git-timeout"


class GitClone:
    """A clone, ordinary or bare."""

    def __init__(self, path: Path, *, fetch_seconds: float = FETCH_SECONDS) -> None:
        self.path = path
        self._fetch_seconds = fetch_seconds

    def check(self) -> None:
        """Raises:
        GitMissing, RepoMissing, RepoOwnership: git cannot be asked about this folder.
        """
        if not self.path.is_dir():
            raise RepoMissing(
                f"gate_repo is {self.path}, which is not a folder; make the clone: "
                f"git clone --bare <url> {self.path}"
            )
        done = self._run("rev-parse", "--git-dir")
        if done.returncode == 0:
            return
        if "dubious ownership" in done.stderr:
            raise RepoOwnership(
                f"git refuses {self.path} because another user owns it; give it to the user that runs this "
                f"(chown -R), or run: git config --system --add safe.directory {self.path}"
            )
        raise RepoMissing(
            f"gate_repo is {self.path}, which is not a git repository ({_last_line(done.stderr)}); make the "
            f"clone: git clone --bare <url> {self.path}"
        )

    def fetch(self, ref: str) -> None:
        """Bring the branches up to date with the remote, force-pushed and deleted ones too.

        Raises:
            FetchFailed, GitTimeout: the remote could not be read.
        """
        remote = self._remote_of(ref)
        refspec = []
        if not self._run("config", "--get-all", f"remote.{remote}.fetch").stdout.strip():
            # A clone made by `git clone --bare` keeps the remote's branches as its own.
            refspec = ["+refs/heads/*:refs/heads/*"]
        command = ["fetch", "--quiet", "--prune", "--force", "--no-tags", remote, *refspec]
        done = self._run(*command, seconds=self._fetch_seconds)
        if done.returncode != 0:
            raise FetchFailed(f"git fetch {remote} failed: {_last_line(done.stderr)}")
        if ref.endswith("/HEAD"):
            self._run("remote", "set-head", remote, "--auto", seconds=self._fetch_seconds)

    def resolve(self, ref: str) -> str:
        """The commit that `ref` points at.

        Raises:
            RefMissing: there is no such ref.
        """
        # A bare clone has the branch `main` where an ordinary one has `origin/main`.
        for candidate in (ref, ref.partition("/")[2]):
            if candidate:
                done = self._run(
                    "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}"
                )
                if done.returncode == 0:
                    return done.stdout.strip()
        names = self._run(
            "for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads", "refs/remotes"
        )
        known = ", ".join(names.stdout.split()) or "none at all"
        raise RefMissing(f"gate_ref is {ref}, which {self.path} does not have; it has {known}")

    def log(self, commit: str, count: int) -> Sequence[GateCommit]:
        """The newest `count` commits that `commit` reaches, itself first."""
        form = _SEPARATOR.join(("%H", "%cI", "%s"))
        text = self._checked("log", f"--max-count={count}", f"--format={form}", commit, "--")
        rows = (line.split(_SEPARATOR, 2) for line in text.split("\n") if line)
        return [GateCommit(*row) for row in rows]

    def older(self, commit: str, skip: int, count: int) -> Sequence[str]:
        """The ids of the next `count` commits behind the newest `skip`."""
        return self._checked("rev-list", f"--skip={skip}", f"--max-count={count}", commit, "--").split()

    def _remote_of(self, ref: str) -> str:
        remotes = self._run("remote").stdout.split()
        prefix = ref.partition("/")[0]
        return prefix if prefix in remotes else (remotes or ["origin"])[0]

    def _checked(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise GitError(f"git {arguments[0]} failed in {self.path}: {_last_line(done.stderr)}")
        return done.stdout

    def _run(self, *arguments: str, seconds: float = READ_SECONDS) -> subprocess.CompletedProcess[str]:
        try:
            return subprocess.run(
                ["git", *_OPTIONS, "-C", str(self.path), *arguments],
                env=_environment() | {"GIT_CEILING_DIRECTORIES": str(self.path.parent)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=seconds,
                encoding="utf-8",
                errors="replace",
                check=False,
            )
        except FileNotFoundError:
            raise GitMissing("git is not installed, or not on PATH; run: apt-get install git") from None
        except subprocess.TimeoutExpired:
            raise GitTimeout(f"git {arguments[0]} took longer than {seconds:g} s in {self.path}") from None


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if os.environ.get(name)}
    return {
        "PATH": _DEFAULT_PATH,
        **inherited,
        "LC_ALL": "C",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    }


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "no message"
