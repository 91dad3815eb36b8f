"""Requests to an object store that obstore does not make, such as for the rules of a bucket.

Signed as *Amazon S3 API Reference* says, *Authenticating Requests: Using the Authorization Header (AWS Signature
Version 4)*; the bucket is in the path.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import hmac
import http.client
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, urlsplit

from cis490_receiver.errors import StoreUnavailable
from cis490_receiver.storage.object_client import ObjectsConfig

#: No answer that is asked for here is longer, in bytes.
_LONGEST: Final = 4 << 20
_ENVIRONMENT: Final = {
    "access_key_id": "AWS_ACCESS_KEY_ID",
    "secret_access_key": "AWS_SECRET_ACCESS_KEY",
    "token": "AWS_SESSION_TOKEN",
}
_NOTHING: Final[Mapping[str, str]] = {}


class NoKeys(StoreUnavailable):
    """The keys come from where only obstore finds them, such as the machine's role."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the store said, whatever its status is. Names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def is_good(self) -> bool:
        """Whether it is a 2xx."""
        return 200 <= self.status < 300


class SignedRequests:
    """Requests about one bucket and its objects, each on a connection of its own."""

    def __init__(self, config: ObjectsConfig, *, seconds: float) -> None:
        """`seconds`: how long each step of a request may take."""
        self._config = config
        self._seconds = seconds
        options = config.options
        region = options.get("region", "us-east-1")
        self._region = region
        self._endpoint = urlsplit(options.get("endpoint") or f"https://s3.{region}.amazonaws.com")

    def send(
        self,
        method: str,
        object_key: str = "",
        query: Mapping[str, str] = _NOTHING,
        body: bytes = b"",
        headers: Mapping[str, str] = _NOTHING,
    ) -> Answer:
        """Send one request about an object, or without `object_key` about the bucket.

        Raises:
            NoKeys: it cannot be signed.
            StoreUnavailable: there was no answer.
        """
        path = quote(
            f"{self._endpoint.path.rstrip('/')}/{self._config.bucket}" + (object_key and f"/{object_key}")
        )
        text = "&".join(
            f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in sorted(query.items())
        )
        signed = self._signed(method, path, text, body, headers)
        kind = http.client.HTTPSConnection if self._endpoint.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._endpoint.netloc, timeout=self._seconds)
        try:
            with contextlib.closing(connection):
                connection.request(method, f"{path}?{text}" if text else path, body=body, headers=signed)
                answer = connection.getresponse()
                names = {name.lower(): value for name, value in answer.getheaders()}
                return Answer(answer.status, names, answer.read(_LONGEST))
        except (OSError, http.client.HTTPException) as exc:
            raise StoreUnavailable from exc

    def _signed(
        self, method: str, path: str, query: str, body: bytes, headers: Mapping[str, str]
    ) -> dict[str, str]:
        keys = self._keys()
        now = dt.datetime.now(dt.UTC).strftime("%Y%m%dT%H%M%SZ")
        named = {name.lower(): value for name, value in headers.items()}
        named |= {
            "host": self._endpoint.netloc,
            "x-amz-content-sha256": hashlib.sha256(body).hexdigest(),
            "x-amz-date": now,
        }
        if keys["token"]:
            named["x-amz-security-token"] = keys["token"]
        names = ";".join(sorted(named))
        lines = "".join(f"{name}:{named[name].strip()}\n" for name in sorted(named))
        canonical = "\n".join([method, path, query, lines, names, named["x-amz-content-sha256"]])
        scope = f"{now[:8]}/{self._region}/s3/aws4_request"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        key = f"AWS4{keys['secret_access_key']}".encode()
        for part in (now[:8], self._region, "s3", "aws4_request"):
            key = _hmac(key, part)
        signature = _hmac(key, to_sign).hex()
        credential = f"Credential={keys['access_key_id']}/{scope}"
        authorization = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={names}, Signature={signature}"
        return {**named, "authorization": authorization}

    def _keys(self) -> dict[str, str]:
        keys = {
            name: self._config.options.get(name) or os.environ.get(variable, "")
            for name, variable in _ENVIRONMENT.items()
        }
        if not keys["access_key_id"] or not keys["secret_access_key"]:
            raise NoKeys from ValueError("there are no keys in objects_credentials_file or the AWS variables")
        return keys


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
