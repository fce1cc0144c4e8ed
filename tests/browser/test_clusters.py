"""A cluster from the template editor to Ready and away again, by hand."""

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

from tests.browser.conftest import SLOW, verbs

OpenPage = Callable[..., Page]


def write(page: Page, text: str) -> None:
    """Replace the text in the editor as a person would, by pasting."""
    page.locator(".cm-content").click()
    page.keyboard.press("Control+a")
    page.keyboard.insert_text(text)


def text_of(page: Page) -> str:
    return page.locator("textarea[name=template]").input_value()


def test_problems_are_marked_where_they_are(open_page: OpenPage, machines: None) -> None:
    page = open_page("/template")
    expect(page.get_by_text("No problems")).to_be_visible()
    good = text_of(page)
    write(page, good.replace("kubernetes:", "kubernets:"))
    expect(page.get_by_text("field kubernets not found")).to_be_visible()
    expect(page.locator(".cm-lintRange-error")).to_have_text("kubernets:")
    expect(page.get_by_role("button", name="Sync")).to_be_disabled()
    page.get_by_role("button", name="line 3").click()
    page.keyboard.press("Home")
    page.keyboard.press("Shift+End")
    page.keyboard.type("kubernetes:")
    expect(page.get_by_text("No problems")).to_be_visible()
    write(page, good.replace("kind: ControlPlane", "kind: ControlPlane\npatches:\n  - file: /etc/passwd"))
    expect(page.get_by_text("/etc/passwd").first).to_be_visible()


def test_a_template_becomes_a_cluster_and_is_destroyed(open_page: OpenPage, machines: None, api: httpx.Client) -> None:
    page = open_page("/template")
    write(page, text_of(page).replace("my-cluster", "bergen"))
    expect(page.get_by_text("Cluster bergen is created")).to_be_visible()
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("Dry run: bergen would be synced")).to_be_visible()
    assert api.get("clusters/bergen").status_code == 404

    page.get_by_role("button", name="Sync").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("bergen")
    page.evaluate("window.sameDocument = true")
    expect(page.locator("h1 .st")).to_have_text("Ready", timeout=2 * SLOW)
    assert page.evaluate("window.sameDocument") is True
    expect(page.locator(".cond .st.ok")).to_have_count(8)

    page.get_by_role("link", name="In step").first.click()
    expect(page.locator("pre")).to_contain_text("clusterName: bergen")
    expect(page.locator("pre")).to_contain_text("******")
    page.go_back()

    page.get_by_role("button", name="kubeconfig…").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Download kubeconfig").click()
    assert "kind: Config" in download.value.path().read_text()
    assert "cluster.kubeconfig" in verbs(api)

    page.get_by_role("link", name="Template", exact=True).click()
    expect(page.get_by_text("Nothing: bergen is what this template says.")).to_be_visible()
    page.go_back()

    page.get_by_role("button", name="Destroy…").click()
    kill = page.get_by_role("button", name="Destroy bergen")
    expect(kill).to_be_disabled()
    page.keyboard.press("Escape")
    expect(page.get_by_role("button", name="Destroy…")).to_be_focused()
    page.keyboard.press("Enter")
    page.get_by_label("Type bergen to go on").fill("bergen")
    kill.click()
    expect(page.get_by_role("heading", name="bergen is gone")).to_be_visible(timeout=2 * SLOW)


def test_a_wait_names_what_it_waits_for(open_page: OpenPage, awaiting: str) -> None:
    page = open_page(f"/clusters/{awaiting}")
    reason = "Waiting for machine 11111111-2222-4333-8444-555555555555 to join."
    expect(page.locator(".why")).to_contain_text(reason)
    expect(page.locator(".why .since")).to_contain_text("Since")
    expect(page.locator(".steps li")).to_have_count(8)
    expect(page.locator("#machines")).to_contain_text(reason)
    page.get_by_role("link", name="Clusters", exact=True).first.click()
    expect(page.locator("#c-awaiting")).to_contain_text(reason)
