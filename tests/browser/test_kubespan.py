"""Turning KubeSpan of a cluster on and off, with nothing but a keyboard's worth of clicks."""

from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from tests.browser.test_every_page import CONTRAST, PHONE, PROBLEMS, WIDE

OpenPage = Callable[..., Page]


def sound(page: Page) -> None:
    assert page.evaluate(PROBLEMS) == []
    assert page.evaluate(CONTRAST) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_on_with_a_mistake_and_off(
    open_page: OpenPage, awaiting: str, api: httpx.Client, size: tuple[int, int], theme: str
) -> None:
    page = open_page(f"/clusters/{awaiting}/kubespan", size, theme)
    sound(page)
    page.get_by_label("MTU").fill("12")
    page.get_by_label("Around a tunnel that is down").check()
    page.get_by_role("button", name="Turn KubeSpan on").click()
    expect(page.get_by_text("an MTU of 12 is not possible")).to_be_visible()
    expect(page.get_by_label("Around a tunnel that is down")).to_be_checked()
    sound(page)
    page.get_by_label("MTU").fill("1380")
    page.get_by_role("button", name="Turn KubeSpan on").click()
    expect(page.get_by_text(f"KubeSpan is on in {awaiting}")).to_be_visible()
    said = api.get(f"clusters/{awaiting}/kubespan").json()
    assert (said["enabled"], said["mtu"], said["allow_down_peer_bypass"]) == (True, 1380, True)
    page.goto(f"/o/acme/clusters/{awaiting}/kubespan")
    sound(page)
    page.get_by_role("button", name="Turn off…").click()
    sound(page)
    page.get_by_role("button", name="Turn KubeSpan off").click()
    expect(page.get_by_text(f"KubeSpan is off in {awaiting}")).to_be_visible()
    assert not api.get(f"clusters/{awaiting}/kubespan").json()["enabled"]
