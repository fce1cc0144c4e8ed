"""The browser speaks HTTP/2 with the public port, and HTTP/1.1 for what stays live."""

from collections.abc import Callable

import httpx
from playwright.sync_api import Page, expect

OpenPage = Callable[..., Page]
PROTOCOLS = """() => ["navigation", "resource"].flatMap(kind => performance.getEntriesByType(kind))
    .map(entry => [new URL(entry.name).pathname, entry.nextHopProtocol])"""


def test_pages_and_files_come_over_http2_and_stay_live(open_page: OpenPage, api: httpx.Client) -> None:
    page = open_page("/machines")
    with page.expect_websocket() as opened:
        page.reload()
    came = dict(page.evaluate(PROTOCOLS))
    assert set(came.values()) == {"h2"}
    assert any(path.startswith("/static/") for path in came)
    assert "/live" in opened.value.url
    expect(page.locator("[data-live-banner]")).to_be_hidden()
    assert not opened.value.is_closed()
    page.goto("/o/acme/machines?q=nothing-like-this")  # the same connections serve the next page
    assert {protocol for _, protocol in page.evaluate(PROTOCOLS)} == {"h2"}
