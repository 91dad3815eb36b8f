"""What requests may say: headers and query parameters, from the tables that the code reads them by."""

from __future__ import annotations

from typing import Final

from cis490_receiver import protocol, stamps
from cis490_receiver.filters import FILTERS
from cis490_receiver.models import DIMENSIONS
from cis490_receiver.policy.query import DEFAULT_LIMIT, MAX_LIMIT
from cis490_receiver.views.openapi import schemas
from cis490_receiver.views.openapi.declaration import Parameter

HOST_ID: Final = Parameter("host_id", "path", schemas.ID, "The lab host.", required=True)
EPISODE_ID: Final = Parameter(
    "episode_id", "path", {**schemas.ID, "examples": ["run-0001"]}, "The episode.", required=True
)
EPISODE: Final = (HOST_ID, EPISODE_ID)
RELEASE: Final = Parameter(
    "name", "path", {**schemas.ID, "examples": ["paper-1"]}, "The release.", required=True
)

LIMIT: Final = Parameter(
    "limit",
    "query",
    {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": DEFAULT_LIMIT},
    "How many at most.",
)
CURSOR: Final = Parameter("cursor", "query", schemas.TEXT, "The `next` of the page before.")
FILTER: Final = tuple(
    Parameter(item.name, "query", schemas.of_filter(item), item.doc) for item in FILTERS.values()
)
BY: Final = Parameter(
    "by",
    "query",
    {
        "type": "string",
        "pattern": f"^(({'|'.join(DIMENSIONS)})(,|$))*$",
        "examples": [",".join(DIMENSIONS[:2])],
    },
    "What to count by, each once, with commas between; all in one group without it.",
)
TOTALS: Final = (*FILTER, BY)
LISTING: Final = (*FILTER, LIMIT, CURSOR)


def _of_stamp(declared: stamps.Declaration) -> Parameter:
    meaning = f"{declared.doc[:1].upper()}{declared.doc[1:]}: {declared.grammar.text}."
    if declared.grammar is stamps.INTEGER:
        most = 10**18 - 1
        return Parameter(
            declared.header, "header", {"type": "integer", "minimum": -most, "maximum": most}, meaning
        )
    # What no grammar allows is dropped with a warning, or the version gate's to judge.
    examples = [*declared.grammar.allowed[:1]] or (["1" * 40] if declared.grammar is stamps.COMMIT else [])
    return Parameter(declared.header, "header", {**schemas.TEXT, "examples": examples}, meaning)


STAMPS: Final = tuple(map(_of_stamp, stamps.DECLARED))
SHA256: Final = Parameter(
    protocol.HEADER_SHA256,
    "header",
    schemas.SHA256,
    "SHA-256 of the body, 64 hex digits.",
    required=True,
)
UPLOAD_ID: Final = Parameter("upload_id", "path", schemas.UPLOAD_ID, "The upload.", required=True)
_TUS: Final = {"const": protocol.TUS_VERSION}
TUS_RESUMABLE: Final = Parameter(
    "Tus-Resumable", "header", _TUS, "The version of the protocol.", required=True
)
TUS_RESUMABLE_BUT_GET: Final = Parameter(
    "Tus-Resumable", "header", _TUS, "The version of the protocol. GET needs none."
)
_COUNT: Final = {"type": "integer", "minimum": 0, "maximum": 10**18 - 1}
_CHECKSUM: Final = Parameter(
    "Upload-Checksum", "header", schemas.TEXT, "`sha256` and the SHA-256 of these bytes in base64."
)
NEW_UPLOAD: Final = (
    TUS_RESUMABLE,
    Parameter("Upload-Length", "header", _COUNT, "The size of the whole in bytes.", required=True),
    Parameter(
        "Upload-Metadata", "header", schemas.TEXT, "Names with values in base64, commas between: see below."
    ),
    Parameter(protocol.HEADER_HOST_ID, "header", schemas.TEXT, "The lab host; `X-Lab-Host` is as good."),
    Parameter(protocol.HEADER_EPISODE_ID, "header", schemas.TEXT, "The episode."),
    Parameter(protocol.HEADER_SHA256, "header", schemas.TEXT, "SHA-256 of the whole, 64 hex digits."),
    *STAMPS,
    _CHECKSUM,
)
PIECE: Final = (
    Parameter(
        "Upload-Offset", "header", _COUNT, "Where the bytes belong: where the upload goes on.", required=True
    ),
    _CHECKSUM,
)
METHOD_OVERRIDE: Final = Parameter(
    "X-HTTP-Method-Override",
    "header",
    {"enum": ["PATCH", "DELETE", "HEAD"]},
    "The method that is meant.",
    required=True,
)
PREFLIGHT: Final = (
    Parameter(protocol.HEADER_LAB_HOST, "header", schemas.TEXT, "The host that asks."),
    Parameter(protocol.HEADER_SHA256, "header", schemas.TEXT, "As in a PUT of an episode."),
    *(Parameter(item.name, "header", schemas.TEXT, item.doc) for item in STAMPS),
)
#: Of what is served as a file (RFC 9110, 13 and 14).
CONDITIONAL: Final = (
    Parameter("If-None-Match", "header", schemas.TEXT, "Answer 304 if this is still the entity tag."),
    Parameter("If-Match", "header", schemas.TEXT, "Answer 412 if this is not the entity tag any more."),
    Parameter("If-Modified-Since", "header", schemas.TEXT, "Answer 304 if nothing changed since."),
    Parameter("If-Unmodified-Since", "header", schemas.TEXT, "Answer 412 if something changed since."),
)
RANGE: Final = (
    Parameter("Range", "header", schemas.TEXT, "One range of bytes, such as `bytes=1000-`."),
    Parameter("If-Range", "header", schemas.TEXT, "Heed `Range` only if this is still the entity tag."),
)
#: Of what is compressed where that is asked for (RFC 9110 §12.5.3).
ACCEPT_ENCODING: Final = Parameter(
    "Accept-Encoding", "header", schemas.TEXT, "`zstd`, `gzip`, or both with weights such as `gzip;q=0.5`."
)
