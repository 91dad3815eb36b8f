"""Answers in JSON."""

from __future__ import annotations

import json
from typing import Any

from flask import Response


def json_answer(data: dict[str, Any], status: int = 200) -> Response:
    """`data` as an answer. Needs no application context, so it serves the intake's short way too."""
    text = json.dumps(data, separators=(",", ":"), allow_nan=False)
    return Response(text + "\n", status, content_type="application/json")
