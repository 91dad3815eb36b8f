"""What can go wrong when git is asked, by name."""

from __future__ import annotations

from cis490_receiver.errors import ReceiverError


class GitError(ReceiverError):
    """git could not say; what is known of the clone stands as it was."""

    code = "git-failed"


class GitTimeout(GitError):
    """git, or the remote that it asked, took too long; nothing of it is left running."""

    code = "git-timeout"


class FetchFailed(GitError):
    """The remote could not be read.

    Attributes:
        said: what git said of it.
    """

    code = "fetch-failed"

    def __init__(self, remote: str, said: str) -> None:
        super().__init__(f"git fetch {remote} failed: {said}")
        self.said = said


class RemoteUnreachable(FetchFailed):
    """The network, or the machine at its other end, is at fault and not the clone."""


class GitConfigError(GitError):
    """Nothing but a person can mend it: the message says how."""


class GitMissing(GitConfigError):
    """There is no git here."""

    code = "git-missing"


class RepoMissing(GitConfigError):
    """The folder is not a clone."""

    code = "repo-missing"


class RepoOwnership(GitConfigError):
    """git refuses the clone because it belongs to another user (safe.directory in git-config(1))."""

    code = "repo-ownership"


class RepoDamaged(GitConfigError):
    """The clone lacks objects that its refs name."""

    code = "repo-damaged"


class RefMissing(GitConfigError):
    """The clone has no such ref."""

    code = "ref-missing"


class RemoteMissing(GitConfigError):
    """The clone does not know where it came from."""

    code = "remote-missing"


class WindowEmpty(GitConfigError):
    """There is no commit that could be accepted."""

    code = "window-empty"
