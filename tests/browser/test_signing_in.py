"""Ways in and out."""

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import EMAIL, PASSWORD
from tests.omni.test_serve import Installation

OpenPage = Callable[..., Page]


def test_sign_in_says_what_is_wrong_then_goes_where_one_was_going(open_page: OpenPage) -> None:
    page = open_page("/clusters", state=None)
    expect(page).to_have_title("Sign in · omni")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill("a wrong guess")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_be_visible()
    page.get_by_label("Password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("Clusters")
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · omni")


def test_a_one_time_link_signs_in_once(open_page: OpenPage, installation: Installation, session: object) -> None:
    link = installation.command("admin", "signin-link", "--organisation", "acme").stdout.strip()
    page = open_page(link, state=None)
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("button", name="Sign out")).to_be_visible()
    again = page.context.request.get(link)
    assert again.status == 410
    assert "does not work any more" in again.text()


def test_who_is_invited_chooses_a_password(open_page: OpenPage, api: httpx.Client, address: str) -> None:
    invited = api.post("members", json={"email": "ben@example.com", "role": "reader"}).json()
    page = open_page(f"{address}{invited['sign_in_path']}", state=None)
    page.get_by_role("button", name="Sign in").click()
    page.get_by_label("New password").fill(PASSWORD)
    page.get_by_label("The same again").fill(PASSWORD)
    page.get_by_role("button", name="Save password").click()
    expect(page.get_by_role("navigation", name="Main", exact=True)).to_be_visible()
    page.goto("/o/acme/join")
    expect(page.get_by_role("heading", level=1)).to_have_text("This is not open to you")
    expect(page.get_by_text("needs operator in this organisation; ben@example.com is reader")).to_be_visible()


def test_first_run_is_over_once_there_is_an_owner(open_page: OpenPage) -> None:
    page = open_page("/")
    assert page.context.request.get("/first-run", max_redirects=0).status == 302
    assert page.context.request.get("/first-run/0123").status == 404


def test_the_theme_that_was_chosen_stays(open_page: OpenPage) -> None:
    page = open_page("/machines", theme="dark")
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Switch light and dark").click()
    page.reload()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark
