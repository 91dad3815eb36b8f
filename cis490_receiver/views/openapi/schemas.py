"""JSON Schemas (2020-12) of what is sent and answered, made from the classes that the code uses."""

from __future__ import annotations

import types
import typing
from collections.abc import Mapping
from typing import Any, Final

from cis490_receiver import stamps
from cis490_receiver.archive.tar import Kind
from cis490_receiver.filters import Filter
from cis490_receiver.index.base import HostSummary, PastReport
from cis490_receiver.models import Episode, Report
from cis490_receiver.monitor import symptoms
from cis490_receiver.state.base.alerts import Alert
from cis490_receiver.views.openapi.declaration import Schema

TEXT: Final[Schema] = {"type": "string"}
INTEGER: Final[Schema] = {"type": "integer"}
#: Bytes: OpenAPI 3.1 says nothing of them but their media type.
BYTES: Final[Schema] = {}
#: The id rule of `protocol.is_valid_id`, as far as 128 characters.
ID: Final[Schema] = {
    "type": "string",
    "pattern": r"^[A-Za-z0-9](\.?[A-Za-z0-9_-])*\.?$",
    "maxLength": 128,
    "examples": ["lab-1"],
}
SHA256: Final[Schema] = {"type": "string", "pattern": "^[0-9A-Fa-f]{64}$"}
_YEARS: Final = "^(19[7-9]|2[01][0-9])[0-9]-"
#: The years of `times.parse_moment`: 1970 to 2199.
MOMENT: Final[Schema] = {
    "anyOf": [
        {"type": "string", "format": "date", "pattern": _YEARS},
        {"type": "string", "format": "date-time", "pattern": _YEARS},
    ],
    "examples": ["2026-11-23", "2026-11-23T08:00:00Z"],
}

_WALL: Final = "UTC, YYYY-MM-DDTHH:MM:SSZ"
#: What the fields mean that no other table describes.
_FIELDS: Final[Mapping[str, str]] = {
    "host_id": "the lab host",
    "episode_id": "the episode",
    "sha256": "SHA-256 of the bytes, 64 lower-case hex digits",
    "size_bytes": "how many bytes",
    "received_at_wall": f"when it was received: {_WALL}",
    "received_at_ns": "the same in nanoseconds since the epoch",
    "first_received_at_ns": "when its first episode came, in nanoseconds since the epoch",
    "last_received_at_ns": "when its last episode came, in nanoseconds since the epoch",
    "first_received_at_wall": f"when its first episode came: {_WALL}",
    "last_received_at_wall": f"when its last episode came: {_WALL}",
    "episodes": "how many are stored",
    "last_episode_id": "its last episode",
    "last_code_commit": "the commit that recorded it",
    "withdrawn": "how many of its episodes are withdrawn",
    "doctor": "the report as the host sent it",
    "failed": "names of the checks that failed",
    "at_wall": f"when it was raised: {_WALL}",
    "at_ns": "the same in nanoseconds since the epoch",
    "hour": "the hour that it counts for, YYYY-MM-DDTHHZ",
    "state": "raised or recovered",
    "symptom": "what is wrong",
    "since_wall": f"since when it is so: {_WALL}",
    "evidence": "what was seen",
    "remedy": "what to do",
    **{declared.name: declared.doc for declared in stamps.DECLARED},
}
_JSON_TYPES: Final[Mapping[Any, str]] = {
    str: "string",
    int: "integer",
    bool: "boolean",
    dict: "object",
    tuple: "array",
    types.NoneType: "null",
}


def record(**members: Schema) -> Schema:
    """A JSON object that has all these members, and perhaps others in a later version."""
    return {"type": "object", "required": list(members), "properties": dict(members)}


def listed(items: Schema) -> Schema:
    """A JSON array."""
    return {"type": "array", "items": items}


def nullable(kind: str) -> Schema:
    """A value of this type, or null."""
    return {"type": [kind, "null"]}


def reference(name: str) -> Schema:
    """The schema `name` of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


def _of_class(kind: type, **more: Schema) -> Schema:
    """A dataclass as `dataclasses.asdict` and JSON write it."""
    hints = typing.get_type_hints(kind)
    names = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    members = {name: _of_type(hints[name]) for name in names} | more
    return record(
        **{name: {**schema, "description": _FIELDS[name]} for name, schema in members.items()},
    )


def _of_type(hint: Any) -> Schema:
    if isinstance(hint, types.UnionType):
        return {"type": [_JSON_TYPES[one] for one in hint.__args__]}
    origin = typing.get_origin(hint) or hint
    schema: dict[str, Any] = {"type": _JSON_TYPES[origin]}
    if origin is tuple:
        schema["items"] = _of_type(typing.get_args(hint)[0])
    return schema


def of_filter(item: Filter) -> Schema:
    """What the value of a filter looks like in a query."""
    if item.column == "host_id":
        return ID
    if not item.column:
        return {"type": "string", "enum": list(item.allowed)}
    if item.column == "received_at_ns":
        return MOMENT
    return of_grammar(next(one.grammar for one in stamps.DECLARED if one.name == item.column))


def of_grammar(grammar: stamps.Grammar) -> Schema:
    """What a field looks like in a query."""
    if grammar.kind is int:
        return INTEGER
    if grammar.allowed:
        return {"type": "string", "enum": list(grammar.allowed)}
    return {"type": "string", "pattern": f"^({grammar.pattern.pattern})$"}


#: What is in an archive, as far as it was seen.
CONTENTS: Final[Schema] = record(
    host_id=ID,
    episode_id=ID,
    sha256=SHA256,
    size_bytes=INTEGER,
    members=listed(reference("Member")),
    meta={**nullable("object"), "description": "the object in its meta.json; null where none can be read"},
    meta_problem={**nullable("string"), "description": "why there is none"},
    problem={
        "anyOf": [reference("Problem"), {"type": "null"}],
        "description": "why there may be more than is told; null where everything was seen",
    },
    mislabelled={
        **listed({"type": "string"}),
        "description": "what its index line and its meta.json do not agree about, or lack, a phrase each",
    },
)

#: What the description gives a name.
COMPONENTS: Final[Mapping[str, Schema]] = {
    "Error": record(
        error={"type": "string", "description": "what is wrong, a sentence"},
        code={"type": "string", "description": "what is wrong, for programs; see x-errors"},
    ),
    "Episode": _of_class(Episode),
    "EpisodePage": record(
        episodes=listed(reference("Episode")),
        next={**nullable("string"), "description": "`cursor` of the next page; null at the end"},
    ),
    "Host": _of_class(HostSummary, first_received_at_wall=TEXT, last_received_at_wall=TEXT),
    "Alert": _of_class(Alert),
    "Symptom": record(
        host_id=nullable("string"),
        symptom={"type": "string", "enum": list(symptoms.NAMES)},
        since_wall=TEXT,
        evidence=TEXT,
        remedy=TEXT,
        muted={"type": "boolean"},
    ),
    "Findings": record(
        at_wall=TEXT,
        hosts=INTEGER,
        hosts_by_state={"type": "object", "additionalProperties": INTEGER},
        episodes=INTEGER,
        episodes_looked_at=INTEGER,
        fleet_gone={"type": "boolean"},
        symptoms=listed(reference("Symptom")),
    ),
    "Release": record(
        name=ID,
        sha256={**SHA256, "description": "SHA-256 of its table"},
        size_bytes={**INTEGER, "description": "how many bytes its table has"},
        episodes={**INTEGER, "description": "how many episodes it has"},
        episode_bytes={**INTEGER, "description": "how many bytes these have"},
        hosts={**INTEGER, "description": "of how many hosts they are"},
        created_at_wall={**TEXT, "description": f"when it was made: {_WALL}"},
        filters={
            "type": "object",
            "additionalProperties": TEXT,
            "description": "what chose its episodes, by the filters' names",
        },
        why={**TEXT, "description": "what it is for; may be empty"},
        by={**TEXT, "description": "who made it"},
        withdrawn_since={
            **nullable("integer"),
            "description": "how many of its episodes were withdrawn since; null where its table is damaged",
        },
    ),
    "Report": _of_class(Report),
    "PastReport": _of_class(PastReport),
    "Member": record(
        name={**TEXT, "description": "what the archive says, cut after 512 characters; no path to be opened"},
        kind={"type": "string", "enum": list(typing.get_args(Kind))},
        size_bytes=INTEGER,
    ),
    "Problem": record(
        code={"type": "string", "enum": ["look-ended", "cut-short", "bad-archive"]},
        text={**TEXT, "description": "the same for a person"},
    ),
    "Total": {
        **record(episodes=INTEGER, size_bytes=INTEGER),
        "description": "a group: its value of everything that was counted by (a day is YYYY-MM-DD, UTC), and its sums",
    },
    "Value": {
        "description": "any JSON value whose integers fit into 64 bits",
        "anyOf": [
            {"type": ["null", "boolean", "string"]},
            {"type": "integer", "minimum": -(1 << 63), "maximum": (1 << 64) - 1},
            {"type": "number", "not": {"type": "integer"}},
            {"type": "array", "items": reference("Value")},
            {"type": "object", "additionalProperties": reference("Value")},
        ],
    },
    "Warning": record(code=TEXT, age_seconds=nullable("integer")),
}

UPLOAD_ID: Final[Schema] = {"type": "string", "pattern": "^[0-9a-f]{32}$"}
UPLOAD: Final = record(
    upload_id=UPLOAD_ID,
    host_id=ID,
    episode_id=ID,
    sha256=SHA256,
    size_bytes=INTEGER,
    offset=INTEGER,
    status={"type": "string", "enum": ["under-way", "stored", "already-present"]},
    begun_at_wall=TEXT,
    touched_at_wall=TEXT,
    expires_at_wall=TEXT,
)
UPLOADS: Final = record(uploads=listed(UPLOAD))
STORED: Final = record(status={"const": "stored"}, sha256=SHA256, size_bytes=INTEGER)
ALREADY_PRESENT: Final = record(status={"const": "already-present"}, sha256=SHA256)
READY: Final = record(status={"const": "ready"}, warnings=listed(reference("Warning")))
REPORT: Final[Schema] = {"type": "object", "additionalProperties": reference("Value")}
REPORT_WITH_HISTORY: Final[Schema] = {
    "allOf": [reference("Report"), record(history=listed(reference("PastReport")))]
}
_PONG: Final = record(
    ok={"const": True}, host_id=nullable("string"), t_wall_ns=INTEGER, schema_version=INTEGER
)
PONG: Final[Schema] = {
    **_PONG,
    "properties": {**_PONG["properties"], "would_accept": {"type": "boolean"}, "code": TEXT, "error": TEXT},
}
