"""Passkeys by a virtual authenticator, an app, recovery codes, the grant page, sessions that are ended elsewhere."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from playwright.sync_api import Page, expect

from tests.browser.conftest import PASSWORD
from tests.browser.test_every_page import CONTRAST, PHONE, PROBLEMS, WIDE
from tests.omni.test_serve import Installation

OpenPage = Callable[..., Page]
FACTORS = "/accounts/second-factor/"
DEVICE = {"protocol": "ctap2", "transport": "internal", "hasResidentKey": True, "hasUserVerification": True,
          "isUserVerified": True, "automaticPresenceSimulation": True}  # fmt: skip


def sound(page: Page) -> None:
    assert page.evaluate(PROBLEMS) == [], page.url
    assert page.evaluate(CONTRAST) == [], page.url


@pytest.fixture(scope="session")
def localhost(installation: Installation) -> str:
    """Where passkeys work: under a name, and without a certificate that the browser would have to trust."""
    return f"http://localhost:{installation.port}"


@pytest.fixture
def newcomer(open_page: OpenPage, api: httpx.Client, localhost: str) -> Callable[..., Page]:
    """`newcomer("cleo@example.com")`: a page of somebody invited, signed in for the first time."""

    def come(email: str, size: tuple[int, int] = WIDE, theme: str = "light") -> Page:
        invited = api.post("members", json={"email": email, "role": "admin"}).json()
        page = open_page(f"{localhost}{invited['sign_in_path']}", size, theme, None)
        sound(page)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_label("New password").fill(PASSWORD)
        page.get_by_label("The same again").fill(PASSWORD)
        page.get_by_role("button", name="Save password").click()
        expect(page).to_have_title("Home · omni")
        return page

    return come


def confirm(page: Page) -> None:
    expect(page).to_have_title("Confirm it is you · omni")
    sound(page)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()


def sign_out(page: Page, at: str) -> None:
    page.goto(f"{at}/accounts/logout/")
    page.get_by_role("button", name="Sign out").click()
    expect(page).to_have_title("Sign in · omni")


def by_password(page: Page, email: str) -> None:
    page.get_by_label("Email").fill(email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in", exact=True).click()


def code(key: str, steps: int = 0) -> str:
    return format_hotp_value(hotp_value(key, int(time.time()) // 30 + steps))


def test_a_passkey_signs_in_without_a_password_and_after_one(newcomer: Callable[..., Page], localhost: str) -> None:
    page = newcomer("pia@example.com")
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE})
    page.goto(f"{localhost}/o/acme/account")
    page.get_by_role("link", name="Set up").click()
    sound(page)
    page.get_by_role("link", name="Add a passkey").click()
    confirm(page)
    sound(page)
    page.get_by_label("What you call it").fill("Laptop")
    page.get_by_role("button", name="Add the passkey").click()
    expect(page).to_have_title("Recovery codes · omni")
    page.get_by_role("link", name="I keep them safe").click()
    expect(page.locator("li", has_text="Laptop")).to_contain_text("signs in without a password")
    sound(page)
    sign_out(page, localhost)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_title("Home · omni")
    sign_out(page, localhost)
    by_password(page, "pia@example.com")
    expect(page).to_have_title("Second factor · omni")
    sound(page)
    page.get_by_role("button", name="Use a passkey").click()
    expect(page).to_have_title("Home · omni")
    page.goto(f"{localhost}{FACTORS}")
    page.get_by_role("link", name="Remove Laptop").click()
    page.get_by_role("link", name="Use a passkey").click()
    sound(page)
    page.get_by_role("button", name="Use a passkey").click()
    sound(page)
    page.get_by_role("button", name="Remove the passkey").click()
    expect(page.get_by_text("Nothing to type, nothing to steal.")).to_be_visible()


def test_without_a_device_a_passkey_says_why_not(newcomer: Callable[..., Page], localhost: str) -> None:
    page = newcomer("noa@example.com")
    sign_out(page, localhost)
    device = page.context.new_cdp_session(page)
    device.send("WebAuthn.enable")
    device.send("WebAuthn.addVirtualAuthenticator", {"options": DEVICE | {"isUserVerified": False}})
    page.get_by_role("button", name="Use a passkey").click()
    expect(page.get_by_role("alert")).to_contain_text("there is no passkey for this address")
    sound(page)


def test_an_app_and_its_recovery_codes(
    newcomer: Callable[..., Page], localhost: str, installation: Installation
) -> None:
    page = newcomer("tom@example.com", PHONE, "dark")
    page.goto(f"{localhost}{FACTORS}app")
    confirm(page)
    expect(page.get_by_role("img", name="The key of your authenticator app")).to_be_visible()
    sound(page)
    key = page.locator(".code pre").inner_text()
    page.get_by_label("Six digits").fill("000000")
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_text("That code is wrong")).to_be_visible()
    page.get_by_label("Six digits").fill(code(key))
    page.get_by_role("button", name="Set up").click()
    expect(page).to_have_title("Recovery codes · omni")
    sound(page)
    shown = page.locator("ol.recovery li").all_inner_texts()
    assert len(set(shown)) == 10
    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_text().split("\n") == [*shown, ""]
    page.get_by_role("link", name="I keep them safe").click()
    sign_out(page, localhost)
    by_password(page, "tom@example.com")
    expect(page.get_by_role("button", name="Use a passkey")).to_have_count(0)
    page.get_by_label("Code of your").fill(code(key, 1))
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    sign_out(page, localhost)
    by_password(page, "tom@example.com")
    page.get_by_label("Code of your").fill(shown[4])
    page.get_by_role("button", name="Go on").click()
    expect(page.get_by_role("heading", level=1)).not_to_have_text("One more step")
    page.goto(f"{localhost}{FACTORS}recovery-codes")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Confirm").click()
    expect(page.locator("ol.recovery s")).to_have_count(1)
    assert not any(one in page.content() for one in shown)
    sound(page)
    told = installation.command("admin", "reset-second-factor", "tom@example.com", "--yes").stdout
    assert "tom@example.com has no second factor now." in told
    sign_out(page, localhost)
    by_password(page, "tom@example.com")
    expect(page).to_have_title("Home · omni")


@pytest.mark.parametrize(("size", "theme"), [(WIDE, "light"), (PHONE, "dark")], ids=["wide", "phone"])
def test_omni_login_is_granted_on_a_page(
    open_page: OpenPage, installation: Installation, address: str, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    environment = {**os.environ, "OMNI_CONFIG": str(tmp_path / "config.json"), "SSH_CONNECTION": "here"}
    command = [sys.executable, "-m", "omni", "login", address, "--ca", str(installation.data / "ca.crt")]
    program = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert program.stderr is not None
    said = ""
    while "shows the code" not in said:
        line = program.stderr.readline()
        assert line, said
        said += line
    found = re.search(r"(https://\S+/grant/\S+)", said)
    shown = re.search(r"[A-Z]{4}-[A-Z]{4}", said)
    assert found
    assert shown
    page = open_page(found[1], size, theme)
    expect(page.get_by_text(shown[0], exact=True)).to_be_visible()
    sound(page)
    page.get_by_label("With the role of").select_option("reader")
    page.get_by_role("button", name="Grant", exact=True).click()
    expect(page.get_by_role("heading", level=1)).to_have_text("Granted")
    sound(page)
    assert program.wait(30) == 0
    stored = json.loads((tmp_path / "config.json").read_text())["contexts"]["default"]
    assert stored["organisation"] == "acme"
    ended = subprocess.run(
        [sys.executable, "-m", "omni", "logout"],
        env=environment,
        timeout=60,
        check=True,
        capture_output=True,
        text=True,
    )
    assert "Signed out" in ended.stdout


def test_a_session_ended_elsewhere_is_signed_out(
    newcomer: Callable[..., Page], open_page: OpenPage, localhost: str
) -> None:
    here = newcomer("sam@example.com")
    other = open_page(f"{localhost}/accounts/login/", state=None)
    by_password(other, "sam@example.com")
    expect(other.get_by_text("Live", exact=True)).to_be_visible()
    here.goto(f"{localhost}/o/acme/account")
    sound(here)
    here.get_by_role("button", name="Sign out Chrome on Linux").click()
    expect(here.get_by_text("That browser is signed out")).to_be_visible()
    other.reload()
    expect(other).to_have_title("Sign in · omni")


def test_an_invitation_to_a_second_organisation(
    open_page: OpenPage, session: Any, api: httpx.Client, localhost: str
) -> None:
    """Who has an account signs in with it, and joins by the link."""
    invited: dict[str, Any] = api.post("members", json={"email": "eva@example.com", "role": "reader"}).json()
    page = open_page(f"{localhost}{invited['sign_in_path']}", PHONE, "dark", None)
    expect(page.get_by_role("heading", level=1)).to_have_text("Join Acme")
    sound(page)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_title("Choose a password · omni")
