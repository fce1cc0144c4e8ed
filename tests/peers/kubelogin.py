"""kubelogin, as kubectl runs it, signs a person in at our OIDC provider; its token then opens a cluster.

The server is `omni serve` as anybody runs it, the program kubelogin itself, the arguments those of our kubeconfig. A
service account's kubeconfig, the exec plugin and a kubeconfig past us are tried beside it.
"""

import asyncio
import html
import json
import os
import re
import socket
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks.factory import Factory
from benchmarks.installation import Installation, free_port
from nodeagent.simulator.fleet import Fleet, FleetOptions
from nodeagent.simulator.image import Image
from nodeagent.simulator.timings import Timings
from talos.kubeconfig import Kubeconfig
from tests.peers.place import CLUSTER, PATIENCE, TALOS, Browser, make_cluster, until_bound
from tests.peers.report import BIN, CHECK_TIMEOUT, Report

CONTEXT = f"default-{CLUSTER}"
PODS = "/api/v1/namespaces/default/pods"
WITHDRAWN = 10.0
"""Seconds within which a revoked token has to be refused."""


async def run(report: Report) -> None:
    """One server, one machine that is a cluster, one person."""
    with Factory() as factory:
        server = await asyncio.to_thread(Installation(factory.url).__enter__)
        try:
            url = await asyncio.to_thread(server.join_url)
            options = FleetOptions(
                machines=1, api=url, image=Image(TALOS), factory=factory.url, timings=Timings().scaled(0.1)
            )
            async with Fleet(options) as fleet:
                await asyncio.to_thread(make_cluster, server, [fleet.machines[0].hardware.uuid])
                await asyncio.to_thread(until_bound, server)
                person = await asyncio.to_thread(_Person, server)
                with tempfile.TemporaryDirectory() as folder:
                    await _by_kubelogin(report, person, Path(folder))
                await asyncio.to_thread(_by_plugin, report, person)
                await asyncio.to_thread(_service_account, report, person)
                await asyncio.to_thread(_past_us, report, person)
        finally:
            server.__exit__(None, None, None)


class _Person:
    """The owner: their API token, their browser, and requests as kubectl makes them."""

    def __init__(self, server: Installation) -> None:
        self.server, self.browser = server, Browser(server)

    def file(self, act: str, **wish: Any) -> Kubeconfig:
        """A kubeconfig that REST gives out."""
        return Kubeconfig.from_yaml(self.server.api.post("clusters", CLUSTER, act, json=wish)["content"])

    def ask(self, token: str) -> httpx.Response:
        """Pods of the cluster, with a token, at the address of our kubeconfig."""
        entry = self.file("access-kubeconfig").clusters[CONTEXT]
        context = ssl.create_default_context(cadata=(self.server.config.data / "ca.crt").read_text())
        headers = {"Authorization": f"Bearer {token}"}
        return httpx.get(f"{entry['server']}{PODS}", headers=headers, verify=context, timeout=30)

    def refused(self, token: str) -> str:
        """What somebody hears whose token is refused, once it is."""
        said: list[str] = []

        def gone() -> bool:
            answer = self.ask(token)
            said.append(answer.json().get("message", ""))
            return answer.status_code == httpx.codes.UNAUTHORIZED

        self.server.wait_for(gone, WITHDRAWN, "the token to be refused")
        return said[-1]

    def revoke(self, name: str) -> None:
        """Revoke the newest living key with such a name."""
        rows = self.server.api.list("access-keys")
        row = next(row for row in rows if row["name"].startswith(name) and not row["revoked_at"])
        self.server.api.post("access-keys", row["id"], "revoke")


@dataclass
class _Ran:
    """What a run of kubelogin came to."""

    token: str = ""
    visits: int = 0
    problem: str = ""


async def _by_kubelogin(report: Report, person: _Person, folder: Path) -> None:
    (user,) = person.file("access-kubeconfig", proof="oidc").users.values()
    arguments = [*user["exec"]["args"][1:], f"--token-cache-dir={folder}"]
    listen = f"--listen-address=127.0.0.1:{free_port(socket.SOCK_STREAM)}"
    first = await _kubelogin(person, *arguments, "--skip-open-browser", listen)
    report.add("kubelogin: signs in through the browser", first.problem or None)
    answer = await asyncio.to_thread(person.ask, first.token)
    report.equal("kubelogin: its token opens the cluster", answer.status_code, 200)
    again = await _kubelogin(person, *arguments, "--skip-open-browser", listen)
    report.equal("kubelogin: keeps its token", (again.token == first.token, again.visits), (True, 0))
    (folder / "typed").mkdir()
    typed = await _kubelogin(
        person, *user["exec"]["args"][1:], f"--token-cache-dir={folder}/typed", "--grant-type=authcode-keyboard"
    )
    report.add("kubelogin: takes a code that is typed", typed.problem or None)
    answer = await asyncio.to_thread(person.ask, typed.token)
    report.equal("kubelogin: the token of a typed code opens the cluster", answer.status_code, 200)
    wrong = await _kubelogin(
        person, *[one.replace(f"cluster:{CLUSTER}", "cluster:none") for one in arguments], "--skip-open-browser", listen
    )
    told = "there is no cluster none" in wrong.problem
    report.add("kubelogin: is told what is wrong", None if told else f"it said: {wrong.problem}")
    await asyncio.to_thread(person.revoke, "kubectl")
    await asyncio.to_thread(person.revoke, "kubectl")
    await asyncio.to_thread(person.refused, first.token)
    report.add("kubelogin: a revoked token is refused")


async def _kubelogin(person: _Person, *arguments: str) -> _Ran:
    """Run kubelogin as kubectl does; whatever it asks its user is done by the browser."""
    ran = _Ran()
    process = await asyncio.create_subprocess_exec(
        BIN / "kubelogin", *arguments,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KUBERNETES_EXEC_INFO": ""},
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(CHECK_TIMEOUT):
            while line := (await process.stderr.readline()).decode():
                said += line
                if found := re.search(r"https?://\S+", line):
                    if "error" in line:
                        continue
                    ran.visits += 1
                    code = await asyncio.to_thread(_grant, person.browser, found[0])
                    process.stdin.write(f"{code}\n".encode())
            answer = await process.stdout.read()
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        ran.token = json.loads(answer)["status"]["token"]
    except (ValueError, KeyError):
        ran.problem = " ".join(said.split()) or f"ended with status {process.returncode}"
    return ran


def _grant(browser: Browser, url: str) -> str:
    """Open what kubelogin shows, grant it, and go where the page leads; the code, where that is typed."""
    page = browser.open(url)
    if 'name="answer"' not in page:
        return ""  # an error went back to kubelogin
    page = browser.submit(url, answer="grant")
    if back := re.search(r'href="(http://localhost:[^"]+)"', page):
        browser.open(html.unescape(back[1]))
        return ""
    found = re.search(r"(?<![\w-])[\w-]{43}(?![\w-])", page)
    return found[0] if found else ""


def _by_plugin(report: Report, person: _Person) -> None:
    token = person.server.api.post("clusters", CLUSTER, "kubernetes-token")["token"]
    report.equal("exec plugin: its token opens the cluster", person.ask(token).status_code, 200)
    report.equal("exec plugin: a changed token does not", person.ask(token[:-6] + "AAAAAA").status_code, 401)
    person.revoke("kubectl")
    person.refused(token)
    report.add("exec plugin: a revoked token is refused")


def _service_account(report: Report, person: _Person) -> None:
    person.server.api.post("service-accounts", json={"name": "ci", "role": "reader"})
    file = person.file("service-account-kubeconfig", service_account="ci", name="pipeline")
    token = file.users[f"{CONTEXT}-ci"]["token"]
    report.equal("service account: its token opens the cluster", person.ask(token).status_code, 200)
    person.revoke("pipeline")
    person.refused(token)
    report.add("service account: a revoked token is refused")


def _past_us(report: Report, person: _Person) -> None:
    file = person.file("direct-kubeconfig", endpoint="node", name="past us")
    (user,) = file.users.values()
    answer = person.ask(user["token"])
    report.equal("past us: its token is none of ours", answer.status_code, 401)
    person.revoke("past us")
    with person.server.database() as database:

        def removed() -> bool:
            query = "SELECT count(*) FROM proxies_directidentity WHERE removed_at IS NOT NULL"
            row = database.execute(query).fetchone()
            return row is not None and row[0] == 1

        person.server.wait_for(removed, PATIENCE, "the account to leave the cluster")
    report.add("past us: a revoked account leaves the cluster")
