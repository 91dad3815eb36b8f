"""Holds every answer that a test gets against what the interface says of itself."""

from __future__ import annotations

import functools
import json
import re
import subprocess
import sys
from typing import Any

_MAKE = """
import json, tempfile
from pathlib import Path
from cis490_receiver import create_app
from cis490_receiver.config import Settings
from cis490_receiver.views.openapi.document import make_document
with tempfile.TemporaryDirectory() as folder:
    print(json.dumps(make_document(create_app(Settings(data_dir=Path(folder))))))
"""


@functools.cache
def paths() -> list[tuple[re.Pattern[str], dict[str, Any]]]:
    """Each path of the description, as a pattern, and its methods."""
    made = subprocess.run([sys.executable, "-c", _MAKE], capture_output=True, text=True, check=True)
    return [
        (re.compile(re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(path))), methods)
        for path, methods in json.loads(made.stdout)["paths"].items()
    ]


def check(method: str, path: str, status: int, content_type: str | None, body: bytes) -> None:
    """Fail unless the description says that `method` of `path`, where it is a call of its own, is answered so."""
    path = path.partition("?")[0]
    for pattern, methods in paths():
        if pattern.fullmatch(path) and method.lower() in methods:
            responses = methods[method.lower()]["responses"]
            break
    else:
        return
    where = f"{method} {path} → {status}"
    assert str(status) in responses, f"{where}: the description knows {', '.join(responses)}"
    if status >= 400 and body and content_type == "application/json":
        codes = responses[str(status)]["content"]["application/json"]["schema"]["properties"]["code"]["enum"]
        assert json.loads(body)["code"] in codes, f"{where}: {body!r}"
