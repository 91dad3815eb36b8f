"""The object store, tried with some objects below ``<prefix>/.doctor/``, which are deleted at the end."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import hashlib
import re
import secrets
import statistics
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from typing import Final

from cis490_receiver.backends.doctor import Finding
from cis490_receiver.errors import StorageFailed
from cis490_receiver.page import size
from cis490_receiver.storage.lifecycle import harmful_rules
from cis490_receiver.storage.signed_requests import NoKeys, SignedRequests

FOLDER: Final = ".doctor"
#: How long a step of a request may take, in seconds.
REQUEST_SECONDS: Final = 10.0
_SMALL: Final = 64 << 10
_LARGE: Final = 16 << 20
_PART: Final = 5 << 20
_SMALL_TIMES: Final = 10
#: Signed requests are refused after some minutes more (*Authenticating Requests*, ``RequestTimeTooSkewed``).
_CLOCK_SECONDS: Final = 60


class ObjectsDoctor:
    """Tries the store that `requests` come to."""

    def __init__(
        self, requests: SignedRequests, named: Callable[[str], str], prefix: str, longest: int
    ) -> None:
        """`named` gives the whole name of an object below `prefix`. `longest`: how long an upload may take, in
        seconds."""
        self._requests = requests
        self._prefix = prefix
        self._folder = named(f"{FOLDER}/{secrets.token_hex(8)}")
        self._longest = longest
        self._made: list[str] = []

    def findings(self) -> Iterator[Finding]:
        """Everything, in turn; when the store cannot be used, that alone."""
        try:
            first = self._reachable()
            yield first
            if first.verdict != "ok":
                return
            for check in (
                self._listing,
                self._reading,
                self._tags,
                self._checksums,
                self._conditions,
                self._parts,
                self._lifecycle,
                self._versions,
                self._clock,
                self._speed,
            ):
                yield self._tried(check)
        finally:
            for name in self._made:
                with contextlib.suppress(StorageFailed):
                    self._requests.send("DELETE", name)

    def _tried(self, check: Callable[[], Finding]) -> Finding:
        try:
            return check()
        except StorageFailed as exc:
            name = check.__name__.strip("_").replace("_", " ")
            return Finding(f"store: {name}", "unknown", f"could not be found out: {exc.reason}")

    def _name(self, text: str) -> str:
        name = f"{self._folder}/{text}"
        self._made.append(name)
        return name

    def _reachable(self) -> Finding:
        name = "store: reachable"
        try:
            answer = self._requests.send("PUT", self._name("first"), body=b"first")
        except NoKeys:
            return Finding(
                name,
                "unknown",
                "this command needs keys of its own to ask, and finds none",
                "name a file of keys in objects_credentials_file",
            )
        except StorageFailed as exc:
            return Finding(
                name, "refused", f"it does not answer: {exc.reason}", "see that it runs, and the network"
            )
        if answer.is_good:
            return Finding(name, "ok", "an object can be written")
        code = re.search(rb"<Code>([A-Za-z]{1,64})</Code>", answer.body)
        why = code[1].decode() if code else f"status {answer.status}"
        return Finding(
            name,
            "refused",
            f"an object cannot be written: {why}",
            "see that the bucket is there, and that the keys may read, write, list and delete in it",
        )

    def _listing(self) -> Finding:
        name = "store: listing"
        first = f"{self._folder}/first"
        listed = self._listed()
        self._requests.send("DELETE", first)
        gone = self._requests.send("HEAD", first).status == 404
        if first not in listed:
            says = "an object that was just written is not listed; `collect --orphans` and `reindex` may miss some"
            return Finding(name, "weaker", says)
        if not gone or first in self._listed():
            says = "an object that was just deleted can be seen for a while; nothing rests on that"
            return Finding(name, "weaker", says)
        return Finding(name, "ok", "what is written and deleted is seen at once")

    def _listed(self) -> list[str]:
        answer = self._requests.send("GET", query={"list-type": "2", "prefix": f"{self._folder}/"})
        if not answer.is_good:
            raise StorageFailed from ValueError(f"it answers {answer.status} to a listing")
        return [
            text for element in _xml(answer.body).iter() if _tag(element) == "Key" and (text := element.text)
        ]

    def _reading(self) -> Finding:
        name = "store: reading"
        data = secrets.token_bytes(_SMALL)
        key = self._name("read")
        self._requests.send("PUT", key, body=data)
        if self._requests.send("GET", key).body != data:
            return Finding(name, "refused", "what was just written reads otherwise", "use another store")
        part = self._requests.send("GET", key, headers={"range": "bytes=100-199"})
        if part.status != 206 or part.body != data[100:200]:
            says = "it ignores ranges: each read of a part of an episode reads all before it"
            return Finding(name, "weaker", says)
        return Finding(name, "ok", "what is written can be read at once, in parts too")

    def _tags(self) -> Finding:
        data = secrets.token_bytes(1000)
        key = self._name("tag")
        tag = self._requests.send("PUT", key, body=data).headers.get("etag", "").strip('"')
        if tag == hashlib.md5(data, usedforsecurity=False).hexdigest():
            return Finding("store: entity tags", "ok", "made of what came, so they prove that every byte did")
        return Finding(
            "store: entity tags",
            "weaker",
            "not made of what came, as in an encrypted bucket: each episode is read back before it is acknowledged, "
            "which costs a read for each",
        )

    def _checksums(self) -> Finding:
        wrong = base64.b64encode(hashlib.sha256(b"something else").digest()).decode()
        headers = {"x-amz-checksum-sha256": wrong, "x-amz-sdk-checksum-algorithm": "SHA256"}
        answer = self._requests.send("PUT", self._name("sum"), body=b"what was sent", headers=headers)
        if answer.is_good:
            says = (
                "a wrong one is accepted; the receiver compares length and entity tag itself, or reads back"
            )
            return Finding("store: checksums", "weaker", says)
        return Finding("store: checksums", "ok", "a wrong one is refused")

    def _conditions(self) -> Finding:
        key = self._name("once")
        headers = {"if-none-match": "*"}
        answers = [self._requests.send("PUT", key, body=b"x", headers=headers).status for _ in range(2)]
        says = "honoured" if answers == [200, 412] else "not honoured"
        return Finding("store: conditions", "ok", f"{says}; nothing rests on them: no name is used twice")

    def _parts(self) -> Finding:
        name = "store: uploads in parts"
        key = self._name("parts")
        began = self._requests.send("POST", key, query={"uploads": ""})
        upload = next((e.text for e in _xml(began.body).iter() if _tag(e) == "UploadId"), None)
        if not began.is_good or upload is None:
            return Finding(
                name, "refused", f"it answers {began.status}: no large episode can be stored", "use another"
            )
        query = {"partNumber": "1", "uploadId": upload}
        try:
            self._requests.send("PUT", key, query=query, body=bytes(_PART))
            is_seen = self._requests.send("HEAD", key).is_good
        finally:
            aborted = self._requests.send("DELETE", key, query={"uploadId": upload})
        if is_seen or self._requests.send("HEAD", key).is_good:
            says = "one that is not complete can be seen; nothing rests on that: an episode has a row only when it is"
            return Finding(name, "weaker", says)
        left = self._requests.send("PUT", key, query=query, body=b"x").is_good
        if not aborted.is_good or left:
            says = "one that is aborted goes on; what failed uploads leave takes room for ever"
            return Finding(name, "weaker", says, "set a rule AbortIncompleteMultipartUpload of 8 days")
        return Finding(name, "ok", "nothing of one is seen before it is complete, and an aborted one is gone")

    def _lifecycle(self) -> Finding:
        rules = harmful_rules(self._requests, self._prefix, self._longest)
        if rules:
            says = f"{'; '.join(rules)}: acknowledged episodes would be lost, and no receiver starts"
            return Finding(
                "store: lifecycle", "refused", says, "delete the rule, or use a bucket without any"
            )
        return Finding("store: lifecycle", "ok", "no rule deletes or hides an episode")

    def _versions(self) -> Finding:
        answer = self._requests.send("GET", query={"versioning": ""})
        on = answer.is_good and b"<Status>Enabled</Status>" in answer.body
        says = (
            "kept: what is deleted by mistake can be brought back, and what failed uploads leave takes room"
            if on
            else "not kept: what somebody deletes in the bucket is gone"
        )
        return Finding("store: old versions", "ok", says)

    def _clock(self) -> Finding:
        name = "store: clock"
        before = time.time()
        told = email.utils.parsedate_to_datetime(
            self._requests.send("HEAD", self._name("clock")).headers["date"]
        )
        off = told.timestamp() - (before + time.time()) / 2
        if abs(off) < _CLOCK_SECONDS:
            return Finding(name, "ok", f"within {max(1, round(abs(off)))} s of this machine's")
        return Finding(
            name,
            "weaker",
            f"{round(abs(off))} s {'ahead of' if off > 0 else 'behind'} this machine's; at 900 s requests are refused",
            "set the clocks by NTP",
        )

    def _speed(self) -> Finding:
        data, seconds = secrets.token_bytes(_SMALL), []
        for number in range(_SMALL_TIMES):
            began = time.perf_counter()
            self._requests.send("PUT", self._name(f"small-{number}"), body=data)
            seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
        self._requests.send("PUT", self._name("large"), body=bytes(_LARGE))
        rate = _LARGE / (time.perf_counter() - began)
        each = statistics.median(seconds) * 1000
        return Finding("store: speed", "ok", f"{each:.0f} ms for 64 KiB, {size(rate)}/s for {size(_LARGE)}")


def _xml(text: bytes) -> ET.Element:
    try:
        return ET.fromstring(text)  # noqa: S314 - of the store that has the episodes
    except ET.ParseError as exc:
        raise StorageFailed from exc


def _tag(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]
