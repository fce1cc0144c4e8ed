"""Agents as pages show them, with a real agent and machines that only it reaches."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect

from nodeagent.client import API_PORT
from tests.browser.conftest import SLOW, verbs
from tests.browser.test_every_page import CONTRAST, PHONE, PROBLEMS, WIDE
from tests.omni.test_serve import Installation

OpenPage = Callable[..., Page]

NETWORK, FIRST, NOBODY = "127.94.0.0/29", "127.94.0.1", "127.94.0.6"


@pytest.fixture(scope="module")
def rack(installation: Installation, token: dict[str, Any], api: httpx.Client) -> Iterator[None]:
    """Three machines, and an agent beside them that scans for them and names a host that does not answer.

    Afterwards they are forgotten: other tests have machines of their own.
    """
    folder = installation.data.parent
    flags = ["--machines", "3", "--seed", "behind", "--listen-base", FIRST, "--slowness", "0.2"]
    agent = ["agent", "--server", f"https://127.0.0.1:{installation.port}", "--ca", str(installation.data / "ca.crt")]
    agent += ["--name", "rack-7", "--state", str(folder / "agent"), "--scan", NETWORK, "--node", NOBODY]
    environment = os.environ | {"OMNI_AGENT_TOKEN": token["secret"]}
    with (folder / "rack.log").open("ab") as log:
        started = [subprocess.Popen([sys.executable, "-m", "nodeagent.simulator", *flags], stdout=log, stderr=log)]
        for number in range(3):
            wait_open(str(ip_address(FIRST) + number))  # the agent scans once a minute
        command = [sys.executable, "-m", "omni", *agent]
        started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
    yield
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)
    for machine in api.get("machines", params={"q": "transport=agent"}).json()["items"]:
        api.delete(f"machines/{machine['uuid']}").raise_for_status()


def wait_open(address: str) -> None:
    """Wait until the API of a machine listens."""
    for _ in range(200):
        try:
            socket.create_connection((address, API_PORT), 1).close()
            return
        except OSError:
            time.sleep(0.1)
    raise AssertionError(f"nothing listens at {address}")


def test_without_agents_the_page_says_how_to_run_one(open_page: OpenPage, token: dict[str, Any]) -> None:
    page = open_page("/agents")
    expect(page.get_by_role("heading", name="No agent yet")).to_be_visible()
    shown = page.locator(".code pre")
    expect(shown).to_contain_text("omni agent")
    expect(shown).to_contain_text("--fingerprint")
    expect(shown).not_to_contain_text(token["secret"])
    page.get_by_role("button", name="Show token").click()
    expect(shown).to_contain_text(token["secret"])


@pytest.mark.usefixtures("rack")
def test_what_an_agent_found_is_accepted(open_page: OpenPage, api: httpx.Client) -> None:
    page = open_page("/agents")
    page.get_by_role("main").get_by_role("link", name="rack-7").click(timeout=SLOW)
    found = page.locator("#new li")
    expect(found).to_have_count(3, timeout=SLOW)
    page.get_by_role("button", name=f"Accept {FIRST}", exact=True).click()
    expect(page.get_by_text("1 machine accepted.")).to_be_visible()
    expect(page.locator("#new li")).to_have_count(2)
    machine = page.locator("#machines tbody tr")
    expect(machine).to_have_count(1)
    expect(page.locator("#problems")).to_contain_text(NOBODY)
    machine.get_by_role("link").click()
    link = page.locator("#way-in")
    expect(link).to_contain_text("an agent", timeout=SLOW)
    expect(link).to_contain_text("used now", timeout=SLOW)
    expect(link).to_contain_text("as a reader")
    link.get_by_role("link", name="rack-7").click()
    page.get_by_role("button", name="Accept all 2").click()
    expect(page.get_by_text("2 machines accepted.")).to_be_visible()
    expect(page.locator("#machines tbody tr")).to_have_count(3)
    assert verbs(api).count("agent.enrol") == 1


@pytest.mark.usefixtures("rack")
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_pages_are_sound(open_page: OpenPage, size: tuple[int, int], theme: str) -> None:
    page = open_page("/agents", size, theme)
    expect(page.get_by_role("main").get_by_role("link", name="rack-7")).to_be_visible(timeout=SLOW)
    for path in ("/o/acme/agents", "/o/acme/agents?q=nothing-like-this", "/o/acme/agents/rack-7"):
        page.goto(path)
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate(PROBLEMS) == [], path
        assert page.evaluate(CONTRAST) == [], path


@pytest.mark.usefixtures("rack")
def test_an_agent_is_removed(open_page: OpenPage, api: httpx.Client) -> None:
    page = open_page("/agents/rack-7")
    page.get_by_role("button", name="Remove…").click()
    page.get_by_role("dialog").get_by_role("button", name="Remove rack-7").click()
    expect(page.get_by_text("Agent rack-7 is removed.")).to_be_visible()
    expect(page.get_by_role("heading", name="No agent yet")).to_be_visible()
    assert "agent.remove" in verbs(api)
    assert api.get("agents").json()["items"] == []
