"""An episode's PUT, past Flask's dispatch.

Of the CPU time that HTTP costs a small episode, a third was Flask's: two contexts, the router, signals and hooks,
none of which a PUT needs (docs/performance.md). So the one request that comes by the thousand is recognised by its
method and the two ends of its path, and is handed to the same function that Flask's route calls, with the same
checks before it and the same answers after it. Without this module everything works as it does with it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from flask import Response
from werkzeug.wrappers import Request

from cis490_receiver.protocol import EPISODE_SUFFIX
from cis490_receiver.views import body, episodes, errors, framing
from cis490_receiver.views.wiring import Services

_PREFIX: Final = "/v1/episodes/"


class Intake:
    """A WSGI application around Flask's."""

    def __init__(self, services: Services, flask_application: Any) -> None:
        self._services = services
        self._flask_application = flask_application

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """See PEP 3333."""
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "PUT" or not (
            path.startswith(_PREFIX) and path.endswith(EPISODE_SUFFIX)
        ):
            return self._flask_application(environ, start_response)  # type: ignore[no-any-return]
        request = Request(environ)
        response = body.spare_the_answer(request, self._put(request))
        return response(environ, start_response)

    def _put(self, request: Request) -> Response:
        try:
            framing.check(request)
            return episodes.put_episode(self._services, request, request.path.removeprefix(_PREFIX))
        except Exception as exc:
            return errors.answer_any(exc)
