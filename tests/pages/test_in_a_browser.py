"""What a person sees, in headless Chromium."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from tests.support import fleet
from tests.support.archives import make_episode
from tests.support.browser import PHONE, Browser, browser
from tests.support.receiver import TOKEN, running

pytestmark = pytest.mark.slow


def test_signing_in_leads_where_one_wanted_to_go(look: Browser, members: dict[str, str]) -> None:
    look.open(f"/hosts/{members[fleet.SILENT]}")
    assert look.path.startswith("/sign-in")
    assert look.complaints() == []
    look.find("input[name=token]").send_keys("wrong")
    look.find("button.main").click()
    look.wait(lambda: look.all("[role=alert]"))
    assert "no token of this receiver" in look.find("[role=alert]").text
    look.run("console.clear()")
    look.find("input[name=token]").send_keys(TOKEN)
    look.find("button.main").click()
    look.wait(lambda: look.path == f"/hosts/{members[fleet.SILENT]}")
    assert TOKEN not in look.driver.page_source
    look.find(".leave button").click()
    look.wait(lambda: look.path == "/sign-in")
    look.open("/")
    assert look.path.startswith("/sign-in")


def test_of_200_hosts_the_three_sick_ones_stand_first(look: Browser, members: dict[str, str]) -> None:
    look.sign_in(TOKEN)
    assert look.find("h1").text == "3 hosts of 200 are sick"
    names = look.texts(".hosts tbody th")
    assert len(names) == 200
    assert names[:3] == [members[kind] for kind in (fleet.REFUSED, fleet.SILENT, fleet.GONE)]
    assert [text.split("\n")[0] for text in look.texts(".hosts tbody td.state")[:7]] == [
        "refused every time", "silent", "gone", "unstamped", "doctor failing", "commit aging", "fine",
    ]  # fmt: skip
    # All three are seen without scrolling, and so is that there are no more.
    fourth = look.all(".hosts tbody tr")[3]
    assert fourth.rect["y"] < 900
    colours = look.run(
        "return [...document.querySelectorAll('.hosts tbody tr')].map((row) => getComputedStyle(row).backgroundColor)"
    )
    assert len(set(colours[:3])) == 1 and colours[0] not in colours[3:]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_keeps_anybody_out(look: Browser, members: dict[str, str], scheme: str) -> None:
    """axe finds nothing, the console stays empty, and a phone need not scroll sideways."""
    look.prefer(color_scheme=scheme)
    look.sign_in(TOKEN)
    pages = [
        "/",
        "/alerts",
        *(f"/hosts/{members[kind]}" for kind in (fleet.REFUSED, fleet.FAILING, fleet.MUTED)),
    ]
    grounds = set()
    for path in pages:
        look.size(1280, 900)
        look.open(path)
        assert look.complaints() == [], path
        grounds.add(look.run("return getComputedStyle(document.body).backgroundColor"))
        look.size(*PHONE, phone=True)
        assert not look.is_too_wide(), path
        assert look.complaints() == [], path
    assert len(grounds) == 1
    assert ("251, 251, 249" in grounds.pop()) == (scheme == "light")


def test_a_change_shows_by_itself_and_the_rest_stays(tmp_path: Path, chromium: None) -> None:
    fleet.make(tmp_path / "data", fleet.members(30, (fleet.SILENT,)), time.time_ns(), days=2)
    with running(tmp_path) as receiver, browser(f"http://127.0.0.1:{receiver.port}") as look:
        look.sign_in(TOKEN)
        look.run("document.querySelectorAll('.hosts tbody tr').forEach((row) => { row.dataset.old = '1'; })")
        first = look.find(".hosts tbody a")
        name = first.text
        look.run("arguments[0].focus()", first)
        assert receiver.put("lab-new", "e", make_episode(1)).status == 201
        # What coming back to the page does, and every 15 s.
        look.run("document.dispatchEvent(new Event('visibilitychange'))")
        look.wait(lambda: "lab-new" in look.texts(".hosts tbody th"))
        # Ages go on meanwhile, where a minute ends.
        assert len(look.all("tr[data-old]")) > 20
        assert look.run("return document.activeElement.textContent") == name


def test_finding_a_host_while_typing(look: Browser) -> None:
    look.sign_in(TOKEN)
    look.find("input[type=search]").send_keys("lab-01")
    look.wait(lambda: len(look.all(".hosts tbody tr")) == 10)
    assert all(name.startswith("lab-01") for name in look.texts(".hosts tbody th"))
    assert look.path == "/?q=lab-01"


def test_everything_works_without_scripts(look: Browser, members: dict[str, str]) -> None:
    look.without_scripts()
    look.open("/sign-in")
    look.find("input[name=token]").send_keys(TOKEN)
    look.find("button.main").click()
    look.wait(lambda: look.path == "/")
    look.find("input[type=search]").send_keys("lab-01")
    look.find("button.nojs").click()
    look.wait(lambda: look.path == "/?q=lab-01")
    assert len(look.all(".hosts tbody tr")) == 10
    look.open("/")
    look.find("thead th:nth-child(4) a").click()
    look.wait(lambda: look.path == "/?sort=arrivals")
    assert look.find("thead th:nth-child(4)").get_attribute("aria-sort") == "descending"
    look.find(".chips a[href*='state=silent']").click()
    look.wait(lambda: "state=silent" in look.path)
    assert [row.text for row in look.all(".hosts tbody th")] == [members[fleet.SILENT]]


def test_a_host_is_muted_and_unmuted_from_its_page(look: Browser, members: dict[str, str]) -> None:
    look.sign_in(TOKEN)
    look.open(f"/hosts/{members[fleet.GONE]}")
    assert look.find(".head .state").text == "gone"
    look.find("#until").send_keys("3d")
    look.find("#mute-why").send_keys("<b>away</b>")
    look.find("form[action$='/mute'] button").click()
    look.wait(lambda: look.find(".head .state").text == "muted")
    assert "<b>away</b>" in look.find("main").text
    look.find("form[action$='/unmute'] button").click()
    look.wait(lambda: look.find(".head .state").text == "gone")


def test_a_refused_host_says_which_commands_help(look: Browser, members: dict[str, str]) -> None:
    look.sign_in(TOKEN)
    look.open(f"/hosts/{members[fleet.REFUSED]}")
    assert "git merge --ff-only origin/main" in look.find("pre").text
    assert "branch A" in look.find("main").text
    assert "began to fail" in look.find(".timeline").text
