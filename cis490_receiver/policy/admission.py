"""Everything that a PUT's head decides, in the contract's order. The first rule that fails answers."""

from __future__ import annotations

from collections.abc import Callable

from cis490_receiver import protocol
from cis490_receiver.config import Settings
from cis490_receiver.models import EpisodeKey, Upload
from cis490_receiver.policy import headers as rules
from cis490_receiver.policy.gate import VersionGate
from cis490_receiver.policy.quota import check_reserve
from cis490_receiver.stamps import DECLARED


def admit(
    key: EpisodeKey,
    headers: rules.Headers,
    *,
    settings: Settings,
    gate: VersionGate | None,
    free_bytes: Callable[[], int | None],
) -> Upload:
    """Check steps 3 to 8 of "PUT an episode".

    Returns:
        What the head announces.

    Raises:
        ReceiverError: the first rule that does not hold.
    """
    sha256 = rules.content_sha256(headers)
    schema_version = rules.schema_version(headers)
    commit = admitted_commit(headers, gate)
    stamps = rules.stamps(headers, schema_version, commit)
    size_bytes = rules.body_length(headers, settings.max_episode_bytes)
    check_reserve(free_bytes(), size_bytes or 0, settings.disk_reserve_bytes)
    return Upload(key, sha256, stamps, size_bytes)


def admitted_commit(headers: rules.Headers, gate: VersionGate | None) -> str | None:
    """The commit that the episode is recorded with: checked by the gate, or, with no gate, whatever is
    well formed.

    Raises:
        ReceiverError: the gate refuses it.
    """
    commit = rules.code_commit(headers)
    if gate is not None:
        return gate.check(commit)
    return commit if commit is not None and protocol.is_commit(commit) else None


def preflight(
    headers: rules.Headers,
    *,
    settings: Settings,
    gate: VersionGate | None,
    free_bytes: Callable[[], int | None],
) -> None:
    """Check what a PUT with these headers would be refused for, as far as they were given: a ping has
    neither a name nor a body.

    Raises:
        ReceiverError: the first rule that does not hold.
    """
    if protocol.HEADER_SHA256 in headers:
        rules.content_sha256(headers)
    rules.schema_version(headers)
    admitted_commit(headers, gate)
    check_reserve(free_bytes(), 0, settings.disk_reserve_bytes)


def is_preflight(headers: rules.Headers) -> bool:
    """Whether a ping carries any header of a PUT."""
    return any(
        name in headers for name in (protocol.HEADER_SHA256, *(declared.header for declared in DECLARED))
    )
