"""tus-js-client and Uppy, fetched once by npm into the user's cache."""

from __future__ import annotations

import fcntl
import os
import subprocess
from pathlib import Path

TUS_JS_CLIENT = "4.3.1"
UPPY = "6.0.1"


def modules() -> Path:
    """The folder ``node_modules`` that has both."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "cis490-receiver"
    folder = cache / f"tus-{TUS_JS_CLIENT}-uppy-{UPPY}"
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / ".done"
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder),
                 f"tus-js-client@{TUS_JS_CLIENT}", f"uppy@{UPPY}"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
            done.touch()
    return folder / "node_modules"
