"""Names from a URL: checked before they touch a path."""

from __future__ import annotations

from cis490_receiver import protocol
from cis490_receiver.errors import BadEpisodeName, BadSuffix, NotFound
from cis490_receiver.models import EpisodeKey


def uploaded_key(path: str) -> EpisodeKey:
    """The episode that a PUT to ``/v1/episodes/<path>`` names. `path` is percent-decoded.

    Raises:
        BadSuffix: it does not end in ``.tar.zst``.
        BadEpisodeName: it is not ``<host_id>/<episode_id>.tar.zst`` with two valid ids.
    """
    if not path.endswith(protocol.EPISODE_SUFFIX):
        raise BadSuffix
    key = _parse(path)
    if key is None:
        raise BadEpisodeName
    return key


def stored_key(path: str) -> EpisodeKey:
    """The episode that a GET or HEAD of ``/v1/episodes/<path>`` names.

    Raises:
        NotFound: nothing can be stored under such a name.
    """
    key = _parse(path) if path.endswith(protocol.EPISODE_SUFFIX) else None
    if key is None:
        raise NotFound
    return key


def _parse(path: str) -> EpisodeKey | None:
    host_id, _, name = path.partition("/")
    episode_id = name.removesuffix(protocol.EPISODE_SUFFIX)
    if protocol.is_valid_id(host_id) and protocol.is_valid_id(episode_id):
        return EpisodeKey(host_id, episode_id)
    return None
