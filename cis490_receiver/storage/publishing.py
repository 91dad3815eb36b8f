"""The step that makes an episode visible, and the one that does it over."""

from __future__ import annotations

import os
from pathlib import Path

from cis490_receiver.models import EpisodeKey
from cis490_receiver.storage import linking, traces
from cis490_receiver.storage.folders import HostFolders


class Publisher:
    """Gives files of the folder `incoming` their final names in the folders of `hosts`."""

    def __init__(self, incoming: Path, hosts: HostFolders) -> None:
        self.incoming = incoming
        self.hosts = hosts
        self._prefix = f"{incoming}{os.sep}"

    def path_of(self, name: str) -> str:
        """The path of ``incoming/<name>``."""
        return self._prefix + name

    def publish(self, source: str, key: EpisodeKey) -> bool:
        """Name ``incoming/<source>`` and sync the folder; False when the name is taken."""
        with self.hosts.for_writing(key.host_id) as folder:
            try:
                linking.link_no_clobber(self.path_of(source), key.file_name, folder)
            except FileExistsError:
                return False
            os.fsync(folder)
            return True

    def publish_anew(self, trace: str, key: EpisodeKey) -> bool:
        """Take the name of `key` from the file that left `trace`, and give it back. The caller holds the file,
        and it is in no index."""
        source = trace.removesuffix(linking.MARKER_SUFFIX)
        with self.hosts.existing(key.host_id) as folder:
            if source == trace:
                os.unlink(key.file_name, dir_fd=folder)
            else:
                os.rename(key.file_name, self.incoming / source, src_dir_fd=folder)
        return self.publish(source, key)

    def settle(self, key: EpisodeKey, inode: int) -> None:
        """Remove what an upload of `key`, published as the file `inode`, left in ``incoming/``."""
        traces.drop(self.incoming, key, inode)
