"""Policies in a browser: written while the page says whom they touch; asked about; seen on a cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]

PROBLEMS = (Path(__file__).parent / "problems.js").read_text()
CONTRAST = (Path(__file__).parent / "contrast.js").read_text()
LONG = "a-rather-long-name-of-a-service-account-that-needs-two-lines"


@pytest.fixture
def accounts(api: httpx.Client) -> Iterator[None]:
    """Service accounts to write about; with all policies they are gone afterwards."""
    for name, role in (("ci", "reader"), ("cleo", "operator"), (LONG, "reader")):
        api.post("service-accounts", json={"name": name, "role": role}).raise_for_status()
    yield
    for name in ("ci", "cleo", LONG):
        api.delete(f"service-accounts/{name}")
    for row in api.get("policies").json()["items"]:
        api.delete(f"policies/{row['name']}")


def test_a_policy_is_written_and_asked_about(open_page: OpenPage, awaiting: str, accounts: None) -> None:
    page = open_page("/policies")
    page.get_by_role("link", name="Write the first one").click()
    page.locator("#p-name").fill("deploy")
    whom = page.get_by_label("People, service accounts, roles")
    preview = page.locator("#preview")
    whom.fill("ci")
    expect(preview).to_contain_text("“ci” is nobody")
    whom.fill("service-account:c*")
    page.get_by_label("Role there").select_option("admin")
    expect(preview).to_contain_text(f"ci: reader → admin on {awaiting}")
    page.get_by_text("Leave less", exact=True).click()
    page.get_by_label("Role there").select_option("none")
    expect(preview).to_contain_text(f"cleo: operator → shut out on {awaiting}")
    page.get_by_label("Talos methods").fill("Reboot")
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_text("write machine.MachineService/Reboot").first).to_be_visible()
    expect(whom).to_have_value("service-account:c*")
    page.get_by_label("Talos methods").fill("")
    page.get_by_role("button", name="Save policy").click()
    expect(page.get_by_text("deploy counts from now on")).to_be_visible()
    page.goto("/o/acme/policies")
    page.get_by_label("Who", exact=True).fill("service-account:ci")
    page.get_by_label("May they").fill("cluster.read")
    page.get_by_label("On", exact=True).fill(f"cluster/{awaiting}")
    page.get_by_role("button", name="Tell me").click()
    expect(page.get_by_text("ci is shut out by policy deploy")).to_be_visible()
    page.goto(f"/o/acme/clusters/{awaiting}")
    page.get_by_role("link", name="See who, and why").click()
    expect(page.get_by_role("row", name="cleo")).to_contain_text("Shut out")
    page.get_by_role("row", name="cleo").get_by_role("link", name="deploy").click()
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete deploy").click()
    expect(page.get_by_text("No policy: everybody has their role everywhere")).to_be_visible()


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["wide", "phone"])
def test_pages_are_sound(
    open_page: OpenPage, awaiting: str, accounts: None, api: httpx.Client, size: tuple[int, int], theme: str
) -> None:
    policy = {"name": "lift", "subjects": [f"service-account:{LONG}", "role:reader"], "role": "operator",
              "kubernetes_groups": ["developers", "on-call"], "cluster_labels": "!env"}  # fmt: skip
    api.post("policies", json=policy).raise_for_status()
    page = open_page("/policies", size, theme)
    asked = f"/policies?user=service-account:{LONG}&verb=kubernetes&object=cluster/{awaiting}"
    for path in (asked, "/policies/new", "/policies/lift", f"/clusters/{awaiting}/who"):
        page.goto(f"/o/acme{path}")
        expect(page.locator("h1")).to_be_visible()
        assert page.evaluate(PROBLEMS) == [], path
        assert page.evaluate(CONTRAST) == [], path
