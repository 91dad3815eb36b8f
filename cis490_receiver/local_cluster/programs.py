"""The programs that a cluster is made of, where they are installed."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from cis490_receiver.errors import ConfigError

_POSTGRES: Final = Path("/usr/lib/postgresql")
_OLDEST: Final = 15


@dataclass(frozen=True, slots=True)
class Programs:
    """Attributes:
    postgres: the folder of PostgreSQL's programs.
    """

    postgres: Path
    haproxy: str
    weed: str

    @classmethod
    def find(cls) -> Self:
        """Find them.

        Raises:
            ConfigError: one is missing; the message says how to install it.
        """
        versions = sorted(
            (int(path.name) for path in _POSTGRES.glob("[0-9]*") if (path / "bin/postgres").exists()),
            reverse=True,
        )
        search = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
        haproxy = shutil.which("haproxy", path=search)
        weed = shutil.which("weed", path=str(Path(sys.executable).parent)) or shutil.which("weed")
        missing = [
            *(["postgresql"] if not versions or versions[0] < _OLDEST else []),
            *(["haproxy"] if haproxy is None else []),
        ]
        if missing:
            raise ConfigError(
                f"--cluster needs {' and '.join(missing)}; on Debian or Ubuntu: sudo apt-get install "
                f"--no-install-recommends {' '.join(missing)}"
            )
        if weed is None:
            raise ConfigError("--cluster needs SeaweedFS; run: pip install 'cis490-receiver[local-cluster]'")
        assert haproxy is not None
        return cls(_POSTGRES / str(versions[0]) / "bin", haproxy, weed)
