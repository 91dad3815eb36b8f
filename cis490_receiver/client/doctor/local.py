"""Checks of a lab's own: executables in a folder, each of which prints JSON.

A check prints one object, or a list of objects, with ``name``, ``status`` (ok, warn, fail), ``seen`` and ``remedy``.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.client.doctor.report import FAIL, STATUSES, Check, Look

SECONDS: Final = 30.0
MAX_CHECKS: Final = 50


def looks(folder: Path) -> Iterator[Look]:
    """One look for each executable in `folder`, in the order of their names."""
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        return
    except OSError as exc:
        reason = f"{folder} cannot be read: {exc.strerror}"
        yield "local", lambda: Check("local", FAIL, reason, "give this user the right to read it")
        return
    for path in paths:
        if not path.name.startswith(".") and path.is_file() and os.access(path, os.X_OK):
            yield f"local:{path.name}", _look_with(path)


def _look_with(path: Path) -> Callable[[], list[Check]]:
    return lambda: _run(path)


def _run(path: Path) -> list[Check]:
    name = f"local:{path.name}"
    if why := _why_unsafe(path):
        return [Check(name, FAIL, why, f"chown root {path}; chmod 755 {path}")]
    try:
        done = subprocess.run(
            [str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=SECONDS,
            cwd="/",
        )
        document = i_json.loads(done.stdout)
        found = document if isinstance(document, list) else [document]
        return [_check(path.name, one) for one in found[:MAX_CHECKS]]
    except subprocess.TimeoutExpired:
        return [Check(name, FAIL, f"took longer than {SECONDS:g} s", f"run {path} by hand")]
    except (OSError, ValueError) as exc:
        return [Check(name, FAIL, f"did not print a check as JSON: {exc}", f"run {path} by hand")]


def _why_unsafe(path: Path) -> str:
    status = path.stat()
    if status.st_uid not in (0, os.geteuid()) or stat.S_IMODE(status.st_mode) & 0o022:
        return f"{path} can be changed by others and was not run"
    return ""


def _check(file_name: str, document: Any) -> Check:
    if not isinstance(document, dict) or document.get("status") not in STATUSES:
        raise ValueError("no object with a status of ok, warn or fail")
    texts = {key: str(document.get(key) or "") for key in ("name", "seen", "remedy")}
    return Check(f"local:{texts['name'] or file_name}", document["status"], texts["seen"], texts["remedy"])
