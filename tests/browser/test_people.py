"""Members, tokens, events and logs as people use them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SLOW, verbs
from tests.browser.test_every_page import CONTRAST, PHONE, PROBLEMS, WIDE

OpenPage = Callable[..., Page]


@pytest.mark.parametrize(("size", "theme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_pages_are_sound(
    open_page: OpenPage, machines: None, api: httpx.Client, token: dict[str, Any], size: tuple[int, int], theme: str
) -> None:
    machine = api.get("machines").json()["items"][0]["uuid"]
    page = open_page("/members", size, theme)
    paths = ["members", "members?q=nobody-like-this", "api-tokens", "api-tokens?view=ended", "join-tokens"]
    paths += [f"join-tokens/{token['id']}", f"machines/{machine}/events", f"machines/{machine}/logs"]
    for path in [*paths, f"machines/{machine}/logs?q=nothing-like-this&since=never"]:
        page.goto(f"/o/acme/{path}")
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate(PROBLEMS) == [], path
        assert page.evaluate(CONTRAST) == [], path


def test_invite_change_and_remove(open_page: OpenPage, session: object, api: httpx.Client) -> None:
    page = open_page("/members")
    page.get_by_role("button", name="Invite…").click()
    dialog = page.get_by_role("dialog", name="Invite somebody")
    dialog.get_by_label("Email").fill("mika@example.com")
    dialog.get_by_label("Role").select_option("operator")
    dialog.get_by_role("button", name="Invite", exact=True).click()
    expect(page.get_by_text("Link for mika@example.com", exact=True)).to_be_visible()
    expect(page.locator(".code pre")).to_contain_text("/accounts/link/")
    row = page.locator("tbody tr[id]", has_text="mika@example.com")
    expect(row.locator(".st")).to_have_text("Invited")
    page.goto("/o/acme/members")
    expect(page.locator(".code")).to_have_count(0)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    member = next(item for item in api.get("members").json()["items"] if item["email"] == "mika@example.com")
    api.patch(f"members/{member['id']}", json={"role": "admin"}).raise_for_status()
    expect(row).to_contain_text("Admin")
    row.get_by_role("button", name="Remove…").click()
    page.get_by_role("button", name="Remove mika@example.com").click()
    expect(row).to_have_count(0)
    assert "member.remove" in verbs(api)


def test_a_token_is_shown_once_and_revoked(open_page: OpenPage, session: object) -> None:
    page = open_page("/api-tokens")
    page.get_by_role("button", name="New token…").click()
    dialog = page.get_by_role("dialog", name="New API token")
    dialog.get_by_label("Name").fill("<b>deploy</b>")
    dialog.get_by_role("button", name="Make token").click()
    expect(page.locator(".code pre")).to_contain_text("omni_")
    row = page.locator("tbody tr[id]", has_text="<b>deploy</b>")
    expect(row.locator(".st")).to_have_text("Not used yet")
    row.get_by_role("button", name="Revoke…").click()
    page.get_by_role("button", name="Revoke <b>deploy</b>").click()
    expect(page.get_by_text("is revoked. Nothing gets in with it any more.")).to_be_visible()
    expect(row).to_have_count(0)


def test_a_join_token_and_what_came_in_by_it(open_page: OpenPage, machines: None, token: dict[str, Any]) -> None:
    page = open_page("/join-tokens")
    page.get_by_role("link", name=token["name"]).click()
    expect(page.locator("tbody tr[id]").first).to_be_visible()
    arguments = page.locator(".code", has_text="All on one line")
    assert token["secret"] not in page.content()
    arguments.get_by_role("button", name="Show token").click()
    expect(arguments.locator("pre")).to_contain_text(token["secret"])


def test_events_come_by_themselves_and_can_be_paused(
    open_page: OpenPage, machines: None, start_machines: Callable[[str, int], None], api: httpx.Client
) -> None:
    known = {item["uuid"] for item in api.get("machines").json()["items"]}
    start_machines("told", 1)
    page = open_page("/machines")
    expect(page.locator("tbody tr[id]")).to_have_count(len(known) + 1, timeout=SLOW)
    (machine,) = {item["uuid"] for item in api.get("machines").json()["items"]} - known
    page.goto(f"/o/acme/machines/{machine}/events?kind=MachineStatusEvent")
    state = page.locator("[data-tail-state]")
    expect(state).to_have_text("Live")
    expect(page.locator(".evs li", has_text="machine is maintenance").first).to_be_visible(timeout=SLOW)
    page.get_by_role("button", name="Pause").click()
    expect(state).to_contain_text("Paused at")
    page.get_by_role("button", name="Go on").click()
    expect(state).to_have_text("Live")


def test_logs_are_filtered_and_downloaded(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    machine = api.get("machines").json()["items"][0]["uuid"]
    page = open_page(f"/machines/{machine}/logs")
    expect(page.locator("[data-tail-state]")).to_have_text("Live")
    expect(page.locator(".ln", has_text="siderolink provisioned")).to_be_visible(timeout=SLOW)
    page.get_by_label("Only lines with this text").fill("nothing like this")
    page.get_by_role("button", name="Filter").click()
    expect(page.get_by_text("No line fits this filter.")).to_be_visible()
    page.get_by_role("link", name="Show all lines").click()
    page.get_by_label("Level").select_option("warn")
    expect(page.locator(".ln", has_text="siderolink provisioned")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert "warn user [talos] siderolink provisioned" in Path(download.value.path()).read_text()
