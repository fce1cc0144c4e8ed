"""Questions that are asked by creating an object: who am I, and may I."""

from __future__ import annotations

from nodeagent.simulator.kube import rbac
from nodeagent.simulator.kube.http import not_found
from nodeagent.simulator.kube.identity import User
from nodeagent.simulator.kube.rbac import Attributes
from nodeagent.simulator.objects import KubernetesObjects, Object


def answer(plural: str, user: User, value: Object, objects: KubernetesObjects) -> Object:
    """The object with its status filled in. Raises Failure."""
    spec = value.get("spec") or {}
    match plural:
        case "selfsubjectreviews":
            info: Object = {"username": user.name, "groups": list(user.groups)}
            info |= {"uid": user.uid} if user.uid else {}
            status: Object = {"userInfo": info | ({"extra": user.extra} if user.extra else {})}
        case "selfsubjectaccessreviews":
            status = {"allowed": rbac.allowed(user, _asked(spec), objects)}
        case "selfsubjectrulesreviews":
            rules = list(rbac.rules_of(user, str(spec.get("namespace") or ""), objects))
            status = {
                "resourceRules": [rule for rule in rules if "resources" in rule],
                "nonResourceRules": [rule for rule in rules if "nonResourceURLs" in rule],
                "incomplete": False,
            }
        case _:
            raise not_found()
    return {**value, "status": status}


def _asked(spec: Object) -> Attributes:
    if "nonResourceAttributes" in spec:
        asked = spec["nonResourceAttributes"]
        return Attributes(asked["verb"], path=asked["path"])
    asked = spec.get("resourceAttributes") or {}
    return Attributes(
        verb=asked.get("verb", ""),
        group=asked.get("group", ""),
        resource=asked.get("resource", ""),
        subresource=asked.get("subresource", ""),
        namespace=asked.get("namespace", ""),
        name=asked.get("name", ""),
    )
