"""The description for people: what docs/http.md and the page /docs show, made from the OpenAPI document alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

Document = Mapping[str, Any]

_SCOPES: Final = {
    "ship": "a token that may ship",
    "read": "a token that may read",
    "admin": "a token for admins",
}
_WHERE: Final = {"path": "in the path", "query": "in the query", "header": "a header"}


@dataclass(frozen=True, slots=True)
class Call:
    """One method of one path, in texts.

    Attributes:
        anchor: its heading's id, as GitHub makes it.
        needs: who may call it.
        parameters: name, where it goes, what it looks like, what it means.
        answers: status and meaning of each success.
        headers: name and meaning of each header that a success may have.
        refusals: status and code of each error that is its own.
    """

    method: str
    path: str
    anchor: str
    summary: str
    doc: str
    needs: str
    parameters: tuple[tuple[str, str, str, str], ...]
    body: str
    answers: tuple[tuple[str, str], ...]
    headers: tuple[tuple[str, str], ...]
    refusals: tuple[tuple[str, tuple[str, ...]], ...]
    curl: str


@dataclass(frozen=True, slots=True)
class ErrorCode:
    """One code: what it says and what to do."""

    code: str
    status: int
    message: str
    what_to_do: str
    retry_after_seconds: int | None


def calls(document: Document) -> list[Call]:
    """Every call but HEAD, which every GET has; those of one kind of thing stand together."""
    common = common_codes(document)
    kinds = list(map(_kind, document["paths"]))
    return [
        _call(method.upper(), path, said, common, document)
        for path, item in sorted(document["paths"].items(), key=lambda one: kinds.index(_kind(one[0])))
        for method, said in item.items()
        if method != "head"
    ]


def _kind(path: str) -> str:
    """The beginning of a path, such as ``/v1/episodes``."""
    return "/".join(path.split("/")[:3])


def error_codes(document: Document) -> list[ErrorCode]:
    """Every error code, by status."""
    found = [
        ErrorCode(code, row["status"], row["error"], row["what_to_do"], row.get("retry_after_seconds"))
        for code, row in document["x-errors"].items()
    ]
    return sorted(found, key=lambda one: (one.status, one.code))


def common_codes(document: Document) -> frozenset[str]:
    """The codes that every call may be answered with."""
    each = [
        {code for _, codes in _codes(said) for code in codes}
        for item in document["paths"].values()
        for said in item.values()
        if "x-codeSamples" in said
    ]
    return frozenset(set.intersection(*each))


def _call(
    method: str, path: str, said: Mapping[str, Any], common: frozenset[str], document: Document
) -> Call:
    kept = [(status, tuple(code for code in codes if code not in common)) for status, codes in _codes(said)]
    return Call(
        method,
        path,
        "".join(
            char for char in f"{method} {path}".lower().replace(" ", "-") if char.isalnum() or char in "-_"
        ),
        said["summary"],
        said.get("description", ""),
        _needs(said.get("security")),
        tuple(
            (one["name"], _WHERE[one["in"]], looks(one["schema"]), one["description"] + _must(one))
            for one in said.get("parameters", [])
        ),
        _body(said.get("requestBody")),
        tuple(
            (status, _success(one, document))
            for status, one in sorted(said["responses"].items())
            if status < "400"
        ),
        _headers(said["responses"]),
        tuple((status, codes) for status, codes in kept if codes),
        said["x-codeSamples"][0]["source"],
    )


def _headers(responses: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    found = {
        name: one["description"]
        for status, response in sorted(responses.items())
        if status < "400"
        for name, one in response.get("headers", {}).items()
    }
    return tuple(found.items())


def _codes(said: Mapping[str, Any]) -> Iterator[tuple[str, list[str]]]:
    for status, response in said["responses"].items():
        if status >= "400":
            schema = next(iter(response["content"].values()))["schema"]
            yield status, schema["properties"]["code"]["enum"]


def _needs(security: list[dict[str, list[str]]] | None) -> str:
    if not security:
        return "no token"
    scopes = security[0]["token"]
    return _SCOPES[scopes[0]] if scopes else "any good token"


def _must(parameter: Mapping[str, Any]) -> str:
    return " Required." if parameter["required"] and parameter["in"] != "path" else ""


def _body(body: Mapping[str, Any] | None) -> str:
    return f"{body['description']} (`{next(iter(body['content']))}`)" if body else ""


def _success(response: Mapping[str, Any], document: Document) -> str:
    content = response.get("content")
    if not content:
        return str(response["description"])
    kind, media = next(iter(content.items()))
    members = _members(media["schema"], document)
    shown = f" `{kind}`" if not members else f" Members: {', '.join(f'`{name}`' for name in members)}."
    return f"{response['description']}{shown}"


def _members(schema: Mapping[str, Any], document: Document) -> list[str]:
    """The names of an object's members, wherever the schema has them."""
    if "$ref" in schema:
        return _members(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    both = [name for part in schema.get("allOf", []) for name in _members(part, document)]
    return [*both, *schema.get("properties", {})]


def looks(schema: Mapping[str, Any]) -> str:
    """What a value looks like, in a few words."""
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if "anyOf" in schema:
        return " or ".join(one.get("format", one.get("type", "")) for one in schema["anyOf"])
    if schema.get("type") == "integer" and schema.get("minimum", -1) >= 0:
        return f"{schema['minimum']} to {schema['maximum']}"
    if schema.get("examples"):
        return f"such as `{schema['examples'][0]}`"
    return "a whole number" if schema.get("type") == "integer" else "text"
