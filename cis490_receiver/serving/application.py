"""gunicorn as a part of this program, where no command line of its own starts it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from gunicorn.app.base import Application

#: Run as a file, so that a reload (SIGHUP) reads the configuration again.
_SETTINGS_FILE: Final = Path(__file__).with_name("gunicorn_conf.py")


class Server(Application):
    """What ``gunicorn -c etc/gunicorn.conf.py APPLICATION`` is, signals and reloads included."""

    def __init__(self, load: Callable[[], Any], when_ready: Callable[[str], None]) -> None:
        """Serve what `load` gives. `when_ready` is told the address once it is listened on.

        Raises:
            SystemExit: the configuration cannot be used, which was said.
        """
        self._load = load
        self._when_ready = when_ready
        super().__init__()

    def load_config(self) -> None:
        """See `BaseApplication.load_config`; neither sys.argv nor a file in the working folder has a say."""
        settings = self.load_config_from_file(str(_SETTINGS_FILE))
        when_ready = settings["when_ready"]

        def tell(server: Any) -> None:
            when_ready(server)
            # What is told is no reason not to serve: nobody may read standard output.
            with contextlib.suppress(OSError):
                self._when_ready(str(server.LISTENERS[0]).removeprefix("http://"))

        self.cfg.set("when_ready", tell)

    def load(self) -> Any:
        """See `BaseApplication.load`."""
        return self._load()
