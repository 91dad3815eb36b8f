"""How the orchestrator's clone stands, in the words of FIXYOURSELF.md, and its fast-forward.

git runs as the clone's owner where that can be had: what root writes there, the orchestrator's user could not mend.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cis490_receiver.git import clone
from cis490_receiver.git.failures import GitError, GitTimeout, RemoteUnreachable
from cis490_receiver.git.runner import GitAsOwner, reason

FETCH_SECONDS: Final = 60.0
#: For so long what somebody else asked of the remote is believed.
FRESH_SECONDS: Final = 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One trouble.

    Attributes:
        branch: the letter of its branch in FIXYOURSELF.md; empty where that page has none.
        seen: one clause.
    """

    branch: str
    seen: str


@dataclass(frozen=True, slots=True)
class Standing:
    """How a clone stands.

    Attributes:
        findings: its troubles, in the order in which they are to be mended; none when all is well.
        head: the commit that is checked out, where that can be told.
        note: why what is known of the remote may be old; empty when it was asked just now.
    """

    findings: tuple[Finding, ...]
    head: str | None = None
    note: str = ""

    @property
    def branches(self) -> str:
        """The letters, such as ``DA``."""
        return "".join(finding.branch for finding in self.findings)


#: Where bin/install-lab-host puts the page.
PAGE: Final = "/opt/cis490-lab-host/docs/FIXYOURSELF.md"
_TITLES: Final = {
    "A": "behind",
    "B": "local commits on top",
    "C": "diverged",
    "D": "dirty work tree",
    "E": "wrong branch or detached HEAD",
    "F": "broken clone or permissions",
}


def remedy(standing: Standing) -> str:
    """Where a person goes on."""
    if not standing.findings:
        return ""
    letter = standing.findings[0].branch
    if not letter:
        return "tell the maintainer"
    return f"{PAGE}, branch {letter} ({_TITLES[letter]})"


class Clone:
    """A work tree that follows ``<remote>/<branch>``."""

    def __init__(self, path: Path, ref: str) -> None:
        self.path = path
        self._git = GitAsOwner(path)
        self._ref = ref
        self._remote, _, self._branch = ref.partition("/")

    def look(self, *, fetch: bool = True) -> Standing:
        """Ask the remote, if `fetch` and if that can be done as the clone's owner, and see how the clone stands.
        Changes nothing but what git remembers of the remote. Never raises: what cannot be told is a finding."""
        if broken := self._why_unusable():
            return Standing((Finding("F", broken),))
        try:
            return self._compare(self._fetch() if fetch else "")
        except (GitError, OSError) as exc:
            return Standing((Finding("F", str(exc)),))

    def fast_forward(self) -> tuple[Standing, str]:
        """Bring the clone up to its remote if that loses nothing: a fast-forward of the right branch, with no file
        changed. Gives how it stands afterwards and what was done, or why nothing was."""
        before = self.look()
        if not before.findings:
            return before, before.note or "up to date"
        if not self._is_only_behind(before):
            reasons = "; ".join(finding.seen for finding in before.findings)
            return before, f"left alone: {reasons}. {remedy(before)}"
        refusal = self._merge()
        after = dataclasses.replace(self.look(fetch=False), note=before.note)
        if refusal:
            return after, f"left alone: {refusal}"
        return after, f"updated from {(before.head or '?')[:12]} to {(after.head or '?')[:12]}"

    def _merge(self) -> str:
        """Move to what was fetched; gives why that was not possible, or nothing."""
        try:
            done = self._git.run("merge", "--ff-only", "--quiet", self._ref)
        except GitError as exc:
            return exc.message
        return f"git merge --ff-only says: {reason(done.stderr)}" if done.returncode else ""

    def _is_only_behind(self, standing: Standing) -> bool:
        # New files lie in nobody's way: git itself refuses to write over one.
        tracked = any(finding.branch == "D" and "changed" in finding.seen for finding in standing.findings)
        return standing.branches in ("A", "DA") and not tracked

    def _why_unusable(self) -> str:
        """Why git should not even be asked; empty when it may be."""
        if not self.path.is_dir():
            return f"{self.path} is not there"
        if not os.access(self.path / ".git", os.R_OK | os.X_OK):
            return f"{self.path} is no clone that this user may read"
        owner = self.path.stat().st_uid
        for path in self._telling_files():
            with contextlib.suppress(OSError):
                if path.lstat().st_uid != owner:
                    return f"{path} belongs to another user than {self.path}: somebody ran git there as root"
        return ""

    def _telling_files(self) -> list[Path]:
        git = self.path / ".git"
        return [git, *git.glob("*"), *git.glob("refs/*/*"), *git.glob("objects/*")]

    def _fetch(self) -> str:
        """Ask the remote; gives why that was not possible, or nothing."""
        if os.geteuid() not in (0, self.path.stat().st_uid):
            # Only the owner may write what the remote says; the owner's autoupdate does that every hour.
            return self._age_of_answer()
        if self._remote not in clone.remotes(self._git):
            raise GitError("the clone forgot where it came from")
        try:
            clone.fetch(self._git, self._remote, seconds=FETCH_SECONDS)
        except RemoteUnreachable as exc:
            return f"the remote cannot be reached: {exc.said}"
        except GitTimeout:
            return f"the remote cannot be reached: no answer in {FETCH_SECONDS:g} s"
        return ""

    def _age_of_answer(self) -> str:
        try:
            seconds = time.time() - (self.path / ".git" / "FETCH_HEAD").stat().st_mtime
        except OSError:
            return "the remote was never asked: see that autoupdate runs"
        if seconds < FRESH_SECONDS:
            return ""
        return f"the remote was last asked {seconds / 3600:.0f} hours ago: see that autoupdate runs"

    def _compare(self, note: str) -> Standing:
        status = self._git.checked("status", "--porcelain=v2", "--branch").splitlines()
        heads = dict(line[2:].split(" ", 1) for line in status if line.startswith("# branch."))
        findings = []
        if dirt := _dirt([line for line in status if not line.startswith("# ")]):
            findings.append(Finding("D", dirt))
        head = heads.get("branch.oid")
        if clone.object_id(self._git, f"{self._ref}^{{commit}}") is None:
            findings.append(Finding("", f"{self._ref} is gone: the maintainer renamed or removed the branch"))
            return Standing(tuple(findings), head, note)
        if heads.get("branch.head") != self._branch:
            findings.append(Finding("E", f"{_where(heads.get('branch.head'))} instead of {self._branch}"))
        elif heads.get("branch.upstream") != self._ref:
            findings.append(Finding("E", f"{self._branch} follows {heads.get('branch.upstream', 'nothing')}"))
        else:
            findings += self._distance()
        return Standing(tuple(findings), head, note)

    def _distance(self) -> list[Finding]:
        counted = self._git.checked(
            "rev-list", "--left-right", "--count", f"HEAD...{self._ref}", "--"
        ).split()
        ahead, behind = (int(text) for text in counted)
        if ahead and behind:
            return [Finding("C", f"{ahead} ahead of and {behind} behind {self._ref}")]
        if ahead:
            return [Finding("B", f"{ahead} ahead of {self._ref}")]
        return [Finding("A", f"{behind} behind {self._ref}")] if behind else []


def _dirt(entries: list[str]) -> str:
    new = sum(1 for entry in entries if entry.startswith("? "))
    changed = len(entries) - new
    parts = [f"{changed} files changed"] if changed else []
    return ", ".join(parts + ([f"{new} files added"] if new else []))


def _where(name: str | None) -> str:
    return "a detached HEAD" if name in (None, "(detached)") else f"branch {name}"
