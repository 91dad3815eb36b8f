"""Sign in with a token or a code, once; sign out."""

from __future__ import annotations

import logging
from typing import Any, Final
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from cis490_receiver.errors import BadToken, ReceiverError, ScopeMissing, TooManyTries
from cis490_receiver.logfmt import event
from cis490_receiver.policy.auth import Principal, digest_of_text
from cis490_receiver.policy.sessions import LIFETIME_SECONDS
from cis490_receiver.state.base.tokens import Token
from cis490_receiver.views.browser import wants_page
from cis490_receiver.views.errors import status_of
from cis490_receiver.views.openapi import declaration
from cis490_receiver.views.pages.rendering import page, see_other
from cis490_receiver.views.pages.visitor import read_form
from cis490_receiver.views.wiring import SESSION_COOKIE, Services

log = logging.getLogger(__name__)

_UNKNOWN: Final = "That is no token of this receiver, or it has expired."
_UNREADING: Final = (
    "That token is good, but it may not read. Ask for one that may: cis490-receiver token add NAME --read"
)
_USED: Final = (
    "That link has signed somebody in already, or its 15 minutes are over. Ask for a new one, or use a token."
)


def add_routes(views: Blueprint, services: Services) -> None:
    """The routes of signing in and out."""

    @views.get("/sign-in")
    @declaration.page
    def show_sign_in() -> Response:
        following = local_path(request.args.get("next"))
        if services.authenticator.is_open:
            return see_other(following)
        text = request.args.get("code", "")
        code = services.codes.find(text, services.clock.now_ns()) if is_code(text) else None
        problem = _USED if text and code is None else None
        return _form(
            following, problem=problem, code=text if code else None, who=code.token if code else None
        )

    @views.post("/sign-in")
    @declaration.page
    def sign_in() -> Response:
        form = read_form(request)
        following = local_path(form.get("next"))
        address = client_address(services)
        if not services.slowdown.may_try(address):
            raise TooManyTries
        try:
            token = _by_code(services, form["code"]) if "code" in form else _by_token(services, form)
        except (BadToken, ScopeMissing) as exc:
            services.slowdown.failed(address)
            log.warning(event("sign-in-failed", client=address, reason=exc.code))
            if not wants_page(request):
                raise
            return _form(following, problem=_why(exc, by_code="code" in form), status=status_of(exc))
        log.info(event("sign-in", token=token.name if token else "fleet", client=address))
        response = see_other(following)
        _set_cookie(response, services.sessions.make(token, services.clock.now_ns()), LIFETIME_SECONDS)
        return response

    @views.post("/sign-out")
    @declaration.page
    def sign_out() -> Response:
        read_form(request)
        response = see_other("/sign-in")
        _set_cookie(response, "", 0)
        return response


def _by_token(services: Services, form: dict[str, str]) -> Token | None:
    return _reader(services, digest_of_text(form.get("token", "")))


def _by_code(services: Services, text: str) -> Token | None:
    code = services.codes.take(text, services.clock.now_ns()) if is_code(text) else None
    if code is None:
        raise BadToken
    return _reader(services, bytes.fromhex(code.token_sha256))


def _reader(services: Services, digest: bytes) -> Token | None:
    token = services.authenticator.identify(digest)
    Principal(token, None).require("read")
    return token


def _why(exc: ReceiverError, *, by_code: bool) -> str:
    if isinstance(exc, ScopeMissing):
        return _UNREADING
    return _USED if by_code else _UNKNOWN


def is_code(text: str) -> bool:
    """Whether `text` looks like a code that signs in once."""
    return 20 <= len(text) <= 64 and text.isascii() and text.replace("-", "").replace("_", "").isalnum()


def _form(following: str, *, problem: str | None, status: int = 200, **context: Any) -> Response:
    return page("sign_in.html", status, following=following, problem=problem, **context)


def _set_cookie(response: Response, value: str, seconds: int) -> None:
    secure = request.is_secure or request.headers.get("X-Forwarded-Proto", "").strip().lower() == "https"
    response.set_cookie(
        SESSION_COOKIE, value, max_age=seconds, secure=secure, httponly=True, samesite="Strict", path="/"
    )
    response.headers["Cache-Control"] = "no-store"


def local_path(text: str | None) -> str:
    """`text` where it is an address on this server, else the first page's: a link must not lead elsewhere."""
    if not text or not text.startswith("/") or any(char in text for char in "\\\r\n\t") or len(text) > 2000:
        return "/"
    parts = urlsplit(text)
    return text if not parts.netloc and not parts.scheme and not text.startswith("//") else "/"


def client_address(services: Services) -> str:
    """Whose tries are counted together: the peer, or the one that a proxy of ours speaks for."""
    peer = request.remote_addr or ""
    if not peer or peer in services.settings.trusted_proxies:
        # What the proxy itself appended; anybody may have written what stands before it.
        return request.headers.get("X-Forwarded-For", peer).rpartition(",")[2].strip()
    return peer
