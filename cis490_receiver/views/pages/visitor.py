"""Who looks at a page, and whether a form that comes was on one of theirs."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

from werkzeug.wrappers import Request

from cis490_receiver.errors import (
    BadRequest,
    EpisodeTooLarge,
    ForeignForm,
    MissingToken,
    ScopeMissing,
)
from cis490_receiver.policy.auth import Principal
from cis490_receiver.views.body import read_whole
from cis490_receiver.views.wiring import Services, authenticate, session_of

#: What a form may have.
_FORM_BYTES: Final = 16 << 10
_FORM_FIELDS: Final = 20


@dataclass(frozen=True, slots=True)
class Visitor:
    """Somebody who may see the pages."""

    principal: Principal
    #: Stands in every form; without it a form is not taken.
    form_token: str
    #: Whether there is a session to end.
    signed_in: bool

    @property
    def may_change(self) -> bool:
        """Whether mutes and the like are theirs to set."""
        try:
            self.principal.require("admin")
        except ScopeMissing:
            return False
        return True

    @property
    def name(self) -> str:
        """Whose token it is."""
        return self.principal.token.name if self.principal.token else "the fleet's token"


def visitor_of(services: Services, request: Request) -> Visitor:
    """Who asks for a page.

    Raises:
        MissingToken, BadToken: nobody who may come in.
        ScopeMissing: somebody who may not read.
    """
    session = session_of(services, request)
    if session is not None:
        visitor = Visitor(session.principal, session.form_token, signed_in=True)
    elif request.method == "POST" and not services.authenticator.is_open:
        raise MissingToken
    else:
        visitor = Visitor(authenticate(services, request), services.sessions.form_token("open"), False)
    visitor.principal.require("read")
    return visitor


def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that one of our own pages sent.

    Raises:
        ForeignForm: another site's page sent it (the browser says so).
        BadRequest: it is none, or too large.
        ReceiverError: it did not come whole.
    """
    if request.mimetype != "application/x-www-form-urlencoded":
        raise BadRequest("send a form (application/x-www-form-urlencoded)")
    try:
        text = read_whole(request, _FORM_BYTES).decode("utf-8")
        fields = parse_qsl(text, keep_blank_values=True, max_num_fields=_FORM_FIELDS)
    except (EpisodeTooLarge, ValueError):
        raise BadRequest("this form is too large, or none") from None
    check_origin(request)
    return dict(fields)


def check_origin(request: Request) -> None:
    """Raises:
    ForeignForm: the browser says that a page of another site sent `request`.
    """
    site = request.headers.get("Sec-Fetch-Site", "same-origin")
    origin = request.headers.get("Origin")
    if site not in ("same-origin", "none") or (
        # Where no page may tell who sent it, the browser says null; Sec-Fetch-Site has spoken then.
        origin not in (None, "null") and urlsplit(origin).netloc != request.host
    ):
        raise ForeignForm


def read_own_form(services: Services, request: Request) -> dict[str, str]:
    """A form that changes something, sent by somebody who may.

    Raises:
        ReceiverError: it is none of ours, or they may not.
    """
    visitor = visitor_of(services, request)
    form = read_form(request)
    if not hmac.compare_digest(form.get("form_token", "").encode(), visitor.form_token.encode()):
        raise ForeignForm
    visitor.principal.require("admin")
    return form
