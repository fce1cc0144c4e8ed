"""The pages of a service that stands on its own: what it is, what it knows of a cluster, and numbers."""

import json
from html import escape

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from kubespan.discovery.core import Discovery
from kubespan.discovery.limiter import Limiter
from kubespan.discovery.metrics import Collector
from kubespan.discovery.store import Store
from kubespan.discovery.web import Page, Query, Routes, text
from talos.gen.sidero import discovery_pb2 as pb

LOOKS, LOOKS_AT_ONCE = 2.0, 10
"""A second, of all callers together: the page of a large cluster is large."""

_POLICY = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'"}

_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 72ch; margin: 3rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.125rem; margin-top: 2rem; }
code, input { font: 0.875rem/1.5 ui-monospace, monospace; } code { overflow-wrap: anywhere; }
input { width: 100%; box-sizing: border-box; padding: 0.5rem; } button { margin-top: 0.5rem; padding: 0.5rem 1rem; }
table { border-collapse: collapse; } td, th { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; }
"""

_LANDING = """
<p>This is a discovery service for <a href="https://www.talos.dev/">Talos Linux</a>. If you see connections to it from
machines of yours, they run Talos and were configured to find the other nodes of their cluster here.</p>
<h2>What it does</h2>
<p>Each node leaves a record here, and hears of the records of the other nodes with the same cluster id. KubeSpan, the
encrypted network among the nodes, is built from them. No traffic between nodes passes through here. When this service
is away, nodes go on with what they know.</p>
<h2>What it can see</h2>
<p>Cluster ids, node ids, the addresses that nodes connect from, and when. What the records say, addresses and names of
nodes among it, is encrypted with a secret that only the nodes of the cluster have. A record that is not renewed is
forgotten after at most half an hour.</p>
<h2>How to stop it</h2>
<p>Remove the discovery service from the configuration of the machines, or point them at another one.</p>
"""

_FORM = """
<form action="/inspect" method="get"><label>Cluster id <input name="clusterID" value="{}" required autofocus></label>
<button>Show</button></form>
"""


def public(core: Discovery) -> Routes:
    """Pages for everybody."""
    look_up = "<h2>Look up a cluster</h2>" + _form()
    limiter = Limiter(LOOKS, LOOKS_AT_ONCE)
    return {
        "/": lambda query: _page("Discovery service", _LANDING + _numbers(core) + look_up),
        "/inspect": lambda query: _inspect(core, limiter, query),
        "/stats": lambda query: Page(
            json.dumps({"affiliates": core.state.affiliates}).encode(),
            "application/json",
            headers={"Access-Control-Allow-Origin": "*"},
        ),
    }


def operators(core: Discovery, store: Store | None) -> Routes:
    """Pages for who runs it."""
    registry = CollectorRegistry()
    registry.register(Collector(core, store))

    def readyz(query: Query) -> Page:
        return text("ready\n") if core.ready else text("starting or stopping\n", 503)

    return {
        "/metrics": lambda query: Page(generate_latest(registry), CONTENT_TYPE_LATEST),
        "/healthz": lambda query: text("ok\n"),
        "/readyz": readyz,
    }


def _numbers(core: Discovery) -> str:
    state = core.state
    nodes = f"{state.affiliates:,} nodes of {state.clusters:,} clusters, {state.subscriptions:,} watching"
    return f"<p>Right now: {nodes}.</p>"


def _form(cluster_id: str = "") -> str:
    return _FORM.format(escape(cluster_id))


def _inspect(core: Discovery, limiter: Limiter, query: Query) -> Page:
    cluster_id = query.get("clusterID", "")
    if not cluster_id:
        return _page("Look up a cluster", _form())
    if not limiter.take("all"):
        return text("too many look at clusters just now; try again\n", 429)
    affiliates = pb.ListResponse.FromString(core.state.listing(cluster_id)).affiliates
    rows = "".join(
        f"<tr><td><code>{escape(one.id)}</code><td><code>{one.data.hex()}</code><td>"
        + "<br>".join(f"<code>{endpoint.hex()}</code>" for endpoint in one.endpoints)
        for one in sorted(affiliates, key=lambda one: one.id)
    )
    table = f"<table><tr><th>Node<th>Data, encrypted<th>Endpoints, encrypted{rows}</table>"
    count = f"<p>{len(affiliates)} nodes.</p>" if affiliates else "<p>Nobody is known under this id.</p>"
    return _page("Look up a cluster", _form(cluster_id) + count + (table if affiliates else ""))


def _page(title: str, body: str) -> Page:
    html = f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><meta name=viewport "
    html += f'content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>{body}'
    return Page(html.encode(), headers=_POLICY)
