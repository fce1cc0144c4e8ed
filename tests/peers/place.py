"""A running server with a cluster of simulated machines, and a person in what is a browser here."""

import re
import ssl
from urllib.parse import urlsplit

import httpx

from benchmarks.installation import Installation

TALOS, KUBERNETES = "v1.13.8", "v1.36.2"
CLUSTER = "peers"
PATIENCE = 120.0


def make_cluster(server: Installation, uuids: list[str]) -> dict[str, str]:
    """Make a cluster of the first two machines, a control plane and a worker if there is one; host names by UUID."""
    server.wait_for(lambda: _there(server) == len(uuids), PATIENCE, "the machines to come")
    workers = f"---\nkind: Workers\nmachines:\n  - {uuids[1]}\n" if len(uuids) > 1 else ""
    template = (
        f"kind: Cluster\nname: {CLUSTER}\nkubernetes:\n  version: {KUBERNETES}\ntalos:\n  version: {TALOS}\n"
        f"---\nkind: ControlPlane\nmachines:\n  - {uuids[0]}\n{workers}"
    )
    server.api.post("templates", "sync", json={"template": template})
    with server.database() as database:

        def ready() -> bool:
            row = database.execute("SELECT count(*) FROM clusters_clusterstatus WHERE ready").fetchone()
            return row is not None and row[0] == 1

        server.wait_for(ready, PATIENCE, "the cluster to be ready")
    return {row["uuid"]: row["hostname"] for row in server.api.list("machines")}


def until_bound(server: Installation) -> None:
    """Wait until our groups have their rights in the cluster."""
    with server.database() as database:

        def done() -> bool:
            query = "SELECT count(*) FROM proxies_clusteraccess WHERE looked_at IS NOT NULL"
            row = database.execute(query).fetchone()
            return row is not None and row[0] == 1

        server.wait_for(done, PATIENCE, "the groups to be in the cluster")


def _there(server: Installation) -> int:
    return sum(bool(row["hostname"]) for row in server.api.list("machines"))


class Browser:
    """Where a person is signed in, and grants what asks."""

    def __init__(self, server: Installation) -> None:
        self.let_in = 0
        link = server.omni("admin", "signin-link").strip()
        context = ssl.create_default_context(cadata=(server.config.data / "ca.crt").read_text())
        self._client = httpx.Client(verify=context, follow_redirects=True, timeout=30)
        self.submit(link)

    def read(self, line: str) -> None:
        """A line that a program shows its user: go where it says."""
        if found := re.search(r"https://\S+", line):
            self.submit(found[0], answer="grant")
            self.let_in += 1

    def open(self, url: str) -> str:
        """The page at an address, whatever its status."""
        return self._client.get(url).text

    def submit(self, url: str, **pressed: str) -> str:
        """Open a page and send its form as it is; the page that follows. Raises httpx.HTTPStatusError."""
        page = self._client.get(url).raise_for_status()
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text))
        roles = re.findall(r'<option value="([^"]+)" selected', page.text)
        data = {**fields, **({"role": roles[0]} if roles else {}), **pressed}
        there = str(page.url)  # where redirects led
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(there))
        answer = self._client.post(there, data=data, headers={"Origin": origin, "Referer": there})
        return answer.raise_for_status().text
