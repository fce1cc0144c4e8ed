"""What to do for a machine that is in no cluster. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from apps.reconcile.conditions import Condition
from talos.config import document

EVENT_SINK, LOG_SINK = "EventSinkConfig", "KmsgLogConfig"


@dataclass(frozen=True)
class Facts:
    """What is known of a machine now."""

    connected: bool
    reachable: bool
    stage: str
    api_mode: str
    in_cluster: bool
    over_agent: bool  # it cannot reach us, and we may not apply documents to it
    link_key: str
    wanted_sha: str  # of the join documents
    applied_sha: str
    applied_key: str  # link key at that time: another one means that the machine rebooted and forgot
    error: str


@dataclass(frozen=True)
class Decision:
    """Whether to apply the join documents now, and what to say of the machine."""

    apply: bool
    conditions: tuple[Condition, ...]


def decide(facts: Facts) -> Decision:
    """The next step for the maintenance configuration."""
    if facts.connected:
        link = Condition("Link", "ok", "The machine's link is up.")
    elif facts.over_agent:
        link = Condition("Link", "off", "Waiting for an agent that reaches the machine to connect.")
    else:
        link = Condition("Link", "off", "Waiting for the machine to send a packet over its link.")
    if not facts.connected:
        return Decision(False, (link,))
    if not facts.reachable:
        text = f"Waiting for the machine's API to answer: {facts.error or 'no connection yet'}."
        return Decision(False, (link, Condition("API", "wait", text)))
    api = Condition("API", "ok", "The machine's API answers.")
    if facts.in_cluster:
        return Decision(False, (link, api))
    if facts.api_mode != "maintenance" or facts.stage != "maintenance":
        text = f"The machine runs a configuration of its own (stage {facts.stage or 'unknown'}) and is in no cluster."
        return Decision(False, (link, api, Condition("Free", "warn", text)))
    if facts.over_agent:
        return Decision(False, (link, api))
    done = facts.applied_sha == facts.wanted_sha and facts.applied_key == facts.link_key
    if done:
        return Decision(False, (link, api, Condition("Join documents", "ok", "Events and logs are sent to us.")))
    return Decision(True, (link, api, Condition("Join documents", "work", "Telling the machine where events go.")))


def maintenance_config(existing: str | None, join_documents: str) -> str:
    """The partial configuration for a machine in maintenance mode: what it has, with our event and log documents.

    The machine's own SideroLinkConfig stays, since a configuration without it would end its link. Raises ConfigError.
    """
    ours: list[Mapping[str, Any]] = [
        item.values for item in document.load(join_documents).documents if item.kind in (EVENT_SINK, LOG_SINK)
    ]
    names = {(item["kind"], item.get("name", "")) for item in ours}
    kept = []
    for item in document.load(existing).documents if existing else ():
        if item.kind != document.LEGACY and (item.kind, item.name) not in names:
            kept.append(item.values)
    return document.encode(document.from_documents([*kept, *ours]))
