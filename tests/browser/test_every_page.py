"""What holds for every page, at a desk and on a phone, by day and by night."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]

WIDE, PHONE = (1440, 900), (390, 844)

PROBLEMS = (Path(__file__).parent / "problems.js").read_text()
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_page_is_sound(
    open_page: OpenPage, machines: None, awaiting: str, api: httpx.Client, size: tuple[int, int], theme: str
) -> None:
    machine = api.get("machines").json()["items"][0]["uuid"]
    page = open_page("/", size, theme)
    paths = ["/", "/audit", "/audit?actor=nobody", "/settings", "/account"]
    paths += ["/machines", f"/machines/{machine}", "/machines?q=nothing-like-this", "/join", "/clusters"]
    api.post("service-accounts", json={"name": "deploys", "role": "reader"})  # once; the other sizes find it there
    paths += ["/service-accounts", "/service-accounts/deploys", "/access-keys", "/access-keys?view=ended", "/policies"]
    paths += ["/mesh", f"/clusters/{awaiting}/mesh", f"/clusters/{awaiting}/mesh?view=nodes&q=nothing"]
    paths += [f"/clusters/{awaiting}/access", f"/clusters/{awaiting}/who"]
    paths += [f"/clusters/{awaiting}", "/clusters?q=nothing-like-this", "/template", f"/template?cluster={awaiting}"]
    for path in [*(f"/o/acme{path}" for path in paths), "/accounts/logout/", "/accounts/password/change/"]:
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate(PROBLEMS) == [], path
        assert page.evaluate(CONTRAST) == [], path


def test_a_page_can_be_walked_by_keyboard(open_page: OpenPage, machines: None) -> None:
    page = open_page("/machines")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.get_by_role("main").get_by_role("link", name="Join machines")).to_be_focused()
    width = page.evaluate("getComputedStyle(document.activeElement).outlineWidth")
    assert width == "2px"


def test_on_a_phone_the_drawer_opens_and_closes(open_page: OpenPage, session: object) -> None:
    page = open_page("/clusters", PHONE)
    drawer = page.locator("#side")
    expect(drawer).to_be_hidden()
    page.get_by_role("button", name="Open navigation").click()
    expect(drawer.get_by_role("link", name="Machines", exact=True)).to_be_visible()
    page.keyboard.press("Escape")
    expect(drawer).to_be_hidden()


def test_what_is_not_there_says_so(open_page: OpenPage, session: object) -> None:
    page = open_page("/")
    for path in ("/o/acme/clusters/none", "/o/umbrella/machines", "/nothing"):
        answer = page.context.request.get(path)
        assert answer.status == 404
        assert "There is nothing here" in answer.text()
        assert "script-src 'self'" in answer.headers["content-security-policy"]
