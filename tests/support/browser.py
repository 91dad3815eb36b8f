"""Headless Chromium (Debian's, with its driver), and axe, which looks for what keeps people out of a page."""

from __future__ import annotations

import base64
import contextlib
import fcntl
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.common.exceptions import WebDriverException
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = "/usr/bin/chromium"
DRIVER = "/usr/bin/chromedriver"
AXE_VERSION = "4.14.1"
PHONE = (390, 844)
DESK = (1280, 900)
WAIT_SECONDS = 20
#: It may run as root, and asks nothing of the world.
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--hide-scrollbars",
    "--lang=en",
)  # fmt: skip


def axe_source() -> str:
    """axe-core, fetched once by npm into the user's cache."""
    cache = (
        Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
        / "cis490-receiver"
        / f"axe-{AXE_VERSION}"
    )
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not script.exists():
            subprocess.run(
                ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(cache),
                 f"axe-core@{AXE_VERSION}"],
                check=True, stdout=subprocess.DEVNULL,
            )  # fmt: skip
    return script.read_text(encoding="utf-8")


class Browser:
    """One Chromium with a profile of its own."""

    def __init__(self, driver: webdriver.Chrome, base: str) -> None:
        self.driver = driver
        self.base = base

    def open(self, path: str) -> None:
        """Load a page of the receiver."""
        self.driver.get(self.base + path)

    @property
    def path(self) -> str:
        """Where it is, without the receiver's own address."""
        return str(self.driver.current_url).removeprefix(self.base)

    def find(self, selector: str) -> WebElement:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[WebElement]:
        return list(self.driver.find_elements(By.CSS_SELECTOR, selector))

    def texts(self, selector: str) -> list[str]:
        """The texts of all elements that fit, at once."""
        script = (
            "return [...document.querySelectorAll(arguments[0])].map((element) => element.innerText.trim())"
        )
        return list(self.driver.execute_script(script, selector))

    def wait(self, ready: Callable[[], Any]) -> Any:
        """Until `ready` gives something. Where a page gives way to the next one, nothing can be asked for a moment."""
        waiting = WebDriverWait(
            self.driver, WAIT_SECONDS, poll_frequency=0.05, ignored_exceptions=(WebDriverException,)
        )
        return waiting.until(lambda _: ready())

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def sign_in(self, token: str) -> None:
        """By the form."""
        self.open("/sign-in")
        self.find("input[name=token]").send_keys(token)
        self.find("button.main").click()
        self.wait(lambda: not self.path.startswith("/sign-in"))

    def size(self, width: int, height: int, *, phone: bool = False) -> None:
        """The window's content, or a phone's screen."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": phone},
        )

    def prefer(self, **features: str) -> None:
        """What the reader prefers, such as ``color_scheme="dark"``."""
        given = [
            {"name": f"prefers-{name.replace('_', '-')}", "value": value} for name, value in features.items()
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": given})

    def without_scripts(self) -> None:
        """From the next page on."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})

    def complaints(self) -> list[str]:
        """What it wrote to its console since it was asked last, and what axe finds on this page."""
        found = [str(entry["message"]) for entry in self.driver.get_log("browser")]
        self.driver.execute_script(axe_source())
        result = self.driver.execute_async_script("axe.run().then(arguments[arguments.length - 1])")
        for violation in result["violations"]:
            nodes = violation["nodes"][:3]
            found += [
                f"axe {violation['id']}: {node['html'][:120]}: {node['failureSummary']}" for node in nodes
            ]
        return found

    def is_too_wide(self) -> bool:
        """Whether the page has to be scrolled sideways."""
        return bool(self.run("return document.documentElement.scrollWidth > window.innerWidth"))

    def picture(self, *, whole: bool = False, height_limit: int = 2400) -> bytes:
        """A PNG of what is seen, or of the `whole` page, at most `height_limit` pixels of it."""
        if not whole:
            return bytes(self.driver.get_screenshot_as_png())
        width, height = self.run("return [window.innerWidth, document.documentElement.scrollHeight]")
        clip = {"x": 0, "y": 0, "width": width, "height": min(height, height_limit), "scale": 1}
        shot = self.driver.execute_cdp_cmd(
            "Page.captureScreenshot", {"format": "png", "captureBeyondViewport": True, "clip": clip}
        )
        return base64.b64decode(shot["data"])


@contextlib.contextmanager
def browser(base: str) -> Iterator[Browser]:
    """A browser, ended with everything of it."""
    options = Options()
    options.binary_location = CHROMIUM
    for flag in _FLAGS:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    try:
        started = Browser(driver, base)
        started.size(*DESK)
        yield started
    finally:
        driver.quit()
