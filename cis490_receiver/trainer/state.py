"""What a mirror remembers from one run to the next, in ``DIR/mirror.json``. It may be deleted: the next run then looks
at everything again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

from cis490_receiver import i_json
from cis490_receiver.files import atomic

STATE_FILE: Final = "mirror.json"


class State:
    """The state of the mirror in one folder, whose lock the caller holds."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / STATE_FILE

    def read(self) -> dict[str, Any]:
        """All of it; nothing where it is absent or cannot be read."""
        try:
            found = i_json.loads(self._path.read_bytes())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write(self, **changes: Any) -> None:
        """Change some of it. After a crash it is what it was, or the new one."""
        atomic.replace_file(self._path, json.dumps(self.read() | changes).encode("ascii"))
