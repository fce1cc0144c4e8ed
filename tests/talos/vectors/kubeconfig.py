"""kubeconfig files: generated for a cluster, merged into others. Compared by what they mean."""

import base64
from datetime import datetime, timedelta

from talos import kubeconfig, pem
from talos.kubeconfig import Kubeconfig, KubeconfigError
from talos.pem import CertKey
from tests.talos.vectors import unequal
from tests.talos.vectors.pki import go_name


def cases(data, folder):
    for number, case in enumerate(data["generate"]):
        yield f"generate/{case['input']['cluster']}/{number}", {"kind": "generate", **case}
    for case in data["merge"]:
        yield f"merge/{case['id']}", {"kind": "merge", **case}


def check(case):
    return check_generate(case) if case["kind"] == "generate" else check_merge(case)


class Conflict(Exception):
    """What the caller answers on a conflict that it does not want to solve."""


def check_merge(case):
    conflicts = []

    def decide(component, name):
        conflicts.append(f"{component}:{name}")
        if case["conflictDecision"] == "error":
            raise Conflict(f'conflict on {component} "{name}"')
        return case["conflictDecision"]

    error = None
    try:
        merged = Kubeconfig.from_yaml(case["into"])
        added = Kubeconfig.from_yaml(case["add"])
    except KubeconfigError as raised:
        return None if case.get("error", "").startswith("load ") else f"error: {raised}"
    try:
        messages = merged.merge(added, decide, context_name=case["forceContextName"], activate=case["activateContext"])
    except Conflict as raised:
        error = str(raised)
    difference = unequal("error", error, case.get("error")) or unequal("conflicts", conflicts, case["conflicts"])
    if difference or error:
        return difference
    return same(merged, case["output"]) or unequal(
        "messages", "".join(f"{line}\n" for line in messages), case["messages"]
    )


def check_generate(case):
    given = case["input"]
    now = datetime.fromisoformat(case["generatedAt"])
    ca = CertKey(given["caCrt"].encode(), given["caKey"].encode())
    try:
        made = kubeconfig.generate(
            cluster=given["cluster"],
            endpoint=given["endpoint"],
            ca=ca,
            accepted_cas=[certificate.encode() for certificate in given["acceptedCAs"]],
            now=now,
            ttl=timedelta(hours=given["lifetimeHours"]),
            common_name=given["commonName"],
            organization=given["organization"],
            user_name=given["username"],
            context_name=given["contextName"],
        )
    except KubeconfigError as error:
        return unequal("error", str(error), case.get("error"))
    (user,) = made.users.values()
    certificate = pem.load_certificate(base64.b64decode(user["client-certificate-data"]))
    got = {
        "notAfter": certificate.not_valid_after_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "notBefore": certificate.not_valid_before_utc.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "subject": go_name(certificate.subject),
    }
    theirs = Kubeconfig.from_yaml(case["output"])
    for name in theirs.users:
        theirs.users[name] = user
    return (
        unequal("error", None, case.get("error"))
        or unequal("client certificate", got, case["clientCertificate"])
        or same(made, theirs.to_yaml())
    )


def same(config, text):
    return unequal("output", Kubeconfig.from_yaml(config.to_yaml()), Kubeconfig.from_yaml(text))
