"""OpenAPI 3.1 (https://spec.openapis.org/oas/v3.1.1) of an application, from what its views and tables say."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from flask import Flask
from werkzeug.routing import Rule

from cis490_receiver import errors, protocol
from cis490_receiver.serving.refusals import REFUSALS
from cis490_receiver.views.errors import RETRY_AFTER, STATUS
from cis490_receiver.views.openapi.declaration import (
    JSON,
    Access,
    Answer,
    Operation,
    Parameter,
    declaration_of,
)
from cis490_receiver.views.openapi.schemas import COMPONENTS, TEXT, reference

_DESCRIPTION: Final = (
    "The intake of a fleet of lab hosts: takes episodes (`.tar.zst`), stores each durably, and gives them out again. "
    "Every error is a JSON object with `error`, a sentence, and `code`, which stays the same; `x-errors` has "
    "all codes with their status and what to do. A path that is not here is answered 404, a method 405 with `Allow`."
)
_Error = type[errors.ReceiverError]
#: Stands in examples for the id of an upload in pieces, which nobody knows beforehand.
EXAMPLE_UPLOAD: Final = "0" * 32
#: What any request may be answered.
ANYWHERE: Final[tuple[_Error, ...]] = (
    errors.BadRequest,
    errors.InternalError,
    # Of a receiver that is one of many.
    errors.DatabaseUnavailable,
    errors.StoreUnavailable,
)
#: What a request may be answered whose path or method no route has.
NOWHERE: Final[tuple[_Error, ...]] = (errors.NotFound, errors.MethodNotAllowed)
#: What only the forms of the pages are answered, which are no part of the interface for programs.
FORMS: Final[tuple[_Error, ...]] = (errors.ForeignForm, errors.TooManyTries)
_NOT_LET_IN: Final[Mapping[Access, tuple[_Error, ...]]] = {
    "everybody": (),
    "any token": (errors.MissingToken, errors.BadToken),
    "ship": (errors.MissingToken, errors.BadToken, errors.ScopeMissing),
    "read": (errors.MissingToken, errors.BadToken, errors.ScopeMissing),
    "admin": (errors.MissingToken, errors.BadToken, errors.ScopeMissing),
}


def operations(app: Flask) -> Iterator[tuple[Rule, str, Operation]]:
    """Each route of `app` for programs: rule, method and what was declared of it, in the order in which they
    were added."""
    for rule in app.url_map.iter_rules():
        declared = declaration_of(app.view_functions[rule.endpoint])
        if isinstance(declared, Operation):
            for method in sorted(rule.methods or ()):
                yield rule, method, declared


def raised_by(declared: Operation) -> tuple[_Error, ...]:
    """Every error that a call may be answered with, each once."""
    return tuple(dict.fromkeys((*_NOT_LET_IN[declared.access], *declared.errors, *ANYWHERE)))


def path_of(rule: Rule, declared: Operation) -> str:
    """A route's path as clients see it."""
    return declared.path or rule.rule


def make_document(app: Flask) -> dict[str, Any]:
    """The description of `app`, all of whose routes are registered."""
    paths: dict[str, dict[str, Any]] = defaultdict(dict)
    for rule, method, declared in operations(app):
        paths[path_of(rule, declared)][method.lower()] = _operation(rule.endpoint, method, declared)
    for item in paths.values():
        _link(item)
    return {
        "openapi": "3.1.1",
        "info": {
            "title": "CIS490 receiver",
            "version": protocol.API_PREFIX.removeprefix("/v"),
            "description": _DESCRIPTION,
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": COMPONENTS,
            "securitySchemes": {
                "token": {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Without any token in the configuration, as on loopback, nobody is asked for one.",
                }
            },
        },
        "x-errors": error_table(),
    }


def error_table() -> dict[str, dict[str, Any]]:
    """Every error code: its status, when to try again, what it says, what to do."""
    table: dict[str, dict[str, Any]] = {}
    for kind, status in STATUS.items():
        table[kind.code] = {"status": status, "error": kind.default_message, "what_to_do": kind.what_to_do}
        if kind in RETRY_AFTER:
            table[kind.code]["retry_after_seconds"] = RETRY_AFTER[kind]
    for refusal in REFUSALS:
        status = int(refusal.status.split()[0])
        table.setdefault(
            refusal.code, {"status": status, "error": refusal.message, "what_to_do": refusal.what_to_do}
        )
    return table


def _link(item: dict[str, Any]) -> None:
    """Say that what a PUT stored is what a GET of the same path gives."""
    if not item.keys() >= {"put", "get"}:
        return
    names = [one["name"] for one in item["put"]["parameters"] if one["in"] == "path"]
    parameters = {name: f"$request.path.{name}" for name in names}
    link = {item["get"]["operationId"]: {"operationId": item["get"]["operationId"], "parameters": parameters}}
    for status, response in item["put"]["responses"].items():
        if status.startswith("2"):
            response["links"] = link


def _operation(endpoint: str, method: str, declared: Operation) -> dict[str, Any]:
    name = endpoint.rpartition(".")[2]
    made: dict[str, Any] = {
        "operationId": name if method != "HEAD" else f"{name}_head",
        "tags": [endpoint.partition(".")[0]],
        "summary": declared.summary,
        "responses": _responses(declared, with_content=method != "HEAD"),
    }
    if declared.doc:
        made["description"] = declared.doc
    if declared.parameters:
        made["parameters"] = [_parameter(one) for one in declared.parameters]
    if declared.body is not None:
        body = declared.body
        content = {body.content_type: {"schema": body.schema}}
        made["requestBody"] = {"description": body.doc, "required": True, "content": content}
    if method != "HEAD":
        made["x-codeSamples"] = [{"lang": "Shell", "source": curl(declared)}]
    if declared.access != "everybody":
        scopes = [] if declared.access == "any token" else [declared.access]
        made["security"] = [{"token": scopes}]
    return made


def curl(declared: Operation) -> str:
    """A line for a shell that has the receiver's address in RECEIVER, a token in TOKEN and an upload's id in UPLOAD."""
    token = "" if declared.access == "everybody" else '-H "Authorization: Bearer $TOKEN" '
    options = f"{declared.curl} " if declared.curl else ""
    example = declared.example.replace(EXAMPLE_UPLOAD, "$UPLOAD")
    return f'curl {token}{options}"$RECEIVER{example}"'


def _parameter(one: Parameter) -> dict[str, Any]:
    return {
        "name": one.name,
        "in": one.where,
        "required": one.required,
        "description": one.doc,
        "schema": one.schema,
    }


def _responses(declared: Operation, *, with_content: bool) -> dict[str, Any]:
    responses = {str(status): _success(one) for status, one in declared.answers.items()}
    for status, codes in sorted(_codes_by_status(raised_by(declared)).items()):
        responses[str(status)] = _failure(status, codes)
    if not with_content:
        for response in responses.values():
            response.pop("content", None)
    return responses


def _success(one: Answer) -> dict[str, Any]:
    made: dict[str, Any] = {"description": one.doc}
    if one.headers:
        made["headers"] = {
            header.name: {"description": header.doc, "required": header.always, "schema": TEXT}
            for header in one.headers
        }
    if one.content_type is not None:
        made["content"] = {one.content_type: {"schema": one.schema}}
    return made


def _codes_by_status(kinds: Iterable[_Error]) -> dict[int, list[str]]:
    codes: dict[int, list[str]] = defaultdict(list)
    for kind in kinds:
        codes[STATUS[kind]].append(kind.code)
    for refusal in REFUSALS:
        codes[int(refusal.status.split()[0])].append(refusal.code)
    return {status: list(dict.fromkeys(found)) for status, found in codes.items()}


def _failure(status: int, codes: list[str]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "description": ", ".join(codes),
        "content": {JSON: {"schema": {**reference("Error"), "properties": {"code": {"enum": codes}}}}},
    }
    headers = _failure_headers(status, codes)
    if headers:
        made["headers"] = {
            name: {"description": doc, "required": True, "schema": TEXT} for name, doc in headers.items()
        }
    return made


def _failure_headers(status: int, codes: list[str]) -> dict[str, str]:
    headers = {}
    if status == 401:
        headers["WWW-Authenticate"] = "The scheme, `Bearer` (RFC 6750)."
    if status == 416:
        headers["Content-Range"] = "The size of the whole, as `bytes */SIZE`."
    waits = {kind.code for kind in RETRY_AFTER}
    if all(code in waits for code in codes):
        headers["Retry-After"] = "Seconds after which to try again."
    return headers
