"""Browser sessions: a signed cookie that says by which token somebody signed in, and when.

Nothing is kept of a session, so any worker and any restart understands it. It names its token by digest, the fleet's
by a mark that needs the key, and is good as long as that token is.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass
from typing import Final

from itsdangerous import BadSignature, URLSafeSerializer

from cis490_receiver.errors import BadToken
from cis490_receiver.policy.auth import Authenticator, Principal
from cis490_receiver.state.base.tokens import Token

LIFETIME_SECONDS: Final = 12 * 3600
#: How far the clock may have been set back since.
_CLOCK_SECONDS: Final = 300


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody who signed in."""

    principal: Principal
    #: Ties the forms of its pages to it.
    form_token: str


class Sessions:
    """Makes and reads cookies."""

    def __init__(self, key: bytes, authenticator: Authenticator) -> None:
        self._key = key
        self._authenticator = authenticator
        self._serializer = URLSafeSerializer(
            key, salt="cis490-session", signer_kwargs={"digest_method": hashlib.sha256}
        )

    def make(self, token: Token | None, now_ns: int) -> str:
        """A cookie for who presented `token`, None for the fleet's."""
        signed_by = token.sha256 if token else self._fleet_mark()
        return str(self._serializer.dumps([signed_by, now_ns // 10**9, secrets.token_hex(8)]))

    def read(self, cookie: str, now_ns: int) -> Session | None:
        """Whose `cookie` it is; None when it is none, too old, or its token is not good any more."""
        try:
            signed_by, made, nonce = self._serializer.loads(cookie)
            if not -_CLOCK_SECONDS <= now_ns // 10**9 - made < LIFETIME_SECONDS:
                return None
            if hmac.compare_digest(signed_by, self._fleet_mark()):
                return Session(Principal(None, None), self.form_token(nonce))
            token = self._authenticator.identify(bytes.fromhex(signed_by))
        except (BadSignature, BadToken, ValueError, TypeError):
            return None
        return Session(Principal(token, None), self.form_token(nonce))

    def form_token(self, nonce: str) -> str:
        """What the forms of a page carry."""
        return hmac.new(self._key, b"form " + nonce.encode("ascii"), hashlib.sha256).hexdigest()[:32]

    def _fleet_mark(self) -> str:
        """Stands for the fleet's token, which people may have chosen: no digest of it leaves the receiver."""
        fleet = self._authenticator.fleet_digest or b"none"
        return "fleet " + hmac.new(self._key, b"token " + fleet, hashlib.sha256).hexdigest()[:32]
