"""`omni mesh`: which nodes of a cluster hear each other over KubeSpan, and why not."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from omni.cli import complete
from omni.cli.api import Api, Away
from omni.cli.context import with_api
from omni.cli.output import Column, ago, inert, output_option, show

POLL, WATCH = 1.0, 5.0
"""Seconds between two questions, before anything was read and afterwards."""
WAIT = 60.0
"""Seconds that a first reading may take."""
OLD, PATIENCE = timedelta(seconds=90), 10.0
"""A reading from before anybody looked, and for how many seconds a newer one is waited for."""

STATES = ("up", "one-sided", "connecting", "down", "missing", "unread", "trouble")
REASONS = ("not-read", "not-discovered", "connecting", "clock", "overlap", "nat", "not-offered", "no-common", "blocked",
           "old", "silent")  # fmt: skip
MOST = 500
"""Pairs and nodes that a table shows; JSON and YAML have all."""

SITE_COLUMNS: list[Column] = [
    ("site", "name"), ("nodes", "nodes"), ("pairs up inside", lambda row: f"{row['up']} of {row['pairs']}"),
]  # fmt: skip

NODE_COLUMNS: list[Column] = [
    ("node", "name"), ("role", "role"), ("site", "site"), ("state", lambda row: _shape(row["state"])),
    ("up", lambda row: f"{row['up']}/{row['others']}"), ("address", "address"), ("endpoints", "endpoints"),
    ("seen as", "seen_as"), ("heard", ago("heard")), ("not read", "unread"),
]  # fmt: skip


def _word(side: str) -> Callable[[dict[str, Any]], Any]:
    return lambda row: row[side]["state"]["word"]


def _shape(state: dict[str, str]) -> str:
    return {"ok": "up", "unknown": "not read", "off": "not announced", "work": "connecting"}.get(
        state["shape"], "in trouble"
    )


def _to(row: dict[str, Any]) -> str:
    more = len(row.get("others", ())) - 1
    return f"{row['other']} and {more} others" if more > 0 else str(row["other"])


def _worse(row: dict[str, Any]) -> dict[str, Any]:
    """What is said by the one that does not hear the other."""
    heard = row["there"]["state"]["shape"] == "ok" and row["back"]["state"]["shape"] != "unknown"
    side: dict[str, Any] = row["back"] if heard else row["there"]
    return side


PAIR_COLUMNS: list[Column] = [
    ("from", "one"), ("to", _to), ("there", _word("there")), ("back", _word("back")),
    ("endpoint", lambda row: _worse(row)["endpoint"]),
    ("handshake", lambda row: ago("handshake")(_worse(row)) or "never"),
]  # fmt: skip
PROBLEM_COLUMNS: list[Column] = [*PAIR_COLUMNS, ("since", ago("since")), ("reason", "sentence")]
LISTED_COLUMNS: list[Column] = [("state", "state"), *PAIR_COLUMNS, ("reason", "sentence")]


@click.group()
def mesh() -> None:
    """KubeSpan: which nodes of a cluster hear each other, and why not."""


@mesh.command("show")
@click.argument("cluster", shell_complete=complete.clusters)
@click.option("--node", default="", metavar="NAME", help="One node, and its pairs.")
@click.option("--state", type=click.Choice(STATES), help="Pairs in this state; trouble: all that should be up.")
@click.option("--reason", type=click.Choice(REASONS), help="Pairs that are not up for this reason.")
@click.option("--site", default="", metavar="NAME", help="Pairs, or with --nodes nodes, of this site.")
@click.option("--nodes", is_flag=True, help="All nodes in place of what is wrong.")
@click.option("-w", "--watch", is_flag=True, help="Go on with each reading, every 30 s, until Ctrl-C.")
@output_option
@with_api
def show_mesh(
    api: Api, cluster: str, node: str, state: str | None, reason: str | None, site: str, nodes: bool, watch: bool,
    output: str,
) -> None:  # fmt: skip
    """Who hears whom over KubeSpan in a cluster, and what is wrong with the reason.

    The nodes are read when somebody looks, at most every 30 seconds; what they say is at most 30 seconds older. After
    a while without a look, the answer takes some seconds. A pair is one-sided when one node hears the other and is not
    heard.

    \b
    omni mesh show prod                        what is wrong, and why
    omni mesh show prod --node osl-w-3         one node: endpoints, where it is seen, its pairs
    omni mesh show prod --nodes --site osl     all nodes of a site
    omni mesh show prod --state trouble -o json
    omni mesh show prod --watch                until it is healed
    """
    pairs = {"state": state, "reason": reason, "node": node, "site": site}
    for number, answer in enumerate(_readings(api, cluster, watch)):
        if number and output == "table":
            click.echo(f"\n---- read {answer['read_at'][11:19]} UTC ----")
        if output != "table":
            show(_wanted(api, cluster, answer, pairs, nodes), [], output)
        elif answer["kubespan"] != "on":
            click.echo(inert(f"{cluster}: {answer['state']['word']}. {answer['state']['sentence']}"))
        else:
            _print(api, cluster, answer, pairs, nodes)


def _readings(api: Api, cluster: str, watch: bool) -> Iterator[dict[str, Any]]:
    """The mesh as it was read last, waited for if that is not lately; then, if watched, each further reading."""
    began, last = time.monotonic(), None
    while True:
        try:
            answer = api.get("clusters", cluster, "mesh")
        except Away as away:
            if not watch:
                raise
            click.echo(f"{away.message}; going on when it is back", err=True)
            answer = None
        waited = time.monotonic() - began
        if answer is not None and answer["read_at"] != last and (waited > PATIENCE or not _is_old(answer)):
            last = answer["read_at"]
            yield answer
            if not watch:
                return
        elif last is None and waited > WAIT:
            raise click.ClickException(f"the nodes of {cluster} were not read in {WAIT:.0f} s; are workers running?")
        time.sleep(POLL if last is None else WATCH)


def _is_old(answer: dict[str, Any]) -> bool:
    """Whether the nodes are read anew now, since nobody had looked for a while."""
    return answer["kubespan"] == "on" and datetime.now(UTC) - datetime.fromisoformat(answer["read_at"]) > OLD


def _wanted(
    api: Api, cluster: str, answer: dict[str, Any], pairs: dict[str, Any], nodes: bool
) -> dict[str, Any] | list[dict[str, Any]]:
    """What is printed for programs."""
    if nodes:
        return api.list("clusters", cluster, "mesh", "nodes", site=pairs["site"])
    if any(pairs.values()):
        return api.list("clusters", cluster, "mesh", "pairs", **pairs)
    return answer


def _print(api: Api, cluster: str, answer: dict[str, Any], pairs: dict[str, Any], nodes: bool) -> None:
    counts, state = answer["pairs"], answer["state"]
    click.echo(inert(f"{cluster}: {state['word']}"))
    unread = f", {answer['unread']:,} not read" if answer["unread"] else ""
    click.echo(
        f"{answer['nodes']:,} nodes{unread} in {len(answer['sites']):,}"
        f" site{'s' * (len(answer['sites']) != 1)}; {counts['up']:,} of {counts['total']:,}"
        f" pairs up; read {ago('read_at')(answer)} ago\n"
    )
    if nodes:
        found = api.list("clusters", cluster, "mesh", "nodes", limit=MOST, site=pairs["site"])
        show(found, NODE_COLUMNS, "table", "No node is like that.")
    elif pairs["node"] and not pairs["state"] and not pairs["reason"]:
        _print_node(api, cluster, answer, str(pairs["node"]), pairs)
    elif any(pairs.values()):
        found = api.list("clusters", cluster, "mesh", "pairs", limit=MOST, **pairs)
        show(found, LISTED_COLUMNS, "table", "No pair is like that.")
    else:
        _print_problems(cluster, answer)


def _print_problems(cluster: str, answer: dict[str, Any]) -> None:
    if not answer["problems"]:
        show(answer["sites"], SITE_COLUMNS, "table")
        return
    show(answer["problems"], PROBLEM_COLUMNS, "table")
    if answer["more_problems"]:
        click.echo(f"and {answer['more_problems']:,} more: omni mesh show {cluster} --state trouble")
    click.echo("\nWhat to do:")
    told = set()
    for problem in answer["problems"]:
        if problem["reason"] not in told:
            told.add(problem["reason"])
            click.echo(inert(f"  {problem['sentence']}"))
            for text in problem["advice"]:
                click.echo(inert(f"    - {text}"))


def _print_node(api: Api, cluster: str, answer: dict[str, Any], name: str, pairs: dict[str, Any]) -> None:
    found = api.list("clusters", cluster, "mesh", "pairs", limit=MOST, **pairs)
    found.sort(key=lambda row: bool(row["state"] == "up"))
    named = api.list("clusters", cluster, "mesh", "nodes", q=name)
    node = next((row for row in named if name in (row["name"], row["id"])), None)
    if node is not None:
        facts = [("machine", node["machine"] or "none of yours"), ("site", node["site"]), ("address", node["address"]),
                 ("endpoints", ", ".join(node["endpoints"]) or "none announced"), ("seen as", node["seen_as"]),
                 ("heard", f"{ago('heard')(node)} ago" if node["heard"] else "by nobody"),
                 ("not read", node["unread"] and f"it {node['unread']}")]  # fmt: skip
        for title, text in facts:
            if text:
                click.echo(inert(f"{title:>10}  {text}"))
        click.echo()
    show(found, LISTED_COLUMNS, "table", "It has no pairs.")
    for problem in answer["problems"]:
        if name == problem["one"] or name in problem["others"]:
            click.echo(inert(f"\n{problem['sentence']}"))
            for text in problem["advice"]:
                click.echo(inert(f"  - {text}"))
            break
