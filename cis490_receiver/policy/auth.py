"""The bearer token (RFC 6750)."""

from __future__ import annotations

import hashlib
import hmac

from cis490_receiver.errors import BadToken, MissingToken


def check_bearer(authorization: str | None, token: str | None) -> None:
    """Let a request through when `authorization` (the header as WSGI gives it: bytes as Latin-1)
    presents `token`. With no token configured everything passes.

    Digests are compared, as bytes: the time tells neither the token's length nor how much of it was
    right, and a header of any bytes at all is merely wrong.

    Raises:
        MissingToken: no header, or another scheme than Bearer.
        BadToken: another token.
    """
    if token is None:
        return
    scheme, _, presented = (authorization or "").strip().partition(" ")
    if scheme.lower() != "bearer" or not presented.strip():
        raise MissingToken
    if not hmac.compare_digest(_digest(presented.strip(), "latin-1"), _digest(token, "utf-8")):
        raise BadToken


def _digest(text: str, encoding: str) -> bytes:
    return hashlib.sha256(text.encode(encoding, "replace")).digest()
