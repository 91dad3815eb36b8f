"""What the receiver tells a host that it refuses: texts that a student can act on without asking anybody.

Those of the gate name the branches and steps of FIXYOURSELF.md, which tests/gate walks.
"""

from __future__ import annotations

from typing import Final

SEE_ALSO: Final = "FIXYOURSELF.md"

OTHER_HOST: Final = (
    "A host ships under the name that its certificate and its token were made for. Set host_id to that name in "
    "/etc/cis490-lab-host/lab-host.toml and run `systemctl restart cis490-lab-shipper`; or ask the maintainer for a "
    "certificate and a token of this host's own. Until then the episodes wait in the spool."
)

_CLONE: Final = "in the orchestrator's clone (/opt/orchestrator, unless your lab put it elsewhere)"
MISSING: Final = (
    "The upload does not say which orchestrator commit recorded this episode. A current orchestrator writes it into "
    "meta.json, as code_commit, and cis490-shipper sends it on as X-Cis490-Code-Commit; where it did not, meta.json is "
    "missing or lacks it, which `cis490-shipper check FILE.tar.zst` shows. Then, "
    f"{_CLONE} run `git pull --ff-only`, restart the orchestrator, and record again. `git rev-parse HEAD` there "
    "prints what belongs into the header. If either command fails, FIXYOURSELF.md, step 1, says why and goes "
    "on from there."
)
MALFORMED: Final = (
    "X-Cis490-Code-Commit, which cis490-shipper takes from code_commit in meta.json, is the full id of the "
    "commit that recorded the episode, not a short id, a branch or a tag: what `git rev-parse HEAD` prints "
    f"{_CLONE}. If that prints anything but 40 hex digits, FIXYOURSELF.md, step 1, says why and goes on from "
    "there."
)
_NO_FAKING: Final = (
    "Please do not send a commit id other than the one that ran: the gate is what lets the people who train "
    "on this data know which code recorded it, and a false id spoils the set without anybody noticing."
)


def behind(ref: str, commits_behind: int, window: int) -> str:
    """For a commit of `ref` that is older than its newest `window` commits."""
    commits = "1 commit" if commits_behind == 1 else f"{commits_behind} commits"
    return (
        f"Your commit is on {ref} but {commits} older than its head; only the newest {window} are accepted. "
        f"Run `git fetch --prune origin && git merge --ff-only {_upstream(ref)}` {_CLONE}, restart the "
        "orchestrator, and record again. If git refuses, FIXYOURSELF.md, step 1, tells what "
        f"holds it; branch A is a clone that is merely behind, like yours. {_NO_FAKING}"
    )


def foreign(ref: str, refreshed_at_wall: str) -> str:
    """For a commit that `ref` did not have at `refreshed_at_wall`."""
    upstream = _upstream(ref)
    return (
        f"Your commit is not on {ref}: it is a commit of your own, one of another branch, one that a "
        f"force-push took away, or one that was pushed after {refreshed_at_wall} (then just retry in ten "
        f"minutes). `git fetch --prune origin && git status -sb && git log --oneline {upstream}..HEAD` "
        f"{_CLONE} shows which. FIXYOURSELF.md, step 1, names your branch of it, and branches B to E tell "
        f"how to get back onto {ref} without losing your work. {_NO_FAKING}"
    )


def _upstream(ref: str) -> str:
    """What a lab host's clone calls `ref`, which may be named as the receiver's bare clone has it."""
    name = ref.removeprefix("refs/remotes/").removeprefix("refs/heads/")
    return name if "/" in name else f"origin/{name}"
