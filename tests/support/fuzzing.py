"""What Schemathesis has to know of our requests beyond the document: loaded by it, as its hooks.

A valid PUT names the digest of the very body that it carries, and a cursor is one that a listing gave. No schema can
say either, so they are filled in here, as any client would, in requests that are meant to be valid.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import urllib.request
from typing import Any

import schemathesis
from hypothesis import strategies as st

from tests.support.archives import make_episode
from tests.support.receiver import AUTH

ZSTD = "application/zstd"
PIECE = "application/offset+octet-stream"


@schemathesis.serializer(ZSTD, PIECE)
def as_it_is(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return value if isinstance(value, bytes) else json.dumps(value).encode()


YEARS = {"min_value": dt.date(1970, 1, 2), "max_value": dt.date(2199, 12, 30)}
schemathesis.openapi.format("date", st.dates(**YEARS).map(str))
schemathesis.openapi.format(
    "date-time",
    st.builds(
        "{}T{}Z".format, st.dates(**YEARS), st.times().map(lambda time: time.isoformat("milliseconds"))
    ),
)
schemathesis.openapi.media_type(
    ZSTD, st.binary(max_size=200) | st.integers(0, 5).map(lambda seed: make_episode(seed).data)
)
schemathesis.openapi.media_type(PIECE, st.binary(max_size=200))


@schemathesis.deserializer(ZSTD)
def bytes_of(ctx: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    return {}


@schemathesis.deserializer("application/jsonl")
def lines_of(ctx: schemathesis.DeserializationContext, response: schemathesis.Response) -> Any:
    """Of a whole index; a part may begin anywhere."""
    if response.status_code == 206:
        return []
    return [json.loads(line) for line in response.content.splitlines()]


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.method == "PUT" and isinstance(case.body, bytes) and "X-Content-SHA256" in case.headers:
        case.headers["X-Content-SHA256"] = hashlib.sha256(case.body).hexdigest()
    if "cursor" in case.query:
        cursor = _cursor(f"{case.operation.base_url.rstrip('/')}{case.path}")
        if cursor is None:
            del case.query["cursor"]
        else:
            case.query["cursor"] = cursor


def _cursor(listing: str) -> str | None:
    """The cursor of the second page; None where there is none."""
    with urllib.request.urlopen(urllib.request.Request(f"{listing}?limit=1", headers=AUTH)) as answer:
        found: str | None = json.load(answer)["next"]
    return found
