"""Machines as pages show them: arriving, listed, one by one."""

from collections.abc import Callable
from typing import Any

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import SLOW, verbs

OpenPage = Callable[..., Page]


def test_a_machine_appears_without_loading_the_page(
    open_page: OpenPage, machines: None, start_machines: Callable[[str, int], None]
) -> None:
    page = open_page("/machines")
    rows = page.locator("tbody tr[id]")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    before = rows.count()
    page.evaluate("window.sameDocument = true")
    start_machines("late", 1)
    expect(rows).to_have_count(before + 1, timeout=SLOW)
    expect(page.locator("tbody tr[id] .st.idle", has_text="Free")).to_have_count(before + 1, timeout=SLOW)
    assert page.evaluate("window.sameDocument") is True


def test_a_change_swaps_one_row_and_keeps_what_is_typed(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    uuid = api.get("machines").json()["items"][0]["uuid"]
    page = open_page("/machines")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_label("Filter machines").fill("half a wo")
    api.put(f"machines/{uuid}/labels", json={"labels": {"site": "bergen"}}).raise_for_status()
    expect(page.locator(f"#m-{uuid}").get_by_text("bergen")).to_be_visible()
    expect(page.get_by_label("Filter machines")).to_have_value("half a wo")
    expect(page.get_by_label("Filter machines")).to_be_focused()


def test_filter_by_keyboard(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    uuid = api.get("machines").json()["items"][-1]["uuid"]
    page = open_page("/machines")
    page.keyboard.press("f")
    page.keyboard.type(uuid)
    page.keyboard.press("Enter")
    expect(page.locator("tbody tr[id]")).to_have_count(1)
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{page.url.partition('/o/')[0]}/o/acme/machines/{uuid}")
    page.goto("/o/acme/machines?q=colour%3Dblue")
    expect(page.get_by_text("nothing machines can be filtered by")).to_be_visible()


def test_one_machine(open_page: OpenPage, machines: None, api: httpx.Client, token: dict[str, Any]) -> None:
    uuid = api.get("machines").json()["items"][0]["uuid"]
    page = open_page(f"/machines/{uuid}")
    expect(page.locator(".facts")).to_contain_text("WireGuard over gRPC")
    expect(page.locator("#logs .ln").first).to_contain_text("[talos] siderolink provisioned", timeout=SLOW)
    expect(page.locator("#events li").first).to_be_visible()
    page.get_by_role("button", name="Edit").click()
    page.get_by_label("One key=value a line").fill("rack=7\nenv=lab")
    page.get_by_role("button", name="Save labels").click()
    expect(page.locator(".chip", has_text="rack=7")).to_be_visible()
    assert token["secret"] not in page.content()


def test_join_page_hides_the_token_until_asked(open_page: OpenPage, token: dict[str, Any], api: httpx.Client) -> None:
    page = open_page("/join")
    arguments = page.locator(".code", has_text="All on one line")
    expect(arguments.locator("pre")).to_contain_text("jointoken=●●●●●●")
    assert token["secret"] not in page.content()
    before = verbs(api).count("join-token.reveal")
    arguments.get_by_role("button", name="Show token").click()
    expect(arguments.locator("pre")).to_contain_text(f"jointoken={token['secret']}")
    assert verbs(api).count("join-token.reveal") == before + 1
    page.get_by_label("Tunnel over gRPC").check()
    expect(page.locator(".code", has_text="All on one line").locator("pre")).to_contain_text("grpc_tunnel=true")
