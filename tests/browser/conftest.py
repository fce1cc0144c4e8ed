"""A whole control plane, simulated machines, and a headless browser on it; made once for all tests here."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.omni.test_serve import Installation, wait_gone

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
PASSWORD = "seven quiet llamas"
EMAIL = "ana@example.com"
SLOW = 30_000
"""Milliseconds that a page may take to show what machines do."""

expect.set_options(timeout=10_000)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def installation() -> Iterator[Installation]:
    """`omni serve`, running."""
    with tempfile.TemporaryDirectory(prefix="omni-ui-") as folder:
        made = Installation(Path(folder) / "data")
        made.serve("--data", str(made.data))
        processes = made.processes()
        yield made
        assert made.server is not None
        made.server.terminate()
        made.server.wait(30)
        wait_gone(processes)


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    assert chromium, "these tests drive Chromium: apt-get install chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def address(installation: Installation) -> str:
    return f"https://127.0.0.1:{installation.port}"


@pytest.fixture(scope="session")
def session(installation: Installation, browser: Browser, address: str) -> Any:
    """Cookies of the first owner, who makes the account by the first-run page."""
    link = installation.command("admin", "signin-link").stdout.strip()
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(link)
    page.get_by_label("Organisation").fill("Acme")
    page.get_by_label("Short name").fill("acme")
    page.get_by_label("Your name").fill("Ana Ruiz")
    page.get_by_label("Email").fill(EMAIL)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Create account").click()
    expect(page).to_have_url(f"{address}/o/acme/")
    expect(page.get_by_role("link", name="Join the first machine")).to_be_visible()
    state = context.storage_state()
    context.close()
    return state


def complains(message: ConsoleMessage) -> bool:
    """Whether a message is of a script or the content policy; a fragment that is gone is no complaint."""
    return message.type in ("error", "warning") and not message.text.startswith("Failed to load resource")


@pytest.fixture
def open_page(browser: Browser, address: str, session: Any) -> Iterator[Callable[..., Page]]:
    """`open_page("/machines")`: a page of the organisation, signed in. Scripts and policy may complain of nothing."""
    contexts, said = [], []

    def make(path: str, size: tuple[int, int] = (1440, 900), theme: str = "light", state: Any = session) -> Page:
        context = browser.new_context(
            viewport={"width": size[0], "height": size[1]},
            color_scheme=theme,  # type: ignore[arg-type]
            storage_state=state,
            base_url=address,
            ignore_https_errors=True,
        )
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text) if complains(message) else None)
        page.on("response", lambda answer: said.append(answer.url) if answer.status >= 500 else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(path if path == "/" or "://" in path else f"/o/acme{path}")
        return page

    yield make
    for context in contexts:
        context.close()
    assert said == []


@pytest.fixture(scope="session")
def api(installation: Installation, session: Any) -> Iterator[httpx.Client]:
    """REST as the owner."""
    token = installation.command("admin", "token", "--organisation", "acme").stdout.strip()
    with installation.client(headers={"Authorization": f"Bearer {token}"}) as client:
        client.base_url = client.base_url.join("/api/v1/organisations/acme/")
        yield client


def verbs(api: httpx.Client) -> list[str]:
    """What the audit says was done."""
    return [row["verb"] for row in api.get("audit", params={"limit": 200}).json()["items"]]


@pytest.fixture(scope="session")
def token(api: httpx.Client) -> dict[str, Any]:
    """The organisation's default join token."""
    made: dict[str, Any] = api.post("join-tokens", json={"name": "rack 7", "is_default": True}).json()
    made["secret"] = api.post(f"join-tokens/{made['id']}/reveal").json()["token"]
    return made


@pytest.fixture(scope="session")
def start_machines(installation: Installation, token: dict[str, Any]) -> Iterator[Callable[[str, int], None]]:
    """`start_machines("rack", 2)`: simulated machines of a seed, which dial in by themselves."""
    url = f"grpc://127.0.0.1:{installation.port}?jointoken={token['secret']}"
    started: list[subprocess.Popen[bytes]] = []

    def start(seed: str, number: int) -> None:
        command = [sys.executable, "-m", "nodeagent.simulator", "--api", url, "--machines", str(number)]
        flags = ["--seed", seed, "--transport", "grpc", "--slowness", "0.5"]
        log = (installation.data.parent / "machines.log").open("ab")
        started.append(subprocess.Popen([*command, *flags], stdout=log, stderr=log))

    yield start
    for process in started:
        process.terminate()
    for process in started:
        process.wait(20)


@pytest.fixture(scope="session")
def machines(start_machines: Callable[[str, int], None], browser: Browser, session: Any, address: str) -> None:
    """Two free machines."""
    start_machines("rack", 2)
    context = browser.new_context(storage_state=session, base_url=address, ignore_https_errors=True)
    page = context.new_page()
    page.goto("/o/acme/machines")
    expect(page.locator("tr[id] .st.idle")).to_have_count(2, timeout=SLOW)
    context.close()


@pytest.fixture(scope="session")
def awaiting(api: httpx.Client) -> str:
    """A cluster that waits for a machine which never joins."""
    machine = "11111111-2222-4333-8444-555555555555"
    documents = [
        "kind: Cluster\nname: awaiting\nkubernetes: {version: v1.36.3}\ntalos: {version: v1.13.8}\n",
        f"kind: ControlPlane\nmachines: [{machine}]\n",
    ]
    api.post("templates/sync", json={"template": "---\n".join(documents)}).raise_for_status()
    return "awaiting"
