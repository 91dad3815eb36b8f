"""The lifecycle rules of a bucket, and whether they would eat episodes (*Amazon S3 API Reference*,
GetBucketLifecycleConfiguration)."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Final

from cis490_receiver.errors import StorageFailed
from cis490_receiver.storage.signed_requests import SignedRequests

#: Classes from which an object cannot be read without waiting for hours (*Amazon S3 User Guide*, storage classes).
_ARCHIVES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})


def harmful_rules(requests: SignedRequests, prefix: str, longest_upload_seconds: int) -> list[str]:
    """What rules do, each in a few words, that delete objects below `prefix`, or put them where they cannot be read, or
    abort uploads that may be under way.

    Raises:
        StorageFailed: the store does not tell.
    """
    answer = requests.send("GET", query={"lifecycle": ""})
    if answer.status == 404 and b"NoSuchLifecycleConfiguration" in answer.body:
        return []
    if not answer.is_good:
        raise StorageFailed from ValueError(
            f"asked for the rules of the bucket, the store answers {answer.status}"
        )
    try:
        root = ET.fromstring(answer.body)  # noqa: S314 - of the store that has the episodes
    except ET.ParseError as exc:
        raise StorageFailed from exc
    _forget_namespaces(root)
    if root.tag != "LifecycleConfiguration":
        raise StorageFailed from ValueError(
            "asked for the rules of the bucket, the store answers something else"
        )
    below = f"{prefix}/" if prefix else ""
    return [
        f"the rule {rule.findtext('ID') or 'without a name'} {harm}"
        for rule in root.findall("Rule")
        if rule.findtext("Status") == "Enabled" and _concerns(rule, below)
        for harm in _harms(rule, longest_upload_seconds)
    ]


def _forget_namespaces(root: ET.Element) -> None:
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]


def _concerns(rule: ET.Element, below: str) -> bool:
    """Whether it is about any object whose name begins with `below`. Ours have no tags."""
    if rule.find("Filter/Tag") is not None or rule.find("Filter/And/Tag") is not None:
        return False
    prefixes = [rule.findtext(path) for path in ("Filter/Prefix", "Filter/And/Prefix", "Prefix")]
    prefix = next((found for found in prefixes if found), "")
    return prefix.startswith(below) or below.startswith(prefix)


def _harms(rule: ET.Element, longest_upload_seconds: int) -> Iterator[str]:
    days, date = rule.findtext("Expiration/Days"), rule.findtext("Expiration/Date")
    if days or date:
        yield f"deletes objects after {days} days" if days else f"deletes objects on {date}"
    for transition in rule.findall("Transition"):
        name = transition.findtext("StorageClass") or ""
        if name in _ARCHIVES:
            yield f"moves objects to {name}, from where they cannot be read"
    aborts = rule.findtext("AbortIncompleteMultipartUpload/DaysAfterInitiation")
    if aborts and aborts.isdigit() and int(aborts) * 86400 < longest_upload_seconds:
        yield f"aborts uploads after {aborts} days, which may take {longest_upload_seconds / 86400:.1f}"
