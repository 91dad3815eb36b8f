"""The clone that the gate reads its window from, and what of it goes into gate.json."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from cis490_receiver import protocol
from cis490_receiver.clock import Clock
from cis490_receiver.git import clone
from cis490_receiver.git.failures import (
    GitConfigError,
    RefMissing,
    RemoteMissing,
    RepoDamaged,
    RepoMissing,
    RepoOwnership,
    WindowEmpty,
)
from cis490_receiver.git.runner import Git, reason
from cis490_receiver.models import wall_time
from cis490_receiver.state.base.gate_list import GateCommit, GateSnapshot

_SEPARATOR: Final = "\x1f"
FETCH_SECONDS: Final = 120.0
#: How many ids beyond the window are kept, to tell a host that it is behind from one that never was there.
OLDER: Final = 10_000


class GateClone:
    """A clone, ordinary or bare.

    Args:
        path: the configuration's gate_repo.
        fetch_seconds: how long its remote may take for an answer.
    """

    def __init__(self, path: Path, *, fetch_seconds: float = FETCH_SECONDS) -> None:
        self.path = path
        self._git = Git(path)
        self._fetch_seconds = fetch_seconds

    def check(self) -> None:
        """Raises:
        GitMissing, RepoMissing, RepoOwnership: git cannot be asked about this folder.
        """
        if not self.path.is_dir():
            raise RepoMissing(
                f"gate_repo is {self.path}, which is not a folder; make the clone: "
                f"{clone.command_to_make(self.path)}"
            )
        done = self._git.run("rev-parse", "--git-dir")
        if done.returncode == 0:
            return
        if "dubious ownership" in done.stderr:
            raise RepoOwnership(
                f"git refuses {self.path} because another user owns it; give it to the user that runs this "
                f"(chown -R), or run: git config --system --add safe.directory {self.path}"
            )
        raise RepoMissing(
            f"gate_repo is {self.path}, which is not a git repository ({reason(done.stderr)}); make the "
            f"clone: {clone.command_to_make(self.path)}"
        )

    def fetch(self, ref: str) -> None:
        """Bring the branches up to date with the remote, force-pushed and deleted ones too.

        Raises:
            FetchFailed, GitTimeout: the remote could not be read.
            RemoteMissing: the clone has none.
        """
        remotes = clone.remotes(self._git)
        if not remotes:
            raise RemoteMissing(
                f"{self.path} has no remote to fetch from; run: git -C {self.path} remote add origin <url>"
            )
        prefix = ref.removeprefix("refs/remotes/").partition("/")[0]
        remote = prefix if prefix in remotes else remotes[0]
        refspec = []
        if not self._refspecs(remote):
            # `git clone --bare` configures none and keeps the remote's branches as its own.
            bare = self._git.run("rev-parse", "--is-bare-repository").stdout.strip() == "true"
            refspec = ["+refs/heads/*:refs/heads/*" if bare else f"+refs/heads/*:refs/remotes/{remote}/*"]
        clone.fetch(
            self._git, remote, *refspec, options=("--force", "--no-tags"), seconds=self._fetch_seconds
        )
        if ref.endswith("HEAD"):
            self._follow_head(remote)

    def _follow_head(self, remote: str) -> None:
        """Let HEAD be the branch that is the remote's main one now, under whatever name."""
        if not self._keeps_branches_as_own(remote):
            self._git.run("remote", "set-head", remote, "--auto", seconds=self._fetch_seconds)
            return
        answer = self._git.run("ls-remote", "--symref", remote, "HEAD", seconds=self._fetch_seconds).stdout
        if found := re.match(r"ref: (refs/heads/\S+)\tHEAD$", answer, re.MULTILINE):
            self._git.run("symbolic-ref", "HEAD", found[1])

    def _refspecs(self, remote: str) -> Sequence[str]:
        return self._git.run("config", "--get-all", f"remote.{remote}.fetch").stdout.split()

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
            if commit := clone.object_id(self._git, f"{candidate}^{{commit}}"):
                return self._as_commit(commit)
            if clone.object_id(self._git, candidate):
                raise RepoDamaged(
                    f"{candidate} in {self.path} points at nothing that is a commit there; if the clone is "
                    f"damaged, move it away and make it anew: {clone.command_to_make(self.path)}"
                )
        names = self._git.run(
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
        text = self._git.checked(
            "log", "--encoding=UTF-8", f"--max-count={count}", f"--format={form}", commit, "--"
        )
        rows = (line.split(_SEPARATOR, 2) for line in text.split("\n") if line)
        return [GateCommit(*row) for row in rows]

    def older(self, commit: str, skip: int, count: int) -> Sequence[str]:
        """The ids of the next `count` commits behind the newest `skip`."""
        return self._git.checked("rev-list", f"--skip={skip}", f"--max-count={count}", commit, "--").split()


def read_snapshot(gate: GateClone, ref: str, window: int, clock: Clock, *, fetch: bool) -> GateSnapshot:
    """Ask git for the last `window` commits of `ref`.

    Raises:
        GitError: it could not be told.
    """
    gate.check()
    if fetch:
        gate.fetch(ref)
    head = gate.resolve(ref)
    commits = tuple(gate.log(head, window))
    now_ns = clock.now_ns()
    return GateSnapshot(
        repo=str(gate.path),
        ref=ref,
        head=head,
        window=window,
        commits=commits,
        older=tuple(gate.older(head, len(commits), OLDER)),
        refreshed_at_wall=wall_time(now_ns),
        refreshed_at_ns=now_ns,
    )
