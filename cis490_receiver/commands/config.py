"""``cis490-receiver config``: the configuration in force."""

from __future__ import annotations

from cis490_receiver.config import TABLE, load_with_sources
from cis490_receiver.configuration.explain import config_command

command = config_command(TABLE, load_with_sources)
