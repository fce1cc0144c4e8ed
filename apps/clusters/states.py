"""The states of clusters and of their machines: for each a shape of the interface, a word, and a sentence."""

from apps.clusters.models import Cluster, ClusterMachine, ClusterStatus
from apps.reconcile.conditions import WORST_FIRST, Shown, State

STEPS: dict[str, str] = {
    "machines": "Machines picked",
    "secrets": "Secrets made",
    "installed": "Talos installed",
    "configured": "Configs taken",
    "bootstrapped": "etcd started",
    "etcd": "etcd members",
    "kubernetes": "Kubernetes API and nodes",
    "ready": "Ready",
}
"""What a new cluster goes through, in the words of the page that shows it."""

_WORDS: dict[State, str] = {
    "bad": "Failed",
    "ask": "Asks for a decision",
    "warn": "Degraded",
    "wait": "Waiting",
    "work": "Working",
    "off": "Not connected",
    "unknown": "Unknown",
    "idle": "Not started",
    "ok": "Ready",
}

_STAGES: dict[str, str] = {
    "installing": "Installing",
    "upgrading": "Upgrading",
    "configuring": "Configuring",
    "booting": "Booting",
    "rebooting": "Rebooting",
    "destroying": "Wiping",
}


def cluster_state(cluster: Cluster) -> Shown:
    """How a cluster is: the worst of its own conditions, in one word."""
    status: ClusterStatus | None = getattr(cluster, "status", None)
    if status is None or not status.conditions:
        return Shown("work", "Creating", "The cluster was asked for a moment ago.")
    worst = min(status.conditions, key=lambda item: WORST_FIRST.index(item["state"]))
    if worst["state"] == "wait":  # while something else moves, nothing stands still
        worst = next((item for item in status.conditions if item["state"] == "work"), worst)
    if cluster.deleting_at is not None:
        return Shown(worst["state"], "Destroying", worst["message"])
    if status.ready and status.observed_generation == cluster.generation:
        return Shown("ok", "Ready", worst["message"] if worst["state"] != "ok" else f"{cluster.name} is ready.")
    if worst["state"] in ("work", "ok"):
        word = "Changing" if status.ready_at else "Creating"
        return Shown("work", word, worst["message"] if worst["state"] == "work" else "Looking at what changed.")
    return Shown(worst["state"], _WORDS[worst["state"]], worst["message"])


def member_state(row: ClusterMachine) -> Shown:
    """How a machine of a cluster is: the first condition that is not met, or that it is ready."""
    blocking = next((item for item in row.conditions if item["state"] != "ok"), None)
    if blocking is None:
        if row.ready:
            return Shown("ok", "Ready", "The machine runs its config and is ready.")
        return Shown("work", "Joining", "The machine was taken a moment ago.")
    state: State = blocking["state"]
    word = _STAGES.get(row.stage, "Working") if state == "work" else _WORDS[state]
    return Shown(state, word, blocking["message"])


def progress(status: ClusterStatus) -> list[dict[str, str]]:
    """The steps of a cluster's creation in order: name, title, state (`idle` when not reached), message, since."""
    steps = []
    for name, title in STEPS.items():
        found = [item for item in status.conditions if item["name"] == name]
        worst = min(found, key=lambda item: WORST_FIRST.index(item["state"])) if found else None
        steps.append(
            {
                "name": name,
                "title": title,
                "state": worst["state"] if worst else "idle",
                "message": worst["message"] if worst else "",
                "since": worst["since"] if worst else "",
            }
        )
    return steps
