"""See bin/screenshots."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests.support import fleet  # noqa: E402
from tests.support.browser import Browser, browser  # noqa: E402
from tests.support.receiver import TOKEN, Receiver  # noqa: E402

TARGET = ROOT / "docs" / "screenshots"
SICK = (
    fleet.REFUSED,
    fleet.SILENT,
    fleet.GONE,
    fleet.UNSTAMPED,
    fleet.FAILING,
    fleet.AGING,
    fleet.MUTED,
    fleet.RETIRED,
)
WIDTH, HEIGHT = 1200, 860
PHONE = (390, 844)


def pages(members: list[fleet.Member]) -> dict[str, str]:
    """Name of a picture and path of its page."""
    refused = next(member.host_id for member in members if member.kind == fleet.REFUSED)
    return {"fleet": "/", "host": f"/hosts/{refused}", "alerts": "/alerts", "data": "/data", "api": "/docs"}


def take(look: Browser, name: str, path: str) -> None:
    """The page at `path`, light and dark."""
    for scheme in ("light", "dark"):
        look.prefer(color_scheme=scheme)
        look.open(path)
        (TARGET / f"{name}-{scheme}.png").write_bytes(look.picture())


def main() -> None:
    """Make all of them."""
    TARGET.mkdir(exist_ok=True)
    members = fleet.members(60, SICK)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        fleet.make(folder / "data", members, time.time_ns(), days=40)
        receiver = Receiver(folder / "data", folder / "receiver.log", gate_enabled="true")
        receiver.start()
        try:
            with browser(f"http://127.0.0.1:{receiver.port}") as look:
                look.size(WIDTH, HEIGHT)
                take(look, "sign-in", "/sign-in")
                look.sign_in(TOKEN)
                for picture, path in pages(members).items():
                    take(look, picture, path)
                look.size(*PHONE, phone=True)
                take(look, "fleet-phone", "/")
        finally:
            receiver.end()
    for path in sorted(TARGET.glob("*.png")):
        if shutil.which("pngquant"):
            # A third of the size, and no difference that a person sees.
            subprocess.run(
                ["pngquant", "--force", "--skip-if-larger", "--strip", "--output", path, "128", path],
                check=False,
            )
        print(path.relative_to(ROOT))


if __name__ == "__main__":
    main()
