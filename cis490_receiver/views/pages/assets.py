"""The style sheet, the script and the icon: our own files, under names that hold a digest of their content, so that a
browser may keep each for good."""

from __future__ import annotations

import hashlib
import pkgutil
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from flask import Blueprint, Response, request

from cis490_receiver.errors import NotFound
from cis490_receiver.views.openapi import declaration

_PACKAGE: Final = "cis490_receiver.views"
_NAMES: Final = ("pages.css", "data.css", "docs.css", "pages.js", "icon.svg")
_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True)
class _Asset:
    content: bytes
    content_type: str
    digest: str


class Assets:
    """The files, read once."""

    def __init__(self) -> None:
        self._urls: dict[str, str] = {}
        self._by_name: dict[str, _Asset] = {}
        for name in _NAMES:
            stem, _, kind = name.partition(".")
            content = pkgutil.get_data(_PACKAGE, f"static/{name}") or b""
            digest = hashlib.sha256(content).hexdigest()[:16]
            self._urls[name] = f"/static/{stem}.{digest}.{kind}"
            self._by_name[f"{stem}.{digest}.{kind}"] = _Asset(content, _TYPES[kind], digest)

    def url(self, name: str) -> str:
        """Where the file `name` is."""
        return self._urls[name]

    @property
    def by_name(self) -> Mapping[str, _Asset]:
        """The files by the last part of their addresses."""
        return self._by_name


def add_routes(views: Blueprint, files: Assets) -> None:
    """The route of the files."""

    @views.get("/static/<name>")
    @declaration.page
    def get_asset(name: str) -> Response:
        asset = files.by_name.get(name)
        if asset is None:
            raise NotFound
        response = Response(asset.content, content_type=asset.content_type)
        response.set_etag(asset.digest)
        response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        response.headers["X-Content-Type-Options"] = "nosniff"
        response.make_conditional(request)
        return response
