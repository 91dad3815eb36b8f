"""What a view says of itself beside its route, for the interface's description.

Every route has either `operation` or `page`; tests/integration/test_openapi.py finds the one that has none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeVar

from cis490_receiver.errors import ReceiverError

Schema = Mapping[str, Any]
#: Who may call: everybody, whoever has a good token, or only tokens with this scope.
Access = Literal["everybody", "any token", "ship", "read", "admin"]

JSON: Final = "application/json"
_ATTRIBUTE: Final = "cis490_declaration"
_View = TypeVar("_View", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Parameter:
    """Something that a request may say, in its path, its query or a header."""

    name: str
    where: Literal["path", "query", "header"]
    schema: Schema
    doc: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Header:
    """A header of an answer: one that it always has, or, as `doc` then says, only sometimes."""

    name: str
    doc: str
    always: bool = True


@dataclass(frozen=True, slots=True)
class Body:
    """What a request carries, of any JSON value or bytes that `schema` allows."""

    doc: str
    content_type: str
    schema: Schema


@dataclass(frozen=True, slots=True)
class Answer:
    """A way in which a request succeeds. Without a content type it has no body."""

    doc: str
    schema: Schema
    content_type: str | None = JSON
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Operation:
    """One method of one path.

    Attributes:
        summary: what it does, one line.
        access: who may call it.
        answers: how it succeeds, by status.
        example: a path and query that works, for curl.
        curl: the options that curl needs for it, besides the token.
        errors: what it may raise by itself; what every call of its `access` may raise comes on top.
        path: as clients see it; None where the route's rule says the same.
        doc: what else a caller needs to know.
    """

    summary: str
    access: Access
    answers: Mapping[int, Answer]
    example: str
    curl: str = ""
    errors: tuple[type[ReceiverError], ...] = ()
    parameters: tuple[Parameter, ...] = ()
    body: Body | None = None
    path: str | None = None
    doc: str = ""


class Page:
    """Stands for a route that people see in a browser, and that is no part of the interface for programs."""


def operation(summary: str, **attributes: Any) -> Callable[[_View], _View]:
    """Declare a view to be an `Operation`."""
    return _declare(Operation(summary, **attributes))


def page(view: _View) -> _View:
    """Declare a view to be a page for people."""
    return _declare(Page())(view)


def declaration_of(view: Callable[..., Any]) -> Operation | Page | None:
    """What `view` was declared to be."""
    return getattr(view, _ATTRIBUTE, None)


def _declare(declared: Operation | Page) -> Callable[[_View], _View]:
    def mark(view: _View) -> _View:
        setattr(view, _ATTRIBUTE, declared)
        return view

    return mark
