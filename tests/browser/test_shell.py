"""What every page carries: search, keys, organisations, what needs somebody, and what is not live."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import SLOW

OpenPage = Callable[..., Page]
PHONE = (390, 844)


def test_search_finds_a_machine_by_keyboard(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    machine = api.get("machines").json()["items"][0]
    page = open_page("/clusters")
    page.keyboard.press("/")
    box = page.get_by_role("combobox", name="Search")
    expect(box).to_be_focused()
    expect(page.get_by_role("option", name="Audit")).to_be_visible()
    page.keyboard.type(machine["hostname"])
    first = page.get_by_role("option").first
    expect(first).to_contain_text(machine["hostname"])
    expect(first).to_have_attribute("aria-selected", "true")
    page.keyboard.press("ArrowDown")
    expect(first).to_have_attribute("aria-selected", "false")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text(machine["hostname"])
    page.keyboard.press("Control+k")
    page.keyboard.type("zzz nothing")
    expect(page.get_by_role("option")).to_have_count(1)  # its history
    page.keyboard.press("Escape")
    expect(box).to_be_hidden()


def test_keys_go_places_and_are_listed(open_page: OpenPage, session: object) -> None:
    page = open_page("/clusters")
    page.keyboard.press("g")
    page.keyboard.press("s")
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")
    page.keyboard.press("?")
    keys = page.get_by_role("dialog", name="Keys")
    expect(keys).to_contain_text("search or jump")
    expect(keys).to_contain_text("Machines")
    page.keyboard.press("Escape")
    expect(keys).to_be_hidden()
    page.get_by_role("button", name="Keys").click()
    expect(keys).to_be_visible()


def test_another_organisation_is_made_and_switched_to(open_page: OpenPage, session: object) -> None:
    page = open_page("/settings")
    page.keyboard.press("g")
    page.keyboard.press("o")
    expect(page.get_by_role("link", name="Acme owner")).to_be_focused()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_label("Name", exact=True).last.fill("Halden Energy")
    page.get_by_label("Short name").fill("halden")
    page.get_by_role("button", name="Make organisation").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Welcome to Halden Energy")
    page.get_by_role("button", name="Organisation Halden Energy, switch").click()
    page.get_by_role("link", name="Acme owner").click()
    expect(page).to_have_title("Home · omni")
    expect(page.get_by_role("button", name="Organisation Acme, switch")).to_be_visible()


def test_what_needs_somebody_comes_by_itself(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    page = open_page("/")
    page.goto("/o/acme/")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.sameDocument = true")
    ends = (datetime.now(UTC) + timedelta(hours=5)).isoformat()
    api.post("join-tokens", json={"name": "soon over", "expires_at": ends}).raise_for_status()
    expect(page.get_by_role("heading", name="Join token soon over expires")).to_be_visible(timeout=SLOW)
    assert page.evaluate("window.sameDocument") is True
    page.get_by_role("link", name="Open token").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("soon over")


def test_audit_follows_filters_and_exports(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    uuid = api.get("machines").json()["items"][0]["uuid"]
    page = open_page("/audit")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.evaluate("window.sameDocument = true")
    api.put(f"machines/{uuid}/labels", json={"labels": {"audited": "yes"}}).raise_for_status()
    first = page.locator("tbody tr").first
    expect(first).to_contain_text("machine.label", timeout=SLOW)
    assert page.evaluate("window.sameDocument") is True
    first.locator("summary").click()
    expect(first).to_contain_text("audited")

    page.get_by_role("button", name="Filter").click()
    page.get_by_label("What", exact=True).fill("machine.*")
    page.get_by_role("button", name="Apply").click()
    expect(page.locator("tbody tr").filter(has_text="join-token.create")).to_have_count(0)
    expect(page.locator(".chip", has_text="machine.*")).to_be_visible()
    page.get_by_role("button", name="Export").click()
    with page.expect_download() as download:
        page.get_by_role("link", name="CSV").click()
    rows = list(csv.DictReader(download.value.path().read_text().splitlines()))
    assert rows
    assert {row["verb"].split(".")[0] for row in rows} == {"machine"}
    page.get_by_role("link", name="Remove filter what").click()
    expect(page.locator(".chip")).to_have_count(0)


def test_a_lost_connection_says_so(open_page: OpenPage, session: object) -> None:
    page = open_page("/settings", PHONE)
    page.route_web_socket("**/live*", lambda socket: socket.close())
    page.reload()
    banner = page.get_by_role("status").filter(has_text="Not live")
    expect(banner).to_be_visible()
    expect(banner).to_contain_text("what you see is from then")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.unroute_all()


def test_rows_that_do_not_come_can_be_asked_for_again(open_page: OpenPage, api: httpx.Client, machines: None) -> None:
    uuid = api.get("machines").json()["items"][0]["uuid"]
    for number in range(60):
        api.put(f"machines/{uuid}/labels", json={"labels": {"n": str(number)}}).raise_for_status()
    page = open_page("/settings")
    page.route("**/audit?*before=*", lambda route: route.abort())
    page.goto("/o/acme/audit")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.wait_for_load_state("networkidle")  # what it asks for once it listens
    page.evaluate("scrollTo(0, document.body.scrollHeight)")
    expect(page.get_by_text("The next rows did not come.")).to_be_visible()
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("tbody tr[id]").nth(55)).to_be_attached()


def test_everything_is_within_reach_on_a_phone(open_page: OpenPage, session: object) -> None:
    page = open_page("/clusters", PHONE)
    page.get_by_role("button", name="Search or jump to").click()
    expect(page.get_by_role("combobox", name="Search")).to_be_focused()
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="More").click()
    page.locator("#side").get_by_role("link", name="Settings").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Settings")


def test_the_account(open_page: OpenPage, session: Any) -> None:
    page = open_page("/account")
    page.get_by_label("What others see").fill("Ana Ruiz de Bergen")
    page.get_by_role("button", name="Save name").click()
    expect(page.locator(".who")).to_contain_text("Ana Ruiz de Bergen")
    expect(page.get_by_text("this one")).to_be_visible()
    page.get_by_label("What others see").fill("Ana Ruiz")
    page.get_by_role("button", name="Save name").click()
