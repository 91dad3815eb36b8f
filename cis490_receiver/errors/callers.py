"""Who asks, and may not."""

from __future__ import annotations

from cis490_receiver.errors.base import ReceiverError


class MissingToken(ReceiverError):
    code = "missing-bearer-token"
    default_message = "missing bearer token"
    what_to_do = (
        "Send `Authorization: Bearer TOKEN`; the maintainer makes a token with `cis490-receiver token add`."
    )


class BadToken(ReceiverError):
    code = "bad-bearer-token"
    default_message = "bad bearer token"
    what_to_do = (
        "Compare the token with the one that the maintainer handed out; it may have expired or been "
        "revoked, and then a new one is needed."
    )


class ScopeMissing(ReceiverError):
    """The token is good, and not for this."""

    code = "scope-missing"
    default_message = "this token may not do this"
    what_to_do = "Use a token that has the scope which `scope` names, or ask the maintainer for one."


class HostMismatch(ReceiverError):
    """Somebody who was let in names a host that is not theirs."""

    code = "host-mismatch"
    default_message = "this is another host's"
    what_to_do = (
        "Ship under the host id that the token and the certificate were made for, as `remediation` says."
    )


class TooManyTries(ReceiverError):
    """A client, or all of them together, failed to sign in too often."""

    code = "too-many-tries"
    default_message = "too many failed tries to sign in; wait ten seconds, then try again"
    what_to_do = (
        "Wait for as many seconds as `Retry-After` says, then sign in with the right token, or by a new link."
    )


class ForeignForm(ReceiverError):
    """A form came that is of no page that was shown in this session: somebody else's page may have sent it."""

    code = "foreign-form"
    default_message = "this form is out of date or of another site; load the page again, then send it again"
    what_to_do = (
        "Load the page again in the browser, and send the form from there; only the receiver's own pages may."
    )
