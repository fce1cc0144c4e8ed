"""A mesh as people see it: three machines that find each other by this installation's discovery service, two of which
do not hear each other.
"""

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from nodeagent.simulator import hardware
from talos.config import kubespan
from talos.config.kubespan import KubeSpan
from talos.contract import VersionContract
from tests.browser.conftest import SLOW
from tests.browser.test_every_page import CONTRAST, PHONE, PROBLEMS, WIDE
from tests.omni.test_serve import Installation, wait_gone

OpenPage = Callable[..., Page]

SEED, CUT = "mesh", "1,2"
NAME = "bergen-mesh"


def template_of(uuids: list[str]) -> str:
    patch = textwrap.indent(kubespan.patch(VersionContract.parse("v1.13.8"), KubeSpan()), " " * 6)
    listed = "".join(f"  - {uuid}\n" for uuid in uuids)
    return (
        f"kind: Cluster\nname: {NAME}\nkubernetes:\n  version: v1.36.3\ntalos:\n  version: v1.13.8\n"
        "features:\n  useEmbeddedDiscoveryService: true\n"
        f"patches:\n  - idOverride: 500-{NAME}-kubespan\n    inline: |\n{patch}"
        f"---\nkind: ControlPlane\nmachines:\n{listed}"
    )


@dataclass
class Bergen:
    """An installation of its own, so that its machines are in nobody's way."""

    address: str
    session: Any
    machines: subprocess.Popen[bytes]

    def page(self, path: str) -> str:
        return f"{self.address}/o/default{path}"


@pytest.fixture(scope="module")
def bergen(browser: Browser) -> Iterator[Bergen]:
    """`omni serve` with three machines, of which the first two do not reach each other over KubeSpan, and a cluster."""
    with tempfile.TemporaryDirectory(prefix="omni-ui-") as folder, ExitStack() as ending:
        made = Installation(Path(folder) / "data")
        made.serve("--data", str(made.data))
        processes = made.processes()
        ending.callback(wait_gone, processes)
        assert made.server is not None
        ending.callback(made.server.wait, 30)
        ending.callback(made.server.terminate)
        bearer = made.command("admin", "token").stdout.strip()
        api = ending.enter_context(made.client(headers={"Authorization": f"Bearer {bearer}"}))
        api.base_url = api.base_url.join("/api/v1/organisations/default/")
        machines = ending.enter_context(simulated(made, api))
        template = template_of([hardware.build(SEED, index).uuid for index in range(3)])
        api.post("templates/sync", json={"template": template}).raise_for_status()
        address = f"https://127.0.0.1:{made.port}"
        link = made.command("admin", "signin-link").stdout.strip()
        yield Bergen(address, signed_in(browser, link), machines)


@contextmanager
def simulated(made: Installation, api: httpx.Client) -> Iterator[subprocess.Popen[bytes]]:
    token = api.post("join-tokens", json={"name": "rack 7"}).json()["id"]
    secret = api.post(f"join-tokens/{token}/reveal").json()["token"]
    flags = ["--machines", "3", "--seed", SEED, "--cut", CUT, "--transport", "grpc", "--slowness", "0.5"]
    with (made.data.parent / "machines.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "omni", "simulator", *flags],
            env=os.environ | {"OMNI_SIMULATOR_API": f"grpc://127.0.0.1:{made.port}?jointoken={secret}"},
            stdout=log,
            stderr=log,
        )
        yield process
        process.terminate()
        process.wait(20)


def signed_in(browser: Browser, link: str) -> Any:
    """Cookies of who used a link."""
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Sign in").click()
    expect(page).not_to_have_url(link)
    state = context.storage_state()
    context.close()
    return state


def test_who_hears_whom_and_who_does_not(open_page: OpenPage, bergen: Bergen) -> None:
    page = open_page(bergen.page(f"/clusters/{NAME}"), state=bergen.session)
    expect(page.locator("h1 .st")).to_have_text("Ready", timeout=4 * SLOW)
    page.get_by_role("link", name="Open the mesh").click()
    page.evaluate("window.sameDocument = true")

    expect(page.get_by_role("heading", level=1)).to_contain_text(f"KubeSpan mesh of {NAME}")
    expect(page.locator("h1 .st")).to_have_text("1 pair apart", timeout=4 * SLOW)  # of itself, as it is read
    assert page.evaluate("window.sameDocument") is True
    expect(page.locator(".facts")).to_contain_text("3 nodes, 2 of 3 pairs up")
    expect(page.locator("svg.mesh .e.none")).to_have_count(1)
    expect(page.locator("svg.mesh .node")).to_have_count(3)
    expect(page.locator("#mesh-list tbody tr")).to_have_count(1)
    expect(page.locator("#mesh-node")).to_contain_text("Reason, most likely")
    for size in (WIDE, PHONE):
        page.set_viewport_size({"width": size[0], "height": size[1]})
        assert page.evaluate(PROBLEMS) == []
        assert page.evaluate(CONTRAST) == []
    page.set_viewport_size({"width": WIDE[0], "height": WIDE[1]})

    page.get_by_role("link", name="Pairs 3").click()
    expect(page.locator("#mesh-list tbody tr")).to_have_count(3)
    page.get_by_label("State").select_option("down")
    expect(page.locator("#mesh-list tbody tr")).to_have_count(1)
    page.get_by_label("Pairs of a node").fill("nobody")
    page.keyboard.press("Enter")
    expect(page.get_by_text("The mesh has no node “nobody”.")).to_be_visible()

    page.get_by_role("link", name="Nodes 3").click()
    troubled = page.locator("#mesh-list tbody tr", has_text="1 of 2")
    expect(troubled).to_have_count(2)
    page.locator("#mesh-list tbody tr", has_text="2 of 2").get_by_role("link").first.click()
    chosen = page.locator("svg.mesh a:has(.sel) title").text_content() or ""
    expect(page.locator("#mesh-node h2").first).to_have_text(chosen)
    page.locator("#mesh-node .kv a").first.click()
    expect(page.locator("#mesh-part")).to_contain_text("2 of 2")

    page.goto(bergen.page("/mesh"))
    row = page.locator(f"#m-{NAME}")
    expect(row).to_contain_text("1 pair apart")
    expect(row).to_contain_text("2 of 3")


def test_nodes_that_are_lost_are_said_to_be(open_page: OpenPage, bergen: Bergen) -> None:
    page = open_page(bergen.page(f"/clusters/{NAME}/mesh"), state=bergen.session)
    expect(page.locator("h1 .st")).to_have_text("1 pair apart", timeout=4 * SLOW)
    bergen.machines.terminate()
    bergen.machines.wait(20)
    expect(page.locator(".facts")).to_contain_text("3 nodes not read", timeout=4 * SLOW)
    expect(page.locator("#mesh-node")).to_contain_text("Not read")


def test_a_cluster_without_machines_waits_to_be_read(open_page: OpenPage, awaiting: str) -> None:
    page = open_page(f"/clusters/{awaiting}/mesh")
    expect(page.get_by_role("heading", level=1)).to_contain_text("Not read")
    page.get_by_role("link", name="Mesh", exact=True).first.click()
    expect(page.locator(f"#m-{awaiting}")).to_contain_text("Not read")
