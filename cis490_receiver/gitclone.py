"""Ask git about a clone: no shell, a scrubbed environment, a time limit, and failures by name."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.errors import ReceiverError
from cis490_receiver.policy.gate import GateCommit

#: What of the caller's environment git may see: where programs, keys and proxies are. GIT_* is not among it.
_INHERITED: Final = ("HOME", "PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy")
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
#: Nothing that a clone's own configuration names is run, and nothing goes on when git has answered.
_OPTIONS: Final = (
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "protocol.ext.allow=never",
    "-c",
    "log.showSignature=false",
    "-c",
    "gc.autoDetach=false",
    "-c",
    "maintenance.autoDetach=false",
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


class RepoDamaged(GitConfigError):
    code = "repo-damaged"


class WindowEmpty(GitConfigError):
    code = "window-empty"


class RemoteMissing(GitConfigError):
    code = "remote-missing"


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
            f"gate_repo is {self.path}, which is not a git repository ({_reason(done.stderr)}); make the "
            f"clone: git clone --bare <url> {self.path}"
        )

    def fetch(self, ref: str) -> None:
        """Bring the branches up to date with the remote, force-pushed and deleted ones too.

        Raises:
            FetchFailed, GitTimeout: the remote could not be read.
            RemoteMissing: the clone has none.
        """
        remotes = self._run("remote").stdout.split()
        if not remotes:
            raise RemoteMissing(
                f"{self.path} has no remote to fetch from; run: git -C {self.path} remote add origin <url>"
            )
        prefix = ref.removeprefix("refs/remotes/").partition("/")[0]
        remote = prefix if prefix in remotes else remotes[0]
        refspec = []
        if not self._refspecs(remote):
            # `git clone --bare` configures none and keeps the remote's branches as its own.
            bare = self._run("rev-parse", "--is-bare-repository").stdout.strip() == "true"
            refspec = ["+refs/heads/*:refs/heads/*" if bare else f"+refs/heads/*:refs/remotes/{remote}/*"]
        command = ["fetch", "--quiet", "--prune", "--force", "--no-tags", remote, *refspec]
        done = self._run(*command, seconds=self._fetch_seconds)
        if done.returncode != 0:
            raise FetchFailed(f"git fetch {remote} failed: {_reason(done.stderr)}")
        if ref.endswith("HEAD"):
            self._follow_head(remote)

    def _follow_head(self, remote: str) -> None:
        """Let HEAD be the branch that is the remote's main one now, under whatever name."""
        if not self._keeps_branches_as_own(remote):
            self._run("remote", "set-head", remote, "--auto", seconds=self._fetch_seconds)
            return
        answer = self._run("ls-remote", "--symref", remote, "HEAD", seconds=self._fetch_seconds).stdout
        if found := re.match(r"ref: (refs/heads/\S+)\tHEAD$", answer, re.MULTILINE):
            self._run("symbolic-ref", "HEAD", found[1])

    def _refspecs(self, remote: str) -> Sequence[str]:
        return self._run("config", "--get-all", f"remote.{remote}.fetch").stdout.split()

    def _keeps_branches_as_own(self, remote: str) -> bool:
        """Whether the clone has the remote's `main` as its own `main`, not as `origin/main`."""
        refspecs = self._refspecs(remote)
        return not refspecs or any(spec.endswith((":refs/heads/*", ":refs/*")) for spec in refspecs)

    def resolve(self, ref: str) -> str:
        """The commit that `ref` points at.

        Raises:
            RefMissing: there is no such ref.
            RepoDamaged: there is, and the commit is not.
            WindowEmpty: there is no ref at all, so nothing that could be accepted.
            GitConfigError: its commits have ids of another length.
        """
        candidates = [ref]
        remote, _, branch = ref.removeprefix("refs/remotes/").partition("/")
        if branch and self._keeps_branches_as_own(remote):
            # Nowhere else: a branch of an ordinary clone's own is whatever was checked out there last.
            candidates.append(branch)
        for candidate in candidates:
            done = self._run(
                "rev-parse", "--verify", "--quiet", "--end-of-options", f"{candidate}^{{commit}}"
            )
            if done.returncode == 0:
                return self._as_commit(done.stdout.strip())
            if self._run("rev-parse", "--verify", "--quiet", "--end-of-options", candidate).returncode == 0:
                raise RepoDamaged(
                    f"{candidate} in {self.path} points at nothing that is a commit there; if the clone is "
                    f"damaged, move it away and make it anew: git clone --bare <url> {self.path}"
                )
        names = self._run(
            "for-each-ref", "--format=%(refname:short)", "--count=10", "refs/heads", "refs/remotes"
        )
        known = ", ".join(names.stdout.split())
        if not known:
            raise WindowEmpty(
                f"{self.path} has no commits, and an empty list would refuse everybody; push {ref} to its "
                "remote and run this with --fetch"
            )
        raise RefMissing(f"gate_ref is {ref}, which {self.path} does not have; it has {known}")

    def _as_commit(self, text: str) -> str:
        if not protocol.is_commit(text):
            raise GitConfigError(
                f"{self.path} names commits by {len(text)} digits; the gate needs SHA-1's 40"
            )
        return text

    def log(self, commit: str, count: int) -> Sequence[GateCommit]:
        """The newest `count` commits that `commit` reaches, itself first."""
        form = _SEPARATOR.join(("%H", "%cI", "%s"))
        text = self._checked(
            "log", "--encoding=UTF-8", f"--max-count={count}", f"--format={form}", commit, "--"
        )
        rows = (line.split(_SEPARATOR, 2) for line in text.split("\n") if line)
        return [GateCommit(*row) for row in rows]

    def older(self, commit: str, skip: int, count: int) -> Sequence[str]:
        """The ids of the next `count` commits behind the newest `skip`."""
        return self._checked("rev-list", f"--skip={skip}", f"--max-count={count}", commit, "--").split()

    def _checked(self, *arguments: str) -> str:
        done = self._run(*arguments)
        if done.returncode != 0:
            raise GitError(f"git {arguments[0]} failed in {self.path}: {_reason(done.stderr)}")
        return done.stdout

    def _run(self, *arguments: str, seconds: float = READ_SECONDS) -> subprocess.CompletedProcess[str]:
        try:
            process = subprocess.Popen(
                ["git", *_OPTIONS, "-C", str(self.path), *arguments],
                env=_environment() | {"GIT_CEILING_DIRECTORIES": str(self.path.parent)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
            )
        except FileNotFoundError:
            raise GitMissing("git is not installed, or not on PATH; run: apt-get install git") from None
        with process:
            try:
                output, errors = process.communicate(timeout=seconds)
            except BaseException as exc:
                # git talks to a remote through processes of its own, which must not outlive it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise GitTimeout(
                        f"git {arguments[0]} took longer than {seconds:g} s in {self.path}"
                    ) from None
                raise
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)


def _environment() -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if os.environ.get(name)}
    return {
        "PATH": _DEFAULT_PATH,
        **inherited,
        "LC_ALL": "C",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    }


def _reason(stderr: str) -> str:
    """What git said is wrong, in one line: without its general advice, nor a password from a URL."""
    said = stderr.partition("Please make sure you have the correct access rights")[0]
    lines = [line.strip().removeprefix("fatal: ") for line in said.splitlines() if line.strip()]
    return re.sub(r"://[^/\s@]+@", "://", "; ".join(lines))[:400] or "no message"
