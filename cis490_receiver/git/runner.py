"""Run git: no shell, a scrubbed environment, a time limit, and no process of it left behind."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

from cis490_receiver.git.failures import GitError, GitMissing, GitTimeout

READ_SECONDS: Final = 30.0
#: What of the caller's environment git may see: where programs, keys and proxies are. GIT_* is not among it.
_INHERITED: Final = ("PATH", "SSH_AUTH_SOCK", "http_proxy", "https_proxy", "no_proxy")
_DEFAULT_PATH: Final = "/usr/local/bin:/usr/bin:/bin"
#: Nothing that a clone's own configuration names is run, and nothing goes on when git has answered.
_OPTIONS: Final = (
    *("-c", "core.hooksPath=/dev/null"),
    *("-c", "core.fsmonitor=false"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "log.showSignature=false"),
    *("-c", "gc.autoDetach=false"),
    *("-c", "maintenance.autoDetach=false"),
)

Done = subprocess.CompletedProcess[str]


class Git:
    """git in one folder, as the user of this process."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def run(self, *arguments: str, seconds: float = READ_SECONDS) -> Done:
        """Run it to its end, whatever its exit status.

        Raises:
            GitMissing: git is not installed.
            GitTimeout: it took longer than `seconds`.
            GitError: it could not be started.
        """
        command = ["git", *_OPTIONS, *self._trust(), "-C", str(self.folder), *arguments]
        try:
            process = subprocess.Popen(
                command,
                env=_environment(self._home()) | {"GIT_CEILING_DIRECTORIES": str(self.folder.parent)},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                start_new_session=True,
                **self._identity(),
            )
        except FileNotFoundError:
            raise GitMissing("git is not installed, or not on PATH; run: apt-get install git") from None
        except OSError as exc:
            raise GitError(f"git cannot be run: {exc.strerror}") from exc
        with process:
            try:
                output, errors = process.communicate(timeout=seconds)
            except BaseException as exc:
                # git talks to a remote through processes of its own, which must not outlive it.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                if isinstance(exc, subprocess.TimeoutExpired):
                    raise GitTimeout(
                        f"git {arguments[0]} took longer than {seconds:g} s in {self.folder}"
                    ) from None
                raise
        return Done(command, process.returncode, output, errors)

    def checked(self, *arguments: str) -> str:
        """What it prints.

        Raises:
            GitError: it failed.
        """
        done = self.run(*arguments)
        if done.returncode != 0:
            raise GitError(f"git {arguments[0]} failed in {self.folder}: {reason(done.stderr)}")
        return done.stdout

    def _identity(self) -> dict[str, Any]:
        """The user to become, as `subprocess.Popen` takes it."""
        return {}

    def _trust(self) -> tuple[str, ...]:
        return ()

    def _home(self) -> str:
        return os.environ.get("HOME") or _home_of(os.geteuid())


class GitAsOwner(Git):
    """git as the folder's owner where that can be had: what root writes there, its owner could not mend. Whoever it
    belongs to, the folder is trusted."""

    def _identity(self) -> dict[str, Any]:
        owner = self.folder.stat()
        if os.geteuid() != 0 or owner.st_uid == 0:
            return {}
        return {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}

    def _trust(self) -> tuple[str, ...]:
        return ("-c", f"safe.directory={self.folder}")

    def _home(self) -> str:
        identity = self._identity()
        return _home_of(identity["user"]) if identity else super()._home()


def reason(stderr: str) -> str:
    """What git said is wrong, in one line: without its general advice, nor a password from a URL."""
    said = stderr.partition("Please make sure you have the correct access rights")[0]
    lines = [line.strip().removeprefix("fatal: ") for line in said.splitlines() if line.strip()]
    return re.sub(r"://[^/\s@]+@", "://", "; ".join(lines))[:400] or "no message"


def _environment(home: str) -> dict[str, str]:
    inherited = {name: os.environ[name] for name in _INHERITED if os.environ.get(name)}
    return {
        "PATH": _DEFAULT_PATH,
        **inherited,
        "HOME": home,
        "LC_ALL": "C",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_SSH_COMMAND": "ssh -o BatchMode=yes",
    }


def _home_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_dir
    except KeyError:
        return "/"
